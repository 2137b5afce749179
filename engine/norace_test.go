//go:build !race

package engine_test

func sized(steps int) int { return steps }

func stride() int64 { return 1 }
