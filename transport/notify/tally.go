package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"lapid/engine"
)

// DropReason says why alerts were given up.
type DropReason uint8

// The reasons.
const (
	DroppedRefused DropReason = iota // the receiver refuses the message, and takes others
	DroppedFormat                    // the format fails for the alert
	DroppedPoison                    // the receiver takes other messages and not this one
	DroppedOld                       // the receiver took nothing for as long as an alert is kept
	dropReasons
)

// String is a word in snake case.
func (r DropReason) String() string {
	return [...]string{"refused", "format", "failed", "too_old"}[r]
}

// Figures are what one notification has done since the start of the program.
type Figures struct {
	Name      string
	Delivered uint64              // messages that were taken
	Failed    uint64              // attempts that failed
	Retried   uint64              // attempts to send what had failed before
	Dropped   [dropReasons]uint64 // alerts that were given up, by DropReason
	Skipped   uint64              // commits that the history had forgotten before they were looked at
	Waiting   int                 // alerts that wait and have been looked at, at most 1000; see its bookmark for how far it is behind
	Oldest    time.Time           // when the oldest of them was stored; zero: none waits
	Down      time.Time           // since when its receiver takes nothing; zero: attempts have not failed for downAfter, nor a whole round
	Why       string              // the error of that
	Unnamed   bool                // there is no such notification any more, and alerts wait in case there will be
}

// tally counts for one notification. Any goroutine may use it.
type tally struct {
	mu   sync.Mutex
	name string
	now  Figures
}

func (t *tally) do(change func(f *Figures)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.now)
}

func (t *tally) delivered() { t.do(func(f *Figures) { f.Delivered++ }) }
func (t *tally) failed()    { t.do(func(f *Figures) { f.Failed++ }) }
func (t *tally) retried()   { t.do(func(f *Figures) { f.Retried++ }) }
func (t *tally) dropped(why DropReason, n int) {
	t.do(func(f *Figures) { f.Dropped[why] += uint64(n) })
}
func (t *tally) skipped(n uint64) { t.do(func(f *Figures) { f.Skipped += n }) }
func (t *tally) waits(n int, oldest time.Time) {
	t.do(func(f *Figures) { f.Waiting, f.Oldest = n, oldest })
}
func (t *tally) down(since time.Time, why error) {
	t.do(func(f *Figures) { f.Down, f.Why = since, why.Error() })
}
func (t *tally) up() { t.do(func(f *Figures) { f.Down, f.Why = time.Time{}, "" }) }
func (t *tally) nobody(since time.Time) {
	t.do(func(f *Figures) { f.Unnamed, f.Down, f.Why = true, since, "" })
}

// named ends that.
func (t *tally) named() {
	t.do(func(f *Figures) {
		if f.Unnamed {
			f.Unnamed, f.Down, f.Why = false, time.Time{}, ""
		}
	})
}

func (t *tally) figures() Figures {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.now
	f.Name = t.name
	return f
}

// tallies are those of all notifications. A notification that has changed keeps its own.
type tallies struct {
	mu     sync.Mutex
	byName map[string]*tally
}

func (t *tallies) of(name string) *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byName == nil {
		t.byName = map[string]*tally{}
	}
	if t.byName[name] == nil {
		t.byName[name] = &tally{name: name}
	}
	return t.byName[name]
}

// keep forgets those of notifications that there are no more.
func (t *tallies) keep(names map[string]*working) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.byName, func(name string, _ *tally) bool { return names[name] == nil })
}

// Figures are those of each notification, by name. Any goroutine; it waits for none.
func (n *Notifier) Figures() []Figures {
	n.tallies.mu.Lock()
	defer n.tallies.mu.Unlock()
	list := make([]Figures, 0, len(n.tallies.byName))
	for _, name := range slices.Sorted(maps.Keys(n.tallies.byName)) {
		list = append(list, n.tallies.byName[name].figures())
	}
	return list
}

// Trouble is what to tell the operator of receivers that take nothing; nil when all take.
// Any goroutine; it waits for nothing.
func (n *Notifier) Trouble() *engine.Trouble {
	const most = 3
	var said []string
	var since time.Time
	down := 0
	for _, f := range n.Figures() {
		if f.Down.IsZero() || f.Unnamed && f.Waiting == 0 {
			continue
		}
		if since.IsZero() || f.Down.Before(since) {
			since = f.Down
		}
		if down++; down <= most && f.Unnamed {
			said = append(said, fmt.Sprintf("%d alert(s) wait for notification '%s', which no profile names now, or nothing sends", f.Waiting, f.Name))
		} else if down <= most {
			said = append(said, fmt.Sprintf("the receiver of notification '%s' takes nothing (%s), %d alert(s) wait", f.Name, f.Why, f.Waiting))
		}
	}
	if down == 0 {
		return nil
	}
	text := strings.Join(said, "; ")
	if down > most {
		text += fmt.Sprintf("; and %d more", down-most)
	}
	return &engine.Trouble{Kind: engine.TroubleNotification, Since: since.UnixNano(), Text: text +
		fmt.Sprintf(": look at the receiver, or mend the document and send SIGHUP; what waits goes out by itself for %v", keptFor)}
}
