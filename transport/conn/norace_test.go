//go:build !race

package conn

const raced = false
