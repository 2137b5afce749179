package engine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// sightClient is a bouncer whose sight is edited at random, and what it holds.
type sightClient struct {
	name   string
	sight  engine.Sight                // as it was edited last
	narrow []string                    // scopes that it asks for
	holds  map[enginetest.Target]int64 // until when it remembers
	cursor engine.Revision
	pulled bool
}

func someOf(chance *rand.Rand, words ...string) (list []string) {
	for _, w := range words {
		if chance.IntN(3) == 0 {
			list = append(list, w)
		}
	}
	return list
}

// edit has the bouncer see something else, or the same.
func (c *sightClient) edit(w *world) {
	w.t.Helper()
	c.sight = engine.Sight{}
	if w.chance.IntN(4) > 0 {
		c.sight = engine.Sight{
			Origins: someOf(w.chance, "crowdsec", "cscli"), NotOrigins: someOf(w.chance, "cscli", "nobody"), Scopes: someOf(w.chance, "ip", "Range", "Country"),
			Types: someOf(w.chance, "ban", "captcha"), NotContaining: someOf(w.chance, "nothing"), MaxDuration: []time.Duration{0, 0, 20 * time.Second, time.Hour}[w.chance.IntN(4)],
		}
	}
	_, err := w.EditBouncer(context.Background(), c.name, func(b *engine.Bouncer) error { s := c.sight; b.Sight = &s; return nil })
	wants(w.t, err, nil)
}

// twin is what the bouncer must be told: all that runs, of which its question and its sight
// leave some.
func (c *sightClient) twin(w *world, v *engine.View) map[enginetest.Target]bool {
	q := w.Ask()
	q.Scopes = engine.Words{}
	q.Dedup = false // what is hidden on a target hides nothing else
	all, _ := enginetest.FullState(v, q)
	passes := func(only, not []string, word string) bool {
		return (len(only) == 0 || slices.ContainsFunc(only, func(o string) bool { return strings.EqualFold(o, word) })) && !slices.Contains(not, word)
	}
	out := map[enginetest.Target]bool{}
	for _, d := range all {
		scope, s := d.Scope().S, &c.sight
		if slices.Contains(c.narrow, scope) && passes(s.Scopes, nil, scope) && passes(s.Origins, s.NotOrigins, d.Origin().S) && passes(s.Types, nil, d.Type().S) {
			out[enginetest.TargetOf(d)] = true
		}
	}
	return out
}

// poll asks from where the bouncer is, or for everything.
func (c *sightClient) poll(w *world, full bool) {
	w.t.Helper()
	v, q := w.View(), w.Ask()
	row := v.Bouncer(c.name)
	q.Scopes.List = c.narrow
	q.Sight, _ = v.SightAt(row, v.Revision())
	was, known := v.SightAt(row, c.cursor)
	if !known {
		was = nil
	}
	var d engine.Delta
	if full = full || !c.pulled; !full {
		if was.Fingerprint() == q.Sight.Fingerprint() && known {
			full = !v.Changes(&d, c.cursor, q)
		} else {
			full = !v.ChangesFrom(&d, c.cursor, q, was, known)
		}
	}
	if full {
		c.holds = map[enginetest.Target]int64{}
		d.New, _ = enginetest.FullState(v, q)
		d.Deleted = nil
	}
	for _, x := range d.Deleted {
		delete(c.holds, enginetest.TargetOf(x))
	}
	for _, x := range d.New {
		c.holds[enginetest.TargetOf(x)] = q.Now + q.Sight.Left(x.Until()-q.Now)
	}
	maps.DeleteFunc(c.holds, func(_ enginetest.Target, until int64) bool { return until <= q.Now })
	want := c.twin(w, v)
	for t := range want {
		if _, holds := c.holds[t]; !holds {
			w.t.Fatalf("%s lacks %v after a poll from %d to %d (full %v), seeing %+v (before: %+v, %v)", c.name, t, c.cursor, v.Revision(), full, q.Sight, was, known)
		}
	}
	for t := range c.holds {
		if !want[t] {
			w.t.Fatalf("%s holds %v after a poll from %d to %d (full %v), seeing %+v (before: %+v, %v)", c.name, t, c.cursor, v.Revision(), full, q.Sight, was, known)
		}
	}
	c.pulled, c.cursor = true, v.Revision()
}

// Bouncers whose sights are edited at random hold, by full states and deltas from wherever
// they were, what the twin says, which looks at everything; what they ask for never widens
// what they see, and what is told with a shortened duration is told again before it is over.
func TestSightsAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := &world{Rig: enginetest.NewRig(t, nil), t: t, chance: rand.New(rand.NewPCG(seed, 11))}
			w.Settle()
			var clients []*sightClient
			for i, narrow := range [][]string{{engine.ScopeIP, engine.ScopeRange}, {engine.ScopeIP}, {engine.ScopeIP, engine.ScopeRange, engine.ScopeCountry, engine.ScopeAS}} {
				name := fmt.Sprint("fw-", i)
				addKey(t, w.Rig, name, engine.KeyHash{byte(i + 1)})
				clients = append(clients, &sightClient{name: name, narrow: narrow})
			}
			for range sized(300) {
				w.sightStep()
				for _, c := range clients {
					if w.chance.IntN(8) == 0 {
						c.edit(w)
					}
					if w.chance.IntN(3) == 0 || c.sight.MaxDuration > 0 && w.chance.IntN(2) == 0 {
						c.poll(w, w.chance.IntN(15) == 0)
					}
				}
				w.renew(clients)
			}
		})
	}
}

// sightStep is a step of the world in which allowlists never win.
func (w *world) sightStep() {
	w.step()
	if w.wins {
		w.wins = false
		w.Restart()
		w.Settle()
	}
}

// renew lets some time pass, in steps in which a bouncer that polls must be told again.
func (w *world) renew(clients []*sightClient) {
	if w.chance.IntN(10) > 0 {
		return
	}
	for range 5 {
		w.Advance(9 * time.Second)
		for _, c := range clients {
			c.poll(w, false)
		}
	}
}

// A decision that runs for long is told with the bound for its duration, and again in time,
// for as long as the bouncer polls within half of the bound; and to nobody without a bound.
func TestShortenedDurationsAreToldAgain(t *testing.T) {
	t.Parallel()
	const bound = 10 * time.Minute
	ctx := context.Background()
	r := enginetest.NewRig(t, nil)
	addKey(t, r, "fw", engine.KeyHash{1})
	addKey(t, r, "other", engine.KeyHash{2})
	_, err := r.EditBouncer(ctx, "fw", func(b *engine.Bouncer) error { b.Sight = &engine.Sight{MaxDuration: bound}; return nil })
	wants(t, err, nil)
	_, err = r.AddAlerts(ctx, "", banOn(r, "192.0.2.1", "4h"), r.Now().UnixNano())
	wants(t, err, nil)
	remembers, told := map[string]int64{}, map[string]int{}
	cursor := map[string]engine.Revision{}
	poll := func(name string) {
		t.Helper()
		v, q := r.View(), r.Ask()
		q.Sight, _ = v.SightAt(v.Bouncer(name), v.Revision())
		var d engine.Delta
		if !v.Changes(&d, cursor[name], q) || len(d.Deleted) > 0 && r.Now().Before(enginetest.Epoch.Add(4*time.Hour)) {
			t.Fatalf("%s: no delta, or something is deleted", name)
		}
		for _, x := range d.New {
			left := q.Sight.Left(x.Until() - q.Now)
			if name == "fw" && left > int64(bound) {
				t.Fatalf("told for %v", time.Duration(left))
			}
			remembers[name] = q.Now + left
			told[name]++
		}
		cursor[name] = v.Revision()
	}
	for end := r.Now().Add(4*time.Hour - time.Minute); r.Now().Before(end); r.Advance(bound/2 - time.Second) {
		for _, name := range []string{"fw", "other"} {
			if now := r.Now().UnixNano(); told[name] > 0 && remembers[name] <= now {
				t.Fatalf("%s has forgotten it %v before it asks", name, time.Duration(now-remembers[name]))
			}
			poll(name)
		}
		if told["fw"]%7 == 3 {
			r.Restart()
			r.Settle()
		}
	}
	if told["other"] != 1 || told["fw"] < 40 || told["fw"] > 52 {
		t.Errorf("told so often: %v", told)
	}
}
