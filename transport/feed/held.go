package feed

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/wire"
)

const (
	// heldSlot is how exactly a time to wait is kept: it may be so much longer.
	heldSlot = 100 * time.Millisecond
	// HeldAtMost is how long anybody waits.
	HeldAtMost = time.Minute
	// heldQuestion is how long a question may be that is waited with, in bytes.
	heldQuestion = 4 << 10
	// wakeAgain is the pause before those are woken who were busy.
	wakeAgain = time.Millisecond
	// wakesAtOnce is how many are woken before others are answered and have the processor.
	wakesAtOnce = 8
	// askedAtOnce is how many are asked whether they are stale before that.
	askedAtOnce = 256
)

// held are the polls that are put off until something changes for their questions.
//
// Who waits belongs to the group of those that ask the same. A group knows up to which
// revision nothing has changed for it; with each commit it looks once at what came since,
// and only when that concerns it are its members woken. They then ask again by
// themselves, as if they had come at that moment, and share what is encoded for the first
// of them. A commit that concerns nobody costs a look for each group, and nothing for its
// members.
//
// Locks: mu, which is held for moments only, and by no one who looks at the history.
// Everything but the members is the watcher's alone.
type held struct {
	mu     sync.Mutex
	groups map[string]*heldGroup
	late   []*Held                                          // asked at a revision that the watcher has passed
	early  []*Held                                          // have news, and are to be woken later; the watcher's
	ripe   time.Time                                        // when the first of them is; the watcher's
	wheel  [int(HeldAtMost/heldSlot) + 2]map[*Held]struct{} // by when their time is up
	slot   int64                                            // of the wheel, that was emptied last
	seen   engine.Revision                                  // the watcher has looked up to there
	edited engine.Revision                                  // … for whom it may see something else; the watcher's
	many   int                                              // of them all
	polls  int                                              // of them those that are no streams
	closed bool
	key    []byte  // scratch
	all    []*Held // scratch, the watcher's

	kick     chan struct{} // there is somebody in late, or the first at all
	released chan struct{} // closed by Release
	once     sync.Once
}

// heldGroup are those who ask one question.
type heldGroup struct {
	key     []byte          // the fingerprint of what they may see, and the question
	query   engine.Query    // of that, with what its members may see; the watcher's
	at      engine.Revision // nothing has changed for it up to there since its members asked
	members map[*Held]struct{}
	calm    int // how many of them have no news
}

// Held is one poll that waits. Make it with Hold.
type Held struct {
	group *heldGroup
	row   *engine.BouncerRow
	at    engine.Revision
	slot  int64
	last  bool // its time is up; the watcher's
	news  bool // something has changed for it; on held.mu
	wake  func(last bool) bool
	in    *held
	left  bool // on held.mu
	Manners
}

// Manners are how one who waits for long wants to be woken.
type Manners struct {
	// Earliest is before when news do not wake him: what comes until then is told at once.
	Earliest time.Time
	// Stale is asked every second, by one goroutine and with locks held: when it says yes
	// he is woken, news or not. nil: never.
	Stale func() bool
	// Stream says that it is no poll, which ends with its answer.
	Stream bool
}

// staleEvery is how often it is asked.
const staleEvery = time.Second

func (h *held) start() {
	h.groups, h.kick, h.released = map[string]*heldGroup{}, make(chan struct{}, 1), make(chan struct{})
	h.slot = slotOf(time.Now())
}

func slotOf(t time.Time) int64 { return t.UnixNano() / int64(heldSlot) }

// Hold has wake called as soon as something changes, after a revision, for a question, or
// when its time is up, which is HeldAtMost from now at most: then with last. wake must not
// wait; when it returns false it is called again a moment later, until Leave. It is not
// called before Hold has returned, and the waiter is out before it is called. What wakes
// may also have been nothing that the question admits. The bouncer sees sight, by which it
// was told that nothing has changed; it is woken too when its row says something else. nil:
// the feed is closing, or the question is longer than 4 KiB.
func (f *Feed) Hold(raw []byte, row *engine.BouncerRow, sight *engine.Sight, at engine.Revision, wait time.Duration, manners Manners, wake func(last bool) bool) *Held {
	h := &f.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(raw) > heldQuestion {
		return nil
	}
	h.key = append(binary.LittleEndian.AppendUint64(h.key[:0], sight.Fingerprint()), raw...)
	g := h.groups[string(h.key)]
	if g == nil {
		g = &heldGroup{key: bytes.Clone(h.key), at: at, members: map[*Held]struct{}{}}
		if err := wire.ParseStreamQuery(&g.query, g.key[8:]); err != nil {
			return nil // it was read before
		}
		g.query.Sight = sight
		h.groups[string(g.key)] = g
	}
	w := &Held{group: g, row: row, at: at, wake: wake, in: h, Manners: manners, slot: slotOf(time.Now().Add(min(wait, HeldAtMost))) + 1}
	g.members[w] = struct{}{}
	g.calm++
	late := at < max(g.at, h.seen) // and its row may say something else
	if late {
		h.late = append(h.late, w)
	}
	place := &h.wheel[w.slot%int64(len(h.wheel))]
	if *place == nil {
		*place = map[*Held]struct{}{}
	}
	(*place)[w] = struct{}{}
	if !w.Stream {
		h.polls++
	}
	if h.many++; h.many == 1 || late {
		h.rouse()
	}
	return w
}

// rouse has the watcher look.
func (h *held) rouse() {
	select {
	case h.kick <- struct{}{}:
	default:
	}
}

// Leave ends the wait. It may be called at any time, and again.
func (w *Held) Leave() {
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	w.left = true
	w.in.remove(w)
}

// remove takes one out, if it is still in. Called with the lock.
func (h *held) remove(w *Held) {
	if _, in := w.group.members[w]; !in {
		return
	}
	if h.many--; !w.Stream {
		h.polls--
	}
	if delete(w.group.members, w); !w.news {
		w.group.calm--
	}
	delete(h.wheel[w.slot%int64(len(h.wheel))], w)
	if len(w.group.members) == 0 && h.groups[string(w.group.key)] == w.group {
		delete(h.groups, string(w.group.key))
	}
}

// Release has Watch end. It does not wait for that, and may be called again.
func (f *Feed) Release() { f.held.once.Do(func() { close(f.held.released) }) }

// Watch wakes those who wait, until ctx ends or Release is called; then all of them for the last time, and no
// more are taken. changed and view are the engine's Changed and StreamView; rest is called
// again and again while many are woken, with how long was worked since, and has others answered meanwhile. It is to be
// called once.
func (f *Feed) Watch(ctx context.Context, changed func() <-chan struct{}, view func() *engine.View, rest func(worked time.Duration)) {
	h := &f.held
	wakeAll := func(list []*Held) []*Held { return wakeAll(list, rest) }
	ticker := time.NewTicker(heldSlot)
	defer ticker.Stop()
	asked := time.Now() // who is stale
	var busy []*Held    // were to be woken
	for {
		news := changed()
		out, next := h.look(view(), time.Now())
		busy = wakeAll(append(busy, out...))
		if len(busy) > 0 {
			next = wakeAgain
		}
		var tick, soon <-chan time.Time
		if h.waiting() > 0 {
			tick = ticker.C // a view that was held back may be given free without news
		}
		if next > 0 {
			soon = time.After(next)
		}
		select {
		case <-news:
		case <-soon:
		case <-h.kick:
		case now := <-tick:
			busy = append(busy, wakeAll(h.due(slotOf(now)))...)
			if now.Sub(asked) >= staleEvery-heldSlot/2 {
				asked = now
				busy = append(busy, wakeAll(h.stale(rest))...)
			}
		case <-h.released:
			h.finish(busy, rest)
			return
		case <-ctx.Done():
			h.finish(busy, rest)
			return
		}
	}
}

// look finds those for whom something has changed, and takes them out; next is in how long
// others are to be woken for whom it is too early, 0: there are none.
func (h *held) look(v *engine.View, now time.Time) (out []*Held, next time.Duration) {
	h.mu.Lock()
	late := h.late
	h.late, h.seen = nil, v.Revision()
	var groups []*heldGroup
	for _, g := range h.groups {
		if g.at < v.Revision() {
			groups = append(groups, g)
		}
	}
	h.mu.Unlock()
	edits := h.edited != v.EditedAt()
	h.edited = v.EditedAt()
	for _, g := range groups {
		same := v.Unchanged(g.at, &g.query)
		h.mu.Lock()
		if g.at = v.Revision(); (!same || edits) && g.calm > 0 {
			for w := range g.members {
				if !w.news && w.at < g.at && (!same || w.moved(v)) {
					out = h.hasNews(out, w, now)
				}
			}
		}
		h.mu.Unlock()
	}
	for _, w := range late {
		if same := v.Unchanged(w.at, &w.group.query); !same || w.moved(v) {
			h.mu.Lock()
			if _, in := w.group.members[w]; in && !w.news {
				out = h.hasNews(out, w, now)
			}
			h.mu.Unlock()
		}
	}
	if len(h.early) == 0 {
		return out, 0
	}
	if !now.Before(h.ripe) {
		out = h.ripened(out, now)
	}
	if len(h.early) > 0 {
		next = max(h.ripe.Sub(now), 1)
	}
	return out, next
}

// hasNews takes one out for whom something has changed, or notes that for later. Called
// with the lock.
func (h *held) hasNews(out []*Held, w *Held, now time.Time) []*Held {
	if !w.Earliest.After(now) {
		h.remove(w)
		return append(out, w)
	}
	w.news = true
	w.group.calm--
	if len(h.early) == 0 || w.Earliest.Before(h.ripe) {
		h.ripe = w.Earliest
	}
	h.early = append(h.early, w)
	return out
}

// ripened takes those out who have had news for long enough.
func (h *held) ripened(out []*Held, now time.Time) []*Held {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.early
	h.early = nil
	for _, w := range list {
		if _, in := w.group.members[w]; !in {
			continue
		}
		if !w.Earliest.After(now) {
			h.remove(w)
			out = append(out, w)
			continue
		}
		if len(h.early) == 0 || w.Earliest.Before(h.ripe) {
			h.ripe = w.Earliest
		}
		h.early = append(h.early, w)
	}
	return out
}

// stale takes those out who say that they are.
func (h *held) stale(rest func(worked time.Duration)) (out []*Held) {
	for some := range slices.Chunk(h.everybody(), askedAtOnce) {
		began := time.Now()
		out = h.staleOf(some, out)
		rest(time.Since(began))
	}
	clear(h.all)
	return out
}

// everybody is who waits.
func (h *held) everybody() []*Held {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all[:0]
	for _, g := range h.groups {
		all = slices.AppendSeq(all, maps.Keys(g.members))
	}
	h.all = all
	return all
}

// staleOf is stale of some, behind others. Who has left meanwhile is not asked.
func (h *held) staleOf(some, out []*Held) []*Held {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range some {
		if _, in := w.group.members[w]; in && w.Stale != nil && w.Stale() {
			h.remove(w)
			out = append(out, w)
		}
	}
	return out
}

// Closing reports whether nobody is held any more, for the feed is closing.
func (f *Feed) Closing() bool {
	f.held.mu.Lock()
	defer f.held.mu.Unlock()
	return f.held.closed
}

// moved reports whether the bouncer may see something else by now.
func (w *Held) moved(v *engine.View) bool {
	if w.row == nil {
		return false
	}
	now, _ := v.SightAt(w.row, v.Revision())
	return now.Fingerprint() != w.group.query.Sight.Fingerprint()
}

// due takes those out whose time is up.
func (h *held) due(now int64) (out []*Held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slot = max(h.slot, now-int64(len(h.wheel)))
	for ; h.slot <= now; h.slot++ {
		for w := range h.wheel[h.slot%int64(len(h.wheel))] {
			if w.slot <= now {
				h.remove(w)
				w.last = true
				out = append(out, w)
			}
		}
	}
	return out
}

// wakeAll wakes, and gives those back who were busy.
func wakeAll(list []*Held, rest func(worked time.Duration)) (busy []*Held) {
	began := time.Now()
	for i, w := range list {
		if !w.wake(w.last) && !w.gone() {
			busy = append(busy, w)
		}
		if i%wakesAtOnce == wakesAtOnce-1 {
			rest(time.Since(began))
			runtime.Gosched()
			began = time.Now()
		}
	}
	return busy
}

func (w *Held) gone() bool {
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	return w.left
}

func (h *held) waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.many
}

// finish wakes everybody for the last time.
func (h *held) finish(busy []*Held, rest func(worked time.Duration)) {
	h.mu.Lock()
	h.closed = true
	for _, g := range h.groups {
		for w := range g.members {
			h.remove(w)
			busy = append(busy, w)
		}
	}
	h.mu.Unlock()
	for _, w := range busy {
		w.last = true
	}
	for len(busy) > 0 {
		if busy = wakeAll(busy, rest); len(busy) > 0 {
			time.Sleep(wakeAgain)
		}
	}
}
