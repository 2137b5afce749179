//go:build !linux

package program

// dropOwnPages does nothing where pages of the program are not told apart.
func dropOwnPages() {}
