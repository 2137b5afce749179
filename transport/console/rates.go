package console

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"lapid/engine"
)

// Traffic is what the Local API has counted since the start of the program.
type Traffic struct {
	LiveQueries, LiveHits uint64 // of bouncers; hits are those that found a decision
	StreamPulls           uint64
}

// rates are how much of what happened in each minute of the last day and in each hour of the last thirty
// days, for who has no Prometheus. The counters that are there anyway are looked at once a minute, and the alerts of the
// minute; 250 KiB at most, and the names of scenarios. Each look writes the minute and the hour that it has changed
// to the store, as readings beside the history: a restart goes on with them, and a kill costs a minute.
type rates struct {
	mu      sync.Mutex
	minutes []rate // the newest last, mostMinutes at most
	hours   []rate // mostHours at most

	// Of the goroutine that looks.
	before  standing
	looking bool  // before is there
	stored  int64 // what begins before, Unix seconds, is in the store as it is here
	swept   int64 // the hour in which old ones were forgotten last
}

// The series of readings that rates are stored in.
const (
	minuteSeries, hourSeries = 'm', 'h'
)

const (
	mostHours = 30 * 24
	// rateScenarios is how many scenarios of a minute, or hour, are counted by name.
	rateScenarios = 10
)

// The figures of a rate.
const (
	rateAlerts = iota
	rateBegun
	rateEnded
	rateQueries
	rateHits
	ratePulls
	rateCount
)

// mostMinutes is a day.
const mostMinutes = 24 * 60

// rate is what happened from a moment on.
type rate struct {
	at        int64 // Unix seconds, a multiple of its length
	of        [rateCount]uint32
	running   int64          // decisions made here that run, at the end of it
	scenarios []scenarioRate // rateScenarios at most, the most frequent first
}

type scenarioRate struct {
	name   string
	alerts uint32
}

// standing is how far counters were.
type standing struct {
	alert    engine.AlertID
	decision engine.DecisionID
	running  int64
	traffic  Traffic
}

// keepRates looks each minute until ctx ends.
func (s *Server) keepRates(ctx context.Context) {
	if err := s.rates.load(s.options.Engine); err != nil {
		s.log.Warn("the rates of before cannot be read: charts begin anew", "error", err)
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		s.noteRates()
		if err := s.rates.store(ctx, s.options.Engine); err != nil && ctx.Err() == nil {
			s.log.Debug("rates are not stored yet", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// noteRates counts what happened since the last look to the minute that this one is in.
func (s *Server) noteRates() {
	e := s.options.Engine
	view := e.View()
	var now standing
	now.alert, now.decision = view.LastNumbers()
	m := e.Metrics()
	for _, c := range m.Held {
		now.running += c.N
	}
	if s.options.Traffic != nil {
		now.traffic = s.options.Traffic()
	}
	r, before := &s.rates, s.rates.before
	first := !r.looking
	r.before, r.looking = now, true
	if first {
		return
	}
	begun := int64(now.decision) - int64(before.decision)
	one := rate{at: e.Now() / int64(time.Second), running: runningHere(&m)}
	for i, n := range [rateCount]int64{rateAlerts: int64(now.alert) - int64(before.alert), rateBegun: begun, rateEnded: before.running + begun - now.running,
		rateQueries: int64(now.traffic.LiveQueries) - int64(before.traffic.LiveQueries), rateHits: int64(now.traffic.LiveHits) - int64(before.traffic.LiveHits),
		ratePulls: int64(now.traffic.StreamPulls) - int64(before.traffic.StreamPulls)} {
		one.of[i] = uint32(min(max(n, 0), 1<<32-1)) // what is counted for those that are gone is lost
	}
	counts := map[string]uint32{}
	view.AlertsAfter(before.alert, func(scenario string) bool {
		counts[scenario]++
		return true
	})
	one.scenarios = scenariosOf(counts)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.minutes = appendRate(r.minutes, one, 60, mostMinutes)
	r.hours = appendRate(r.hours, one, 3600, mostHours)
}

// store writes what was changed since it was done last. What could not be written is, the next time.
func (r *rates) store(ctx context.Context, e *engine.Engine) error {
	r.mu.Lock()
	var list []engine.Reading
	for _, one := range []struct {
		series byte
		rates  []rate
		length int64
	}{{minuteSeries, r.minutes, 60}, {hourSeries, r.hours, 3600}} {
		for i := range one.rates {
			if at := one.rates[i].at; at+one.length > r.stored { // it may have grown since
				list = append(list, engine.Reading{Series: one.series, At: at, Value: one.rates[i].append(nil)})
			}
		}
	}
	stored, now := r.stored, e.Now()/int64(time.Second)
	if n := len(r.minutes); n > 0 {
		stored = r.minutes[n-1].at
	}
	r.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	var before map[byte]int64
	if now/3600 != r.swept {
		before = map[byte]int64{minuteSeries: now - mostMinutes*60, hourSeries: now - mostHours*3600}
	}
	if err := e.KeepReadings(ctx, list, before); err != nil {
		return err
	}
	r.stored, r.swept = stored, now/3600
	return nil
}

// load goes on with what is stored. What cannot be read, or lies ahead of the clock, is left out.
func (r *rates) load(e *engine.Engine) error {
	now := e.Now() / int64(time.Second)
	for _, one := range []struct {
		series byte
		into   *[]rate
		length int64
		most   int64
	}{{minuteSeries, &r.minutes, 60, mostMinutes}, {hourSeries, &r.hours, 3600, mostHours}} {
		var list []rate
		err := e.Readings(one.series, func(f engine.Reading) bool {
			read := rate{at: f.At}
			if f.At%one.length == 0 && f.At <= now && f.At > now-one.most*one.length && read.decode(f.Value) {
				list = append(list, read)
			}
			return true
		})
		if err != nil {
			return err
		}
		r.mu.Lock()
		*one.into = list
		r.mu.Unlock()
	}
	if n := len(r.minutes); n > 0 {
		r.stored = r.minutes[n-1].at
	}
	return nil
}

// rateVersion begins a stored rate, whose time is its key.
const rateVersion = 1

// longestScenario is how much of a scenario's name is stored, in bytes.
const longestScenario = 512

func (r *rate) append(dst []byte) []byte {
	dst = append(dst, rateVersion)
	for _, n := range r.of {
		dst = binary.AppendUvarint(dst, uint64(n))
	}
	dst = binary.AppendUvarint(binary.AppendVarint(dst, r.running), uint64(len(r.scenarios)))
	for _, c := range r.scenarios {
		name := c.name[:min(len(c.name), longestScenario)]
		dst = append(binary.AppendUvarint(dst, uint64(len(name))), name...)
		dst = binary.AppendUvarint(dst, uint64(c.alerts))
	}
	return dst
}

// decode is the mirror; false: it is none.
func (r *rate) decode(b []byte) bool {
	ok := len(b) > 0 && b[0] == rateVersion
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if ok = ok && size > 0; !ok {
			return 0
		}
		b = b[size:]
		return n
	}
	if ok {
		b = b[1:]
	}
	for i := range r.of {
		r.of[i] = uint32(min(number(), math.MaxUint32))
	}
	running, size := binary.Varint(b)
	if ok = ok && size > 0; !ok {
		return false
	}
	b, r.running = b[size:], running
	count := number()
	for i := uint64(0); i < count && ok; i++ {
		n := number()
		if ok = ok && n <= uint64(len(b)) && i < rateScenarios; !ok {
			return false
		}
		name := string(b[:n])
		b = b[n:]
		r.scenarios = append(r.scenarios, scenarioRate{name, uint32(min(number(), math.MaxUint32))})
	}
	return ok && len(b) == 0
}

// scenariosOf are the most frequent.
func scenariosOf(counts map[string]uint32) (list []scenarioRate) {
	for name, n := range counts {
		list = append(list, scenarioRate{name, n})
	}
	slices.SortFunc(list, func(a, b scenarioRate) int {
		return cmp.Or(cmp.Compare(b.alerts, a.alerts), cmp.Compare(a.name, b.name))
	})
	return slices.Clone(list[:min(len(list), rateScenarios)])
}

// appendRate adds a rate to the last of a list, or behind it when that is of another time.
func appendRate(list []rate, one rate, seconds int64, most int) []rate {
	one.at -= one.at % seconds
	if n := len(list); n == 0 || list[n-1].at < one.at {
		if n == most {
			list = append(list[:0], list[1:]...)
		}
		return append(list, one)
	}
	list[len(list)-1].add(&one)
	return list
}

func (r *rate) add(o *rate) {
	r.running = o.running
	for i, n := range o.of {
		r.of[i] += min(n, 1<<32-1-r.of[i])
	}
	counts := map[string]uint32{}
	for _, list := range [][]scenarioRate{r.scenarios, o.scenarios} {
		for _, c := range list {
			counts[c.name] += c.alerts
		}
	}
	r.scenarios = scenariosOf(counts)
}

// since are the rates from a moment on, in steps of so many seconds; those in which nothing happened are
// left out.
func (r *rates) since(from, step int64) (list []rate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.minutes
	if step >= 3600 {
		all = r.hours
	}
	for _, one := range all {
		if one.at >= from {
			list = appendRate(list, one, step, len(all))
		}
	}
	return list
}

// ratesShown is the answer.
type ratesShown struct {
	Step   int64   `json:"step_seconds"`
	At     []int64 `json:"at"` // Unix seconds: where each step begins
	Alerts []int64 `json:"alerts"`
	Begun  []int64 `json:"decisions_begun"`
	Ended  []int64 `json:"decisions_ended"`
	Live   []int64 `json:"live_queries"`
	Hits   []int64 `json:"live_hits"`
	Pulls  []int64 `json:"stream_pulls"`
	// Running is how many decisions that were made here ran at the end of each step.
	Running []int64 `json:"decisions_running"`

	Scenarios []scenarioShown `json:"scenarios"` // the most frequent
}

type scenarioShown struct {
	Name   string  `json:"name"`
	Alerts []int64 `json:"alerts"`
}

// listRates tells what happened, in steps.
func (s *Server) listRates(q *request) error {
	w := q.words()
	since, step := time.Duration(w.span("since")), time.Duration(w.span("step"))
	if since == 0 {
		since = time.Hour
	}
	if step == 0 {
		step = time.Minute
		if since > 24*time.Hour {
			step = time.Hour
		}
	}
	switch {
	case since > mostHours*time.Hour:
		w.wrong("rates are kept for %d days", mostHours/24)
	case step < time.Minute || step > 24*time.Hour || step%time.Minute != 0 || step > time.Hour && step%time.Hour != 0:
		w.wrong("step is whole minutes, or whole hours up to 24")
	case since > 24*time.Hour && step < time.Hour:
		w.wrong("behind 24h rates are kept by the hour: step is 1h or more")
	}
	if err := w.err(); err != nil {
		return err
	}
	seconds := int64(step / time.Second)
	list := s.rates.since(s.options.Engine.Now()/int64(time.Second)-int64(since/time.Second), seconds)
	return q.answer(http.StatusOK, shownRates(list, seconds))
}

// shownRates turns rates into columns.
func shownRates(list []rate, step int64) *ratesShown {
	out := &ratesShown{Step: step, At: make([]int64, len(list)), Scenarios: []scenarioShown{}}
	columns := [rateCount]*[]int64{&out.Alerts, &out.Begun, &out.Ended, &out.Live, &out.Hits, &out.Pulls}
	for _, c := range columns {
		*c = make([]int64, len(list))
	}
	out.Running = make([]int64, len(list))
	counts := map[string]uint32{}
	for i := range list {
		out.At[i], out.Running[i] = list[i].at, list[i].running
		for f, n := range list[i].of {
			(*columns[f])[i] = int64(n)
		}
		for _, c := range list[i].scenarios {
			counts[c.name] += c.alerts
		}
	}
	for _, c := range scenariosOf(counts) {
		shown := scenarioShown{c.name, make([]int64, len(list))}
		for i := range list {
			for _, one := range list[i].scenarios {
				if one.name == c.name {
					shown.Alerts[i] = int64(one.alerts)
				}
			}
		}
		out.Scenarios = append(out.Scenarios, shown)
	}
	return out
}
