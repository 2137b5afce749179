//go:build race

package conn

// raced: the race detector allocates.
const raced = true
