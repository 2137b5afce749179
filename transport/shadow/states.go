package shadow

import (
	"net/url"
	"strings"
	"sync"
	"time"
)

// states are what bouncers hold, by what each server told them. Deltas of two servers are cut at different moments, so
// they are applied, each server's to its own set, and the sets are compared after a quiet time.
//
// A set holds targets (type, scope, value), for that is what a bouncer acts on: 16 bytes each in a map, some 50 with its
// room to grow. Texts are kept for the newest ones alone.
type states struct {
	written *written

	mu    sync.Mutex
	all   map[string]*state
	most  int // targets of all together
	total int
	names map[uint64]string // of targets that changed lately
	order []uint64          // a ring
	next  int
}

// mostNames of targets are remembered.
const mostTexts = 100_000

// mostStates is how many bouncers have sets; another one takes the place of the one that polled longest ago.
const mostStates = 2000

// state is one bouncer's, for one question.
type state struct {
	targets  map[uint64]held
	uneven   map[uint64]*unlike // targets that one side alone has
	sure     bool               // both sets are known: a startup was seen, or the first deltas were taken for the same
	many     bool               // too many to be kept
	live     bool               // this key asks live queries too
	polls    int64
	used     time.Time
	suspects map[uint64]bool // values of which the old server may never tell it
	anything time.Time       // when it may have missed the end of anything
}

// mostSuspects is how many values a bouncer may have missed at the old server; then they are forgotten.
const mostSuspects = 10_000

// suspect notes a write that the old server carried out while it answered this bouncer.
func (st *state) suspect(f *flight, now time.Time) {
	if f.any {
		st.anything = now
	}
	if st.many {
		return
	}
	if len(st.suspects) > mostSuspects {
		clear(st.suspects)
	}
	for _, v := range f.values {
		st.suspects[v] = true
	}
}

// noteWrite notes the bouncers that the old server answered while it carried a write out.
func (s *states) noteWrite(f flight, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range f.met {
		st.suspect(&f, now)
	}
}

// held is who has a target: bits by side, and when it ends, in Unix seconds, by who told last.
type held struct {
	end  uint32
	bits uint8
}

const bothBits = 1<<Theirs | 1<<Ours

// unlike is since when a target is on one side alone.
type unlike struct {
	poll    int64     // the first that saw it
	dropped time.Time // when the other side has told of its end
}

func newStates(most int, w *written) *states {
	return &states{written: w, all: map[string]*state{}, most: most, names: map[uint64]string{}, order: make([]uint64, mostTexts)}
}

// stateKey names a bouncer and its question.
func stateKey(x *exchange) string {
	_, query, _ := strings.Cut(x.target, "?")
	q, _ := url.ParseQuery(query)
	q.Del("startup")
	return bouncerKey(x) + " " + q.Encode()
}

// bouncerKey names a bouncer: a key and an address.
func bouncerKey(x *exchange) string {
	return x.header.Get("X-Api-Key") + " " + x.header.Get("X-Forwarded-For") + " " + x.peer.String()
}

// unsure forgets a bouncer's sets: an answer was lost.
func (s *states) unsure(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(key)
}

// forget forgets all.
func (s *states) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.total = map[string]*state{}, 0
}

func (s *states) drop(key string) {
	if st := s.all[key]; st != nil {
		s.total -= len(st.targets)
		delete(s.all, key)
	}
}

// of is a bouncer's state, a new one if need be.
func (s *states) of(key string, now time.Time) *state {
	st := s.all[key]
	if st == nil {
		if len(s.all) >= mostStates {
			s.dropOldest()
		}
		st = &state{targets: map[uint64]held{}, uneven: map[uint64]*unlike{}, suspects: map[uint64]bool{}}
		s.all[key] = st
	}
	st.used = now
	return st
}

func (s *states) dropOldest() {
	oldest := ""
	for key, st := range s.all {
		if oldest == "" || st.used.Before(s.all[oldest].used) {
			oldest = key
		}
	}
	s.drop(oldest)
}

// asksLive notes that a key asks live queries.
func (s *states) asksLive(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := bouncerKey(x) + " "
	for key, st := range s.all {
		if strings.HasPrefix(key, who) {
			st.live = true
		}
	}
}

// begin sets a bouncer's sets to two full answers.
func (s *states) begin(key string, answers [2]source, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.all[key] != nil && s.all[key].live
	s.drop(key)
	st := s.of(key, now)
	st.sure, st.live = true, live
	for side, from := range answers {
		if err := from(func(d *decision) { s.add(st, Side(side), d, now, false) }); err != nil {
			return err
		}
	}
	return nil
}

// apply takes two deltas in. Ends come before what is new, as clients take them.
func (s *states) apply(key string, ended, fresh [2]source, now time.Time, asked span) (*state, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.of(key, now)
	st.polls++
	for _, f := range s.written.during(st, asked) {
		st.suspect(&f, now)
	}
	for side := range ended {
		if err := ended[side](func(d *decision) { s.remove(st, Side(side), d, now) }); err != nil {
			return st, err
		}
		if err := fresh[side](func(d *decision) { s.add(st, Side(side), d, now, true) }); err != nil {
			return st, err
		}
	}
	if !st.sure { // a bouncer that was there before the shadow: what it holds is not known, and its place need not be the same
		for t := range st.uneven {
			st.targets[t] = held{st.targets[t].end, bothBits}
		}
		clear(st.uneven)
		st.sure = true
	}
	return st, nil
}

func (s *states) add(st *state, side Side, d *decision, now time.Time, named bool) {
	if st.many {
		return
	}
	t := d.targetSum()
	h, there := st.targets[t]
	if !there {
		if s.total >= s.most {
			st.many = true
			s.total -= len(st.targets)
			st.targets, st.uneven = nil, nil
			return
		}
		s.total++
	}
	h.end = uint32(max(now.Unix()+int64(d.left()), 0))
	h.bits |= 1 << side
	st.targets[t] = h
	st.mark(t, h, nil)
	if named {
		s.name(t, d)
	}
}

func (s *states) remove(st *state, side Side, d *decision, now time.Time) {
	t := d.targetSum()
	h, there := st.targets[t]
	if !there || h.bits&(1<<side) == 0 {
		return
	}
	h.bits &^= 1 << side
	if h.bits == 0 {
		delete(st.targets, t)
		delete(st.uneven, t)
		s.total--
		return
	}
	st.targets[t] = h
	st.mark(t, h, &now)
	s.name(t, d)
}

// mark notes whether a target is on one side alone.
func (st *state) mark(t uint64, h held, dropped *time.Time) {
	if h.bits == bothBits {
		delete(st.uneven, t)
		return
	}
	u := st.uneven[t]
	if u == nil {
		u = &unlike{poll: st.polls}
		st.uneven[t] = u
	}
	if dropped != nil {
		u.dropped = *dropped
	}
}

// name keeps the text of a target, in the place of the one that was kept longest.
func (s *states) name(t uint64, d *decision) {
	if _, there := s.names[t]; there {
		return
	}
	delete(s.names, s.order[s.next])
	s.order[s.next] = t
	s.next = (s.next + 1) % len(s.order)
	s.names[t] = d.target()
}

// judge compares the two sets of a bouncer. A target counts that one side alone has had since an earlier poll: what has only just
// come may be in the other's next answer.
func (s *states) judge(st *state, now time.Time, w *written) (list []difference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for t, u := range st.uneven {
		h := st.targets[t]
		if u.poll >= st.polls {
			continue
		}
		side := Theirs
		if h.bits == 1<<Ours {
			side = Ours
		}
		text, known := s.names[t]
		if !known {
			text = "a target whose name was not kept"
		}
		d := difference{kind: "what a bouncer holds: a target that only " + holder(side), what: text}
		d.reason = st.reason(side, h, u, text, known, now, w)
		list = append(list, d)
		if len(list) == mostNamed {
			break
		}
	}
	return list
}

// reason says why one side alone may have a target.
func (st *state) reason(side Side, h held, u *unlike, text string, known bool, now time.Time, w *written) string {
	words := strings.SplitN(text, " ", 3)
	if left := int64(h.end) - now.Unix(); left < 5 {
		return whyEnding
	}
	if side == Theirs && w.deletedAlerts() {
		return whySilent
	}
	if !known || len(words) < 3 {
		return ""
	}
	d := &decision{Type: words[0], Scope: words[1], Value: words[2]}
	switch {
	case w.zoned(d.Value):
		return whyZone
	case side == Theirs && w.halved(d.Value):
		return whyHalf
	case st.suspects[sum(d.Value)], side == Theirs && !u.dropped.IsZero() && u.dropped.Sub(st.anything) < time.Minute:
		return whyMissed
	case side == Theirs && w.own(d):
		return whyOwn
	case side == Ours && st.live:
		return whyCursor
	case side == Ours && (w.endedThere(d) || !u.dropped.IsZero() && int64(h.end)-u.dropped.Unix() > 5 && w.neverEnded(d.Value)):
		return whyEndedThere
	}
	return ""
}
