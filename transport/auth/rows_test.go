package auth

import (
	"context"
	"crypto/sha512"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"lapid/engine"
)

// TestOperatorHasTheName: an operator named a bouncer as a row from an address
// would be called. The key is let in from there all the same, under a longer name,
// or as that very row when it is of the same key.
func TestOperatorHasTheName(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("fw", "key", false)
	d.addBouncer("fw@192.0.2.2", "another key", false)
	d.addBouncer("fw@192.0.2.3", "key", false)
	ask := func(key string, from string) string {
		t.Helper()
		row, err := d.Bouncer(t.Context(), []byte(key), netip.MustParseAddr(from), agent, false)
		d.must(err)
		again, err := d.Bouncer(t.Context(), []byte(key), netip.MustParseAddr(from), agent, false)
		d.must(err)
		if again != row || d.KnownBouncer([]byte(key), netip.MustParseAddr(from), agent) != row {
			t.Errorf("%s from %s has another row at another time", key, from)
		}
		return row.Load().Name
	}
	for _, c := range [][3]string{
		{"key", "192.0.2.2", "fw@192.0.2.2@192.0.2.2"},
		{"key", "192.0.2.3", "fw@192.0.2.3"},
		{"key", "192.0.2.4", "fw@192.0.2.4"},
		{"another key", "192.0.2.2", "fw@192.0.2.2"},
		{"another key", "192.0.2.4", "fw@192.0.2.4@192.0.2.4"},
	} {
		if name := ask(c[0], c[1]); name != c[2] {
			t.Errorf("%s from %s is %s, want %s", c[0], c[1], name, c[2])
		}
	}
	d.must(d.DeleteBouncer(t.Context(), "fw"))
	if left := d.names(); !slices.Equal(left, []string{"fw@192.0.2.2", "fw@192.0.2.3", "fw@192.0.2.4@192.0.2.4"}) {
		t.Errorf("left are %v", left)
	}
}

// TestPrefixesShareARow: with the setting the addresses of one /64 are one bouncer,
// by key and by certificate's name; those of IPv4 are not, and a row that belongs
// to one address keeps it.
func TestPrefixesShareARow(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.IPv6Prefix = 64 })
	d.addBouncer("fw", "key", false)
	ask := func(from string) *engine.BouncerRow {
		t.Helper()
		row, err := d.Bouncer(t.Context(), []byte("key"), netip.MustParseAddr(from), agent, false)
		d.must(err)
		return row
	}
	first := ask("192.0.2.1")
	one := ask("2001:db8::1")
	for i := range 300 {
		if ask(fmt.Sprintf("2001:db8::%x:1", i)) != one {
			t.Fatal("another row in the same prefix")
		}
	}
	if d.KnownBouncer([]byte("key"), netip.MustParseAddr("2001:db8::9999"), agent) != one {
		t.Error("it is not known at once")
	}
	if ask("2001:db8:0:1::1") == one || ask("192.0.2.2") == first || ask("192.0.2.2") == one || ask("::ffff:192.0.2.9") == one {
		t.Error("a row is shared too far")
	}
	if names := d.names(); !slices.Equal(names[:4], []string{"fw", "fw@2001:db8::", "fw@2001:db8:0:1::", "fw@192.0.2.2"}) {
		t.Errorf("rows %v", names)
	}
	own := netip.MustParseAddr("2001:db8:7::7")
	_, err := d.AdmitBouncer(t.Context(), &engine.Bouncer{Name: "fw", KeyHash: sha512.Sum512([]byte("key")), AuthType: engine.AuthAPIKey, IP: own})
	d.must(err)
	if ask("2001:db8:7::7").Load().IP != own || ask("2001:db8:7::8").Load().Name != "fw@2001:db8:7::" || ask("2001:db8:7::7").Load().IP != own {
		t.Error("a row of one address lost it")
	}
	plain := newDoor(t, nil)
	plain.addBouncer("fw", "key", false)
	for _, from := range []string{"2001:db8::1", "2001:db8::2"} {
		_, err := plain.Bouncer(t.Context(), []byte("key"), netip.MustParseAddr(from), agent, false)
		plain.must(err)
	}
	if len(plain.names()) != 2 {
		t.Error("without the setting a row is shared")
	}
}

// lines counts what the log says.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, r.Message)
	return nil
}

// TestNewAddressesDisturbNobody: a row more, or one that makes room, takes no other
// from the cache; and the log is told of a few.
func TestNewAddressesDisturbNobody(t *testing.T) {
	t.Parallel()
	var log lines
	d := newDoor(t, func(o *Options) { o.Logger = slog.New(&log) })
	d.addBouncer("web", "known", false)
	d.addBouncer("fw", "key", false)
	known, err := d.Bouncer(t.Context(), []byte("known"), here, agent, false)
	d.must(err)
	mark := d.markOf([]byte("known"), here)
	kept := d.bouncers.get(mark)
	for i := range 200 {
		from := netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
		row, err := d.Bouncer(t.Context(), []byte("key"), from, agent, false)
		d.must(err)
		if d.KnownBouncer([]byte("key"), from, agent) != row || d.KnownBouncer([]byte("known"), here, agent) != known {
			t.Fatal("somebody has another row")
		}
	}
	if d.bouncers.get(mark) != kept || kept == nil {
		t.Error("the known bouncer was looked for anew")
	}
	if n := len(log.text); n != mostToldNew || !strings.Contains(log.text[n-1], "further ones of this minute are not told") {
		t.Errorf("%d lines in the log: %q", n, log.text)
	}
	d.must(d.DeleteBouncer(t.Context(), "web"))
	if d.KnownBouncer([]byte("known"), here, agent) != nil {
		t.Error("a deleted bouncer is still known")
	}
}
