package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"lapid/transport/admin"
)

// An oracle knows what a server must answer, from what writers asked for and
// what they were told. Whatever was answered is so; what was asked for and never
// answered may be so or not, but whole: all decisions of an alert come and go
// together.
type oracle struct {
	*house
	writers  []*writer
	bouncers []*follower
	client   atomic.Pointer[admin.Client]
	next     atomic.Int64 // address that nobody has used
	answers  atomic.Int64
	named    []string // bouncers that were added; owned by one goroutine
	short    int      // one alert in so many ends within seconds
	killed   bool     // the server may go away at any moment: only then may a request fail
	foreign  string   // scenarios that begin so are somebody else's; "": there are none
}

// sure is how sure a writer is of something.
type sure int

const (
	no sure = iota
	asked
	yes
)

// item is one alert of a writer.
type item struct {
	scenario      string
	first, many   int
	over          time.Time // when its decisions have ended at the latest; zero: they run for hours
	stored, ended sure
}

// writer asks for alerts and their ends, one after the other. Its items are its
// own while it runs.
type writer struct {
	name   string
	chance *rand.Rand
	live   []*item
	most   int // items it keeps
	n      int
}

// follower is a bouncer that polls the stream and believes it.
type follower struct {
	key   string
	web   *http.Client // how it asks; nil: over the socket
	holds map[string]bool
	began bool
}

func newOracle(h *house, seed uint64, writers, bouncers, most int) *oracle {
	config, err := os.ReadFile(h.file)
	if err != nil {
		h.t.Fatal(err)
	}
	// What is over does not pile up.
	write(h.t, h.dir, "config.yaml", strings.Replace(string(config), "max_items: 1000000", "max_items: 1000", 1))
	o := &oracle{house: h, short: 8}
	for i := range writers {
		o.writers = append(o.writers, &writer{name: fmt.Sprintf("w%d", i), chance: rand.New(rand.NewPCG(seed, uint64(i))), most: most})
	}
	for i := range bouncers {
		f := &follower{key: fmt.Sprintf("key-%d", i), holds: map[string]bool{}}
		o.bouncers = append(o.bouncers, f)
		h.steps([]step{{"bouncers add " + f.key + " -k " + f.key + " -o raw", 0, f.key, ""}})
	}
	return o
}

// up makes ready for a server that has just started.
func (o *oracle) up() {
	o.t.Helper()
	client, err := admin.Dial(o.t.Context(), filepath.Join(o.dir, "lapid/admin.sock"))
	if err != nil {
		o.t.Fatal(err)
	}
	if old := o.client.Swap(client); old != nil {
		old.Close()
	}
	if o.token == "" {
		o.login()
	}
}

// write takes steps until ctx ends or the server is gone.
func (o *oracle) write(ctx context.Context, w *writer) {
	for ctx.Err() == nil {
		if len(w.live) > 0 && (len(w.live) >= w.most || w.chance.IntN(3) == 0) {
			if !o.end(w) {
				return
			}
		} else if !o.add(w) {
			return
		}
	}
}

// look asks for one address of an item that runs for hours; what was answered
// must be seen at once.
func (o *oracle) look(w *writer, it *item) bool {
	if !it.over.IsZero() || w.chance.IntN(3) > 0 {
		return true
	}
	n := it.first + w.chance.IntN(it.many)
	code, text, err := o.ask("GET", fmt.Sprintf("/v1/decisions?ip=10.%d.%d.%d", n>>16&255, n>>8&255, n&255), "")
	if o.cut(err) {
		return false
	}
	if there := strings.Contains(text, `"scenario":"`+it.scenario+`"`); code != http.StatusOK || there != (it.ended == no) {
		o.t.Errorf("%s, ended: %v, is answered with %d: %s", it.scenario, it.ended != no, code, text)
	}
	return true
}

// add asks for an alert: of one decision, of some, now and then of ten thousand,
// and now and then of decisions that end soon.
func (o *oracle) add(w *writer) bool {
	w.n++
	it := &item{scenario: fmt.Sprintf("%s-%d", w.name, w.n), many: 1}
	switch w.chance.IntN(150) {
	case 0:
		it.many = 10_000
	case 1, 2, 3, 4, 5, 6, 7, 8:
		it.many = 50
	}
	it.first = int(o.next.Add(int64(it.many))) - it.many
	text := alertText(it.scenario, it.first, it.many)
	if w.chance.IntN(o.short) == 0 {
		text = strings.ReplaceAll(text, `"duration":"4h"`, `"duration":"2s"`)
		it.over = time.Now().Add(time.Hour) // until it is answered
	}
	it.stored = asked
	w.live = append(w.live, it)
	code, answer, err := o.ask("POST", "/v1/alerts", text)
	if !it.over.IsZero() {
		it.over = time.Now().Add(4 * time.Second)
	}
	if o.cut(err) {
		return false
	}
	if code != http.StatusCreated {
		o.t.Errorf("an alert is answered with %d: %s", code, answer)
		return false
	}
	it.stored = yes
	o.answers.Add(1)
	return o.look(w, it)
}

// end asks for the end of an item: of its decisions, or of the alert.
func (o *oracle) end(w *writer) bool {
	at := w.chance.IntN(len(w.live))
	if big := slices.IndexFunc(w.live, func(it *item) bool { return it.many > 1000 }); big >= 0 {
		at = big
	}
	it := w.live[at]
	running := it.stored == yes && it.ended == no && it.over.IsZero()
	it.ended = asked
	if w.chance.IntN(2) == 0 {
		code, answer, err := o.ask("DELETE", "/v1/decisions?scenario="+it.scenario, "")
		if o.cut(err) {
			return false
		}
		if code != http.StatusOK {
			o.t.Errorf("a deletion is answered with %d: %s", code, answer)
			return false
		}
		if n := fmt.Sprintf(`{"nbDeleted":"%d"}`, it.many); running && strings.TrimSpace(answer) != n {
			o.t.Errorf("ending %d decisions of %s is answered with %s", it.many, it.scenario, answer)
		}
	} else {
		// Not with the context of the spell: an order that was given up may
		// have been carried out.
		gone, err := o.client.Load().DeleteAlerts(o.t.Context(), &admin.AlertDeletion{Filter: admin.AlertFilter{Scenario: &it.scenario}})
		if o.cut(err) {
			return false
		}
		if gone.N != 1 && running { // what is over may be forgotten already
			o.t.Errorf("deleting the alert of %s deleted %d", it.scenario, gone.N)
		}
	}
	it.ended = yes
	o.answers.Add(1)
	w.live = append(w.live[:at], w.live[at+1:]...)
	return o.look(w, it)
}

// name adds bouncers until the server is gone.
func (o *oracle) name(ctx context.Context, round int) {
	client := o.client.Load()
	for i := 0; ctx.Err() == nil && i < 3; i++ {
		n := fmt.Sprintf("named-%d-%d", round, i)
		if err := client.AddBouncer(ctx, newBouncerOf(n)); err != nil {
			return
		}
		o.named = append(o.named, n)
		o.answers.Add(1)
	}
}

// newBouncerOf is a bouncer whose key is its name.
func newBouncerOf(name string) *admin.NewBouncer {
	return &admin.NewBouncer{Name: name, KeyHash: hashOf(name)}
}

// follow polls until ctx ends or the server is gone.
func (o *oracle) follow(ctx context.Context, f *follower) {
	for ctx.Err() == nil && !o.cut(o.hear(f)) {
	}
}

// cut reports whether a request has failed, which only a killed server may do.
func (o *oracle) cut(err error) bool {
	if err != nil && !o.killed {
		o.t.Errorf("a request was not answered: %v", err)
	}
	return err != nil
}

type said struct {
	New, Deleted []struct{ Scope, Value, Type, Scenario string }
}

// stream asks as a bouncer; an answer that does not arrive whole is an error.
func (o *oracle) stream(key string, startup bool) (*said, error) {
	return o.streamBy(o.web, key, startup)
}

func (o *oracle) streamBy(web *http.Client, key string, startup bool) (*said, error) {
	r, err := http.NewRequestWithContext(o.t.Context(), "GET", fmt.Sprintf("http://unix/v1/decisions/stream?startup=%v", startup), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Api-Key", key)
	r.Header.Set("User-Agent", "test/1")
	w, err := web.Do(r)
	if err != nil {
		return nil, err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		return nil, err
	}
	if w.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the stream answers %d: %s", w.StatusCode, text)
	}
	s := new(said)
	return s, json.Unmarshal(text, s)
}

// hear has a bouncer ask once.
func (o *oracle) hear(f *follower) error {
	web := o.web
	if f.web != nil {
		web = f.web
	}
	s, err := o.streamBy(web, f.key, !f.began)
	if err != nil {
		return err
	}
	f.takes(s)
	return nil
}

// takes has a bouncer believe an answer that it has read whole.
func (f *follower) takes(s *said) {
	f.began = true
	for _, d := range s.Deleted {
		delete(f.holds, d.Scope+" "+d.Value+" "+d.Type)
	}
	for _, d := range s.New {
		f.holds[d.Scope+" "+d.Value+" "+d.Type] = true
	}
}

// compare holds what the server says against what must be so. Nobody writes
// meanwhile. What was uncertain is certain afterwards.
func (o *oracle) compare() {
	o.t.Helper()
	asking := time.Now()
	all, err := o.stream("key", true)
	if err != nil {
		o.t.Fatal(err)
	}
	found := map[string]int{}
	for _, d := range all.New {
		found[d.Scenario]++
	}
	for _, w := range o.writers {
		kept := w.live[:0]
		for _, it := range w.live {
			n := found[it.scenario]
			delete(found, it.scenario)
			if o.judge(it, n, asking) && n > 0 {
				it.stored, it.ended = yes, no
				kept = append(kept, it)
			}
		}
		w.live = kept
	}
	for scenario, n := range found {
		if o.foreign != "" && strings.HasPrefix(scenario, o.foreign) {
			continue
		}
		o.t.Errorf("there are %d decisions of %s, which must have ended", n, scenario)
	}
	o.compareNames()
}

// judge says whether n decisions of an item may be there.
func (o *oracle) judge(it *item, n int, now time.Time) bool {
	short := !it.over.IsZero()
	switch {
	case n != 0 && n != it.many:
		o.t.Errorf("%s is half there: %d of %d decisions", it.scenario, n, it.many)
	case n == 0 && it.stored == yes && it.ended == no && !short:
		o.t.Errorf("%s was answered with %d decisions, there are none", it.scenario, it.many)
	case n != 0 && it.ended == yes:
		o.t.Errorf("%s was ended, there are %d decisions", it.scenario, n)
	case n != 0 && short && now.After(it.over):
		o.t.Errorf("%s was over %v ago, there are %d decisions", it.scenario, now.Sub(it.over), n)
	default:
		return true
	}
	return false
}

func (o *oracle) compareNames() {
	o.t.Helper()
	list, err := o.client.Load().Bouncers(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	there := map[string]bool{}
	for i := range list.Bouncers {
		there[list.Bouncers[i].Name] = true
	}
	for _, n := range o.named {
		if !there[n] {
			o.t.Errorf("bouncer %s was answered and is gone", n)
		}
	}
	if code, _, err := o.ask("GET", "/v1/heartbeat", ""); code != http.StatusOK {
		o.t.Errorf("the token of before: %d %v", code, err)
	}
}

// compareFollowers waits until every bouncer holds what runs: it must without
// asking for everything anew. Nobody writes meanwhile.
func (o *oracle) compareFollowers() {
	o.t.Helper()
	want := map[string]bool{}
	settled := false
	defer func() {
		for _, f := range o.bouncers {
			if !settled {
				o.t.Log(f.differs(want))
			}
		}
	}()
	await(o.t, "every bouncer holds what runs", func() bool {
		for _, f := range o.bouncers {
			if err := o.hear(f); err != nil {
				o.t.Fatal(err)
			}
		}
		all, err := o.stream("key", true)
		if err != nil {
			o.t.Fatal(err)
		}
		clear(want)
		for _, d := range all.New {
			want[d.Scope+" "+d.Value+" "+d.Type] = true
		}
		settled = !slices.ContainsFunc(o.bouncers, func(f *follower) bool { return !maps.Equal(f.holds, want) })
		return settled
	})
}

// differs says what a bouncer lacks and what it should have let go, a few of each.
func (f *follower) differs(want map[string]bool) string {
	few := func(in, not map[string]bool) (all int, some []string) {
		for _, k := range slices.Sorted(maps.Keys(in)) {
			if !not[k] {
				if all++; all <= 5 {
					some = append(some, fmt.Sprintf("%.200q", k))
				}
			}
		}
		return all, some
	}
	lacks, some := few(want, f.holds)
	keeps, more := few(f.holds, want)
	return fmt.Sprintf("%s holds %d of %d: it lacks %d %v and keeps %d %v", f.key, len(f.holds), len(want), lacks, some, keeps, more)
}
