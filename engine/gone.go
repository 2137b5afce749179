package engine

import (
	"errors"
	"fmt"

	"lapid/persist"
)

// lookForStore sees, once a second, whether the store is still where it was opened.
// What is written to a store that was removed or exchanged under the server is lost
// with the process, so nothing more is accepted then; reads go on from memory. As on
// a disk that refuses, it is tried again every second, until all is back.
func (e *Engine) lookForStore(steady int64) {
	if steady < e.nextLook {
		return
	}
	e.nextLook = steady + int64(lookForStore)
	err := e.store.Present()
	if !errors.Is(err, persist.ErrGone) {
		e.gone.Store(false)
		return
	}
	e.sick.Store(true)
	text := fmt.Sprintf("the store was removed or exchanged under the running server: writes are refused, reads go on; "+
		"%s, by moving it, and writes are taken again; or save what the server can still read with: lapid backup DIR, "+
		"stop it, and restore that, or else the last backup, with: lapid restore --force FILE", oneLine(err.Error()))
	e.troubles.set(TroubleDisk, text, e.Now())
	if !e.gone.Swap(true) {
		e.log.Error(text)
	}
}

// goneNow looks at once, for a write that met something missing, and tells whether it is the
// store.
func (e *Engine) goneNow() bool {
	_, steady := e.clock()
	e.nextLook = 0
	e.lookForStore(steady)
	return e.gone.Load()
}
