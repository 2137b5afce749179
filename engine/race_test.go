//go:build race

package engine_test

import "math/rand/v2"

// sized is how many steps a random history has: fewer under the race detector, with which
// each takes ten times as long.
func sized(steps int) int { return steps / 4 }

// stride is how far it is from one place at which something fails to the next: one without the
// race detector, and with it one to seven, so that each is met by and by.
func stride() int64 { return 1 + rand.Int64N(7) }
