package verbs

import (
	"errors"
	"fmt"
	"strings"

	"lapid/engine"
	"lapid/persist"
)

// Advice says what to do about a disk that refuses to write, in a line of
// its own; nothing about anything else. An import that ended early says
// itself what is stored; everything else is one commit, so nothing is.
func (t *Terminal) Advice(err error) string {
	if !errors.Is(err, engine.ErrDisk) && !errors.Is(err, persist.ErrDisk) {
		return ""
	}
	// Every verb but an import makes one commit, which is stored whole or not at all.
	said := "Nothing was stored. "
	var early *earlyEnd
	if errors.As(err, &early) {
		said = "" // it says what was
	}
	if strings.Contains(err.Error(), persist.ErrGone.Error()) {
		return said + "'lapid ready' says what else can be done.\n"
	}
	s, err := t.Setup()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(said+"Make room in %s, or make it writable, and try again: "+
		"a running server notices by itself, within a second.\n", s.Store())
}
