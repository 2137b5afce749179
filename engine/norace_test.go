//go:build !race

package engine_test

const (
	giantText = 5 << 20 // bytes of a text that no record should hold
	giantList = 20_000  // elements of a list that no record should hold
)
