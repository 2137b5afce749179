package engine

import (
	"context"
	"fmt"
	"time"
)

// Where several nodes share a history a bouncer that was at one of them goes on at another
// from where it was, for its place is in the history: each node notes what its visitors left
// in its memory and has the node that writes commit it (visitsOf), its own included.
//
//	at once          a bouncer that began anew, the first place of one that has shown that it
//	                 has something, and one that is noteFar revisions behind what was noted
//	once a minute    everybody who came by since
//	                 (VisitNote, every second)
//
// A note is one until it is seen in the history: VisitNote gives the same again, and the
// writer stores it once (RequestID). So a crash of a node costs what was noted in its last
// minute, of bouncers that then hear some things twice.

// VisitNote is what visitors left at a node, for the one that writes.
type VisitNote struct {
	ID   RequestID // under which it is stored once (ForRequest)
	Body []byte    // for NoteVisits
}

const (
	// notesEvery is how often everybody is noted.
	notesEvery = time.Minute
	// noteBytes is from where on a note is full, in bytes, and visitsAtOnce in rows; what is left goes into the next.
	noteBytes = 1 << 20
	// VisitNoteAtMost is how long the Body of a note is at most, in bytes. A longer one is refused.
	VisitNoteAtMost = 2 * noteBytes
)

// notes is what a node has to tell of its visitors. It is the committer's.
type notes struct {
	start  uint64   // of the process, by chance; 0: nothing is shared
	serial uint64   // of the last note
	out    *notedOp // noted, and not seen in the history yet
	due    int64    // when everybody is noted next, on the steady clock
	walked Revision // the newest when the rows were looked at last
}

// notedOp is a note under way.
type notedOp struct {
	VisitNote
	serial uint64
}

// stored ends a note that is in the history.
func (n *notes) stored(serial uint64) {
	if n.out != nil && n.out.serial == serial {
		n.out = nil
	}
}

// VisitNote gathers what is to be told of the visitors of this node, which has a name, or gives the
// note that was not seen in the history yet; nil: there is nothing to be told now. all: everybody who came by
// since the last, though the minute is not over, as before the end; to be called until there is
// nothing more. It needs Run and a shared Journal. Errors: ErrBusy, ErrClosed and that of ctx.
func (e *Engine) VisitNote(ctx context.Context, node string, all bool) (note *VisitNote, err error) {
	if e.options.Journal == nil {
		return nil, nil
	}
	err = e.perform(ctx, func(v *View) (err error) {
		note, err = e.noteVisits(v, node, all)
		return err
	})
	if err != nil {
		return nil, err
	}
	return note, nil
}

// noteVisits is VisitNote on the committer.
func (e *Engine) noteVisits(v *View, node string, all bool) (*VisitNote, error) {
	s, n := e.state, &e.state.notes
	if n.out == nil {
		o := e.gatherVisits(v, all)
		if o == nil {
			return nil, nil
		}
		n.serial++
		o.node, o.start, o.serial, o.seen = node, n.start, n.serial, v.revision
		n.out = &notedOp{VisitNote{Body: o.append(nil)}, n.serial}
	}
	if id := n.out.ID; id.IsZero() || s.answerTo(id.write(aboutVisits, 0)) == nil && s.forgotten(id) {
		var err error
		if n.out.ID, err = e.NewRequest(); err != nil {
			return nil, err
		}
	}
	note := n.out.VisitNote
	return &note, nil
}

// gatherVisits takes rows out of the ledgers; nil: none is to be told of now.
func (e *Engine) gatherVisits(v *View, all bool) *visitsOf {
	s, n := e.state, &e.state.notes
	_, steady := e.clock()
	all = all || steady >= n.due
	if hurry := s.visited.hurry.Swap(false); !all && !hurry && v.revision < n.walked+noteFar {
		return nil
	}
	o, full := &visitsOf{}, 0
	s.visited.open()
	for looked := 0; looked < visitsAtOnce && full < noteBytes; looked++ {
		row := s.visited.take()
		if row == nil {
			break
		}
		if row.gone.Load() {
			continue
		}
		if !all && !row.hurries() {
			s.visited.note(row)
			continue
		}
		o.bouncers = append(o.bouncers, row.toTell())
		full += noteRow + len(o.bouncers[len(o.bouncers)-1].name)
	}
	if all {
		e.gatherOthers(o, full)
	}
	if s.visited.rest != nil || s.heard.rest != nil && all {
		s.visited.hurry.Store(true) // soon
	} else if n.walked = v.revision; all {
		n.due = steady + int64(notesEvery)
	}
	if len(o.bouncers)+len(o.machines)+len(o.operators) == 0 {
		return nil
	}
	return o
}

// noteRow is what a row of a note takes at most beside its name, in bytes.
const noteRow = 40

// gatherOthers adds machines and operators, to a note that has so many bytes.
func (e *Engine) gatherOthers(o *visitsOf, full int) {
	s := e.state
	s.heard.open()
	for len(o.machines) < visitsAtOnce && full < noteBytes {
		row := s.heard.take()
		if row == nil {
			break
		}
		if !row.gone {
			o.machines = append(o.machines, visit{name: row.value.Load().ID, at: row.heartbeat.Load()})
			full += noteRow + len(o.machines[len(o.machines)-1].name)
		}
	}
	s.logins.open()
	for row := s.logins.take(); row != nil; row = s.logins.take() { // there are few
		if !row.gone {
			o.operators = append(o.operators, visit{name: row.name, at: row.at.Load()})
		}
	}
}

// aboutVisits is the key of notes: each sees what those before it did.
const aboutVisits = "visits"

// NoteVisits commits the note of a node, here, at the one that writes. In ctx is its id (ForRequest). Errors:
// ErrInvalid for what is no note, those of a write.
func (e *Engine) NoteVisits(ctx context.Context, body []byte) error {
	o := &visitsOf{}
	d := decoder{rest: body, version: recordVersion}
	if len(body) > VisitNoteAtMost {
		d.fail()
	} else {
		o.decode(&d)
	}
	if d.err != nil || len(o.node) > longestActor {
		return &Error{Kind: ErrInvalid, Text: fmt.Sprintf("a note of another node's visitors, of %d bytes, cannot be read", len(body))}
	}
	return e.propose(ctx, &proposal{key: aboutVisits, by: Actor{Kind: ActorNode, Name: o.node}, resolve: func(*View) (op, error) {
		o.leaveOut(e.state)
		return o, nil
	}})
}
