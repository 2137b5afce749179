package export

import (
	"errors"
	"log/slog"
	"reflect"
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
	tidying sync.Mutex // one at a time makes room

	pulls sync.Map // name → *Pulls
}

// rendering is the place of one list, or of a part of one. Readers look at the current body
// without a lock.
type rendering struct {
	name    string
	pulls   *Pulls
	current atomic.Pointer[standing]
	pulled  atomic.Int64
	taken   atomic.Int64 // bytes that it keeps

	mu sync.Mutex // held while the list is looked at anew, or a body of it is written

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
	// patience is how long who pulls a list waits for memory to make it.
	patience = 20 * time.Second
)

// Errors of lists for which there is no memory, and of those who waited for it in vain.
var (
	ErrTooLarge = &engine.Error{Kind: engine.ErrBusy, Text: "the list takes more memory than there is for exports: narrow it by origins, types or a family"}
	ErrCrowded  = &engine.Error{Kind: engine.ErrBusy, Text: "other exports are written now and take the memory for it, try again later"}
	errHeld     = &engine.Error{Kind: engine.ErrBusy, Text: "the list lost more than half without a reason that is known, and is held back: this part of the one before was not kept"}
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
		one, _ = r.kept.LoadOrStore(key, &rendering{name: name, pulls: r.Of(name)})
	}
	p := one.(*rendering)
	p.pulled.Store(now)
	return p
}

// Get gives the body of an export for who asks so. fresh: its bytes are to be sent, so they
// must tell the present. It may wait and compute. Errors are engine.ErrInvalid for words that
// make no sense, ErrTooLarge and ErrCrowded.
func (r *Renderings) Get(v *engine.View, x *engine.Export, asked *Asked, fresh bool, now int64) (*Body, error) {
	p := r.place(x.Name, asked.Key(), now)
	good := func(s *standing) bool { return s.holds(v, x, now) && !(fresh && s.body.stale(now)) }
	if s := p.current.Load(); good(s) {
		return s.body, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.current.Load(); good(s) {
		return s.body, nil // somebody else has written it
	}
	whole := p
	if asked.Part != (Part{}) {
		whole = r.place(x.Name, asked.listKey(), now)
		whole.mu.Lock()
		defer whole.mu.Unlock()
		whole.parted = now
	}
	b, err := r.write(v, x, p, whole, asked, now)
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

// write makes the body of a list, or of a part of one: of the list that is there, if that is current,
// else of a new one. Both are locked.
func (r *Renderings) write(v *engine.View, x *engine.Export, p, whole *rendering, asked *Asked, now int64) (*Body, error) {
	began := time.Now()
	hold := budget.Hold{Of: budget.Holder{Name: x.Name}, From: r.work}
	defer hold.Release()
	before, l := p.current.Load(), whole.list
	if l == nil || l.export != x || !current(v, whole.seen, l.next, whole.again, now) || l.choice.Entries == nil && l.count > 0 && !l.held {
		fresh, err := r.make(v, x, whole, asked, now, &hold)
		if err != nil {
			return nil, err
		}
		l = r.follow(v, whole, fresh, now)
		whole.list, whole.seen = l, v.Revision()
		defer func() { whole.again = now + int64(min(restShare*time.Since(began), longestRest)) }()
	}
	b, err := r.bodyOf(l, before, &asked.Part, &hold, now)
	if err != nil {
		return nil, err
	}
	if !l.format.timed(l.narrowed) && now-whole.parted >= int64(partsLast) {
		l.letGo()
	}
	taken := l.size()
	if whole == p {
		taken += b.size()
	} else {
		if s := whole.current.Load(); s != nil {
			taken += s.body.size()
		}
		p.taken.Store(b.size())
	}
	whole.taken.Store(taken)
	return b, r.room(p)
}

// make looks at the list anew, when there is memory for it: as much as it took last, or a quarter of
// what there is when that is not known. One that takes more than is free beside others is made when
// there are none.
func (r *Renderings) make(v *engine.View, x *engine.Export, whole *rendering, asked *Asked, now int64, hold *budget.Hold) (*list, error) {
	need := whole.needed + whole.needed/4
	if need == 0 {
		need = r.work.Most() / 4
	}
	room := func(bytes int64) bool { return bytes <= hold.Taken() || hold.Take(bytes-hold.Taken()) }
	for first := min(need, r.work.Most()); ; first = r.work.Most() {
		if !hold.Await(first, patience, nil) {
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

// follow decides between a list and the one before it at its place.
func (r *Renderings) follow(v *engine.View, whole *rendering, fresh *list, now int64) *list {
	old := whole.list
	if old == nil || old.export != fresh.export && !onlyRotated(old.export, fresh.export) || !r.shrunk(v, old, fresh, now) {
		return fresh
	}
	if !old.held {
		r.log.Warn("an export lost more than half of its entries without a reason that is known: the list before it is served on; edit the export to have the new one served (lapid exports edit NAME --accept-shrunken)",
			"export", fresh.export.Name, "before", old.count, "now", fresh.count)
	}
	held := *old
	held.export, held.held, held.next = fresh.export, true, 0
	return &held
}

// bodyOf writes a part of a list, or gives the body before it where that is the same.
func (r *Renderings) bodyOf(l *list, before *standing, part *Part, hold *budget.Hold, now int64) (*Body, error) {
	var old *Body
	if before != nil && (before.body.Export == l.export || onlyRotated(before.body.Export, l.export)) {
		old = before.body
	}
	if l.choice.Entries == nil && l.count > 0 { // of a list that is held, and tells no time
		if old == nil {
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
	case hold.Taken() == 0 && !hold.Await(need, patience, nil): // else the list was made with it
		return nil, ErrCrowded
	}
	b := l.write(part, now)
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

// onlyRotated reports whether two definitions differ in their secrets, and in nothing that says what
// is on the list: another secret is no leave to shrink, as any other edit is.
func onlyRotated(a, b *engine.Export) bool {
	if slices.Equal(a.Secrets, b.Secrets) {
		return false
	}
	was, is := *a, *b
	was.Secrets, is.Secrets, was.UpdatedAt, is.UpdatedAt = nil, nil, 0, 0
	return reflect.DeepEqual(&was, &is)
}

// guardFrom is how many entries a list has that is guarded.
const guardFrom = 1000

// shrunk reports whether a list lost more than half of its entries, and neither time, nor an
// operator, nor retention, nor an allowlist has ended as many decisions that could be on it.
func (r *Renderings) shrunk(v *engine.View, old, fresh *list, now int64) bool {
	if old.export.MayShrink || old.count < guardFrom || fresh.count*2 >= old.count {
		return false
	}
	q := &engine.Query{}
	q.Reset()
	q.Now, q.Sight = now, sightOf(fresh.export)
	explained, buf := 0, make([]engine.Decision, batch)
	scan := v.Scan(q)
	for list := scan.Over(buf); len(list) > 0; list = scan.Over(buf) {
		for _, d := range list {
			if d.Until() >= old.made-int64(time.Second) && isReason(d.EndedBy().Kind) {
				explained++
			}
		}
	}
	clear(buf)
	return (old.count-fresh.count-explained)*2 > old.count
}

// isReason reports whether an end by such an actor is meant.
func isReason(k engine.ActorKind) bool {
	switch k {
	case engine.ActorExpiry, engine.ActorOperator, engine.ActorRetention, engine.ActorAllowlist:
		return true
	}
	return k == 0 // its time is over and no commit has said so yet
}

// room makes room for what a place keeps now, by letting go of those that were not pulled for
// longest: narrowed ones beyond their number first, then what it takes.
func (r *Renderings) room(p *rendering) error {
	if p.taken.Load() > r.most {
		p.taken.Store(0)
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
	l, err := r.make(v, x, &rendering{}, asked, now, &hold)
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
	r.kept.Range(func(key, value any) bool {
		p := value.(*rendering)
		if v.Export(p.name) == nil {
			r.kept.Delete(key)
			r.letGo(p)
			return true
		}
		if p.mu.TryLock() { // who is at it sees to it
			if l := p.list; l != nil && len(l.choice.Entries) > 0 && !l.format.timed(l.narrowed) && now-p.parted >= int64(partsLast) {
				p.taken.Add(-l.size())
				l.letGo()
			}
			p.mu.Unlock()
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
