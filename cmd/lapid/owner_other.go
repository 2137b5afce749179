//go:build !linux

package main

import "log/slog"

// asOwner changes nothing here: run verbs as the user whose store it is.
func (s *Setup) asOwner() (back func(), err error) { return func() {}, nil }

// warnOwner has nothing to say.
func (s *Setup) warnOwner(*slog.Logger) {}
