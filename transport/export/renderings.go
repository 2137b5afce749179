package export

import (
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// Renderings keeps the current body of each export, so that all who pull it share one. All
// methods may be called from any goroutine at once.
type Renderings struct {
	engine *engine.Engine
	log    *slog.Logger
	most   int64 // bytes of all bodies

	kept  sync.Map   // key → *rendering
	whole sync.Map   // *engine.Export → *rendering of all of it, for those who may not allocate
	work  sync.Mutex // one is written at a time: a list takes one processor

	pulls sync.Map // name → *Pulls
}

// rendering is the place of one list. Readers look at the current body without a lock.
type rendering struct {
	name    string
	pulls   *Pulls
	mu      sync.Mutex // held while the body is looked at anew
	current atomic.Pointer[standing]
	pulled  atomic.Int64
}

// standing is a body and for how long it is known to be the list.
type standing struct {
	body  *Body
	seen  engine.Revision // it is the list of this view
	again int64           // until then a newer view is not looked at
}

// restShare is how much longer than it took to write a list nobody writes it again, and
// longestRest the longest of that: an export takes a tenth of a processor at most.
const (
	restShare   = 10
	longestRest = 10 * time.Second
	// mostVariants is how many narrowed lists of one export are kept.
	mostVariants = 16
)

// ErrTooLarge is for a list for which there is no memory.
var ErrTooLarge = &engine.Error{Kind: engine.ErrBusy, Text: "the list takes more memory than there is for exports: give it a limit, or ask for pages"}

// NewRenderings keeps bodies of at most so many bytes together.
func NewRenderings(e *engine.Engine, most int64, log *slog.Logger) *Renderings {
	return &Renderings{engine: e, log: log, most: most}
}

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

func keyOf(name, key string) string {
	if key == "" {
		return name
	}
	return name + "?" + key
}

func (s *standing) holds(v *engine.View, x *engine.Export, now int64) bool {
	if s == nil || s.body.Export != x {
		return false
	}
	if s.seen == v.Revision() && (s.body.next == 0 || now < s.body.next) {
		return true
	}
	return now < s.again
}

// Get gives the body of an export for who asks so. fresh: its bytes are to be sent, so they
// must tell the present. It may wait and compute. Errors are engine.ErrInvalid for words that
// make no sense, and ErrTooLarge.
func (r *Renderings) Get(v *engine.View, x *engine.Export, asked *Asked, fresh bool, now int64) (*Body, error) {
	key := keyOf(x.Name, asked.Key())
	one, known := r.kept.Load(key)
	if !known {
		one, _ = r.kept.LoadOrStore(key, &rendering{name: x.Name, pulls: r.Of(x.Name)})
	}
	p := one.(*rendering)
	p.pulled.Store(now)
	if s := p.current.Load(); s.holds(v, x, now) && !(fresh && s.body.stale(now)) {
		return s.body, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.current.Load()
	if s.holds(v, x, now) && !(fresh && s.body.stale(now)) {
		return s.body, nil // somebody else has written it
	}
	r.work.Lock()
	defer r.work.Unlock()
	began := time.Now()
	b, err := Write(v, x, asked, now)
	if err != nil {
		return nil, err
	}
	if s != nil && (s.body.Export == x || onlyRotated(s.body.Export, x)) {
		b = r.compare(v, s, b, now)
	}
	if err := r.room(p, b, now); err != nil {
		return nil, err
	}
	rest := min(restShare*time.Since(began), longestRest)
	p.current.Store(&standing{b, v.Revision(), now + int64(rest)})
	if key == x.Name {
		if s != nil && s.body.Export != x {
			r.whole.Delete(s.body.Export)
		}
		r.whole.Store(x, p)
	}
	return b, nil
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

// compare decides between a body and the one before it of the same definition.
func (r *Renderings) compare(v *engine.View, s *standing, b *Body, now int64) *Body {
	old := s.body
	if b.digest == old.digest {
		if !b.Format.TellsTime(b.Export) {
			same := *old // the bytes that are there, by what is known now
			same.Export, same.Written, same.next, same.Held = b.Export, b.Written, b.next, false
			return &same
		}
		b.Revision, b.Modified = old.Revision, old.Modified
		return b
	}
	if second := old.Modified - old.Modified%int64(time.Second) + int64(time.Second); b.Modified < second {
		b.Modified = second // for those who ask by the second
	}
	if r.shrunk(v, s, b, now) {
		if !old.Held {
			r.log.Warn("an export lost more than half of its entries without a reason that is known: the list before it is served on; edit the export to have the new one served (lapid exports edit NAME --accept-shrunken)",
				"export", b.Export.Name, "before", old.Count, "now", b.Count)
		}
		held := *old
		held.Export, held.Held, held.next = b.Export, true, 0
		return &held
	}
	return b
}

// guardFrom is how many entries a list has that is guarded.
const guardFrom = 1000

// shrunk reports whether a list lost more than half of its entries, and neither time, nor an
// operator, nor retention, nor an allowlist has ended as many decisions that could be on it.
func (r *Renderings) shrunk(v *engine.View, s *standing, b *Body, now int64) bool {
	old := s.body
	if old.Export.MayShrink || old.Count < guardFrom || b.Count*2 >= old.Count {
		return false
	}
	q := &engine.Query{}
	q.Reset()
	q.Now, q.Sight = now, sightOf(b.Export)
	explained, buf := 0, make([]engine.Decision, batch)
	scan := v.Scan(q)
	for list := scan.Over(buf); len(list) > 0; list = scan.Over(buf) {
		for _, d := range list {
			if d.Until() >= old.Written-int64(time.Second) && isReason(d.EndedBy().Kind) {
				explained++
			}
		}
	}
	clear(buf)
	return (old.Count-b.Count-explained)*2 > old.Count
}

// isReason reports whether an end by such an actor is meant.
func isReason(k engine.ActorKind) bool {
	switch k {
	case engine.ActorExpiry, engine.ActorOperator, engine.ActorRetention, engine.ActorAllowlist:
		return true
	}
	return k == 0 // its time is over and no commit has said so yet
}

// room makes room for a body, by letting go of those that were not pulled for longest: narrowed
// ones beyond their number first, then what it takes. work is held.
func (r *Renderings) room(p *rendering, b *Body, now int64) error {
	if b.size() > r.most {
		return ErrTooLarge
	}
	type one struct {
		key    string
		place  *rendering
		pulled int64
	}
	var others []one
	variants, taken := 0, b.size()
	r.kept.Range(func(key, value any) bool {
		o := value.(*rendering)
		if o == p {
			return true
		}
		if s := o.current.Load(); s != nil {
			taken += s.body.size()
		}
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
		if s := o.place.current.Load(); s != nil {
			taken -= s.body.size()
		}
		if narrowed && o.place.name == p.name {
			variants--
		}
		r.kept.Delete(o.key)
		r.letGo(o.place)
	}
	return nil
}

// Pull is one answer to a device.
type Pull struct {
	At      int64 // Unix nanoseconds
	Address netip.Addr
	Agent   string
	Status  int
	Entries int
	Bytes   int // of the body; 0 without one
}

// Pulls is what is known of the devices that pull an export, since the start.
type Pulls struct {
	name                         string
	Served, Unchanged, Turned    atomic.Uint64 // answers of 200, of 304, and all others
	Bytes                        atomic.Uint64
	LastPull, LastEmpty, Omitted atomic.Int64 // moments, Unix nanoseconds; entries that are left out
	Count                        atomic.Int64 // entries of the last list
	Held                         atomic.Bool

	mu   sync.Mutex
	last []Pull // the newest last
}

// shownPulls is how many pulls of an export are told one by one.
const shownPulls = 10

// Of gives the pulls of an export.
func (r *Renderings) Of(name string) *Pulls {
	if p, ok := r.pulls.Load(name); ok {
		return p.(*Pulls)
	}
	p, _ := r.pulls.LoadOrStore(name, &Pulls{name: name})
	return p.(*Pulls)
}

// Unchanged304 counts an answer without a body. It takes no lock and allocates nothing once the
// export is known.
func (p *Pulls) Unchanged304(now int64) {
	p.Unchanged.Add(1)
	p.LastPull.Store(now)
}

// Note counts and keeps a pull; b is nil where no list was given. What is said of the list is
// said of all of it.
func (p *Pulls) Note(one Pull, b *Body) {
	switch one.Status {
	case 200:
		p.Served.Add(1)
		p.Bytes.Add(uint64(one.Bytes))
		p.LastPull.Store(one.At)
	case 304:
		p.Unchanged304(one.At)
	default:
		p.Turned.Add(1)
	}
	if b != nil && b.part == "" {
		p.Count.Store(int64(b.Count))
		p.Omitted.Store(int64(b.Left.Omitted()))
		p.Held.Store(b.Held)
		if b.Count == 0 {
			p.LastEmpty.Store(one.At)
		} else {
			p.LastEmpty.Store(0)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.last) >= shownPulls {
		p.last = append(p.last[:0], p.last[1:]...)
	}
	p.last = append(p.last, one)
}

// Last are the last pulls that had a body or were refused, the newest first.
func (p *Pulls) Last() []Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := slices.Clone(p.last)
	slices.Reverse(list)
	return list
}

// Name is the export's.
func (p *Pulls) Name() string { return p.name }

// Each yields the pulls of all exports that there are, by name.
func (r *Renderings) Each(v *engine.View, yield func(*Pulls)) {
	for _, x := range v.Exports() {
		yield(r.Of(x.Name))
	}
}

// Forget lets go of what is kept of exports that are gone. It is to be called now and then.
func (r *Renderings) Forget(v *engine.View) {
	r.pulls.Range(func(key, _ any) bool {
		if v.Export(key.(string)) == nil {
			r.pulls.Delete(key)
		}
		return true
	})
	r.kept.Range(func(key, value any) bool {
		if v.Export(value.(*rendering).name) == nil {
			r.kept.Delete(key)
			r.letGo(value.(*rendering))
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
