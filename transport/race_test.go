//go:build race

package transport

// raced tells tests that count allocations that pools forget on purpose.
const raced = true
