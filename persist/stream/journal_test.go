package stream

import (
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// The log in etcd is a journal.
func TestJournal(t *testing.T) {
	t.Parallel()
	enginetest.Journals(t, func(t *testing.T) enginetest.Shared {
		r := newRig(t)
		first := r.begun(nil)
		last := first
		return enginetest.Shared{
			Writer: first,
			Again: func() engine.Journal {
				_ = last.Close()
				last = r.writer()
				return last
			},
			Another: func() engine.Journal { return r.writer() },
		}
	})
}
