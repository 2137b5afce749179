package capi

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Figures are what is counted of the connection, and what is wrong with it now. They are
// shared by the clients that follow each other (Options.Figures), so a reload does not
// begin them anew; a restart does. Any goroutine may ask; nobody waits.
type Figures struct {
	mu       sync.Mutex
	jobs     map[string]*jobFigures
	held     map[string]string // list → how much of it is in force and how much came
	failing  map[string]string // list → why
	sent     uint64
	refused  uint64
	gaps     uint64
	waiting  uint64
	account  Account
	answered bool // there was an account
}

type jobFigures struct {
	well, badly uint64
	lastWell    time.Time
	since       time.Time // it fails since then; zero: it does not
	why         string
}

// Jobs of a client, as Figures, metrics and the log call them.
const (
	JobPull    = "pull"    // lists and allowlists come in
	JobSignals = "signals" // alerts go out
	JobMetrics = "metrics" // the sign of life
	JobUsage   = "usage"   // usage metrics go out

	JobOrders    = "orders"    // orders of the console come in
	JobDeletions = "deletions" // what was deleted here is reported
)

// Reset forgets what is wrong, when there is no connection any more.
func (f *Figures) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs, f.held, f.failing, f.account, f.answered = nil, nil, nil, Account{}, false
}

// Report is what Figures say at one moment.
type Report struct {
	Jobs    []JobReport `json:"jobs"`    // those that have done something, by name
	Held    []string    `json:"held"`    // lists that are held back, by name
	Failing []string    `json:"failing"` // lists that could not be fetched, by name

	SignalsSent    uint64 `json:"signals_sent"`    // since the start
	SignalsRefused uint64 `json:"signals_refused"` // left out, for the service refuses them
	Waiting        uint64 `json:"commits_waiting"` // whose signals, if they are any, are still to be sent, by the last turn
	SignalGaps     uint64 `json:"signal_gaps"`     // how often the history was not kept back to the last signal

	LoggedIn bool   `json:"logged_in"` // there is, or was, a token
	Enrolled bool   `json:"enrolled"`  // by the newest token
	Plan     string `json:"subscription_type"`
}

// JobReport is one job. Times are UTC, in whole seconds.
type JobReport struct {
	Name     string    `json:"name"`
	Well     uint64    `json:"well"`                // turns that went well, since the start
	Failed   uint64    `json:"failed"`              // turns that failed
	LastWell time.Time `json:"last_success"`        // zero: none since the start
	Since    time.Time `json:"failing_since"`       // zero: it does not fail
	Why      string    `json:"last_error,omitzero"` // of the last turn, where that failed
}

// went notes how a turn of a job ended.
func (f *Figures) went(job string, err error, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.jobs == nil {
		f.jobs = map[string]*jobFigures{}
	}
	j := f.jobs[job]
	if j == nil {
		j = &jobFigures{}
		f.jobs[job] = j
	}
	if err == nil {
		j.well++
		j.lastWell, j.since, j.why = now, time.Time{}, ""
		return
	}
	if j.badly++; j.since.IsZero() {
		j.since = now
	}
	j.why = shortened(err.Error())
}

// list notes what became of a list: "" and "" is well.
func (f *Figures) list(name, held, failing string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range []struct {
		of  *map[string]string
		why string
	}{{&f.held, held}, {&f.failing, failing}} {
		if *one.of == nil {
			*one.of = map[string]string{}
		}
		if delete(*one.of, name); one.why != "" {
			(*one.of)[name] = shortened(one.why)
		}
	}
}

// only forgets lists that are not among these.
func (f *Figures) only(names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gone := func(name, _ string) bool { return !slices.Contains(names, name) }
	maps.DeleteFunc(f.held, gone)
	maps.DeleteFunc(f.failing, gone)
}

func (f *Figures) signals(sent, refused, gaps uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent += sent
	f.refused += refused
	f.gaps += gaps
}

func (f *Figures) waits(commits uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = commits
}

// of notes what the newest token says, and tells whether it says otherwise than the last.
func (f *Figures) of(a Account) (changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changed = a != f.account
	f.account, f.answered = a, true
	return changed
}

// Report is what is known now. It is the caller's.
func (f *Figures) Report() *Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &Report{
		Jobs: []JobReport{}, Held: append([]string{}, slices.Sorted(maps.Keys(f.held))...), Failing: append([]string{}, slices.Sorted(maps.Keys(f.failing))...),
		SignalsSent: f.sent, SignalsRefused: f.refused, SignalGaps: f.gaps, Waiting: f.waiting, LoggedIn: f.answered, Enrolled: f.account.Enrolled, Plan: f.account.Plan,
	}
	for _, name := range slices.Sorted(maps.Keys(f.jobs)) {
		j := f.jobs[name]
		r.Jobs = append(r.Jobs, JobReport{name, j.well, j.badly, whole(j.lastWell), whole(j.since), j.why})
	}
	return r
}

func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// failsLong is how long a job fails before an operator should look at it. It is longer than
// the longest pause between two tries.
const failsLong = 45 * time.Minute

// Warning is one sentence for an operator about what does not work for long, and since when;
// "" when there is nothing.
func (f *Figures) Warning(now time.Time) (text string, since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f.jobs)) {
		j := f.jobs[name]
		if j.since.IsZero() || now.Sub(j.since) < failsLong {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s fails since %s (%s)", name, whole(j.since).Format(time.RFC3339), j.why))
		if since.IsZero() || j.since.Before(since) {
			since = j.since
		}
	}
	if parts != nil {
		parts = append(parts, "it is asked again: see whether \"lapid capi status\" logs in")
	}
	for _, name := range slices.Sorted(maps.Keys(f.failing)) {
		parts = append(parts, fmt.Sprintf("the list %q cannot be fetched (%s)", name, f.failing[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(f.held)) {
		parts = append(parts, fmt.Sprintf("the list %q is held back (%s)", name, f.held[name]))
	}
	if parts == nil {
		return "", since
	}
	if since.IsZero() {
		since = now
	}
	return "the Central API: " + strings.Join(parts, "; "), since
}
