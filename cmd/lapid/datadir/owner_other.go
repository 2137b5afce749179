//go:build !linux

package datadir

// asOwner changes nothing here: run verbs as the user whose store it is.
func (d Dir) asOwner() (back func(), err error) { return func() {}, nil }

// refuseRoot refuses nobody, and neither do the others.
func (d Dir) refuseRoot(string) error { return nil }
func (d Dir) refuseLinks() error      { return nil }
