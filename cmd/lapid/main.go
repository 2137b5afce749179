package main

import (
	"context"
	"os"
)

func main() {
	t := &terminal{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.LookupEnv}
	os.Exit(run(context.Background(), t, os.Args[1:]))
}
