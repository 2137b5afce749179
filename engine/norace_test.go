//go:build !race

package engine_test

func sized(steps int) int { return steps }
