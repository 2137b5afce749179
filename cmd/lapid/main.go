package main

import (
	"context"
	"os"
)

// main gives run what the process has. It is the only place that ends the process.
func main() {
	t := &terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.LookupEnv}
	os.Exit(run(context.Background(), t, os.Args[1:]))
}
