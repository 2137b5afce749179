package engine

import (
	"sync"
	"sync/atomic"
)

// holding is the view that is held, and by how many. The lock is held for a moment only.
type holding struct {
	mu   sync.Mutex
	many int
	view atomic.Pointer[View]
}

// HoldStreams has StreamView give one view, the newest of now, until release is called:
// what is committed meanwhile reaches streams as one change. Everything else sees it at
// once. release may be called more than once. Of several holds the first counts, and the
// last release ends it. Whoever holds must bound the time: new decisions wait too.
func (e *Engine) HoldStreams() (release func()) {
	h := &e.holding
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.many++; h.many == 1 {
		h.view.Store(e.View())
	}
	released := false
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if released {
			return
		}
		released = true
		if h.many--; h.many == 0 {
			h.view.Store(nil)
		}
	}
}

// StreamView is the view that streams are answered from: the newest, or the one that is
// held. It is never older than one that it gave before.
func (e *Engine) StreamView() *View {
	if v := e.holding.view.Load(); v != nil {
		return v
	}
	return e.View()
}
