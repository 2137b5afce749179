//go:build race

package engine_test

// Under the race detector giants are as large as still makes them giants: it looks
// at every byte.
const (
	giantText = 3 << 19 // bytes of a text that no record should hold
	giantList = 12_000  // elements of a list that no record should hold
)
