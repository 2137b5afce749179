package capi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
)

func custom(a *engine.Alert) { a.ScenarioHash = "" }

// What is withheld stays withheld when it is shared from then on, after a reload and after a
// restart: the bookmark passes it, once a turn, and adds nothing when nothing new came.
func TestWithheldStaysWithheld(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx := t.Context()
	p := f.pusher(func(o *Options) { o.Console = Console{} })
	for round := range 2 {
		f.report(custom, "withheld")
		f.report(custom, "withheld")
		before := f.rig.View().Revision()
		for range 3 {
			if err := p.turn(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if at, _ := p.mark.At(); at != before || f.rig.View().Revision() != before+1 {
			t.Errorf("round %d: the bookmark is at %d of %d, and the newest is %d", round, at, before, f.rig.View().Revision())
		}
	}
	f.rig.Restart()
	p = f.pusher(nil)
	f.report(custom, "shared")
	if err := p.turn(ctx); err != nil {
		t.Fatal(err)
	}
	if got, _ := f.signals(); !slices.Equal(got, []string{"shared"}) {
		t.Errorf("%q are sent", got)
	}
}

// Bookmarks do not fall behind over what is none of theirs.
func TestBookmarksPassLists(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(managed)
	p, r := c.newPusher(), c.newReporter()
	if !p.begin(t.Context()) || !r.begin(t.Context()) {
		t.Fatal("not begun")
	}
	f.stream = communityOf("198.18.0.1")
	f.mustPull(c)
	newest := f.rig.View().Revision()
	for range 3 {
		if err := p.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, mark := range []*engine.Bookmark{p.mark, r.mark} {
		if at, _ := mark.At(); at < newest-1 { // the pull itself is noted behind the list
			t.Errorf("a bookmark is at %d of %d", at, newest)
		}
	}
	if now := f.rig.View().Revision(); now > newest+2 {
		t.Errorf("%d commits at rest", now-newest)
	}
}

// What waits behind a signal that cannot be sent is shared by the rules of when it came.
func TestRulesOfWhenItCame(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	rules := &Rules{}
	with := func(c Console) *pusher {
		return f.pusher(func(o *Options) { o.Console, o.Rules = c, rules })
	}
	fails := func(p *pusher) {
		t.Helper()
		f.fails("/v3/signals", status(500))
		if p.turn(t.Context()) == nil {
			t.Error("500 is no error")
		}
	}
	p := with(Console{})
	f.report(custom, "withheld before")
	passed := f.rig.View().Revision()
	f.report(nil, "first")
	f.report(custom, "withheld")
	fails(p)
	if at, _ := p.mark.At(); at != passed {
		t.Errorf("the bookmark is at %d, not behind what was withheld: %d", at, passed)
	}
	p = with(Console{Custom: true, Context: true})
	f.report(custom, "shared")
	fails(p)
	p = with(Console{})
	f.report(custom, "withheld again")
	f.seen = nil
	if err := p.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := f.signals(); !slices.Equal(got, []string{"first", "shared"}) {
		t.Errorf("%q are sent", got)
	}
	body := f.asked("/v3/signals")[0].body
	if n := bytes.Count(body, []byte(`"key":"k"`)); n != 1 {
		t.Errorf("the meta of %d signals is sent: %s", n, body)
	}
	if len(rules.eras) > 1 {
		t.Errorf("%v are kept", rules.eras)
	}
}

// refuses has signals be refused with 400, as long as a batch has one that is bad.
func (f *fake) refuses(many int, bad func(scenario string) bool) {
	for range many {
		f.fails("/v3/signals", func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			body := f.seen[len(f.seen)-1].body
			f.mu.Unlock()
			var list []struct{ Scenario string }
			_ = json.Unmarshal(body, &list)
			for _, s := range list {
				if bad(s.Scenario) {
					status(http.StatusBadRequest)(w, r)
					return
				}
			}
			says("{}")(w, r)
		})
	}
}

// A service that refuses everything for a while loses nothing, is not asked without a pause,
// and gets all in the end.
func TestEverythingRefused(t *testing.T) {
	t.Parallel()
	for _, outage := range []int{1, 7, 30, 100, 300} {
		f := newFake(t)
		p := f.pusher(nil)
		names := numbered(0, 70)
		f.report(nil, names...)
		f.refuses(outage, func(string) bool { return true })
		turns := 0
		for failed := true; failed; turns++ {
			if turns > 50 {
				t.Fatal("it does not end")
			}
			failed = p.turn(context.Background()) != nil
		}
		f.mu.Lock()
		pauses := len(f.waited)
		f.mu.Unlock()
		got, asked := f.signals()
		for _, name := range names {
			if !slices.Contains(got, name) {
				t.Errorf("%s is not sent", name)
			}
		}
		if strings.Contains(f.log.String(), "left out") {
			t.Errorf("%d refusals: %s", outage, &f.log)
		}
		if r := f.client(func(o *Options) { o.Figures = p.c.o.Figures }).o.Figures.Report(); r.SignalsRefused != 0 || r.SignalsSent < 70 {
			t.Errorf("%+v", r)
		}
		if pauses+turns < min(outage, asked)/2 {
			t.Errorf("%d requests in %d turns with %d pauses", asked, turns, pauses)
		}
	}
}

// Bad signals are left out, those alone, however many are in a row; the last ones wait until
// there is proof.
func TestBadSignalsAreLeftOut(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := f.pusher(nil)
	bad := func(name string) bool { return strings.HasPrefix(name, "bad") }
	f.refuses(1000, bad)
	var names, want []string
	for i := range 120 {
		if i < 30 || i == 77 || i == 119 {
			names = append(names, fmt.Sprint("bad", i))
		} else {
			names = append(names, fmt.Sprint("good", i))
			want = append(want, names[i])
		}
	}
	f.report(nil, names...)
	turns := 0
	for ; turns < 10 && p.turn(t.Context()) != nil; turns++ {
	}
	if turns == 10 {
		t.Fatal("it does not get on")
	}
	if r := p.c.o.Figures.Report(); r.SignalsRefused != 32 || r.SignalsSent < uint64(len(want)) {
		t.Errorf("%d refused, %d sent", r.SignalsRefused, r.SignalsSent)
	}
	for i, name := range names {
		if out := strings.Contains(f.log.String(), "scenario="+name+" "); out != bad(name) {
			t.Errorf("signal %d, %s: left out: %v", i, name, out)
		}
	}
	f.report(nil, "bad alone")
	if p.turn(t.Context()) == nil {
		t.Error("one is left out without proof")
	}
	f.report(nil, "good at last")
	if err := p.turn(t.Context()); err != nil {
		t.Error(err)
	}
	if r := p.c.o.Figures.Report(); r.SignalsRefused != 33 {
		t.Errorf("%d refused", r.SignalsRefused)
	}
}
