// Package goclient lets the Go libraries that most bouncers and every log processor are built on speak to
// a Local API: go-cs-bouncer in stream and in live mode, and the reference's own API client as log
// processor. It is a module of its own, so that lapid's go.mod stays free of theirs.
//
// The tests are run by the package above, which starts a server and says in the environment where it is:
//
//	LAPID_URL           http://127.0.0.1:PORT
//	LAPID_BOUNCER_KEYS  three keys, separated by commas: each stream has a place of its own
//	LAPID_MACHINES      two validated machines, separated by a comma
//	LAPID_PASSWORD      the password of both
package goclient
