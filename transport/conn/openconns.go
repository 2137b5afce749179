package conn

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// openConn is a connection that a goroutine serves.
type openConn interface {
	// cut ends it. Anybody may call it, more than once.
	cut() error
	// rouse ends its wait if it is served anew and says nothing.
	rouse()
}

// openConns are all connections that goroutines serve, so that they can be cut at
// the end.
type openConns struct {
	mu  sync.Mutex
	all map[openConn]struct{}
	n   atomic.Int64 // how many there are
}

func (o *openConns) add(c openConn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = make(map[openConn]struct{})
	}
	o.all[c] = struct{}{}
	o.n.Store(int64(len(o.all)))
}

// remove reports whether the connection was there.
func (o *openConns) remove(c openConn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, there := o.all[c]
	delete(o.all, c)
	o.n.Store(int64(len(o.all)))
	return there
}

// count is how many there are.
func (o *openConns) count() int { return int(o.n.Load()) }

// cut closes every connection; what was being written is lost.
func (o *openConns) cut() {
	for _, c := range o.list() {
		_ = c.cut()
	}
}

func (o *openConns) list() []openConn {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.all))
}

// rouse ends the wait of those that are served anew and say nothing: the HTTP
// library would wait for them when it stops, as for all that are new.
func (o *openConns) rouse() {
	for _, c := range o.list() {
		c.rouse()
	}
}
