//go:build race

package main

// underRace says that tests, and the processes they start, watch for races.
const underRace = true
