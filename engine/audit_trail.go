package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"lapid/persist"
)

// Trail is the audit of an engine: it follows the history, and is read. Rows lie in the
// store; the committer writes them, between two commits and not synced, so they reach the
// disk with the next commit. Nothing is lost by that: where the audit stands is written with
// them, and what a crash takes is made again from the journal, which is kept for it as for a
// Bookmark (Options.BookmarkBytes).
//
// Any goroutine may call its methods, while the engine runs where they write.
type Trail struct {
	e *Engine

	// mu is held while the trail goes on, and so while the committer is waited for, which
	// never takes it.
	mu    sync.Mutex
	walk  *auditWalk // nil: to be begun
	extra []AuditRow // of callers, to be written next

	// The committer's, and read by all. nil: nothing is there yet.
	head   atomic.Pointer[auditHead]
	read   atomic.Uint64 // revision up to which it was looked at; ahead of head where there was nothing to tell
	broken error         // what the store has cannot be read: nothing is written. Set by open
}

// mostAuditExtra bounds what waits of callers; more is refused with ErrBusy.
const mostAuditExtra = 4096

// errAuditMoved: somebody else has written since.
var errAuditMoved = errors.New("the audit has moved on")

// Trail is the engine's audit.
func (e *Engine) Trail() *Trail { return &e.trail }

// open looks where the audit stands.
func (t *Trail) open(e *Engine) {
	t.e = e
	value, there, err := e.store.Row(nil, rowAuditHead, nil)
	if err == nil && there {
		head := &auditHead{}
		if err = head.decode(value); err == nil {
			t.head.Store(head)
		}
	}
	if t.broken = err; err != nil {
		e.log.Error("it cannot be read where the audit stands: nothing is audited until the store is restored from a backup", "error", err)
	}
}

// on reports whether there is an audit to be written.
func (t *Trail) on() bool { return t.e.options.Audit != nil && t.broken == nil }

// off is the error of what is asked of an audit that is not written.
func (t *Trail) off() error {
	if t.broken != nil {
		return fmt.Errorf("the audit cannot be read: %w", t.broken)
	}
	return &Error{Kind: ErrRefused, Text: "no audit is kept here"}
}

// begin has the audit stand before what is committed next, once. The committer's.
func (t *Trail) begin() error {
	if t.head.Load() != nil || !t.on() {
		return nil
	}
	v := t.e.View()
	w := newAuditWalk(t.e, &auditHead{next: 1})
	if t.e.journalFloor.Load() > 0 { // else the whole history is there to be told
		w.head.told, w.head.counted, w.read = v.revision, v.revision, v.revision
		w.seed(v)
		w.rev, w.at, w.by = v.revision, v.at, Actor{Kind: ActorServer}
		w.deed("audit.begin", "", nil, auditFields{"machines": v.machines.bySerial.Len(), "bouncers": v.BouncerCount(), "allowlists": len(v.allowlists.order)})
	}
	return t.write(w)
}

// write stores what a walk has made. The committer's.
func (t *Trail) write(w *auditWalk) error {
	if head := t.head.Load(); head != nil && *head != w.base {
		return errAuditMoved
	}
	w.stand()
	if err := t.e.store.WriteRows(w.batch); err != nil {
		w.batch.Reset()
		return &Error{Kind: ErrDisk, Text: "the audit could not be stored", Cause: err}
	}
	head := w.head
	t.head.Store(&head)
	w.written()
	return nil
}

// Follow writes rows of all that was committed before the call, in bounded steps between
// which commits go on. What is counted gets its rows when its minute is over or, with
// flush, now. Errors: ErrDisk, ErrClosed, ErrBusy, that of ctx, and those of reading the
// journal; the next call goes on where this one ended.
func (t *Trail) Follow(ctx context.Context, flush bool) error {
	if !t.on() {
		return t.off()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.follow(ctx, flush)
}

// follow is Follow, with the lock.
func (t *Trail) follow(ctx context.Context, flush bool) error {
	to := t.e.View().revision
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := t.step(ctx, to, flush)
		switch {
		case errors.Is(err, errAuditMoved), err == nil && more:
			continue
		case err != nil:
			t.walk = nil // what it made and did not write it makes again
			return err
		}
		return nil
	}
}

// step walks and writes once.
func (t *Trail) step(ctx context.Context, to Revision, flush bool) (more bool, err error) {
	w, err := t.current(ctx)
	if err != nil {
		return false, err
	}
	full, err := w.forward(to)
	// A backup may have told more than to meanwhile. What there is not is another history's.
	if errors.Is(err, persist.ErrForgotten) || w.base.told > t.e.View().revision {
		return true, t.startOver(ctx)
	}
	if err != nil {
		return false, err
	}
	t.read.Store(uint64(w.read))
	if now := t.e.Now(); !full && (flush || now/auditMinute > w.minute) {
		w.flush()
	}
	for i := range t.extra {
		w.enter(&t.extra[i])
	}
	if !w.worth() {
		return full, nil
	}
	err = t.e.perform(ctx, func(*View) error { return t.write(w) })
	if err == nil {
		t.extra = nil
	} else {
		t.walk = nil
	}
	return full, err
}

// current is the walk behind what is stored.
func (t *Trail) current(ctx context.Context) (*auditWalk, error) {
	if t.head.Load() == nil {
		if err := t.e.perform(ctx, func(*View) error { return t.begin() }); err != nil {
			return nil, err
		}
	}
	if head := t.head.Load(); t.walk == nil || t.walk.base != *head {
		t.walk = newAuditWalk(t.e, head)
	}
	return t.walk, nil
}

// startOver goes on at the present, for the history does not reach back to where the audit
// stands, or is another one. A row says what is missing.
func (t *Trail) startOver(ctx context.Context) error {
	t.walk = nil
	return t.e.perform(ctx, func(v *View) error {
		head := t.head.Load()
		w := newAuditWalk(t.e, head)
		t.gap(w, v)
		return t.write(w)
	})
}

func (t *Trail) gap(w *auditWalk, v *View) {
	from := w.base.told
	w.head.told, w.head.counted, w.read = v.revision, v.revision, v.revision
	w.seed(v)
	w.rev, w.at, w.by = v.revision, v.at, Actor{Kind: ActorServer}
	w.deed("audit.gap", fmt.Sprintf("revisions %d to %d", min(from, v.revision)+1, v.revision), auditFields{"told": from}, auditFields{"told": v.revision})
	t.e.log.Error("the audit has a gap: the history does not reach back to where it stood", "told", uint64(from), "goes_on_after", uint64(v.revision))
}

// Add stores rows about what is in no commit: refused callers, logins. What they say of
// number and revision is not looked at. They are there, though not synced, when it returns;
// after an error none of them is, and they may be added again. Errors: ErrBusy for more than
// can be added at once, and those of Follow.
func (t *Trail) Add(ctx context.Context, rows []AuditRow) error {
	if !t.on() {
		return t.off()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(rows) > mostAuditExtra {
		return &Error{Kind: ErrBusy, Text: "too many rows of the audit are waiting"}
	}
	for i := range rows {
		r := rows[i]
		r.Revision = 0
		r.bounded()
		t.extra = append(t.extra, r)
	}
	err := t.follow(ctx, false)
	if len(t.extra) == 0 && len(rows) > 0 {
		return nil // what went wrong is behind them, and is told by who follows next
	}
	t.extra, t.walk = nil, nil
	return err
}

// catchUp tells all that is in the view, counted things too. The committer's, for a backup,
// which has it whole.
func (t *Trail) catchUp(v *View) error {
	if !t.on() {
		return nil
	}
	if err := t.begin(); err != nil {
		return err
	}
	for full := true; full; {
		w := newAuditWalk(t.e, t.head.Load())
		var err error
		full, err = w.forward(v.revision)
		if errors.Is(err, persist.ErrForgotten) {
			w = newAuditWalk(t.e, t.head.Load())
			t.gap(w, v)
		} else if err != nil {
			return err
		}
		if !full {
			w.flush()
		}
		if err := t.write(w); err != nil {
			return err
		}
	}
	return nil
}

// restored tells that the store was made from a backup, behind all that this has of the audit.
// Run must not be running: what calls is in the place of the committer.
func (t *Trail) restored(by Actor, rev Revision) error {
	if !t.on() {
		return nil
	}
	v := t.e.View()
	if err := t.catchUp(v); err != nil {
		return err
	}
	w := newAuditWalk(t.e, t.head.Load())
	w.read, w.rev, w.at, w.by = v.revision, v.revision, t.e.Now(), by
	w.deed("store.restore", fmt.Sprintf("revision %d", rev), nil, nil)
	return t.write(w)
}

// awaits is the revision behind which the journal is kept for the audit, and whether there
// is one.
func (t *Trail) awaits() (Revision, bool) {
	head := t.head.Load()
	if head == nil || !t.on() {
		return 0, false
	}
	return head.counted, true
}

// AuditMetrics is one reading of the audit; zero where none is kept.
type AuditMetrics struct {
	On      bool
	Told    Revision            // the history is told up to here
	Lag     uint64              // revisions behind it
	Counted uint64              // revisions behind the one up to which what is counted has its rows: a minute's worth is usual
	Rows    [auditSeries]uint64 // stored, by series
	Ever    [auditSeries]uint64 // with those that were forgotten
	Bytes   uint64              // of the stored rows, before the store has compressed them
}

// Metrics reads where the audit stands. Any goroutine; it does not wait.
func (t *Trail) Metrics() AuditMetrics {
	head := t.head.Load()
	if head == nil || !t.on() {
		return AuditMetrics{}
	}
	newest := t.e.View().revision
	told := max(head.told, min(Revision(t.read.Load()), newest))
	m := AuditMetrics{On: true, Told: told, Lag: uint64(newest - min(told, newest)), Counted: uint64(newest - min(head.counted, newest)), Bytes: head.bytes}
	for s := range head.series {
		m.Rows[s], m.Ever[s] = head.series[s].rows, head.series[s].everything
	}
	return m
}
