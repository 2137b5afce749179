package console

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestAttention: what the server stands on is looked at for each page, and nothing is told of what is well or not known.
func TestAttention(t *testing.T) {
	t.Parallel()
	var now atomic.Pointer[Surroundings]
	b := newBench(t, func(o *Options) { o.Surroundings = func() Surroundings { return *now.Load() } })
	in := func(d time.Duration) int64 { return b.rig.Now().Add(d).UnixNano() }
	v := b.visitor()
	now.Store(&Surroundings{Reloaded: true, DiskFree: -1, DiskSize: -1})
	v.enter(viewer)
	const day = 24 * time.Hour
	for _, c := range []struct {
		now    Surroundings
		wanted string // "": nothing
	}{
		{Surroundings{Reloaded: true, DiskFree: 11 << 30, DiskSize: 100 << 30, MemoryLimit: 1 << 50, Certificates: []Certificate{{"/etc/lapid/a.pem", in(15 * day)}}}, ""},
		{Surroundings{Reloaded: true, DiskFree: -1, DiskSize: -1}, ""},
		{Surroundings{Reloaded: true, DiskFree: 9 << 30, DiskSize: 100 << 30}, "9.0 GiB are free of 100.0 GiB"},
		{Surroundings{Reloaded: true, DiskFree: 0, DiskSize: 100 << 30}, "nearly full"},
		{Surroundings{Reloaded: true, MemoryLimit: 1 << 20}, "Memory is nearly used up"},
		{Surroundings{}, "is not in force"},
		{Surroundings{Reloaded: true, Certificates: []Certificate{{"/etc/lapid/a.pem", in(3*day + time.Hour)}}}, "/etc/lapid/a.pem expires in 3 days"},
		{Surroundings{Reloaded: true, Certificates: []Certificate{{"/etc/lapid/a.pem", in(-day)}}}, "/etc/lapid/a.pem has expired"},
	} {
		now.Store(&c.now)
		page := v.get("/")
		if c.wanted != "" {
			has(t, c.wanted, page, c.wanted)
		}
		if calm := strings.Contains(page, "all is as it should be"); calm != (c.wanted == "") {
			t.Errorf("%+v: calm %v\n%.3000s", c.now, calm, page)
		}
	}
	now.Store(&Surroundings{Reloaded: true})
	stranger := b.visitor()
	for range freeTries {
		stranger.read(http.MethodPost, "/login", form([]string{"name", "nobody<b>", "password", "wrong"}), http.StatusUnauthorized)
	}
	if page := v.get("/"); !strings.Contains(page, "that do not fit, from 127.0.0.1") || strings.Contains(page, "nobody") {
		t.Errorf("who guesses: %.3000s", page)
	}
}
