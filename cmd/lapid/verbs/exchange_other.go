//go:build !linux

package verbs

// exchange has two folders change places.
func exchange(a, b string) error { return exchangeInSteps(a, b) }
