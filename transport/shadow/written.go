package shadow

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"
)

// written remembers what was written through the shadow. What the old server has and nobody has written through here was
// made there by itself: by cscli on its machine, which speaks to it directly, by its lists from the Central API, by its
// database. That is no fault of lapid's, and 'lapid movein' again brings lapid level. So a difference is explained when
// no write through the shadow can have made it, and only then: what was written here and differs is unexplained. When
// more values were written than are remembered nothing is explained in this way any more.
type written struct {
	mu      sync.Mutex
	most    int
	values  map[uint64]*value
	alerts  map[uint64]time.Time // by key: when they were posted
	full    bool
	ended   time.Time // the last deletion that names no value
	gone    time.Time // the last deletion of alerts
	last    time.Time // when the last write was answered
	flights [mostFlights]flight
	next    int
	halves  bool // a push was refused that may have been carried out in part
	polls   [mostPolls]poll
	pollN   int
	open    map[*exchange]time.Time // writes that the first server has not answered yet
}

// value is what is known of one value of decisions.
type value struct {
	posted  time.Time
	deleted time.Time
	half    bool  // a push that the old server refused has named it
	origins uint8 // of the decisions: profile's, others
	zone    bool  // it came with times of another zone than UTC
}

// span is a time between two moments.
type span struct{ began, ended time.Time }

// meets tells whether two have a moment in common.
func (s span) meets(other span) bool {
	return !s.began.IsZero() && !other.began.IsZero() && !s.began.After(other.ended) && !s.ended.Before(other.began)
}

// flight is one write on its way: at the first server, and until the second has it too.
type flight struct {
	x     *exchange // until then
	first Side
	span
	level  time.Time // zero: the second has not got it yet
	values []uint64  // what it was about, at most so many
	met    []*state  // bouncers that the old server answered meanwhile
	any    bool      // or it may have been about anything
}

// poll is one answer of the old server to a bouncer that polls.
type poll struct {
	st *state
	span
}

// mostPolls of the old server are remembered.
const mostPolls = 4096

// mostOfFlight values of one write are remembered.
const mostOfFlight = 64

// mostFlights of writes are remembered, for telling what ran at the same moment.
const mostFlights = 1024

const (
	byProfile = 1 << iota
	byHand
)

func newWritten(most int) *written {
	return &written{most: most, values: map[uint64]*value{}, alerts: map[uint64]time.Time{}, open: map[*exchange]time.Time{}}
}

// longestPush is of a push that is read for its values, inflated. What a longer one has cannot be told from what the
// old server has by itself, so nothing is explained in that way any more.
const longestPush = 16 << 20

// start notes a write that goes to the first server.
func (w *written) start(x *exchange) {
	if !x.route.write {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[x] = x.answers[x.first].began
}

// over notes that the first server has nothing to say any more.
func (w *written) over(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, x)
}

// began notes a write that the first server has answered, before the second is asked.
func (w *written) began(x *exchange) {
	if !x.route.write {
		return
	}
	a := &x.answers[x.first]
	var alerts []alert
	var err error
	if x.route.kind == pushKind && a.status < 300 {
		alerts, err = pushed(x)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = w.full || err != nil
	f := &w.flights[w.next]
	*f = flight{x: x, first: x.first, span: span{a.began, a.ended}}
	w.next = (w.next + 1) % len(w.flights)
	if x.route.kind != pushKind && x.route.kind != deletionKind || a.status >= 300 {
		return
	}
	w.last = a.ended
	if x.first == Theirs {
		for i := range w.polls {
			if p := &w.polls[i]; p.meets(f.span) {
				f.met = append(f.met, p.st)
			}
		}
	}
	for _, one := range alerts {
		w.post(one, a.ended, f)
	}
	if x.route.kind == deletionKind {
		w.delete(x, a.ended, f)
	}
}

// pushed are the alerts of a push.
func pushed(x *exchange) (list []alert, err error) {
	body := x.content()
	if body == nil {
		return nil, nil
	}
	if strings.Contains(x.header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = z
	}
	d := json.NewDecoder(io.LimitReader(body, longestPush))
	d.UseNumber()
	return list, d.Decode(&list)
}

// post notes an alert with its decisions.
func (w *written) post(a alert, at time.Time, f *flight) {
	if len(w.alerts) >= w.most {
		w.full = true
		return
	}
	w.alerts[sum(a.key())] = at
	zone := !strings.HasSuffix(a.text("stop_at"), "Z") && !strings.HasSuffix(a.text("stop_at"), "+00:00")
	list := decisionsOf(a)
	if len(list) == 0 {
		w.note(a.source("value"), at, f, byProfile, zone)
	}
	for i := range list {
		w.note(list[i].Value, at, f, byHand, zone)
	}
}

func (w *written) note(text string, at time.Time, f *flight, origins uint8, zone bool) {
	v := w.value(text)
	if v == nil {
		return
	}
	v.posted, v.origins, v.zone = at, v.origins|origins, v.zone || zone
	f.about(text)
}

// value is what is known of one; nil when no more can be remembered.
func (w *written) value(text string) *value {
	s := sum(text)
	v := w.values[s]
	if v == nil {
		if len(w.values) >= w.most {
			w.full = true
			return nil
		}
		v = &value{}
		w.values[s] = v
	}
	return v
}

// delete notes a deletion: of one value, if it names one, else of anything.
func (w *written) delete(x *exchange, at time.Time, f *flight) {
	if strings.Contains(x.route.name, "/alerts") {
		w.gone = at
	}
	_, query, _ := strings.Cut(x.target, "?")
	q, _ := url.ParseQuery(query)
	for _, name := range []string{"ip", "value"} {
		if text := q.Get(name); text != "" && q.Get("contains") == "" {
			if v := w.value(text); v != nil {
				v.deleted = at
				f.about(text)
				return
			}
		}
	}
	w.ended, f.any = at, true
}

// about notes a value.
func (f *flight) about(text string) {
	if len(f.values) < mostOfFlight {
		f.values = append(f.values, sum(text))
	} else {
		f.any = true
	}
}

// queued notes that a write stands in the queue: whatever comes from now on stands behind it.
func (w *written) queued(x *exchange, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.flights {
		if f := &w.flights[i]; f.x == x {
			f.ended = now
		}
	}
}

// during notes that the old server has answered a bouncer that polls, and gives the writes that it had first and carried out
// meanwhile.
func (w *written) during(st *state, asked span) (list []flight) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls[w.pollN%mostPolls] = poll{st, asked}
	w.pollN++
	for i := range w.flights {
		if f := &w.flights[i]; f.first == Theirs && f.meets(asked) && (f.any || len(f.values) > 0) {
			list = append(list, *f)
		}
	}
	return list
}

// flightOf is the one of a write; without values when it is not remembered.
func (w *written) flightOf(x *exchange) flight {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.flights {
		if w.flights[i].x == x {
			return w.flights[i]
		}
	}
	return flight{}
}

// own tells whether a decision that only the old server has was made there: no write through the shadow named its value.
func (w *written) own(d *decision) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.values[sum(d.Value)]
	if w.full {
		return false
	}
	if v == nil || v.posted.IsZero() && v.deleted.IsZero() && !v.half {
		return true
	}
	wrote := byHand
	if strings.HasPrefix(d.Origin, "crowdsec") {
		wrote = byProfile | byHand
	}
	return v.deleted.IsZero() && !v.half && d.Origin != "" && v.origins&uint8(wrote) == 0
}

// endedThere tells whether a decision that only lapid has was ended at the old server: no deletion through the shadow can
// have been meant for it, so lapid had no reason to end it, and the old server was given it as lapid was: by moving in,
// or by a push that both have taken.
func (w *written) endedThere(d *decision) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return false
	}
	v := w.values[sum(d.Value)]
	if v == nil {
		return w.ended.IsZero() && w.gone.IsZero()
	}
	after := v.posted
	return v.origins&byHand != 0 && !v.deleted.After(after) && !w.ended.After(after) && !w.gone.After(after) && v.deleted.IsZero()
}

func (w *written) zoned(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.values[sum(text)]
	return v != nil && v.zone
}

// ownAlert tells whether an alert that only the old server has was made there.
func (w *written) ownAlert(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, posted := w.alerts[sum(key)]
	return !posted && !w.full
}

// alertEndedThere tells whether one that only lapid has was deleted at the old server.
func (w *written) alertEndedThere(key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.full && !w.gone.After(w.alerts[sum(key)])
}

// quietSince is when the last write was answered.
func (w *written) quietSince() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// deletedAlerts tells whether alerts were deleted through the shadow.
func (w *written) deletedAlerts() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.gone.IsZero()
}

// raced tells whether another write was on its way while the answers came: at the first server at the same time, or, where
// the two requests have different first servers, at one of the two before the other.
func (w *written) raced(x *exchange) bool {
	a, b := &x.answers[x.first], &x.answers[x.first.other()]
	if b.ended.IsZero() {
		return w.racedUntil(x, a.ended)
	}
	return w.racedUntil(x, b.ended)
}

// racedUntil is raced for one that the second server is asked up to a moment.
func (w *written) racedUntil(x *exchange, end time.Time) bool {
	a := &x.answers[x.first]
	both := span{a.began, end}
	w.mu.Lock()
	defer w.mu.Unlock()
	for other, began := range w.open {
		if other != x && (began.Before(a.ended) || other.first != x.first && began.Before(both.ended)) {
			return true
		}
	}
	for i := range w.flights {
		f := &w.flights[i]
		switch {
		case f.began.IsZero() || f.x == x:
		case f.span.meets(span{a.began, a.ended}):
			return true
		case f.first != x.first && f.began.Before(both.ended) && (f.level.IsZero() || f.level.After(both.began)):
			return true
		}
	}
	return false
}

// level notes that both servers have a write, and when the old one has stored it.
func (w *written) level(x *exchange) {
	if !x.route.write {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.flights {
		if f := &w.flights[i]; f.x == x {
			f.x, f.level = nil, x.answers[x.first.other()].ended
			if f.level.IsZero() {
				f.level = f.ended // it was left out
			}
		}
	}
}

// halfDone notes a push that the old server has refused and may have carried out in part.
func (w *written) halfDone(x *exchange) {
	if x.route.kind != pushKind {
		return
	}
	alerts, err := pushed(x)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full = w.full || err != nil
	mark := func(text string) {
		if v := w.value(text); v != nil {
			v.half = true
		}
	}
	for _, a := range alerts {
		mark(a.source("value"))
		for _, d := range decisionsOf(a) {
			mark(d.Value)
		}
	}
	w.halves = true
}

// halved tells whether a value, or "" for any, was in a push that the old server may have carried out in part.
func (w *written) halved(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if text == "" {
		return w.halves
	}
	v := w.values[sum(text)]
	return v != nil && v.half
}

// neverEnded tells whether no deletion through the shadow can have been meant for a value since it was posted.
func (w *written) neverEnded(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.values[sum(text)]
	if v == nil || w.full {
		return false
	}
	return !v.deleted.After(v.posted) && !w.ended.After(v.posted) && !w.gone.After(v.posted)
}
