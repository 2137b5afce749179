package engine

// Changed returns a channel that is closed when the next view is published. Take it before
// the view: whatever is published after that view closes it. Any goroutine; nothing is kept
// for readers that do not come back.
func (e *Engine) Changed() <-chan struct{} { return e.changed.next() }
