package audit

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"lapid/engine"
)

// Note is something that comes into no commit: who was refused, who logged in, what failed.
type Note struct {
	At      int64 // Unix nanoseconds
	By      engine.Actor
	Address string // "": this machine
	Token   uint32 // number of the API token that was shown; 0: none
	Action  string // noun and verb: machine.login
	Target  string
	Outcome string // engine.AuditOK, or why not, in few words: each is counted by itself
	// Deed: it has a row of its own, as what is in a commit has, unless there are more than
	// mostDeeds a minute.
	Deed bool
}

const (
	// mostNoted is how many names and addresses a minute has rows for, some hundred bytes
	// each. Others are counted together, one row for each action and outcome.
	mostNoted = 512
	// mostDeeds is how many of a minute are told one by one.
	mostDeeds = 256
	// mostOthers bounds those rows too: what comes beyond is in the last of them.
	mostOthers = 64
	minute     = int64(time.Minute)
)

// notes are what is counted of one minute. Any goroutine may use them.
type notes struct {
	mu      sync.Mutex
	minute  int64
	deeds   int             // of this minute
	known   map[Note]*noted // without At
	others  map[Note]*noted // without names
	waiting []engine.AuditRow
	lost    uint64 // rows that were dropped, since the start
}

// noted is how often, and when first and last.
type noted struct {
	times       int
	first, last int64
}

// Note counts something for the audit. It does not wait and never fails: what is beyond the
// bounds is counted with others.
func (a *Auditor) Note(n Note) {
	if a.notes.add(n) {
		select {
		case a.wake <- struct{}{}:
		default: // it is woken already
		}
	}
}

// Lost is how many rows were dropped since the start, for the store took none for too long.
func (a *Auditor) Lost() uint64 {
	a.notes.mu.Lock()
	defer a.notes.mu.Unlock()
	return a.notes.lost
}

// add reports whether there is a row to be written at once.
func (l *notes) add(n Note) (deed bool) {
	at := n.At
	n.At = 0
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begin(at)
	if n.Deed && l.deeds < mostDeeds {
		l.deeds++
		l.waiting = append(l.waiting, engine.AuditRow{Series: engine.AuditDeeds, At: at, By: n.By, Address: n.Address, Token: n.Token, Action: n.Action, Target: n.Target, Outcome: n.Outcome})
		l.bound()
		return true
	}
	it := l.known[n]
	if it == nil && len(l.known) < mostNoted {
		it = &noted{first: at}
		l.known[n] = it
	}
	if it == nil {
		n.By.Name, n.Address, n.Token, n.Target, n.Deed = "", "", 0, "others", false
		if it = l.others[n]; it == nil && len(l.others) >= mostOthers {
			n = Note{By: engine.Actor{Kind: engine.ActorStranger}, Action: "other", Target: "others", Outcome: "refused"}
			it = l.others[n]
		}
		if it == nil {
			it = &noted{first: at}
			l.others[n] = it
		}
	}
	it.times++
	it.last = at
	return false
}

// begin ends the minute before. mu is held.
func (l *notes) begin(at int64) {
	if l.known == nil {
		l.known, l.others, l.minute = map[Note]*noted{}, map[Note]*noted{}, at/minute
	}
	if at/minute != l.minute {
		l.over()
		l.minute, l.deeds = at/minute, 0
	}
}

// over makes rows of what was counted. What the trail has not taken by then is bounded: the
// oldest go first. mu is held.
func (l *notes) over() {
	from := len(l.waiting)
	for _, counted := range []map[Note]*noted{l.known, l.others} {
		for n, it := range counted {
			l.waiting = append(l.waiting, n.row(it))
		}
		clear(counted)
	}
	slices.SortFunc(l.waiting[from:], func(a, b engine.AuditRow) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Action, b.Action), cmp.Compare(a.By.Name, b.By.Name), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Target, b.Target))
	})
	l.bound()
}

// row is the counted row of a note.
func (n *Note) row(it *noted) engine.AuditRow {
	return engine.AuditRow{Series: engine.AuditCounted, At: it.last, By: n.By, Address: n.Address, Token: n.Token, Action: n.Action, Target: n.Target, Outcome: n.Outcome,
		After: fmt.Sprintf(`{"first":%q,"times":%d}`, time.Unix(0, it.first).UTC().Format(time.RFC3339), it.times)}
}

// mostWaiting bounds rows that wait for a trail that takes none.
const mostWaiting = 4 * (mostNoted + mostOthers)

func (l *notes) bound() {
	if n := len(l.waiting) - mostWaiting; n > 0 {
		l.waiting = slices.Delete(l.waiting, 0, n)
		l.lost += uint64(n)
	}
}

// due gives the rows of minutes that are over by now; all: of this one too.
func (l *notes) due(now int64, all bool) []engine.AuditRow {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		return nil
	}
	if l.begin(now); all {
		l.over()
	}
	rows := l.waiting
	l.waiting = nil
	return rows
}

// back takes rows again that could not be written.
func (l *notes) back(rows []engine.AuditRow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(rows, l.waiting...)
	l.bound()
}
