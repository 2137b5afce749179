package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"lapid/persist"
)

// String spells a UUID as the contract does, in lower case.
func (u UUID) String() string { return string(u.AppendTo(nil)) }

// AppendTo appends the UUID's text.
func (u UUID) AppendTo(dst []byte) []byte {
	const hex = "0123456789abcdef"
	for i, b := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hex[b>>4], hex[b&15])
	}
	return dst
}

// alert returns what memory holds of an alert this view shows, else nil.
func (v *View) alert(id uint64) *heldAlert {
	if id == 0 || id >= v.nextAlert {
		return nil
	}
	if h := v.state.alerts.At(id); h != nil && v.sees(h) {
		return h
	}
	return nil
}

// sees reports whether an alert, which may never have been given, is stored in this view.
func (v *View) sees(h *heldAlert) bool {
	if begun := h.begun.Load(); begun == 0 || begun > uint64(v.revision) {
		return false
	}
	gone := h.gone.Load()
	return gone == 0 || gone > uint64(v.revision)
}

// eachAlert walks the alerts this view shows, in order of id.
func (v *View) eachAlert(yield func(uint64, *heldAlert) bool) {
	for id := range v.state.alerts.Ascending(1, v.nextAlert) {
		if h := v.alert(id); h != nil && !yield(id, h) {
			return
		}
	}
}

// eachOf walks the decisions of an alert.
func (v *View) eachOf(id uint64, h *heldAlert, yield func(*record) bool) {
	for d := range v.state.decisionsOf(id, h) {
		if n := v.state.slotOf(d); n != 0 && !yield(v.state.records.At(n)) {
			return
		}
	}
}

// NewestAlert is the highest number of an alert this view shows, 0 when there is
// none. It asks memory alone: whatever the disk does, it does not wait.
func (v *View) NewestAlert() AlertID {
	for id := range v.state.alerts.Descending(1, v.nextAlert) {
		if v.alert(id) != nil {
			return AlertID(id)
		}
	}
	return 0
}

// AlertsAfter yields the scenarios of the alerts with higher numbers than one, in their order, until yield
// returns false. It asks memory alone.
func (v *View) AlertsAfter(id AlertID, yield func(scenario string) bool) {
	for n := range v.state.alerts.Ascending(uint64(id)+1, v.nextAlert) {
		if h := v.alert(n); h != nil && !yield(v.state.strings.At(h.scenario)) {
			return
		}
	}
}

// LastNumbers are the highest numbers that alerts and decisions have got, whether or not they are
// there still.
func (v *View) LastNumbers() (AlertID, DecisionID) {
	return AlertID(v.nextAlert - 1), DecisionID(v.nextDecision - 1)
}

func (v *View) anyRunning(id uint64, h *heldAlert, now int64) bool {
	found := false
	v.eachOf(id, h, func(r *record) bool {
		found = v.running(r, now)
		return !found
	})
	return found
}

func (v *View) decisionsOf(dst []Decision, id uint64, h *heldAlert) []Decision {
	v.eachOf(id, h, func(r *record) bool {
		dst = append(dst, Decision{v, r})
		return true
	})
	return dst
}

// DecisionsOf walks the decisions of an alert that the view shows, ended ones too, by
// ascending id. It copies nothing, for an alert may have millions, and steps back now
// and then. Nothing when the view has no such alert.
func (e *Engine) DecisionsOf(v *View, id AlertID) iter.Seq[Decision] {
	return func(yield func(Decision) bool) {
		h := v.alert(uint64(id))
		if h == nil {
			return
		}
		n := 0
		v.eachOf(uint64(id), h, func(r *record) bool {
			e.pace.step(n)
			n++
			return yield(Decision{v, r})
		})
	}
}

// alertOwners is the set of machine serials that own a stored alert.
func (v *View) alertOwners() map[uint32]bool {
	owners := map[uint32]bool{}
	for _, h := range v.eachAlert {
		owners[h.machine] = true
	}
	return owners
}

// Alert reads one alert and its decisions, ended ones too, by ascending id.
// The error is of kind ErrNotFound when the view has no such alert.
func (e *Engine) Alert(v *View, id AlertID) (*Alert, []Decision, error) {
	return e.AlertWithin(v, id, nil)
}

// AlertWithin is Alert with room as in AlertQuery.Room: the error is of kind ErrBusy
// when there is none.
func (e *Engine) AlertWithin(v *View, id AlertID, room func(bytes int64) bool) (*Alert, []Decision, error) {
	h := v.alert(uint64(id))
	if h == nil {
		return nil, nil, noAlert(id)
	}
	a, err := e.readAlert(v, id, h, room)
	if err != nil {
		return nil, nil, err
	}
	return a, v.decisionsOf(nil, uint64(id), h), nil
}

const (
	// smallAlert is how many bytes an alert may take without asking for room.
	smallAlert = 16 << 10
	// perStoredByte is what a byte of an alert's row takes once it is read, that row
	// included. Alerts of nothing but keys and values of a letter take three times as
	// much.
	perStoredByte = 4
	// readingAtMost is how many alerts are read from the disk at once, for all callers
	// together; others wait their turn, not for room.
	readingAtMost = 16
)

// readRow fetches the row of an alert. When that is known to be large it lets go of it
// and asks for room, and fetches it again once there is some.
func (e *Engine) readRow(id AlertID, h *heldAlert, room func(int64) bool) (body []byte, ok bool, err error) {
	if e.reading != nil {
		e.reading <- struct{}{}
		defer func() { <-e.reading }()
	}
	if body, ok, err = e.store.Row(nil, rowAlert, idKey(uint64(id))); room == nil || err != nil {
		return body, ok, err
	}
	size := int64(len(body))*perStoredByte + int64(h.count)*int64(unsafe.Sizeof(Decision{}))
	if size <= smallAlert {
		return body, ok, nil
	}
	body = nil
	if e.reading != nil {
		<-e.reading
	}
	granted := room(size)
	if e.reading != nil {
		e.reading <- struct{}{}
	}
	if !granted {
		return nil, false, &Error{Kind: ErrBusy, Text: "too many long answers at once"}
	}
	return e.store.Row(nil, rowAlert, idKey(uint64(id)))
}

// readAlert fetches an alert's body from disk.
func (e *Engine) readAlert(v *View, id AlertID, h *heldAlert, room func(int64) bool) (*Alert, error) {
	body, ok, err := e.readRow(id, h, room)
	if errors.Is(err, ErrBusy) {
		return nil, err
	}
	if err != nil && e.gone.Load() { // it is not lost: the store is away
		return nil, &Error{Kind: ErrDisk, Text: "the store is not where it was, and what it has of alerts cannot be read", Cause: err}
	}
	if err != nil && !errors.Is(err, persist.ErrCorrupt) {
		return nil, fmt.Errorf("reading alert %d: %w", id, err)
	}
	if !ok && err == nil && h.gone.Load() != 0 {
		return nil, noAlert(id) // deleted a moment ago
	}
	a := &Alert{ID: id}
	if ok && len(body) == 0 && err == nil { // lost, and that was accepted
		*a = h.remains(v, id)
		a.Message = acceptedBody
		if e.options.Relay {
			a.Message = redactedBody
		}
		return a, nil
	}
	if ok {
		d := decoder{rest: body}
		a.decodeBody(&d)
		err = d.err
	}
	if !ok || err != nil {
		e.log.Error("the body of an alert is lost", "alert", id, "error", err)
		*a = h.remains(v, id)
	}
	if h.machine == 0 || v.machines.serial(h.machine) == nil {
		a.MachineID = ""
	}
	a.Batch = v.state.batchOf(uint64(id))
	return a, nil
}

// remains is what memory knows of an alert whose body is damaged or missing.
func (h *heldAlert) remains(v *View, id AlertID) Alert {
	machine := ""
	if row := v.machines.serial(h.machine); row != nil {
		machine = row.value.Load().ID
	}
	return Alert{
		ID: id, MachineID: machine, CreatedAt: h.createdAt, Scenario: v.state.strings.At(h.scenario),
		Message: lostBody, Simulated: h.simulated,
		StartAt: Stamp{At: h.startAt}, StopAt: Stamp{At: h.startAt},
	}
}

// lostBody is the message of an alert whose body is lost: what memory knows of it is left.
const lostBody = "the rest of this alert is lost: the store is damaged"

// acceptedBody is the message of one whose loss an operator has accepted.
const acceptedBody = "the rest of this alert is lost"

// redactedBody is the message of one at a relay, which is never sent the rest.
const redactedBody = "a relay does not have the rest of this alert: ask a node of the cluster"

func noAlert(id AlertID) error { return notFound(NounAlert, strconv.FormatUint(uint64(id), 10)) }

// Alerts yields the alerts that answer q, newest first unless q says
// otherwise, each with its decisions by ascending id (none when q does not
// want them). Alert and slice are valid until the next turn; it ends early
// when yield returns false or ctx ends.
func (e *Engine) Alerts(ctx context.Context, v *View, q *AlertQuery, yield func(*Alert, []Decision) bool) error {
	var decisions []Decision
	given := 0
	return e.scanAlerts(ctx, v, q, true, func(id uint64, h *heldAlert, a *Alert) bool {
		decisions = decisions[:0]
		if !q.WithoutDecisions {
			decisions = v.decisionsOf(decisions, id, h)
		}
		given++
		return yield(a, decisions) && (q.Limit == 0 || given < q.Limit)
	})
}

// scanAlerts walks the alerts that answer q. Bodies are read only where the
// question, or the caller, needs them.
func (e *Engine) scanAlerts(ctx context.Context, v *View, q *AlertQuery, bodies bool, yield func(uint64, *heldAlert, *Alert) bool) error {
	words := resolveAlertWords(v.state, q)
	last := v.nextAlert
	if q.Before != 0 {
		last = min(last, uint64(q.Before))
	}
	ids := v.state.alerts.Descending(1, last)
	if q.Ascending {
		ids = v.state.alerts.Ascending(1, last)
	}
	for id := range ids {
		if id&1023 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		h := v.alert(id)
		if h == nil || !q.admitsHeld(v, id, h, words) {
			continue
		}
		var a *Alert
		if bodies || q.needsBody() {
			var err error
			if a, err = e.readAlert(v, AlertID(id), h, q.Room); err != nil {
				if isNotFound(err) {
					continue
				}
				return err
			}
			if !q.admitsBody(v, id, h, a) {
				continue
			}
		}
		if !yield(id, h, a) {
			return nil
		}
	}
	return nil
}

func isNotFound(err error) bool {
	e, ok := err.(*Error)
	return ok && e.Kind == ErrNotFound
}

// alertWords are the words of an AlertQuery as numbers.
type alertWords struct {
	never        bool // some word is unknown here
	kind, origin uint32
	scenario     uint32
	batch        batchWord
}

func resolveAlertWords(s *state, q *AlertQuery) alertWords {
	var w alertWords
	find := func(f Word) uint32 {
		if !f.Given {
			return 0
		}
		n, ok := s.strings.Lookup(f.Text)
		w.never = w.never || !ok
		return n
	}
	w.kind, w.origin, w.scenario = find(q.DecisionType), find(q.Origin), find(q.Scenario)
	batch, ok := s.batchWord(q.Batch)
	w.batch, w.never = batch, w.never || !ok
	return w
}

// admitsHeld tests what memory can answer.
func (q *AlertQuery) admitsHeld(v *View, id uint64, h *heldAlert, w alertWords) bool {
	if w.never || (q.HideSimulated && h.simulated) || (q.HideCommunity && h.community) {
		return false
	}
	if (q.StartFrom != 0 && h.startAt < q.StartFrom) || (q.StartUpTo != 0 && h.startAt > q.StartUpTo) ||
		(q.CreatedUpTo != 0 && h.createdAt > q.CreatedUpTo) {
		return false
	}
	if (q.Activity == HasNone && h.count > 0) || (q.Activity == HasRunning && !v.anyRunning(id, h, q.Now)) {
		return false
	}
	if q.Batch.Name != "" && !w.batch.has(v.state, id) {
		return false
	}
	if q.Scenario.Given && h.scenario != w.scenario && !v.anyOf(id, h, func(r *record) bool { return v.state.wordsOf(r).Scenario == w.scenario }) {
		return false
	}
	if q.DecisionType.Given && !v.anyOf(id, h, func(r *record) bool { return v.state.wordsOf(r).Type == w.kind }) {
		return false
	}
	if q.Origin.Given && !v.anyOf(id, h, func(r *record) bool { return v.state.wordsOf(r).Origin == w.origin }) {
		return false
	}
	if q.Address.IsValid() {
		at := Query{Address: q.Address, Inside: q.Inside}
		return v.anyOf(id, h, func(r *record) bool { return at.relates(v, r) })
	}
	return true
}

func (v *View) anyOf(id uint64, h *heldAlert, is func(*record) bool) bool {
	found := false
	v.eachOf(id, h, func(r *record) bool {
		found = is(r)
		return !found
	})
	return found
}

func (q *AlertQuery) needsBody() bool {
	return q.Scope.Given || q.Value.Given || q.Scenario.Given || q.Kind.Given
}

// admitsBody tests what only the body tells.
func (q *AlertQuery) admitsBody(v *View, id uint64, h *heldAlert, a *Alert) bool {
	if (q.Scope.Given && a.Source.Scope != q.Scope.Text) || (q.Value.Given && a.Source.Value != q.Value.Text) ||
		(q.Kind.Given && a.Kind != q.Kind.Text) {
		return false
	}
	if !q.Scenario.Given || a.Scenario == q.Scenario.Text {
		return true
	}
	n, ok := v.state.strings.Lookup(q.Scenario.Text)
	return ok && v.anyOf(id, h, func(r *record) bool { return v.state.wordsOf(r).Scenario == n })
}

// DeleteAlerts deletes the alerts that answer q, with their decisions, and
// says how many. Their running decisions end, and streams hear of it.
func (e *Engine) DeleteAlerts(ctx context.Context, q *AlertQuery) (int, error) {
	var ids []uint64
	v := e.View()
	err := e.scanAlerts(ctx, v, q, false, func(id uint64, _ *heldAlert, _ *Alert) bool {
		ids = append(ids, id)
		return true
	})
	if err != nil || len(ids) == 0 && !e.answered(ctx, aboutDrops) {
		return 0, err
	}
	return e.dropAlerts(ctx, ids, q.Now)
}

func (e *Engine) dropAlerts(ctx context.Context, ids []uint64, now int64) (int, error) {
	slices.Sort(ids)
	o := &dropAlerts{at: now, ids: ids}
	err := e.propose(ctx, &proposal{op: o})
	if err != nil {
		return 0, err
	}
	return o.dropped, nil
}

// aboutDrops is what a deletion of alerts is about.
var aboutDrops = aboutWhat("", &dropAlerts{})

// DeleteAlert deletes one alert with its decisions. ErrNotFound when there is
// none.
func (e *Engine) DeleteAlert(ctx context.Context, id AlertID, now int64) error {
	if e.View().alert(uint64(id)) == nil && !e.answered(ctx, aboutDrops) {
		return noAlert(id)
	}
	n, err := e.dropAlerts(ctx, []uint64{uint64(id)}, now)
	if err == nil && n == 0 {
		return noAlert(id)
	}
	return err
}

// FlushAlerts drops what retention with these bounds would drop, now. Zero
// bounds do not count.
func (e *Engine) FlushAlerts(ctx context.Context, maxItems int, maxAge time.Duration, now int64) (int, error) {
	ids := e.View().flushable(maxItems, maxAge, now)
	if len(ids) == 0 {
		return 0, nil
	}
	return e.dropAlerts(ctx, ids, now)
}

// EndDecisions ends the running decisions that answer q and says how many.
func (e *Engine) EndDecisions(ctx context.Context, q *Query) (int, error) {
	n, _, err := e.EndDecisionsAt(ctx, q)
	return n, err
}

// EndDecisionsAt is EndDecisions for who wants to know at which revision it was; 0: none ended.
func (e *Engine) EndDecisionsAt(ctx context.Context, q *Query) (n int, at Revision, err error) {
	ended := &endDecisions{}
	err = e.propose(ctx, &proposal{key: everything, answer: ended, resolve: func(v *View) (op, error) {
		ended.at, ended.ids = q.Now, ended.ids[:0]
		for d := range v.answers(q) {
			ended.ids = append(ended.ids, uint64(d.ID()))
		}
		if len(ended.ids) == 0 {
			return nil, nil
		}
		slices.Sort(ended.ids)
		return ended, nil
	}})
	if err != nil {
		return 0, 0, err
	}
	return ended.ended, ended.rev, nil
}

// answers are the decisions that answer q, which a command is about: one at a time does this, so no room is asked for.
func (v *View) answers(q *Query) iter.Seq[Decision] {
	return func(yield func(Decision) bool) {
		found, _ := v.Select(q, func(int64) bool { return true })
		for i := range found.Len() {
			if d := found.At(i); (!q.UUIDs.Given || q.UUIDs.has(d.UUID().String())) && !yield(d) {
				return
			}
		}
	}
}

// EndDecision ends one decision; one that is over already stays as it is.
// ErrNotFound when it is not stored.
func (e *Engine) EndDecision(ctx context.Context, id DecisionID, now int64) error {
	return e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		d, ok := v.Decision(id)
		if !ok {
			return nil, notFound(NounDecision, strconv.FormatUint(uint64(id), 10))
		}
		if d.Ended() {
			return nil, nil
		}
		return &endDecisions{at: now, ids: []uint64{uint64(id)}}, nil
	}})
}
