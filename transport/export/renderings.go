package export

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport/budget"
)

// Renderings keeps the current body of each export, so that all who pull it share one. All
// methods may be called from any goroutine at once.
//
//	*engine.Export + words ─► rendering: one list, looked at once for all its bodies
//	                             ├─ all of it
//	                             └─ pages and shards, cut out of its entries
//
// Lists of different exports are made beside each other, as far as there is memory for it.
type Renderings struct {
	engine *engine.Engine
	log    *slog.Logger
	most   int64         // bytes of all bodies, and of entries that are kept for others
	work   *budget.Purse // for what is made

	kept    sync.Map   // key → *rendering
	whole   sync.Map   // *engine.Export → *rendering of all of it, for those who may not allocate
	guards  guards     // what lists had on them when they were looked at last
	tidying sync.Mutex // one at a time makes room

	pulls sync.Map // name → *Pulls
}

// rendering is the place of one list, or of a part of one. Readers look at the current body
// without a lock.
type rendering struct {
	name    string
	key     string // where it is kept
	pulls   *Pulls
	current atomic.Pointer[standing]
	pulled  atomic.Int64
	taken   atomic.Int64 // bytes that it keeps

	turn turn // held while the list is looked at anew, or a body of it is written

	// Of a whole list alone.
	list   *list
	seen   engine.Revision // it is the list of this view
	again  int64           // until then a newer view is not looked at
	parted int64           // when a part of it was asked for last
	needed int64           // what it took to make it
}

// standing is a body and for how long it is known to be the list.
type standing struct {
	body  *Body
	seen  engine.Revision
	again int64
}

// restShare is how much longer than it took to write a list nobody writes it again, and
// longestRest the longest of that: an export takes a tenth of a processor at most.
const (
	restShare   = 10
	longestRest = 10 * time.Second
	// mostVariants is how many narrowed lists of one export are kept.
	mostVariants = 16
	// partsLast is how long entries are kept for further parts of a list.
	partsLast = time.Minute
	// patience is how long who pulls a list waits, for others who pull it and for memory, in all.
	patience = 20 * time.Second
)

// Errors of lists for which there is no memory, and of those who waited for it in vain.
var (
	ErrTooLarge = &engine.Error{Kind: engine.ErrBusy, Text: "the list takes more memory than there is for exports: narrow it by origins, types or a family"}
	ErrCrowded  = &engine.Error{Kind: engine.ErrBusy, Text: "other exports are written now and take the memory for it, try again later"}
	errHeld     = &engine.Error{Kind: engine.ErrBusy, Text: "the list lost more than half without a reason that is known, and is held back: of the one before this was not kept"}
)

// workShare is how much more than for bodies there is for what lists are made of, which is 112 bytes an
// entry and is given back at once.
const workShare = 3

// NewRenderings keeps bodies of at most so many bytes together, and takes workShare times as many
// beside them while lists are made.
func NewRenderings(e *engine.Engine, most int64, log *slog.Logger) *Renderings {
	return &Renderings{engine: e, log: log, most: most, work: budget.NewPurse(workShare*most, nil)}
}

// Bound is how much memory all takes together at most, in bytes.
func (r *Renderings) Bound() int64 { return r.most + r.work.Most() }

// Known is the current body of all of a list, and its pulls, if no work is needed to know that
// it is the list of the view; it allocates nothing. Its bytes may tell an older time than now.
func (r *Renderings) Known(v *engine.View, x *engine.Export, now int64) (*Body, *Pulls) {
	one, ok := r.whole.Load(x)
	if !ok {
		return nil, nil
	}
	p := one.(*rendering)
	p.pulled.Store(now)
	if s := p.current.Load(); s.holds(v, x, now) {
		return s.body, p.pulls
	}
	return nil, nil
}

func (s *standing) holds(v *engine.View, x *engine.Export, now int64) bool {
	return s != nil && s.body.Export == x && current(v, s.seen, s.body.next, s.again, now)
}

// current reports whether what was seen at a revision is so still.
func current(v *engine.View, seen engine.Revision, next, again, now int64) bool {
	return seen == v.Revision() && (next == 0 || now < next) || now < again
}

// place is where a list is, or a part of one.
func (r *Renderings) place(name, key string, now int64) *rendering {
	if key != "" {
		key = name + "?" + key
	} else {
		key = name
	}
	one, known := r.kept.Load(key)
	if !known {
		one, _ = r.kept.LoadOrStore(key, &rendering{name: name, key: key, pulls: r.Of(name), turn: newTurn()})
	}
	p := one.(*rendering)
	p.pulled.Store(now)
	return p
}

// Get gives the body of an export for who asks so. fresh: its bytes are to be sent, so they
// must tell the present. It may compute, and wait as long as w has it. Errors are engine.ErrInvalid
// for words that make no sense, ErrTooLarge and ErrCrowded; nothing is kept for the sake of one.
func (r *Renderings) Get(v *engine.View, x *engine.Export, asked *Asked, fresh bool, now int64, w *Wait) (*Body, error) {
	p := r.place(x.Name, asked.Key(), now)
	good := func(s *standing) bool { return s.holds(v, x, now) && !(fresh && s.body.stale(now)) }
	if s := p.current.Load(); good(s) {
		return s.body, nil
	}
	if p = r.enter(x.Name, asked.Key(), w, now); p == nil {
		return nil, ErrCrowded
	}
	defer r.leave(p)
	if s := p.current.Load(); good(s) {
		return s.body, nil // somebody else has written it
	}
	whole := p
	if asked.Part != (Part{}) {
		if whole = r.enter(x.Name, asked.listKey(), w, now); whole == nil {
			return nil, ErrCrowded
		}
		defer r.leave(whole)
		whole.parted = now
	}
	b, err := r.write(v, x, p, whole, asked, w, now)
	if err != nil {
		return nil, err
	}
	if whole == p && asked.listKey() == "" {
		if s := p.current.Load(); s != nil && s.body.Export != x {
			r.whole.Delete(s.body.Export)
		}
		p.current.Store(&standing{b, whole.seen, whole.again})
		r.whole.Store(x, p)
		return b, nil
	}
	p.current.Store(&standing{b, whole.seen, whole.again})
	return b, nil
}

// enter has the turn of a place that is kept when it has it; nil: it has waited in vain.
func (r *Renderings) enter(name, key string, w *Wait, now int64) *rendering {
	for {
		p := r.place(name, key, now)
		if !w.turnOf(p) {
			return nil
		}
		if one, _ := r.kept.Load(p.key); one == p {
			return p
		}
		p.turn.end() // it was let go of meanwhile
	}
}

// leave ends a turn. A place in which there is nothing then is none.
func (r *Renderings) leave(p *rendering) {
	if p.list == nil && p.current.Load() == nil {
		r.kept.CompareAndDelete(p.key, p)
	}
	p.turn.end()
}

// write makes the body of a list, or of a part of one: of the list that is there, if that is current,
// else of a new one. The turns of both are the caller's.
func (r *Renderings) write(v *engine.View, x *engine.Export, p, whole *rendering, asked *Asked, w *Wait, now int64) (*Body, error) {
	began := time.Now()
	hold := budget.Hold{Of: budget.Holder{Name: x.Name}, From: r.work}
	defer hold.Release()
	before, l := p.current.Load(), whole.list
	if l == nil || l.export != x || !current(v, whole.seen, l.next, whole.again, now) || l.choice.Entries == nil && l.count > 0 && !l.held {
		fresh, err := r.make(v, x, whole, asked, now, w, &hold)
		if err != nil {
			return nil, err
		}
		l = r.follow(v, whole, fresh, now)
		whole.list, whole.seen = l, v.Revision()
		defer func() { whole.again = now + int64(min(restShare*time.Since(began), longestRest)) }()
	}
	b, err := r.bodyOf(l, before, &asked.Part, w, &hold, now)
	if err == nil {
		if !l.format.timed(l.narrowed) && now-whole.parted >= int64(partsLast) {
			l.letGo()
		}
		whole.afford(nil)
		p.afford(b)
		err = r.room(p)
	}
	if err != nil {
		if !l.held { // a newer one can be looked at again
			l.letGo()
		}
		whole.afford(nil)
		p.afford(nil)
		return nil, err
	}
	return b, nil
}

// afford counts what a place keeps, with the body that it will have; nil: the one that it has.
func (p *rendering) afford(b *Body) {
	if s := p.current.Load(); b == nil && s != nil {
		b = s.body
	}
	n := int64(0)
	if b != nil {
		n = b.size()
	}
	if p.list != nil {
		n += p.list.size()
	}
	p.taken.Store(n)
}

// make looks at the list anew, when there is memory for it: as much as it took last, or a quarter of
// what there is when that is not known. One that takes more than is free beside others is made when
// there are none.
func (r *Renderings) make(v *engine.View, x *engine.Export, whole *rendering, asked *Asked, now int64, w *Wait, hold *budget.Hold) (*list, error) {
	need := whole.needed + whole.needed/4
	if need == 0 {
		need = r.work.Most() / 4
	}
	room := func(bytes int64) bool { return bytes <= hold.Taken() || hold.Take(bytes-hold.Taken()) }
	for first := min(need, r.work.Most()); ; first = r.work.Most() {
		if !w.memory(hold, first) {
			return nil, ErrCrowded
		}
		l, err := choiceOf(v, x, asked, now, room)
		if err == nil {
			if whole.needed = int64(l.choice.Total)*entryBytes + l.bodySize(); room(whole.needed) {
				return l, nil
			}
			err = ErrTooLarge
		}
		if !errors.Is(err, ErrTooLarge) || first == r.work.Most() {
			return nil, err
		}
		hold.Shrink(0)
	}
}

// bodyOf writes a part of a list, or gives the body before it where that is the same.
func (r *Renderings) bodyOf(l *list, before *standing, part *Part, w *Wait, hold *budget.Hold, now int64) (*Body, error) {
	var old *Body
	if before != nil && (before.body.Export == l.export || onlyRotated(before.body.Export, l.export)) {
		old = before.body
	}
	if l.choice.Entries == nil && l.count > 0 { // of a list that is held
		if old == nil || l.format.timed(l.narrowed) { // whose bytes would give what is on it more time
			return nil, errHeld
		}
		same := *old
		same.Export, same.Held, same.next = l.export, true, 0
		return &same, nil
	}
	if old != nil && !l.format.timed(l.narrowed) && *part == (Part{}) && old.digest == l.digest {
		return old.still(l, now), nil // and nothing is written
	}
	switch need := l.bodySize(); {
	case need > r.work.Most():
		return nil, ErrTooLarge
	case hold.Taken() == 0 && !w.memory(hold, need): // else the list was made with it
		return nil, ErrCrowded
	}
	b := l.write(part, now)
	r.Of(l.export.Name).Written.Add(1)
	switch {
	case old == nil:
	case old.digest == b.digest && !b.Format.TellsTime(b.Export):
		return old.still(l, now), nil
	case old.digest == b.digest:
		b.Revision, b.Modified = old.Revision, old.Modified
	default:
		b.Modified = max(b.Modified, old.Modified-old.Modified%int64(time.Second)+int64(time.Second)) // for those who ask by the second
	}
	return b, nil
}

// still is a body of which is known that it is the list at a later moment too.
func (b *Body) still(l *list, now int64) *Body {
	same := *b
	same.Export, same.Written, same.next, same.Held = l.export, now, l.next, l.held
	return &same
}

// room makes room for what a place keeps now, by letting go of those that were not pulled for
// longest: narrowed ones beyond their number first, then what it takes.
func (r *Renderings) room(p *rendering) error {
	if p.taken.Load() > r.most {
		return ErrTooLarge
	}
	r.tidying.Lock()
	defer r.tidying.Unlock()
	type one struct {
		key    string
		place  *rendering
		pulled int64
	}
	var others []one
	variants, taken := 0, p.taken.Load()
	r.kept.Range(func(key, value any) bool {
		o := value.(*rendering)
		if o == p {
			return true
		}
		taken += o.taken.Load()
		if o.name == p.name && key.(string) != o.name {
			variants++
		}
		others = append(others, one{key.(string), o, o.pulled.Load()})
		return true
	})
	slices.SortFunc(others, func(a, b one) int { return int(min(max(a.pulled-b.pulled, -1), 1)) })
	for i := range others {
		o := &others[i]
		narrowed := o.key != o.place.name
		gone := r.engine.View().Export(o.place.name) == nil
		if !gone && taken <= r.most && !(narrowed && o.place.name == p.name && variants >= mostVariants) {
			continue
		}
		taken -= o.place.taken.Load()
		if narrowed && o.place.name == p.name {
			variants--
		}
		r.kept.Delete(o.key)
		r.letGo(o.place)
	}
	return nil
}

// Write is Write of the package within the memory that there is.
func (r *Renderings) Write(v *engine.View, x *engine.Export, asked *Asked, now int64) (*Body, error) {
	hold := budget.Hold{Of: budget.Holder{Name: x.Name}, From: r.work}
	defer hold.Release()
	l, err := r.make(v, x, &rendering{}, asked, now, NewWait(nil), &hold)
	if err != nil {
		return nil, err
	}
	return l.write(&asked.Part, now), nil
}

// Each yields the pulls of all exports that there are, by name.
func (r *Renderings) Each(v *engine.View, yield func(*Pulls)) {
	for _, x := range v.Exports() {
		yield(r.Of(x.Name))
	}
}

// Forget lets go of what is kept of exports that are gone, and of entries that are not needed any
// more for parts. It is to be called every minute or so.
func (r *Renderings) Forget(v *engine.View, now int64) {
	r.pulls.Range(func(key, _ any) bool {
		if v.Export(key.(string)) == nil {
			r.pulls.Delete(key)
		}
		return true
	})
	r.guards.forget(v)
	r.kept.Range(func(key, value any) bool {
		p := value.(*rendering)
		if v.Export(p.name) == nil {
			r.kept.Delete(key)
			r.letGo(p)
			return true
		}
		if p.turn.try() { // who is at it sees to it
			if l := p.list; l != nil && len(l.choice.Entries) > 0 && !l.format.timed(l.narrowed) && now-p.parted >= int64(partsLast) {
				l.letGo()
				p.afford(nil)
			}
			p.turn.end()
		}
		return true
	})
}

// letGo takes away the other way to a rendering.
func (r *Renderings) letGo(p *rendering) {
	r.whole.Range(func(x, value any) bool {
		if value == p {
			r.whole.Delete(x)
		}
		return true
	})
}
