package transport

import "sync/atomic"

// bodyBudget bounds how much memory large request bodies take together. Who
// finds it used up is told to come back; nobody waits for it, for waiting
// requests hold what they have.
type bodyBudget struct {
	most int64
	used atomic.Int64
}

// take reports whether n more bytes fit, and if so counts them.
func (b *bodyBudget) take(n int64) bool {
	if b.used.Add(n) > b.most {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *bodyBudget) give(n int64) { b.used.Add(-n) }
