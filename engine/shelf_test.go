package engine_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestShelves has bouncers that hold so many entries at most follow random histories. Some
// go by their last place and some by any place that they ever were at; shelves are dropped
// and made again, and so is the engine. After every answer each holds what the obvious
// twin says (shelfTwin): all entries in order, and the first N of them.
func TestShelves(t *testing.T) {
	settings := map[string]func(*engine.Options){
		"plain":         nil,
		"short history": func(o *engine.Options) { o.History = 60 },
		"snapshots":     func(o *engine.Options) { o.SnapshotBytes = 1 << 10 },
	}
	for name, change := range settings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := *seed
			if s == 0 {
				s = rand.Uint64()
			}
			t.Logf("seed %d", s)
			newShelfPlay(t, s, change).play(*steps)
		})
	}
}

// shelfPlay is one random play.
type shelfPlay struct {
	*history
	clients []*shelfClient

	certain bool // what is heard is always known
}

// shelfClient is a bouncer that adds what is new and drops what is deleted, and has notes
// of what it held when.
type shelfClient struct {
	flips   int  // of the server, at its revision
	unknown bool // it has heard of more than its revision says

	query  *engine.Query
	holds  map[enginetest.Target]engine.DecisionID
	at     engine.Revision
	pulled bool
	notes  []shelfNote
	was    *engine.Sight // by which it was told what it holds, if that is another; with moved
	moved  bool
}

type shelfNote struct {
	at    engine.Revision
	holds map[enginetest.Target]engine.DecisionID
}

func newShelfPlay(t *testing.T, seed uint64, change func(*engine.Options)) *shelfPlay {
	p := &shelfPlay{history: newHistory(t, seed, change)}
	p.SmallShelves(3, 20)
	for _, n := range []int{1, 2, 5, 12, 1000} {
		for _, priority := range []engine.Priority{engine.LocalFirst, engine.Newest, engine.Longest} {
			for _, origins := range [][]string{nil, {"crowdsec", "lists", "CAPI"}} {
				q := p.Ask()
				q.Sight = &engine.Sight{MaxEntries: n, Priority: priority, Origins: origins}
				if n == 5 {
					q.Scopes = engine.Words{}
				}
				if n == 12 {
					q.NotContaining = engine.Words{Given: true, List: []string{"probing"}}
				}
				p.clients = append(p.clients, &shelfClient{query: q})
			}
		}
	}
	return p
}

func (p *shelfPlay) play(steps int) {
	actions := []func(){
		p.add, p.add, p.add, p.addMany, p.end, p.endOne, p.deleteAlert, p.pass, p.pass,
		p.ask, p.ask, p.ask, p.ask, p.ask, p.askAgain, p.askAgain, p.edit, p.begin, p.snapshot, p.again, p.ForgetShelves,
	}
	for i := range steps {
		actions[p.chance.IntN(len(actions))]()
		if p.t.Failed() {
			p.t.Fatalf("first difference after step %d", i)
		}
	}
	for _, c := range p.clients {
		p.hear(c)
	}
}

func (p *shelfPlay) add() {
	a := p.alert(1 + p.chance.IntN(4))
	for i := range a.Decisions {
		a.Decisions[i].Origin = p.pick("crowdsec", "cscli", "cscli-import", "console", "lists", "CAPI", "CAPI", "mine")
	}
	p.store(a)
}

func (p *shelfPlay) again() {
	p.restart()
	p.SmallShelves(3, 20)
}

func (p *shelfPlay) any() *shelfClient { return p.clients[p.chance.IntN(len(p.clients))] }
func (p *shelfPlay) ask()              { p.hear(p.any()) }
func (p *shelfPlay) begin()            { p.any().pulled = false }

// edit gives a bouncer another sight: more entries or fewer, another priority, other origins,
// or no bound at all.
func (p *shelfPlay) edit() {
	c := p.any()
	s := *c.query.Sight
	switch p.chance.IntN(4) {
	case 0:
		s.MaxEntries = []int{0, 1, 4, 9, 50}[p.chance.IntN(5)]
	case 1:
		s.Priority = engine.Priority(p.chance.IntN(3))
	case 2:
		s.Origins = [][]string{nil, {"CAPI"}, {"crowdsec", "mine"}}[p.chance.IntN(3)]
	case 3:
		s.MaxEntries, s.Origins = 6, nil
	}
	if c.moved {
		if _, err := c.poll(p.View(), p.now()); err != nil {
			p.t.Error(err)
		}
	}
	if c.pulled {
		c.was, c.moved = c.query.Sight, true
	}
	c.query.Sight = &s
	c.notes = nil // they are by another sight
	p.hear(c)
}

// askAgain goes back to where a bouncer was once.
func (p *shelfPlay) askAgain() {
	c := p.any()
	if len(c.notes) > 0 {
		n := c.notes[p.chance.IntN(len(c.notes))]
		c.at, c.holds, c.pulled = n.at, maps.Clone(n.holds), true
	}
	p.hear(c)
}

func (p *shelfPlay) hear(c *shelfClient) {
	p.t.Helper()
	p.Settle()
	v := p.View()
	was, moved := c.at, c.moved
	full, err := c.poll(v, p.now())
	if err != nil {
		p.t.Error(err)
	}
	if !full && !p.certain && p.chance.IntN(3) == 0 {
		defer func() { c.at, c.moved = was, moved }() // that it has heard is not known
	}
	want := shelfTwin(&p.model, c.query, p.now())
	same := maps.EqualFunc(c.holds, want, func(told, now engine.DecisionID) bool {
		return told == now || !full || c.query.Sight.MaxEntries == 0 // one that runs shorter is not told again, and of equal ones each
	})
	if !same {
		p.t.Errorf("%+v from %d (everything: %v) to %d holds\n%v, want\n%v", *c.query.Sight, was, full, v.Revision(), c.holds, want)
	}
	if !v.Unchanged(c.at, c.query) {
		p.t.Error("at its newest revision something is said to have changed")
	}
	if n := v.CountEntries(c.query); n.Told != len(want) {
		p.t.Errorf("%d entries are counted, and %d held", n.Told, len(want))
	}
	c.notes = append(c.notes, shelfNote{c.at, maps.Clone(c.holds)})
}

// poll asks once and believes the answer.
func (c *shelfClient) poll(v *engine.View, now int64) (full bool, err error) {
	c.query.Now = now
	var d engine.Delta
	changes := func() bool {
		if c.moved {
			return v.ChangesFrom(&d, c.at, c.query, c.was, true)
		}
		return v.Changes(&d, c.at, c.query)
	}
	full = !c.pulled || !changes()
	c.moved = false
	if full {
		c.holds = map[enginetest.Target]engine.DecisionID{}
		d.New, d.Deleted = enginetest.FullState(v, c.query)
		if c.query.Sight.MaxEntries > 0 && len(d.New) > c.query.Sight.MaxEntries {
			err = fmt.Errorf("a full state has %d entries, more than %d", len(d.New), c.query.Sight.MaxEntries)
		}
	}
	for _, x := range d.Deleted {
		delete(c.holds, enginetest.TargetOf(x))
	}
	for _, x := range d.New {
		c.holds[enginetest.TargetOf(x)] = x.ID()
		if c.query.Sight.MaxEntries > 0 && len(c.holds) > c.query.Sight.MaxEntries {
			err = fmt.Errorf("%d entries are held, more than %d", len(c.holds), c.query.Sight.MaxEntries)
		}
	}
	for _, x := range d.Deleted {
		if _, held := c.holds[enginetest.TargetOf(x)]; held {
			err = fmt.Errorf("%v is in both lists", enginetest.TargetOf(x))
		}
	}
	c.pulled, c.at = true, v.Revision()
	return full, err
}

// shelfTwin is what a bouncer must hold, from the slow twin of the engine.
func shelfTwin(m *enginetest.Model, q *engine.Query, now int64) map[enginetest.Target]engine.DecisionID {
	all := map[enginetest.Target]*shelfOne{}
	admits := enginetest.Admits(q)
	for _, d := range m.Decisions {
		if d.Gone || d.Ended || d.Until <= now || !admits(d) || len(q.Sight.Origins) > 0 && !slices.Contains(q.Sight.Origins, d.Origin) {
			continue
		}
		if all[d.Target()] == nil {
			all[d.Target()] = &shelfOne{target: d.Target(), class: 99}
		}
		all[d.Target()].add(d.ID, d.Until, d.Origin)
	}
	return firstOf(all, q.Sight, func(*shelfOne, *shelfOne) int { return 0 })
}

// TestShelvesBesideWriters has many ask the same and others at once while decisions come
// and go, some of whom must be quick: everybody ends with the same, and never held more.
func TestShelvesBesideWriters(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	r.SmallShelves(10, 100)
	const each = 4
	var writers, readers sync.WaitGroup
	var end atomic.Bool
	for w := range 2 {
		writers.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(w), 2))
			for range 150 {
				a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(r.Now())}
				for range 20 {
					a.Decisions = append(a.Decisions, engine.NewDecision{
						Duration: fmt.Sprintf("%dm", 1+chance.IntN(500)), Scope: "Ip", Type: "ban", Scenario: "s",
						Value:  fmt.Sprintf("192.0.%d.%d", chance.IntN(2), chance.IntN(256)),
						Origin: []string{"crowdsec", "CAPI"}[chance.IntN(2)],
					})
				}
				if _, err := r.AddAlerts(t.Context(), "", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
					t.Error(err)
				}
				q := r.Ask()
				q.Address, q.Inside = netip.MustParsePrefix(fmt.Sprintf("192.0.%d.%d/28", chance.IntN(2), 16*chance.IntN(16))), true
				if _, err := r.EndDecisions(t.Context(), q); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var clients []*shelfClient
	for _, sight := range []*engine.Sight{{MaxEntries: 30}, {MaxEntries: 100, Priority: engine.Longest}, {MaxEntries: 7, Priority: engine.Newest}} {
		for i := range each {
			c := &shelfClient{query: r.Ask()}
			c.query.Sight, c.query.Quick = sight, i == 0
			clients = append(clients, c)
			now := r.Now().UnixNano()
			readers.Go(func() {
				for last := false; !last; {
					last = end.Load()
					v := r.View()
					if _, err := c.poll(v, now); err != nil {
						t.Error(err)
						return
					}
					v.Unchanged(c.at, c.query)
					v.CountEntries(c.query)
				}
			})
		}
	}
	writers.Wait()
	end.Store(true)
	readers.Wait()
	r.Settle()
	now := r.Now().UnixNano()
	for i, c := range clients {
		c.query.Quick = false
		if _, err := c.poll(r.View(), now); err != nil {
			t.Error(err)
		}
		r.ForgetShelves()
		fresh := &shelfClient{query: c.query}
		if _, err := fresh.poll(r.View(), now); err != nil || !maps.EqualFunc(c.holds, fresh.holds, func(_, _ engine.DecisionID) bool { return true }) {
			t.Errorf("client %d holds %v, a fresh one %v: %v", i, c.holds, fresh.holds, err)
		}
		if n := r.View().CountEntries(c.query); n.Told != len(c.holds) || n.Over() < 0 {
			t.Errorf("%+v are counted, %d held", n, len(c.holds))
		}
	}
}

// TestShelvesOfParts has bouncers that hold so many entries at most be told parts of ranges,
// clean spellings, and what no allowlist of theirs covers, whatever happens to decisions and
// allowlists: they hold the first of what the twin of entries says.
func TestShelvesOfParts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			wins := seed%3 != 0
			r := enginetest.NewRig(t, func(o *engine.Options) { o.AllowlistsWin = &wins })
			w := &world{Rig: r, t: t, chance: rand.New(rand.NewPCG(seed, 8)), wins: wins}
			r.Settle()
			r.SmallShelves(3, 20)
			var clients []*shelfClient
			for _, n := range []int{1, 3, 8, 30} {
				for _, s := range []engine.Sight{{}, {Canonical: true}, {Allowlists: []string{"a"}}, {Canonical: true, Allowlists: []string{"a", "b"}, Priority: engine.Longest}, {Priority: engine.Newest, Canonical: true}} {
					s.MaxEntries = n
					q := w.Ask()
					q.Entries, q.Sight = true, &s
					clients = append(clients, &shelfClient{query: q})
				}
			}
			for range 300 {
				w.step()
				r.SmallShelves(3, 20)
				switch w.chance.IntN(20) {
				case 0:
					r.ForgetShelves()
				case 1:
					w.Settle()
				}
				for i, c := range clients {
					if w.chance.IntN(4) > 0 {
						continue
					}
					if n := len(c.notes); n > 0 && w.chance.IntN(4) == 0 {
						back := c.notes[w.chance.IntN(n)]
						c.at, c.holds, c.unknown, c.flips = back.at, maps.Clone(back.holds), false, -1
					}
					w.hear(i, c)
				}
			}
		})
	}
}

func (w *world) hear(i int, c *shelfClient) {
	w.t.Helper()
	v, now, was := w.View(), w.Now().UnixNano(), c.at
	same := c.pulled && v.Unchanged(c.at, c.query)
	before := maps.Clone(c.holds)
	c.pulled = c.pulled && (!c.unknown || w.flips == c.flips)
	from, moved := c.at, c.moved
	full, err := c.poll(v, now)
	if w.flips == c.flips && !full && w.chance.IntN(3) == 0 {
		c.unknown = true
		defer func() { c.at, c.moved = from, moved }() // that it has heard is not known
	} else {
		c.flips, c.unknown = w.flips, false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	if same && !full && !maps.Equal(before, c.holds) {
		w.t.Fatalf("client %d: unchanged, and yet it was told something", i)
	}
	ask := &wish{query: func() *engine.Query { q := *c.query; return &q }, sight: c.query.Sight, wins: v.AllowlistsWin()}
	all := map[enginetest.Target]*shelfOne{}
	ask.each(v, now, func(e entry, d engine.Decision) {
		if all[e.Target] == nil {
			all[e.Target] = &shelfOne{target: e.Target, class: 99}
		}
		all[e.Target].add(uint64(d.ID()), d.Until(), d.Origin().S)
	})
	want := firstOf(all, c.query.Sight, func(a, b *shelfOne) int {
		p, q := partOf(a.target), partOf(b.target)
		return cmp.Or(p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()))
	})
	if !maps.EqualFunc(c.holds, want, func(_, _ engine.DecisionID) bool { return true }) {
		w.t.Fatalf("client %d, %+v, wins %v, from %d (everything: %v) to %d holds\n%v, want\n%v", i, *c.query.Sight, ask.wins, was, full, v.Revision(), c.holds, want)
	}
	if n := v.CountEntries(c.query); n.Admitted != len(all) || n.Told != len(want) {
		w.t.Fatalf("client %d, %+v: %+v are counted of %d, and %d told", i, *c.query.Sight, n, len(all), len(want))
	}
	c.notes = append(c.notes, shelfNote{c.at, maps.Clone(c.holds)})
}

func partOf(t enginetest.Target) netip.Prefix {
	p, _ := engine.ParseTarget(t.Value)
	return p
}

// shelfOne is an entry of the twin.
type shelfOne struct {
	target      enginetest.Target
	told, until int64
	class       int
	newest      uint64
}

var shelfClasses = []string{"crowdsec", "cscli", "cscli-import", "console", "mine", "lists", "CAPI"}

func (o *shelfOne) add(id uint64, until int64, origin string) {
	if until > o.until || until == o.until && int64(id) < o.told {
		o.told, o.until = int64(id), until
	}
	o.class, o.newest = min(o.class, slices.Index(shelfClasses, origin)), max(o.newest, id)
}

// firstOf puts all in order, and gives the first of them.
func firstOf(all map[enginetest.Target]*shelfOne, s *engine.Sight, last func(a, b *shelfOne) int) map[enginetest.Target]engine.DecisionID {
	list := slices.SortedFunc(maps.Values(all), func(a, b *shelfOne) int {
		newest, longest := cmp.Compare(b.newest, a.newest), cmp.Compare(b.until, a.until)
		switch s.Priority {
		case engine.Newest:
			return cmp.Or(newest, last(a, b))
		case engine.Longest:
			return cmp.Or(longest, newest, last(a, b))
		}
		return cmp.Or(cmp.Compare(a.class, b.class), longest, newest, last(a, b))
	})
	first := map[enginetest.Target]engine.DecisionID{}
	for _, o := range list[:min(cmp.Or(s.MaxEntries, len(list)), len(list))] {
		first[o.target] = engine.DecisionID(o.told)
	}
	return first
}
