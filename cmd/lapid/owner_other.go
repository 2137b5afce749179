//go:build !linux

package main

// asOwner changes nothing here: run verbs as the user whose store it is.
func (s *Setup) asOwner() (back func(), err error) { return func() {}, nil }

// refuseRoot refuses nobody, and neither do the others.
func (s *Setup) refuseRoot() error          { return nil }
func (s *Setup) refuseRootFor(string) error { return nil }
func (s *Setup) refuseLinks() error         { return nil }
