//go:build clients && race

package clients

// buildFlags: under go test -race the server is built with the detector too, and a race fails the test
// whose server saw it.
var buildFlags = []string{"-race"}
