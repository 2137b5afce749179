package console

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/audit"
	"lapid/transport/console/site"
)

// What needs attention and is known can be silenced for a while: nobody is told of it on the first page until then, whoever looks.
// Who did it, and until when, stands there too, and each can be ended before.
//
// Silences are kept in memory and, as one reading beside the history, in the store: they survive a restart and a kill. Each node of
// a cluster has its own, for what it tells is its own too. The audit has a row for each that begins or is ended.

const (
	// silenceSeries is the series of readings that they are stored in, all as the one of time 0.
	silenceSeries = 's'
	// mostSilences is how many there are at once. More are refused: end one first.
	mostSilences = 100
	// longestSilence is for how long a line may be silenced: what is wrong for longer is to be seen again. For less than
	// leastSilence it is not worth it.
	longestSilence = 30 * 24 * time.Hour
	leastSilence   = time.Hour
	// longestSilenced is how much of a key, and of a line's text, is kept, in bytes.
	longestSilenced = 512
)

// silenceSpans are the choices of the page.
var silenceSpans = []string{"1h", "4h", "24h", "7d", "30d"}

// silence is one line that nobody is told of for a while.
type silence struct {
	Key   string `json:"key"`  // what it is about: of a concern
	Text  string `json:"text"` // as the line was when it was silenced
	By    string `json:"by"`
	At    int64  `json:"at"`    // Unix nanoseconds, as Until
	Until int64  `json:"until"` // it is over then
}

// silences are those in force.
type silences struct {
	engine *engine.Engine

	mu     sync.Mutex
	list   []silence // the newest last, some may be over
	loaded bool
}

// inForce are those that are not over, the one that ends first in front.
func (l *silences) inForce() []silence {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	list := l.running()
	slices.SortStableFunc(list, func(a, b silence) int { return int(min(max(a.Until-b.Until, -1), 1)) })
	return list
}

// hides tells which keys are not told of now.
func (l *silences) hides() map[string]bool {
	keys := map[string]bool{}
	for _, one := range l.inForce() {
		keys[one.Key] = true
	}
	return keys
}

// begin silences one, in place of one of the same key, and stores that.
func (l *silences) begin(ctx context.Context, one silence) error {
	return l.change(ctx, func(list []silence) ([]silence, error) {
		list = slices.DeleteFunc(list, func(o silence) bool { return o.Key == one.Key })
		if len(list) >= mostSilences {
			return nil, bad(fmt.Sprintf("%d lines are silenced already: end one of them first", mostSilences))
		}
		return append(list, one), nil
	})
}

// end has one told of again, and stores that. It gives what it was.
func (l *silences) end(ctx context.Context, key string) (was silence, err error) {
	err = l.change(ctx, func(list []silence) ([]silence, error) {
		i := slices.IndexFunc(list, func(o silence) bool { return o.Key == key })
		if i < 0 {
			return nil, bad("this line is not silenced any more")
		}
		was = list[i]
		return slices.Delete(list, i, i+1), nil
	})
	return was, err
}

// change makes another list of those in force; an error of make, or of storing, leaves all as it was.
func (l *silences) change(ctx context.Context, make func([]silence) ([]silence, error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	list, err := make(l.running())
	if err != nil {
		return err
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if len(text) > engine.LongestReading {
		return bad("too much is silenced already: end one of them first")
	}
	if err := l.engine.KeepReadings(ctx, []engine.Reading{{Series: silenceSeries, Value: text}}, nil); err != nil {
		return err
	}
	l.list = list
	return nil
}

// running is a list of those that are not over, which is the caller's. Called with the lock.
func (l *silences) running() (list []silence) {
	now := l.engine.Now()
	for _, one := range l.list {
		if one.Until > now {
			list = append(list, one)
		}
	}
	return list
}

// load goes on with what is stored, once. What cannot be read is as if it were not there: then too much is told, not too little.
// Called with the lock.
func (l *silences) load() {
	if l.loaded {
		return
	}
	l.loaded = true
	_ = l.engine.Readings(silenceSeries, func(f engine.Reading) bool {
		if f.At == 0 && json.Unmarshal(f.Value, &l.list) != nil {
			l.list = nil
		}
		return true
	})
	l.list = l.list[:min(len(l.list), mostSilences)]
}

// silenceForm silences a line of what needs attention for a while: one that is told of now, with the text that it has. What is not
// there cannot be silenced beforehand, and nobody chooses the words that others read.
func (s *Server) silenceForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	if s.options.ReadOnly {
		s.denied(q, "attention.silence", "read only")
		return errReadOnly
	}
	key, span := f.Get("key"), strings.TrimSpace(f.Get("for"))
	lasts, err := engine.ParseDuration(span)
	switch {
	case err != nil || lasts < leastSilence || lasts > longestSilence:
		return s.again(q, bad(fmt.Sprintf("a line is silenced for a duration such as 4h or 7d, from 1h to 30d, not %.100q", span)), (*Server).overviewPage)
	case key == "" || len(key) > longestSilenced:
		return bad("the form is not one of the lines of the first page")
	}
	text, err := s.toldOf(q, key)
	if err != nil {
		return s.again(q, err, (*Server).overviewPage)
	}
	now := s.options.Engine.Now()
	if err := s.silences.begin(q.Context(), silence{key, text, q.who.Name, now, now + int64(lasts)}); err != nil {
		return s.again(q, err, (*Server).overviewPage)
	}
	s.silenced(q, "attention.silence", key)
	return s.done(q, "/", site.Notice{Text: fmt.Sprintf("Nobody is told for %s: %s.", span, text), Undo: &site.Form{Action: "/attention/tell", Label: "Undo", Fields: [][2]string{{"key", key}}}})
}

// toldOf is the text of a line that the first page has now, or silences.
func (s *Server) toldOf(q *request, key string) (text string, err error) {
	for _, one := range s.silences.inForce() { // anew, for longer or less
		if one.Key == key {
			return one.Text, nil
		}
	}
	m := s.options.Engine.Metrics()
	d := overviewShown{hidden: s.silences.hides()}
	d.count(s, &m)
	if _, err := s.bouncersInAll(q, &d.Concerns); err != nil {
		return "", err
	}
	if err := s.concerns(q, &d, &m); err != nil {
		return "", err
	}
	for _, one := range d.Concerns {
		if one.Key == key {
			return strings.ToValidUTF8(one.Text[:min(len(one.Text), longestSilenced)], ""), nil
		}
	}
	return "", bad("this line is not told any more, so nothing was silenced")
}

// tellForm has a line that was silenced told of again.
func (s *Server) tellForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	if s.options.ReadOnly {
		s.denied(q, "attention.tell", "read only")
		return errReadOnly
	}
	was, err := s.silences.end(q.Context(), f.Get("key"))
	if err != nil {
		return s.again(q, err, (*Server).overviewPage)
	}
	s.silenced(q, "attention.tell", was.Key)
	return s.done(q, "/", site.Notice{Text: "It is told again, if it is still so: " + was.Text + "."})
}

// silenced has the audit know of it.
func (s *Server) silenced(q *request, action, key string) {
	s.note(q, audit.Note{By: engine.Actor{Kind: engine.ActorNamedOperator, Name: q.who.Name}, Token: q.token, Action: action, Target: key, Outcome: engine.AuditOK, Deed: true})
}
