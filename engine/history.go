package engine

import (
	"errors"
	"iter"
	"slices"

	"lapid/index"
)

// Changed returns a channel that is closed when the next view is published. Take it before
// the view: whatever is published after that view closes it. Any goroutine; nothing is kept
// for readers that do not come back.
func (e *Engine) Changed() <-chan struct{} { return e.changed.next() }

// Commit is one place in the history, as its readers are told it. It may be kept, and holds
// back from being forgotten what a View does.
type Commit struct {
	Revision Revision
	At       int64 // the time of the history, Unix nanoseconds

	decoded  *commit
	view     *View // of the walk
	events   index.Window
	from, to int // those of this commit
}

// ChangeKind says what became true.
type ChangeKind uint8

// Kinds of changes. They are not stored.
const (
	DecisionBegun ChangeKind = iota + 1
	DecisionEnded
	AlertStored
	AlertDeleted
	MachinePut     // made or changed
	MachineDropped //
	BouncerPut     // made or changed
	BouncerDropped
	AllowlistPut      // made, replaced or described anew
	AllowlistExtended // Items were added or replaced
	AllowlistReduced  // Items went, or those that had run out
	AllowlistDropped
)

var changeKinds = [...]string{"", "decision begun", "decision ended", "alert stored", "alert deleted", "machine put", "machine dropped",
	"bouncer put", "bouncer dropped", "allowlist put", "allowlist extended", "allowlist reduced", "allowlist dropped"}

// String names the kind in words.
func (k ChangeKind) String() string {
	if int(k) < len(changeKinds) {
		return changeKinds[k]
	}
	return ""
}

// Change is one thing that became true in a commit.
type Change struct {
	Kind ChangeKind
	By   Actor // what caused it; zero: an older program wrote it, and did not say

	Decision Decision // begun, ended
	Alert    AlertID  // stored, deleted; 0 when an older program stored it
	Machine  string   // AlertStored: whose it is, "" for the server's own
	Name     string   // of the machine, bouncer or allowlist
	Items    []string // of the allowlist, as they are spelt; shared
	Notify   []Notice // AlertStored: which notifications are due, in the profiles' order; shared

	body []byte

	// Of an alert that was reported here; nil and 0 for others.
	in            *incoming
	firstDecision uint64
	state         *state
}

// Report returns what is kept of a stored alert, without its decisions; they are changes of
// their own. It is there whether or not the alert has been deleted since. nil for other
// kinds.
func (c *Change) Report() (*Alert, error) {
	if c.Kind != AlertStored {
		return nil, nil
	}
	a, d := &Alert{ID: c.Alert, MachineID: c.Machine}, decoder{rest: c.body}
	if a.decodeBody(&d); d.err != nil {
		return nil, d.err
	}
	return a, nil
}

// Commits walks the history after a revision, up to the newest view, one commit after the
// other. False means that it no longer reaches back that far, or never went there: the
// reader starts over by its own rule. A reader that wants more waits for Changed, taken
// before.
//
// Commits that say nothing to a reader (visits, bookmarks) are walked too, without changes.
// What cannot be read ends the walk early and is told in the log; the reader comes again
// from where it is. Any goroutine; the walk reads the journal from the disk.
func (e *Engine) Commits(after Revision) (iter.Seq2[Revision, *Commit], bool) {
	v := e.View()
	window, ok := v.state.history.Window(uint64(after), uint64(v.revision))
	if !ok || after > v.revision || after < v.revision && after < Revision(e.journalFloor.Load()) {
		return nil, false
	}
	w := &commitWalk{view: v, events: window}
	return func(yield func(Revision, *Commit) bool) {
		if after == v.revision {
			return
		}
		err := e.store.Replay(uint64(after), func(rev uint64, record []byte) error {
			if Revision(rev) > v.revision {
				return errWalked
			}
			c, err := decodeCommit(record)
			if err != nil {
				return err
			}
			if !yield(Revision(rev), w.next(Revision(rev), c)) {
				return errWalked
			}
			return nil
		})
		if err != nil && !errors.Is(err, errWalked) {
			e.log.Error("cannot read the history", "after", after, "error", err)
		}
	}, true
}

// errWalked ends a walk that is through.
var errWalked = errors.New("walked")

// commitWalk goes through the events in step with the commits.
type commitWalk struct {
	view   *View
	events index.Window
	at     int
}

func (w *commitWalk) next(rev Revision, c *commit) *Commit {
	told := &Commit{Revision: rev, At: c.at, decoded: c, view: w.view, events: w.events, from: w.at}
	for w.at < w.events.Len() {
		if r, ended := told.event(w.at); ended && r.endedRev.Load() != uint64(rev) || !ended && r.begun != uint64(rev) {
			break
		}
		w.at++
	}
	told.to = w.at
	return told
}

// event is one of the walk's.
func (c *Commit) event(i int) (r *record, ended bool) {
	event := c.events.At(i)
	return c.view.state.records.At(event.Slot()), event.Ended()
}

// Changes yields what became true: first what the operations say, in their order, then the
// decisions that began and ended, in theirs: of two on one target the one that ended comes
// first when its time was over by then. A decision that was over when it came is not told.
func (c *Commit) Changes() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		if c.operations(yield) {
			c.decisions(yield)
		}
	}
}

func (c *Commit) operations(yield func(Change) bool) bool {
	for i := range c.decoded.ops {
		a := &c.decoded.ops[i]
		if add := addedBy(a.op); add != nil {
			alert, decision := add.first.alert, add.first.decision
			for j := range add.alerts {
				in := &add.alerts[j]
				change := Change{Kind: AlertStored, By: a.by, Alert: AlertID(alert), Machine: add.machine, Notify: in.notify, body: in.body,
					in: in, firstDecision: decision, state: c.view.state}
				if alert != 0 {
					alert++
					decision += uint64(len(in.plans))
				}
				if !yield(change) {
					return false
				}
			}
			continue
		}
		if !eachChange(a.op, func(change Change) bool {
			change.By = a.by
			return yield(change)
		}) {
			return false
		}
	}
	return true
}

// addedBy is what an operation brings of alerts; nil: none.
func addedBy(o op) *addAlerts {
	switch o := within(o).(type) {
	case *addAlerts:
		return o
	case *replaceList:
		return &o.add
	case *extendDecisions:
		return &o.add
	}
	return nil
}

// eachChange yields what an operation is to readers; nothing for those that concern the
// server alone.
func eachChange(o op, yield func(Change) bool) bool {
	named := func(kind ChangeKind, names ...string) bool {
		for _, name := range names {
			if !yield(Change{Kind: kind, Name: name}) {
				return false
			}
		}
		return true
	}
	switch o := within(o).(type) {
	case *bringAlerts:
		for i := range o.alerts {
			a := &o.alerts[i]
			if !yield(Change{Kind: AlertStored, Alert: AlertID(a.id), Machine: a.machine, body: a.body}) {
				return false
			}
		}
	case *dropAlerts:
		for _, id := range o.ids {
			if !yield(Change{Kind: AlertDeleted, Alert: AlertID(id)}) {
				return false
			}
		}
	case *putMachine:
		return named(MachinePut, o.machine.ID)
	case *dropMachines:
		return named(MachineDropped, o.ids...)
	case *putBouncer:
		return named(BouncerPut, o.bouncer.Name)
	case *dropBouncers:
		return named(BouncerDropped, o.names...)
	case *putAllowlist:
		return yield(Change{Kind: AllowlistPut, Name: o.list.Name, Items: spellings(o.list.Items)})
	case *extendAllowlist:
		return yield(Change{Kind: AllowlistExtended, Name: o.name, Items: spellings(o.items)})
	case *reduceAllowlist:
		return yield(Change{Kind: AllowlistReduced, Name: o.name, Items: o.values})
	case *reviseAllowlist:
		return o.changed(yield)
	case *dropAllowlist:
		return named(AllowlistDropped, o.name)
	}
	return true
}

func spellings(items []AllowlistItem) []string {
	list := make([]string, len(items))
	for i := range items {
		list[i] = items[i].Value
	}
	return list
}

func (c *Commit) decisions(yield func(Change) bool) {
	for i := c.from; i < c.to; i++ {
		r, ended := c.event(i)
		change := Change{Kind: DecisionBegun, Decision: Decision{c.view, r}}
		if ended {
			change.Kind, change.By = DecisionEnded, c.view.state.actorAt(r.by())
			if r.by() == 0 && r.endedAt == r.until {
				change.By = Actor{Kind: ActorExpiry}
			}
		} else {
			change.By = c.whoseAlert(r.alert)
		}
		if !yield(change) {
			return
		}
	}
}

// whoseAlert is the actor that stored an alert in this commit; the zero one, where its
// number was not told.
func (c *Commit) whoseAlert(id uint64) Actor {
	for i := range c.decoded.ops {
		a := &c.decoded.ops[i]
		if bring, ok := within(a.op).(*bringAlerts); ok && slices.ContainsFunc(bring.alerts, func(in arrival) bool { return in.id == id }) {
			return a.by
		}
		add := addedBy(a.op)
		if add != nil && add.first.alert != 0 && id >= add.first.alert && id-add.first.alert < uint64(len(add.alerts)) {
			return a.by
		}
	}
	return Actor{}
}
