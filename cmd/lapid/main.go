package main

import (
	"context"
	"os"
	_ "time/tzdata" // for TZ, in images without files of zones

	"lapid/cmd/lapid/verbs"
)

// main gives run what the process has. It is the only place that ends the process.
func main() {
	t := &verbs.Terminal{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.LookupEnv, Environ: os.Environ(), Build: verbs.Build{Version: version, Commit: commit}}
	os.Exit(run(context.Background(), t, os.Args[1:]))
}
