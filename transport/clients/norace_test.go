//go:build clients && !race

package clients

var buildFlags []string
