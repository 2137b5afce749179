//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

// ask is the generator alone. It asks whatever answers HTTP, so a server can
// be measured that this program did not start.
func ask(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench load", flag.ContinueOnError)
	address := f.String("address", "127.0.0.1:8080", "host:port or path of a socket")
	path := f.String("path", "/v1/decisions?ip=", "what to GET; an address is put behind it when -kind is given")
	kind := f.String("kind", "", "hit, miss or inside: put such addresses of the decision set behind the path")
	size := f.Int("size", 1_000_000, "decisions of the set")
	seed := f.Uint64("seed", 42, "of the set")
	key := f.String("key", "", "API key; %d in it is replaced by the number of the connection")
	connections := f.Int("connections", 64, "keep-alive connections")
	threads := f.Int("threads", 2, "threads of the generator")
	rate := f.Float64("rate", 0, "requests a second; 0: as many as are answered")
	length := f.Duration("length", 5*time.Second, "how long")
	warmup := f.Duration("warmup", 500*time.Millisecond, "not counted before it")
	pid := f.Int("pid", 0, "process whose CPU and memory are read")
	asJSON := f.Bool("json", false, "print JSON instead of a table")
	if err := f.Parse(args); err != nil {
		return err
	}
	plan := &load.Plan{Rate: *rate, Warmup: *warmup, Length: *length}
	tails := make([]string, *connections)
	for i := range tails {
		tails[i] = load.Tail(strings.ReplaceAll(*key, "%d", strconv.Itoa(i)))
	}
	if *kind != "" {
		words := corpus.New(*size, *seed).NewTable(corpus.Kind(*kind), min(*size, 1<<18), *seed)
		plan.Sources = load.Filled("GET "+*path, words, tails...)
	} else {
		plan.Sources = load.PerConnection(*connections, func(dst []byte, i int) []byte {
			return append(append(append(dst, "GET "...), *path...), tails[i]...)
		})
	}
	if *pid != 0 {
		plan.Server = &load.Process{PID: *pid}
	}
	p, err := load.Dial(load.Target{Address: *address, Threads: *threads}, *connections)
	if err != nil {
		return err
	}
	defer p.Close()
	r, err := p.Run(ctx, plan)
	if *asJSON {
		return errors.Join(err, json.NewEncoder(os.Stdout).Encode(load.Named{Name: *path, Result: r}))
	}
	return errors.Join(err, load.WriteTable(os.Stdout, []load.Named{{Name: *path, Result: r}}))
}

// write writes a decision set to standard output. The same set can then be
// loaded into anything.
func write(_ context.Context, args []string) error {
	f := flag.NewFlagSet("bench corpus", flag.ContinueOnError)
	size := f.Int("size", 100_000, "decisions")
	seed := f.Uint64("seed", 42, "of the set")
	format := f.String("format", "csv", "csv, json, nginx, redis")
	countries := f.Bool("countries", false, "the table of tor-geoipdb instead")
	if err := f.Parse(args); err != nil {
		return err
	}
	formats := map[string]func(io.Writer, iter.Seq[corpus.Entry]) error{
		"csv": corpus.WriteCSV, "json": corpus.WriteJSON, "nginx": corpus.WriteNginx, "redis": corpus.WriteRedis,
	}
	to, ok := formats[*format]
	if !ok {
		return fmt.Errorf("unknown format %q", *format)
	}
	if !*countries {
		return to(os.Stdout, corpus.New(*size, *seed).All())
	}
	var failed error
	return errors.Join(to(os.Stdout, countryEntries(&failed)), failed)
}

// countryEntries are all countries' ranges; an error ends them and is left in failed.
func countryEntries(failed *error) iter.Seq[corpus.Entry] {
	return func(yield func(corpus.Entry) bool) {
		for _, file := range corpus.CountryFiles {
			for e, err := range corpus.Countries(file) {
				if err != nil {
					*failed = err
					return
				}
				if !yield(e) {
					return
				}
			}
		}
	}
}

// indexes runs the benchmarks that put libraries side by side, then those of
// the index. They run in processes of their own, as go test does it.
func indexes(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench index", flag.ContinueOnError)
	length := f.String("benchtime", "300ms", "of each benchmark")
	size := f.Int("size", 100_000, "entries; a million takes some minutes")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, test := range [][]string{{"lapid/bench", fmt.Sprintf("-entries=%d", *size)}, {"lapid/index"}} {
		c := exec.CommandContext(ctx, "go", append([]string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", *length}, test...)...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return err
		}
	}
	return nil
}

// pebbleAlone is the process that peers.Yard starts. What it managed is
// printed as JSON.
func pebbleAlone(_ context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("pebble: DIR WRITERS SIZE DURATION")
	}
	w := &peers.PebbleWork{Dir: args[0]}
	var err error
	if w.Writers, err = strconv.Atoi(args[1]); err != nil {
		return err
	}
	if w.Size, err = strconv.Atoi(args[2]); err != nil {
		return err
	}
	if w.Length, err = time.ParseDuration(args[3]); err != nil {
		return err
	}
	done, err := w.Run()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

// cost is the process that peers.LAPI.Cost starts. What the command took is
// printed as JSON.
func cost(_ context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("cost: COMMAND [ARGUMENTS]")
	}
	c, err := peers.CostOf(args)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(c)
}
