package main

import (
	"strings"

	"lapid/transport/visible"
)

// Exit codes. A verb that fails gives 1, whatever the reason, a wrong command line
// included; the server gives 2 for a flag that it does not know, as the reference does.
const (
	exitGood  = 0
	exitFails = 1
	exitUsage = 2

	exitBroken = 2 // of doctor, which gives exitFails for advice

	exitInterrupted = 130 // as a shell says it of SIGINT
)

// complaint is an error as it is shown. Where it has several lines, no other
// than the first looks like a line of ours. An error may carry what a
// client wrote, and a line end in it would otherwise begin a line that
// looks like the program's.
func complaint(err error) string {
	return strings.ReplaceAll(visible.Lines(err.Error()), "\n", "\n  ")
}
