package console

import (
	"fmt"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// Rates are what happened between two looks, in steps of any length.
func TestRates(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	var traffic Traffic
	s := &Server{options: Options{Engine: r.Engine, Logger: slog.New(slog.DiscardHandler), Traffic: func() Traffic { return traffic }}}
	s.noteRates() // where counters begin
	from := r.Now().Unix() / 60 * 60
	for i := range 180 {
		for j := range i%3 + 1 {
			now, a := r.Now(), &engine.Alert{Scenario: fmt.Sprintf("s%d", j)}
			a.StartAt, a.StopAt = engine.StampOf(now), engine.StampOf(now)
			a.Decisions = []engine.NewDecision{{Duration: "90m", Scope: engine.ScopeIP, Value: fmt.Sprintf("192.0.2.%d", i), Type: "ban", Origin: "crowdsec", Scenario: a.Scenario}}
			if _, err := r.AddAlerts(t.Context(), "", []*engine.Alert{a}, now.UnixNano()); err != nil {
				t.Fatal(err)
			}
		}
		traffic = Traffic{traffic.LiveQueries + 10, traffic.LiveHits + 3, traffic.StreamPulls + 2}
		if i == 100 {
			traffic = Traffic{} // those who were counted are gone
		}
		s.noteRates()
		r.Advance(time.Minute)
	}
	minutes := shownRates(s.rates.since(from, 60), 60)
	if len(minutes.At) != 180 || minutes.At[0] != from || minutes.At[179] != from+179*60 {
		t.Fatalf("minutes are %v", minutes.At)
	}
	for i := range 180 {
		alerts, live := int64(i%3+1), int64(10)
		if i == 100 {
			live = 0
		}
		if minutes.Alerts[i] != alerts || minutes.Begun[i] != alerts || minutes.Live[i] != live || live > 0 && (minutes.Hits[i] != 3 || minutes.Pulls[i] != 2) {
			t.Errorf("minute %d is %+v", i, minutes)
			break
		}
	}
	hours := shownRates(s.rates.since(from-3600, 3600), 3600)
	again := shownRates(s.rates.since(from-3600, 7200), 7200)
	sum := func(list []int64) (n int64) {
		for _, one := range list {
			n += one
		}
		return n
	}
	for _, of := range []*ratesShown{minutes, hours, again} {
		if sum(of.Alerts) != 360 || sum(of.Begun) != 360 || sum(of.Ended) != sum(minutes.Ended) || sum(of.Live) != 1790 || sum(of.Scenarios[0].Alerts) != 180 || of.Scenarios[0].Name != "s0" || len(of.Scenarios) != 3 {
			t.Errorf("in steps of %d: %+v", of.Step, of)
		}
	}
	if ended := sum(minutes.Ended); ended < 170 || ended > 182 || len(hours.At) > 4 || len(again.At) > 3 {
		t.Errorf("%d decisions have ended, in %d hours", ended, len(hours.At))
	}
}

// What is kept has a bound, however long it goes on.
func TestRatesAreBounded(t *testing.T) {
	t.Parallel()
	var list []rate
	for i := range int64(50) {
		one := rate{at: i * 60}
		for j := range 40 {
			one.scenarios = append(one.scenarios, scenarioRate{fmt.Sprint(j), 1})
		}
		one.of[0] = 1<<32 - 1
		list = appendRate(list, one, 120, 10)
	}
	if len(list) != 10 || list[9].at != 48*60 || len(list[9].scenarios) != rateScenarios || list[9].of[0] != 1<<32-1 {
		t.Errorf("%d are kept, the last is %+v", len(list), list[len(list)-1])
	}
	if got := shownRates(nil, 60); !reflect.DeepEqual(got.At, []int64{}) || len(got.Alerts) != 0 {
		t.Errorf("nothing is shown as %+v", got)
	}
}

// Rates are stored as they grow and gone on with, also after a crash; what is stored has a bound, and what is there
// that is none is left out.
func TestRatesAreStored(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
	newServer := func() *Server {
		s := &Server{options: Options{Engine: r.Engine, Logger: slog.New(slog.DiscardHandler)}}
		if err := s.rates.load(r.Engine); err != nil {
			t.Fatal(err)
		}
		s.noteRates() // where counters begin
		return s
	}
	s := newServer()
	alert := func(i int) {
		a := &engine.Alert{Scenario: fmt.Sprintf("s%d", i%3), StartAt: engine.StampOf(r.Now()), StopAt: engine.StampOf(r.Now())}
		if _, err := r.AddAlerts(t.Context(), "", []*engine.Alert{a}, r.Now().UnixNano()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 130 {
		alert(i)
		s.noteRates()
		if i != 50 { // then the store took nothing
			if err := s.rates.store(t.Context(), r.Engine); err != nil {
				t.Fatal(err)
			}
		}
		r.Step(time.Minute)
	}
	was := []any{s.rates.minutes, s.rates.hours}
	alert(0)
	r.Crash()
	if err := r.KeepReadings(t.Context(), []engine.Reading{{Series: minuteSeries, At: r.Now().Unix() / 60 * 60, Value: []byte("nonsense")}, {Series: hourSeries, At: 1 << 40, Value: nil}}, nil); err != nil {
		t.Fatal(err)
	}
	s = newServer()
	if now := []any{s.rates.minutes, s.rates.hours}; !reflect.DeepEqual(now, was) {
		t.Errorf("after a crash: %+v\nnot %+v", now, was)
	}
	if len(s.rates.minutes) != 130 || s.rates.stored != s.rates.minutes[129].at {
		t.Errorf("%d minutes, stored up to %d", len(s.rates.minutes), s.rates.stored)
	}
	r.Step(25 * time.Hour)
	alert(0)
	s.noteRates()
	if err := s.rates.store(t.Context(), r.Engine); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := r.Readings(minuteSeries, func(engine.Reading) bool { n++; return true }); err != nil || n != 1 {
		t.Errorf("a day later %d minutes are stored, %v", n, err)
	}
}

// What a store may bring as a rate is read, or refused.
func FuzzRate(f *testing.F) {
	one := rate{of: [rateCount]uint32{1, 2, 1<<32 - 1}, running: -1, scenarios: []scenarioRate{{"crowdsecurity/ssh-bf", 7}, {"", 0}}}
	f.Add(one.append(nil))
	f.Add([]byte{rateVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again rate
		if r.decode(b) && (!again.decode(r.append(nil)) || !reflect.DeepEqual(r, again)) {
			t.Errorf("%x: %+v, then %+v", b, r, again)
		}
	})
}
