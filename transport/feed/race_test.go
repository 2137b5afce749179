//go:build race

package feed

// raced tells tests that count allocations that pools forget on purpose.
const raced = true
