package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lapid/engine"
)

// Engine is what Run makes write and follow: an *engine.Engine, whose journal the log is.
type Engine interface {
	Writes() bool
	Lead(ctx context.Context) error
	Yield(ctx context.Context) error
	Reach(ctx context.Context, rev engine.Revision) error
}

const (
	// silence is how long nothing may be seen of a writer before another takes its place.
	silence = time.Second
	// turn is how much later the next in the order of names tries, and turnsAtMost how many of them there are.
	turn        = 150 * time.Millisecond
	turnsAtMost = 4
	// beatEvery is how often a writer without commits shows that it lives.
	beatEvery = 500 * time.Millisecond
	// step bounds each step by which the one that writes changes.
	step = 2 * time.Second
	// leadWithin is how long an engine may read what it lacks before it writes: then another tries.
	leadWithin = 10 * time.Second
	// slow is how long an answer may take before the writer is given as much time again: etcd was busy with itself, and
	// a writer that lives could not show it.
	slow = 500 * time.Millisecond
	// badClock is how far off the others a clock is with which a node writes only if nobody else does, badClockWaits later.
	badClock      = 5 * time.Second
	badClockWaits = 5 * time.Second
	// shortReign is how long one lasts that may be a quarrel: the pause after it doubles, to pauseAtMost.
	shortReign  = 10 * time.Second
	pauseAtMost = 30 * time.Second
)

// Run takes part in the cluster until ctx ends: it tells of this node and hears of others, makes the engine the writer when
// nobody writes (unless Options.NeverWrites), shows that it lives while it does, trims, and hands over at the end, within a few
// seconds. The engine must run. facts is called each time this node tells of itself, from a goroutine of its own. Run returns nil when ctx ended,
// ErrOtherHistory and the like when the log stopped; while etcd is away, or no cluster has begun, it waits. It is called once.
func (l *Log) Run(ctx context.Context, e Engine, facts func() Facts) error {
	beside, end := l.until(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	defer wait.Wait()
	defer end()
	t := &teller{log: l, facts: facts}
	wait.Go(func() { l.watchKeys(beside) })
	wait.Go(func() { t.run(beside) })
	wait.Go(func() { l.confirmAlways(beside) })
	wait.Go(func() { l.lookAtRoom(beside) })
	wait.Go(func() { l.lookAtSyncsAlways(beside) })
	l.running.Store(true)
	defer l.running.Store(false)
	l.beginSigns()
	c := &campaign{log: l, engine: e}
	for ctx.Err() == nil {
		if err := l.over(); err != nil {
			_ = c.step(context.WithoutCancel(ctx), e.Yield)
			return err
		}
		if r := l.reigning(); r != nil {
			c.govern(ctx, r)
			continue
		}
		if e.Writes() { // its next Append would be refused
			_ = c.step(ctx, e.Yield)
		}
		c.follow(ctx)
	}
	return nil
}

// confirmAlways keeps what is known of the end of the history at most a second old, whoever asks.
func (l *Log) confirmAlways(ctx context.Context) {
	tick := time.NewTicker(confirmWithin)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = l.Confirm(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// campaign is how the engine comes to write and ceases to. It is Run's own.
type campaign struct {
	log    *Log
	engine Engine
	pause  time.Duration // after a quarrel
	over   int64         // the newest term that this node had
	said   string        // why it did not become the writer, as was told
}

// step runs one of the engine's changes within its time.
func (c *campaign) step(ctx context.Context, change func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	return change(ctx)
}

// follow waits until nobody writes, or this node is named, and tries to become the writer.
func (c *campaign) follow(ctx context.Context) {
	l := c.log
	signed := l.signed.next()
	if w, ok := l.Writer(); ok && w.Start == l.start && w.Term > c.over {
		c.named(ctx, w.Term)
		return
	}
	due := time.Duration(l.lastSign()+int64(silence+c.place())-steady()) + c.pause
	if l.options.NeverWrites {
		due = time.Hour
	}
	timer := time.NewTimer(max(due, 0))
	defer timer.Stop()
	select {
	case <-signed: // the time begins anew
	case <-l.life.Done():
	case <-ctx.Done():
	case <-timer.C:
		if l.options.NeverWrites || steady() < l.lastSign()+int64(silence) {
			return // it came as the time was over
		}
		if err := c.try(ctx); err != nil && ctx.Err() == nil {
			if why := explain(err).Error(); why != c.said {
				c.said = why // once, for it is tried each second
				l.log.Info("this node does not become the writer", "because", why)
			}
			l.beginSigns()
		}
	}
}

// place is how much later than the first this node tries: by its name among those that could write, or much later with
// a clock that is off.
func (c *campaign) place() time.Duration {
	w, _ := c.log.Writer()
	before := 0
	var clocks []time.Duration
	for _, k := range c.log.nodes() {
		if !k.Alive {
			continue
		}
		if clocks = append(clocks, k.Ahead); k.NeverWrites || k.Node == w.Node || k.Node >= c.log.options.Node {
			continue
		}
		before++
	}
	late := turn * time.Duration(min(before, turnsAtMost))
	if off := median(clocks); len(clocks) >= 3 && (off > badClock || off < -badClock) {
		late += badClockWaits
	}
	return late
}

// try becomes the writer if there is no sign of life since the time was over, and this node has applied all there is.
func (c *campaign) try(ctx context.Context) error {
	l := c.log
	ctx, cancel := context.WithTimeout(ctx, 3*step)
	defer cancel()
	for {
		asked := time.Now()
		s, err := l.look(ctx)
		if err != nil {
			return err
		}
		if steady() < l.lastSign()+int64(silence) {
			l.blind.give() // the answer had what no watch brought
			return nil
		}
		if time.Since(asked) > slow { // etcd was away: whoever writes could not show it
			if !wait(ctx, slow) {
				return ctx.Err()
			}
			continue
		}
		head, err := l.endOf(s)
		if err != nil && s.head != nil {
			return err
		}
		if err := c.step(ctx, func(ctx context.Context) error { return c.engine.Reach(ctx, head) }); err != nil {
			return fmt.Errorf("its own view is behind: %w", err)
		}
		before, _ := l.Writer()
		if err := l.claim(ctx, s); err != nil {
			return err
		}
		l.counts.won.Add(1)
		l.fellSilent(before)
		return nil
	}
}

// named takes a term that another node began for this one.
func (c *campaign) named(ctx context.Context, term int64) {
	l := c.log
	c.over = term // once: afterwards it may have been lost
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	s, err := l.look(ctx)
	if err == nil && mod(s.writer) == term && mod(s.id) == term && s.head != nil {
		var head Place
		if head, err = parsePlace(s.head.Value); err == nil {
			l.reignFrom(term, head, mod(s.head))
			l.counts.named.Add(1)
			return
		}
	}
	l.log.Info("this node was named to write, and does not", "error", err)
}

// govern leads, and shows that the writer lives, until the reign ends or ctx does.
func (c *campaign) govern(ctx context.Context, r *reign) {
	l := c.log
	since := steady()
	c.said = ""
	c.over = max(c.over, r.term)
	reign, end := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { c.beats(reign, r) })
	wait.Go(func() { c.trims(reign, r) })
	defer wait.Wait()
	defer end()
	if err := c.lead(reign, r); err != nil {
		l.log.Warn("this node should write, and does not", "error", explain(err))
		l.depose(r)
	}
	l.Retell()
	for l.reigning() == r && ctx.Err() == nil && l.over() == nil {
		deposed := l.deposed.next()
		if l.reigning() != r {
			break
		}
		select {
		case <-deposed:
		case <-l.life.Done():
		case <-ctx.Done():
		case o := <-l.orders:
			o.done <- c.hand(context.WithoutCancel(ctx), r, o.node)
		}
	}
	if ctx.Err() != nil && l.reigning() == r {
		if err := c.hand(context.WithoutCancel(ctx), r, ""); err != nil {
			l.log.Warn("no other node was named to write: one of them takes it within two seconds", "because", err)
		}
	}
	_ = c.step(context.WithoutCancel(ctx), c.engine.Yield)
	l.beginSigns()
	if r.handed {
		l.counts.handed.Add(1)
	} else {
		l.counts.lost.Add(1)
	}
	c.quarrel(time.Duration(steady() - since))
}

// lead makes the engine write. However long it has to read before, signs of life are given meanwhile.
func (c *campaign) lead(ctx context.Context, r *reign) error {
	ctx, cancel := context.WithTimeout(ctx, leadWithin)
	defer cancel()
	deposed := c.log.deposed.next()
	go func() {
		select {
		case <-deposed:
			cancel()
		case <-ctx.Done():
		}
	}()
	if c.log.reigning() != r {
		return engine.ErrNotWriter
	}
	return c.engine.Lead(ctx)
}

// quarrel makes the next try later when this reign was short.
func (c *campaign) quarrel(lasted time.Duration) {
	if lasted > shortReign {
		c.pause = 0
		return
	}
	if c.pause = min(max(2*c.pause, turn), pauseAtMost); c.pause > time.Second {
		c.log.log.Warn("nodes take the writing from each other: is one of them cut off from the others, or frozen now and then?", "pause", c.pause)
	}
}

// beats puts beat whenever nothing was committed for a while.
func (c *campaign) beats(ctx context.Context, r *reign) {
	l := c.log
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if steady()-r.stored.Load() >= int64(beatEvery*9/10) {
			bounded, cancel := context.WithTimeout(ctx, step)
			a, err := l.ask(bounded, request{when: []clientv3.Cmp{l.at(keyWriter, r.term)},
				then: []clientv3.Op{clientv3.OpPut(l.key(keyBeat), l.beatText(r.term))}, otherwise: l.gets()})
			cancel()
			if err == nil && !a.Succeeded {
				s := standingOf(a)
				_ = l.attend(s)
				l.lose(ctx, r, c.engine)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lose ends a reign that another has ended: the engine finishes what it is at first, so that a commit in flight learns its fate.
func (l *Log) lose(ctx context.Context, r *reign, e Engine) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	_ = e.Yield(ctx)
	l.depose(r)
}

// order is a Hand.
type order struct {
	node string
	done chan error // has room
}

// Hand has this node, which writes, finish what it is at and name another one ("": the most advanced) as the writer. Run does it.
// Errors say why the other cannot, or that this node does not write.
func (l *Log) Hand(ctx context.Context, node string) error {
	if l.reigning() == nil {
		w, _ := l.Writer()
		return fmt.Errorf("%w: node %q does, and it hands over", engine.ErrNotWriter, w.Node)
	}
	o := order{node, make(chan error, 1)}
	select {
	case l.orders <- o:
		return <-o.done
	case <-l.life.Done():
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hand yields and names the next.
func (c *campaign) hand(ctx context.Context, r *reign, node string) error {
	l := c.log
	next, err := c.heir(node)
	if err != nil {
		return err
	}
	if err := c.step(ctx, c.engine.Yield); err != nil {
		return fmt.Errorf("what is being committed does not come to its end: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	id, err := l.Join(ctx)
	if err != nil {
		return err
	}
	heir := Writer{Node: next.Node, Start: next.Start, Address: next.Address}
	a, err := l.ask(ctx, request{
		when: []clientv3.Cmp{l.at(keyWriter, r.term), l.at(keyID, r.term)},
		then: []clientv3.Op{
			clientv3.OpPut(l.key(keyID), l.sealJSON(ClusterID{}, keyID, id)),
			clientv3.OpPut(l.key(keyWriter), l.sealJSON(id.Cluster, keyWriter, heir)),
		},
		otherwise: l.gets(),
	})
	l.depose(r)
	if err != nil {
		return explain(err)
	}
	if !a.Succeeded {
		s := standingOf(a)
		_ = l.attend(s)
		if w, _ := l.Writer(); w.Start != heir.Start { // else an earlier try was it
			return fmt.Errorf("%w: node %s does meanwhile", engine.ErrNotWriter, w.Node)
		}
	}
	r.handed = true
	l.log.Info("this node hands the writing over", "to", heir.Node)
	return nil
}

// heir is the node that is named, or the most advanced of those that could write.
func (c *campaign) heir(node string) (best Known, err error) {
	for _, k := range c.log.nodes() {
		if k.Node == node && (k.NeverWrites || !k.Alive || k.Start == c.log.start) {
			return k, fmt.Errorf("node %q cannot be the next to write: it writes already, is not alive, or never writes", node)
		}
		if !k.Alive || k.NeverWrites || k.Node == c.log.options.Node || (node != "" && k.Node != node) {
			continue
		}
		if best.Node == "" || k.Applied > best.Applied {
			best = k
		}
	}
	if best.Node == "" {
		if node == "" {
			return best, errors.New("no other node is alive and may write")
		}
		return best, fmt.Errorf("no node %q is known: `lapid cluster status` shows those that are", node)
	}
	return best, nil
}

// wait reports whether the time passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
