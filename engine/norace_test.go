//go:build !race

package engine_test

import "testing"

func sized(steps int) int { return steps }

func strides(*testing.T) func() int64 { return func() int64 { return 1 } }
