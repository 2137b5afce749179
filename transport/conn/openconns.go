package conn

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// openConns are all connections that goroutines serve, so that they can be cut at
// the end.
type openConns struct {
	mu  sync.Mutex
	all map[*conn]struct{}
	n   atomic.Int64 // how many there are
}

func (o *openConns) add(c *conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[*conn]struct{})
	}
	o.all[c] = struct{}{}
	o.n.Store(int64(len(o.all)))
}

// remove reports whether the connection was there.
func (o *openConns) remove(c *conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, there := o.all[c]
	delete(o.all, c)
	o.n.Store(int64(len(o.all)))
	return there
}

// count is how many there are.
func (o *openConns) count() int { return int(o.n.Load()) }

// unproven lists those on which nobody has shown who he is, of some kind.
func (o *openConns) unproven(which func(*conn) bool) []unproven {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []unproven
	now := time.Now()
	for c := range o.all {
		if !c.proven.Load() && which(c) {
			list = append(list, unproven{peer: c.peer, age: now.Sub(c.since), cut: func() bool { return c.cut() == nil }})
		}
	}
	return list
}

// cut closes every connection; what was being written is lost.
func (o *openConns) cut() {
	for _, c := range o.list() {
		_ = c.cut()
	}
}

// rouse ends the wait of those that are served anew and say nothing: the HTTP
// library would wait for them when it stops, as for all that are new.
func (o *openConns) rouse() {
	for _, c := range o.list() {
		if c.resting.Load() {
			_ = c.Conn.SetReadDeadline(past) // refused: it is over
		}
	}
}

// past is a deadline that strikes at once.
var past = time.Unix(1, 0)

func (o *openConns) list() []*conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.all))
}
