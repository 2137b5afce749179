package export

import (
	"errors"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/budget"
)

// Who waits for a list, for others who make it or for memory, waits from when he came, once for all of
// it, and not beyond his connection; then he has taken nothing.
func TestWaitsCountFromArrival(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	banMany(t, r, 100, "4h")
	g := newGetter(t, r, 1<<20)
	x := g.export(engine.Export{Name: "x", Format: "plain_text"})
	waits := map[string]func() *Wait{
		"came long ago": func() *Wait { return &Wait{until: time.Now().Add(-time.Second)} },
		"has gone":      func() *Wait { return &Wait{time.Now().Add(time.Hour), func() bool { return true }} },
	}
	ask := func(name, query string, want error) {
		t.Helper()
		asked, err := ParseAsked(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = g.Get(r.View(), x, asked, true, r.Now().UnixNano(), waits[name]()); !errors.Is(err, want) {
			t.Errorf("one who %s, for %q: %v, not %v", name, query, err, want)
		}
	}
	all := budget.Hold{Of: budget.Holder{Name: "another"}, From: g.work}
	if !all.Take(g.work.Most()) {
		t.Fatal("there is no memory")
	}
	for name := range waits {
		for _, query := range []string{"", "page=1"} {
			ask(name, query, ErrCrowded)
		}
	}
	all.Release()
	p := g.place("x", "", r.Now().UnixNano())
	p.turn.try()
	for name := range waits {
		for _, query := range []string{"", "page=1"} {
			ask(name, query, ErrCrowded)
		}
	}
	got := make(chan error, 1)
	go func() { // and who has time gets it
		_, err := g.try(x, "")
		got <- err
	}()
	p.turn.end()
	if err := <-got; err != nil {
		t.Error(err)
	}
	for name := range waits { // nobody waits for what is there
		ask(name, "", nil)
	}
	if n := g.work.InUse(); n != 0 {
		t.Errorf("%d bytes are taken", n)
	}
}

// What could not be made leaves nothing behind: no entries, no bodies, and no places, whatever was asked for.
func TestErrorsKeepNothing(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	banMany(t, r, 3000, "4h")
	for _, format := range []string{"json", "ipset", "plain_text"} {
		big := newGetter(t, r, 64<<20)
		x := big.export(engine.Export{Name: format, Format: format})
		body := big.get(x, "")
		l := big.place(format, "", 0).list
		most := map[string]int64{
			"json":       body.size() - 1,            // it is made, and is too large
			"ipset":      body.size() + l.size() - 1, // with its entries, which a timed list keeps
			"plain_text": big.place(format, "", 0).needed/workShare - 1,
		}[format]
		g := newGetter(t, r, most)
		for range 2 {
			for _, query := range []string{"", "ipv4only", "page=1", "shard=1/2", "origin=cscli", "origin=cscli,x"} {
				if _, err := g.try(x, query); err == nil && query == "" {
					t.Fatalf("%s fits", format)
				}
			}
		}
		kept, taken := 0, int64(0)
		g.kept.Range(func(_, value any) bool {
			p := value.(*rendering)
			kept++
			if taken += p.taken.Load(); p.list == nil && p.current.Load() == nil {
				t.Errorf("%s: nothing is in %q", format, p.key)
			}
			if p.list != nil && p.taken.Load() < p.list.size() {
				t.Errorf("%s: %d bytes of entries are not counted", format, p.list.size())
			}
			return true
		})
		if taken > most || g.work.InUse() != 0 {
			t.Errorf("%s: %d bytes are kept of %d, and %d are in use", format, taken, most, g.work.InUse())
		}
		t.Logf("%s: %d places, %d bytes of %d", format, kept, taken, most)
	}
}
