//go:build !linux

package datadir

// AsOwner changes nothing here: run verbs as the user whose store it is.
func (d Dir) AsOwner() (back func(), err error) { return func() {}, nil }

// RefuseRoot refuses nothing here.
func (d Dir) RefuseRoot(string) error { return nil }

// RefuseLinks refuses nothing here.
func (d Dir) RefuseLinks() error { return nil }
