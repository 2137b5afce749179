package export

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// declared has an open export of lapid.yaml, which verbs cannot change.
func (g getter) declared(x engine.Export) *engine.Export {
	g.t.Helper()
	x.Auth = engine.ExportNone
	if err := g.r.DeclareExports(context.Background(), []engine.Export{x}); err != nil {
		g.t.Fatal(err)
	}
	return g.r.View().Export(x.Name)
}

// evict pulls other lists until a place is let go of.
func (g getter) evict(key string, others ...*engine.Export) {
	g.t.Helper()
	for _, x := range others {
		g.get(x, "")
		for i := range mostVariants + 1 {
			g.get(x, fmt.Sprintf("page=%d&page_size=10", i+1))
		}
	}
	if _, kept := g.kept.Load(key); kept {
		g.t.Fatalf("there is room for %q beside the others", key)
	}
}

// A list that shrinks without a reason is held back also when there was no memory to keep it, or a
// narrowed form of it, from one pull to the next: until it is accepted, of exports in lapid.yaml too.
func TestGuardOutlastsEviction(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"", "ipv4only", "page=2&page_size=100"} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			r := enginetest.NewRig(t, nil)
			banMany(t, r, 3000, "4h")
			g := newGetter(t, r, 160<<10)
			x := g.declared(engine.Export{Name: "x", Format: "plain_text"})
			var others []*engine.Export
			for i := range 4 {
				others = append(others, g.export(engine.Export{Name: fmt.Sprint("other", i), Format: "plain_text"}))
			}
			asked, _ := ParseAsked(query)
			first := g.get(x, query)
			g.r.Advance(time.Second)
			for i := range mostVariants + 1 { // those narrowed ones of its own are let go of before
				g.get(x, fmt.Sprintf("page=%d&page_size=11", i+1))
			}
			g.evict(g.place("x", asked.listKey(), 0).key, others...)
			endAll(t, r)
			r.Advance(time.Minute)
			for range 2 {
				if b, err := g.try(x, query); !errors.Is(err, errHeld) {
					t.Fatalf("a list of %d entries after one of %d, which was not kept: %v", b.Count, first.Count, err)
				}
			}
			if !g.Of("x").Held.Load() {
				t.Error("it is not marked")
			}
			if n, err := g.Accept("x", nil); n != 1 || err != nil || g.Of("x").Held.Load() {
				t.Errorf("%d accepted, %v; marked %v", n, err, g.Of("x").Held.Load())
			}
			if b := g.get(x, query); b.Count != 0 || b.Held {
				t.Errorf("%d entries when it was accepted", b.Count)
			}
		})
	}
}

// What is held back is served once it is accepted, in all its forms, with the next pull, and nothing
// of before is compared with what comes then; those that are not held do not mind.
func TestAccept(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	banMany(t, r, 3000, "4h")
	g := newGetter(t, r, 64<<20)
	queries := []string{"", "ipv4only", "page=1&page_size=2000"}
	lists := []*engine.Export{g.declared(engine.Export{Name: "x", Format: "plain_text"}), g.export(engine.Export{Name: "timed", Format: "ipset"})}
	pull := func(want int, held bool) {
		t.Helper()
		for _, x := range lists {
			for _, query := range queries {
				if b := g.get(x, query); (b.Count > 0) != (want > 0) || b.Held != held {
					t.Errorf("%s?%s: %d entries, held %v", x.Name, query, b.Count, b.Held)
				}
			}
		}
	}
	accept := func(want int) {
		t.Helper()
		for _, x := range lists {
			if n, err := g.Accept(x.Name, nil); n != want || err != nil {
				t.Errorf("%s: %d accepted, %v", x.Name, n, err)
			}
		}
	}
	pull(3000, false)
	accept(0)
	pull(3000, false)
	r.Advance(time.Minute)
	endAll(t, r)
	r.Advance(time.Minute)
	// What was accepted when it was not held is not guarded by what was before that, but by what came after.
	pull(3000, true)
	accept(2) // all of it, and one family of it
	pull(0, false)
	if n, err := g.Accept("nobody's", nil); n != 0 || err != nil {
		t.Errorf("of none: %d, %v", n, err)
	}
	over := make(chan struct{})
	close(over)
	one, _ := g.kept.Load("x")
	one.(*rendering).turn.try()
	if _, err := g.Accept("x", over); !errors.Is(err, ErrCrowded) {
		t.Errorf("beside one who makes it, at the end of life: %v", err)
	}
}

// What is remembered has a bound.
func TestGuardsAreBounded(t *testing.T) {
	t.Parallel()
	var g guards
	x := &engine.Export{Name: "x"}
	g.note(&rendering{name: "x", key: "x"}, &list{export: x, count: guardFrom, choice: &Choice{}})
	for i := range mostGuards + 10 {
		key := fmt.Sprintf("x?%d", i)
		g.note(&rendering{name: "x", key: key}, &list{export: x, count: guardFrom, asked: fmt.Sprint(i), made: int64(i), choice: &Choice{Entries: make([]Entry, 10)}})
	}
	g.note(&rendering{name: "x", key: "small"}, &list{export: x, count: guardFrom - 1, choice: &Choice{}})
	if n := len(g.places("x")); n != mostGuards || g.of("x") == nil || g.of("x?1") != nil || g.of("small") != nil {
		t.Errorf("%d are remembered", n)
	}
	if last := g.of(fmt.Sprintf("x?%d", mostGuards+9)); last == nil || last.choice.Entries != nil {
		t.Error("of the newest entries are kept, or nothing")
	}
}
