//go:build race

package engine_test

// sized is how many steps a random history has: fewer under the race detector, with which
// each takes ten times as long.
func sized(steps int) int { return steps / 4 }
