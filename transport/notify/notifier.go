package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"text/template"
	"time"

	"lapid/engine"
)

// bookmarks is how the names of the couriers' bookmarks begin.
const bookmarks = "notify."

// mostUnnamed bounds the notifications that there are no more, and that alerts wait for:
// what waits for one more of them is given up, which the log says.
const mostUnnamed = 16

// Clock is the time by which couriers wait; any goroutine may ask.
type Clock interface {
	Now() time.Time
	// After tells when d has passed, unless it is stopped.
	After(d time.Duration) (tells <-chan time.Time, stop func())
	// Jitter is a pause of about d.
	Jitter(d time.Duration) time.Duration
}

// Options are what a Notifier needs. Engine must be there.
type Options struct {
	Engine *engine.Engine
	Logger *slog.Logger // nil: slog.Default
	Clock  Clock        // nil: the machine's
	// Shared: several servers share the engine's history, and one sends. Its Run may be called again, for as long as this
	// one is that, and notifications have their places from then on.
	Shared bool
}

// Notifier sends notifications. Replace and Run may be called from any goroutine.
type Notifier struct {
	o Options

	mu       sync.Mutex // held while couriers are exchanged: a reload waits for another, nothing else does
	begun    bool       // Run has been called, and has not returned
	ctx      context.Context
	couriers map[string]*working
	list     []*Configuration // those of a shared history, for the next Run
	tallies  tallies
	programs *programs
}

// working is a courier at work.
type working struct {
	courier *courier
	stop    context.CancelFunc
	ended   chan struct{} // closed when it has left; nil: it has not begun
}

// New makes a Notifier that knows no notification yet.
func New(o *Options) *Notifier {
	n := &Notifier{o: *o, couriers: map[string]*working{}}
	if n.o.Logger == nil {
		n.o.Logger = slog.Default()
	}
	if n.o.Clock == nil {
		n.o.Clock = machineClock{}
	}
	n.programs = &programs{log: n.o.Logger, clock: n.o.Clock}
	return n
}

// Replace makes these the notifications that there are, each name once. One that has not
// changed keeps its courier; one that has goes on where it was. What waits for others is
// kept for as long as for a receiver that takes nothing, and told; bookmarks that nothing
// waits behind are dropped. Alerts that come after it has returned are sent, so rules that name a
// notification are put in force after it. The engine must run. With an error from a
// configuration nothing has changed.
func (n *Notifier) Replace(ctx context.Context, list []*Configuration) error {
	if len(list) > MostNotifications {
		return fmt.Errorf("profiles name %d notifications, and at most %d are sent", len(list), MostNotifications)
	}
	fresh, err := n.working(list)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = list
	if !n.o.Shared || n.begun {
		n.exchange(ctx, fresh)
	}
	return nil
}

// working makes a courier for each.
func (n *Notifier) working(list []*Configuration) (map[string]*working, error) {
	fresh := map[string]*working{}
	for _, c := range list {
		one, err := n.courier(c)
		if err != nil {
			return nil, err
		}
		fresh[c.Name] = &working{courier: one}
	}
	return fresh, nil
}

// exchange has fresh couriers take the place of those that there are. Under mu.
func (n *Notifier) exchange(ctx context.Context, fresh map[string]*working) {
	for name, w := range n.couriers {
		if next := fresh[name]; next != nil && reflect.DeepEqual(next.courier.Configuration, w.courier.Configuration) {
			fresh[name] = w
			delete(n.couriers, name)
		}
	}
	n.rest()
	n.couriers = fresh
	for name, w := range fresh {
		w.courier.tally = n.tallies.of(name)
		w.courier.tally.named()
	}
	n.keepOthers(ctx)
	n.tallies.keep(n.couriers)
	for name, w := range n.couriers {
		if w.ended != nil || w.courier.unnamed {
			continue // it goes on, or has begun
		}
		if err := w.courier.start(ctx); err != nil {
			w.courier.log.Error("it cannot be noted where this notification begins: what comes before the next start may not be sent after it", "name", name, "error", err)
			w.courier.read = n.o.Engine.View().Revision()
		}
	}
	if n.begun {
		n.work()
	}
}

// courier makes one.
func (n *Notifier) courier(c *Configuration) (*courier, error) {
	format, err := compile(c.Format)
	if err != nil {
		return nil, fmt.Errorf("format of '%s': %w", c.Name, err)
	}
	s, err := newSender(c)
	if err != nil {
		return nil, err
	}
	if p, ok := s.(*plugged); ok {
		p.programs = n.programs
	}
	return &courier{Configuration: c, format: format, sender: s, mask: maskOf(c), engine: n.o.Engine, mark: n.o.Engine.Bookmark(bookmarks + c.Name),
		log: n.o.Logger.With("notification", c.Name), clock: n.o.Clock, tally: &tally{name: c.Name}}, nil
}

// keepOthers looks at the bookmarks of notifications that there are no more. Where alerts
// wait a courier without a receiver keeps them, for the name may come back; the others
// would hold history for nobody, and are dropped.
func (n *Notifier) keepOthers(ctx context.Context) {
	kept := 0
	for mark := range n.o.Engine.View().EachBookmark() {
		name, ours := strings.CutPrefix(mark, bookmarks)
		if !ours || n.couriers[name] != nil {
			continue
		}
		c := n.unnamed(name)
		waiting := len(c.pending)
		if waiting > 0 && kept < mostUnnamed {
			kept++
			n.couriers[name] = &working{courier: c}
			c.log.Warn(fmt.Sprintf("%d alert(s) wait for notification '%s', which no profile names now, or nothing sends: they go out when it is there again, and are given up when they are %v old", waiting, name, keptFor))
			continue
		}
		if waiting > 0 {
			c.log.Error(fmt.Sprintf("%d alert(s) are given up: they waited for notification '%s', which no profile names now, and %d such notifications are kept at most", waiting, name, mostUnnamed))
		}
		if err := c.mark.Drop(ctx); err != nil {
			c.log.Warn("the place of a notification that there is no more cannot be forgotten", "error", err)
		}
	}
}

// unnamed is a courier that has nobody to bring to, with what waits for it.
func (n *Notifier) unnamed(name string) *courier {
	now := n.o.Clock.Now()
	c := &courier{Configuration: &Configuration{Name: name}, format: template.Must(compile("")), sender: nobody{}, engine: n.o.Engine,
		mark: n.o.Engine.Bookmark(bookmarks + name), log: n.o.Logger.With("notification", name), clock: n.o.Clock, tally: n.tallies.of(name),
		unnamed: true, begun: now, sent: now, noted: now}
	c.read, _ = c.mark.At()
	c.gather()
	c.outage = outage{since: now, round: now, wait: firstPause, told: true}
	c.tally.nobody(now)
	c.count()
	return c
}

// nobody is the receiver of a notification that there is no more.
type nobody struct{}

// Send takes nothing.
func (nobody) Send(context.Context, string) error {
	return errors.New("no profile names this notification now, or nothing sends it")
}

// Run has the couriers work until ctx ends. It returns when all have left;
// a plugin program that has not ended by flushWithin is ended by force. Call it once, or, with a shared history, once it
// has returned again.
func (n *Notifier) Run(ctx context.Context) error {
	n.mu.Lock()
	n.begun, n.ctx = true, ctx
	if n.o.Shared {
		fresh, err := n.working(n.list)
		if err != nil { // it was made before
			n.mu.Unlock()
			return err
		}
		n.exchange(ctx, fresh)
	}
	n.work()
	n.mu.Unlock()
	<-ctx.Done()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begun = false
	left := make(chan struct{})
	defer close(left)
	t := time.AfterFunc(flushWithin, func() { n.programs.giveUp(left) })
	defer t.Stop()
	n.rest()
	if n.o.Shared {
		n.couriers = map[string]*working{}
	}
	return nil
}

// work has all couriers begin. Under mu.
func (n *Notifier) work() {
	for _, w := range n.couriers {
		if w.ended != nil {
			continue
		}
		ctx, stop := context.WithCancel(n.ctx)
		w.stop, w.ended = stop, make(chan struct{})
		go func() {
			defer close(w.ended)
			w.courier.run(ctx)
		}()
	}
}

// rest has all couriers leave, and waits for them. Under mu.
func (n *Notifier) rest() {
	for _, w := range n.couriers {
		if w.ended != nil {
			w.stop()
		}
	}
	for _, w := range n.couriers {
		if w.ended != nil {
			<-w.ended
		}
	}
}

// machineClock is the machine's.
type machineClock struct{}

// Now is the time.
func (machineClock) Now() time.Time { return time.Now() }

// After is a timer.
func (machineClock) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Jitter is between seven and thirteen tenths of d.
func (machineClock) Jitter(d time.Duration) time.Duration {
	return d * time.Duration(700+rand.IntN(601)) / 1000
}
