package feed

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/wire"
)

var seedOf = flag.Uint64("historyseed", 0, "the seed of TestHistories; 0: a new one")

// TestHistories has bouncers with several questions poll through a random history, by
// answers of every kind, many of which are lost or left unread: a bouncer that has
// heard an answer holds exactly what a fresh full state of the same question tells,
// and nothing is held by the feed in the end.
func TestHistories(t *testing.T) {
	t.Parallel()
	seed := *seedOf
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t)
	var readers []*reader
	for i := range 12 {
		raw := []string{"", "origins=cscli", "scenarios_containing=odd", "dedup=false"}[i%4]
		readers = append(readers, &reader{house: h, row: h.row(fmt.Sprint("fw", i)), raw: raw, holds: map[string]bool{}})
	}
	rounds := 150
	if raced {
		rounds = 40
	}
	for range rounds {
		h.happens(chance)
		for range 3 {
			readers[chance.IntN(len(readers))].poll(chance)
		}
		if chance.IntN(4) == 0 {
			h.feed.Sweep(h.Engine.Now())
		}
	}
	for _, r := range readers {
		r.poll(nil)
	}
	h.feed.Close()
	h.await("everything is given back", func() bool { u := h.feed.Usage(); return u.AnswerBytes+u.SharedBytes == 0 })
}

// happens changes something, or nothing.
func (h *house) happens(chance *rand.Rand) {
	h.t.Helper()
	value := func() string { return fmt.Sprintf("10.0.%d.%d", chance.IntN(3), chance.IntN(256)) }
	switch chance.IntN(8) {
	case 0:
		h.row(fmt.Sprint("another", chance.Uint64())) // a commit that changes no decision
	case 1:
		h.Advance(time.Duration(chance.IntN(90)) * time.Minute)
	case 2, 3:
		q := h.Ask()
		h.must(wire.ParseDeletion(q, []byte("value="+value())))
		_, err := h.EndDecisions(h.t.Context(), q)
		h.must(err)
	default:
		at := engine.StampOf(h.Now())
		a := &engine.Alert{Scenario: "s", StartAt: at, StopAt: at}
		for range []int{1, 1, 3, 40, 2 * longDelta}[chance.IntN(5)] {
			a.Decisions = append(a.Decisions, engine.NewDecision{
				Duration: []string{"20m", "4h", "30h", "-1h"}[chance.IntN(4)], Origin: []string{"cscli", "crowdsec"}[chance.IntN(2)],
				Scenario: []string{"odd", "even"}[chance.IntN(2)], Scope: engine.ScopeIP, Type: "ban", Value: value(),
			})
		}
		_, err := h.AddAlerts(h.t.Context(), "", []*engine.Alert{a}, h.Engine.Now())
		h.must(err)
	}
}

// reader is a bouncer that believes what it hears.
type reader struct {
	*house
	row   *engine.BouncerRow
	raw   string
	holds map[string]bool
}

// poll asks once; whether the answer is heard is left to chance, which may be nil.
func (r *reader) poll(chance *rand.Rand) {
	r.t.Helper()
	raw, odd := r.raw, func(n int) bool { return chance != nil && chance.IntN(n) == 0 }
	if odd(6) {
		raw += "&startup=true"
	}
	p := r.asks(r.row, raw)
	p.MayWait = !odd(2)
	a, err := r.feed.Poll(p)
	if errors.Is(err, ErrWouldWait) {
		p.MayWait = true
		a, err = r.feed.Poll(p)
	}
	r.must(err)
	all, heard := a.Whole, !odd(4)
	if a.Body != nil {
		var b buffer
		if heard || odd(2) {
			_, err := a.Body.Send(&b, odd(2), nil)
			r.must(err)
		}
		r.must(a.Body.Close())
		all = b
	}
	if a.Moves.Row != nil {
		offered := (heard || odd(2)) && a.Moves.Offer(nil)
		switch {
		case offered && !heard:
			a.Moves.Lost()
		case offered:
			a.Moves.Heard()
		}
		if heard = heard && offered; !heard {
			return
		}
	}
	r.believe(&a, all)
	want := map[string]bool{}
	running, _ := enginetest.FullState(p.View, p.Query)
	for _, d := range running {
		want[r.key(d.Value(), uint64(d.ID()))] = true
	}
	if !maps.Equal(r.holds, want) {
		r.t.Fatalf("%s with %q holds %d of %d", r.row.Load().Name, raw, len(r.holds), len(want))
	}
}

func (r *reader) believe(a *Answer, all []byte) {
	type told struct {
		ID    uint64
		Value string
	}
	var d struct{ New, Deleted []told }
	r.must(json.Unmarshal(all, &d))
	if a.Moves.All {
		clear(r.holds)
	}
	for _, d := range d.Deleted {
		delete(r.holds, r.key(d.Value, d.ID))
	}
	for _, d := range d.New {
		r.holds[r.key(d.Value, d.ID)] = true
	}
}

// key is by what a reader knows a decision: by its target, or by its number if it is
// told all decisions on a target.
func (r *reader) key(value string, id uint64) string {
	if r.raw == "dedup=false" {
		return strconv.FormatUint(id, 10)
	}
	return value
}
