package export

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// banMany stores n bans in alerts of a thousand, each for so long.
func banMany(t testing.TB, r *enginetest.Rig, n int, lasts string) {
	t.Helper()
	banFrom(t, r, 0, n, lasts)
}

// banFrom is banMany for the addresses from one of them on, up to that of n.
func banFrom(t testing.TB, r *enginetest.Rig, i, n int, lasts string) {
	t.Helper()
	for i < n {
		a := &engine.Alert{Scenario: "s", StartAt: engine.StampOf(r.Now()), StopAt: engine.StampOf(r.Now()), Source: engine.Source{Scope: "Ip", Value: "203.0.113.250"}}
		for ; len(a.Decisions) < 1000 && i < n; i++ {
			a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255), Type: "ban", Origin: "cscli", Scenario: "s", Duration: lasts})
		}
		if _, err := r.AddAlerts(context.Background(), "edge-1", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
			t.Fatal(err)
		}
	}
}

// getter asks for exports as devices do.
type getter struct {
	*Renderings
	t testing.TB
	r *enginetest.Rig
}

func newGetter(t testing.TB, r *enginetest.Rig, most int64) getter {
	return getter{NewRenderings(r.Engine, most, slog.New(slog.DiscardHandler)), t, r}
}

func (g getter) try(x *engine.Export, query string) (*Body, error) {
	asked, err := ParseAsked(query)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.Get(g.r.View(), x, asked, true, g.r.Now().UnixNano(), NewWait(nil))
}

func (g getter) get(x *engine.Export, query string) *Body {
	g.t.Helper()
	b, err := g.try(x, query)
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

// export stores an open export, and gives it as it is stored.
func (g getter) export(x engine.Export) *engine.Export {
	g.t.Helper()
	x.Auth = engine.ExportNone
	if err := g.r.AddExport(context.Background(), &x); err != nil {
		g.t.Fatal(err)
	}
	return g.r.View().Export(x.Name)
}

// endAll ends everything as a machine would, which explains no shrinking.
func endAll(t *testing.T, r *enginetest.Rig) {
	t.Helper()
	q := &engine.Query{}
	q.Reset()
	q.Now = r.Now().UnixNano()
	if _, err := r.EndDecisions(engine.As(t.Context(), engine.Actor{Kind: engine.ActorMachine, Name: "edge-1"}), q); err != nil {
		t.Fatal(err)
	}
}

// A timed list that is held back does not give what is on it more time than was decided, pull by
// pull: what ends leaves it, and it is empty in the end, though it is held back still.
func TestHeldListRunsOut(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	banMany(t, r, 2000, "1h")
	banFrom(t, r, 2000, 3000, "30m")
	g := newGetter(t, r, 64<<20)
	x := g.export(engine.Export{Name: "x", Format: "ipset"})
	entry := regexp.MustCompile(` 10\.0\.(\d+)\.(\d+) timeout (\d+) -exist`)
	began := g.get(x, "").Written
	for _, query := range []string{"page=1&page_size=100", "page=21&page_size=100"} {
		g.get(x, query)
	}
	endAll(t, r)
	for _, c := range []struct {
		passed               time.Duration
		all, longer, shorter int // entries of all of it, of a page of those of an hour, and of one of the others
	}{{11 * time.Second, 3000, 100, 100}, {20 * time.Minute, 3000, 100, 100}, {12 * time.Minute, 2000, 100, 0}, {27 * time.Minute, 2000, 100, 0}, {time.Minute, 0, 0, 0}} {
		r.Advance(c.passed)
		since := time.Duration(r.Now().UnixNano() - began)
		for query, want := range map[string]int{"": c.all, "page=1&page_size=100": c.longer, "page=21&page_size=100": c.shorter} {
			b := g.get(x, query)
			entries := entry.FindAllSubmatch(b.Plain, -1)
			if !b.Held || b.Count != want || len(entries) != want {
				t.Errorf("%s after %v: held %v, %d entries and %d lines instead of %d", query, since, b.Held, b.Count, len(entries), want)
			}
			for _, e := range entries {
				var n [3]int
				for i := range n {
					n[i], _ = strconv.Atoi(string(e[1+i])) // they are digits
				}
				decided := time.Hour
				if n[0]<<8|n[1] >= 2000 {
					decided = 30 * time.Minute
				}
				if n[2] != int((decided-since)/time.Second) {
					t.Fatalf("%s after %v:%s", query, since, e[0])
				}
			}
		}
	}
}

// Pages and shards are cut out of one list: together they are all of it, though it changes meanwhile.
func TestPartsAreOfOneList(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	banMany(t, r, 2500, "4h")
	g := newGetter(t, r, 64<<20)
	x := g.export(engine.Export{Name: "x", Format: "plain_text"})
	all := strings.Fields(string(g.get(x, "").Plain))
	var pages, shards []string
	for i := 1; i <= 5; i++ {
		pages = append(pages, strings.Fields(string(g.get(x, fmt.Sprintf("page=%d&page_size=500", i)).Plain))...)
		shards = append(shards, strings.Fields(string(g.get(x, fmt.Sprintf("shard=%d/5", i)).Plain))...)
	}
	one, _ := g.kept.Load("x")
	l := one.(*rendering).list
	if !slices.Equal(pages, all) || len(shards) != len(all) || len(l.choice.Entries) != 2500 {
		t.Errorf("%d in pages and %d in shards of %d; %d are kept", len(pages), len(shards), len(all), len(l.choice.Entries))
	}
	slices.Sort(shards)
	if all = slices.Clone(all); !slices.Equal(shards, slices.Sorted(slices.Values(all))) {
		t.Error("shards have other entries")
	}
	var was [5][]byte
	for i := range was {
		was[i] = g.get(x, fmt.Sprintf("shard=%d/5", i+1)).Tag
	}
	g.get(x, "shard=2/6")
	if one.(*rendering).list != l {
		t.Error("the list was looked at once more for a part, and nothing has changed")
	}
	banMany(t, r, 2501, "8h")
	r.Advance(longestRest)
	if g.get(x, "shard=1/5"); one.(*rendering).list == l {
		t.Error("a change of the list is not seen")
	}
	changed := 0
	for i := 1; i <= 5; i++ {
		if !slices.Equal(g.get(x, fmt.Sprintf("shard=%d/5", i)).Tag, was[i-1]) {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("one more entry changes %d shards", changed)
	}
	r.Advance(2 * partsLast)
	g.Forget(r.View(), r.Now().UnixNano())
	if one.(*rendering).list.choice.Entries != nil || one.(*rendering).taken.Load() > 1<<20 {
		t.Error("entries are kept that nobody asks for")
	}
	if got := g.get(x, "page=1&page_size=3"); got.Count != 3 || got.Total != 2501 {
		t.Errorf("%d of %d", got.Count, got.Total)
	}
}

// Lists of different exports are made beside each other, each once, within the memory that there is;
// one that does not fit is refused, and the others go on.
func TestRenderingsAreBounded(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	banMany(t, r, 20_000, "4h")
	g := newGetter(t, r, 2<<20)
	var all sync.WaitGroup
	bodies, exports := make([]*Body, 64), make([]*engine.Export, 8)
	for i := range exports {
		exports[i] = g.export(engine.Export{Name: fmt.Sprint("x", i), Format: "plain_text", Limit: 1000 * (1 + i)})
	}
	for i := range bodies {
		x := exports[i%8]
		all.Go(func() {
			var err error
			if bodies[i], err = g.try(x, ""); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, b := range bodies {
		if b != bodies[i%8] || b.Count != 1000*(1+i%8) {
			t.Errorf("%d has a list of its own, of %d entries", i, b.Count)
		}
	}
	if used := g.work.InUse(); used != 0 {
		t.Errorf("%d bytes are taken when nothing is made", used)
	}
	small := newGetter(t, r, 600<<10)
	if _, err := small.try(g.export(engine.Export{Name: "all", Format: "plain_text"}), ""); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a list that takes two megabytes where there are less: %v", err)
	}
	some := g.export(engine.Export{Name: "some", Format: "plain_text", Family: engine.IPv6})
	if b := small.get(some, ""); b.Count != 0 || small.work.InUse() != 0 {
		t.Error("after one that was refused", b.Count, small.work.InUse())
	}
	for i := range 300 { // more narrowed lists than are kept
		small.get(some, fmt.Sprintf("page=%d", i+1))
	}
	kept, taken := 0, int64(0)
	small.kept.Range(func(_, p any) bool { kept++; taken += p.(*rendering).taken.Load(); return true })
	if kept > mostVariants+4 || taken > 600<<10 {
		t.Errorf("%d lists of %d bytes are kept", kept, taken)
	}
}
