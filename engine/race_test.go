//go:build race

package engine_test

import (
	"flag"
	"math/rand/v2"
	"testing"
)

// strideSeed repeats what failed: go test -race ./engine -run TEST -args -strides SEED
var strideSeed = flag.Uint64("strides", 0, "seed of strides under the race detector; 0: another each time")

// sized is how many steps a random history has: fewer under the race detector, with which
// each takes ten times as long.
func sized(steps int) int { return steps / 4 }

// strides gives how far it is from one place at which something fails to the next: one without
// the race detector, and with it one to thirty-one, so that each is met by and by. A test that fails
// shows the seed.
func strides(t *testing.T) func() int64 {
	t.Helper()
	seed := *strideSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("strides by -args -strides %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	return func() int64 { return 1 + chance.Int64N(31) }
}
