//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lapid/bench/load"
	"lapid/bench/peers"
	"lapid/bench/report"
	"lapid/bench/scenario"
)

// settings are the flags that all runs share.
type settings struct {
	lapid string // program; empty: built
	dir   string // where servers keep their files; empty: a new folder that is removed
	only  string // beginnings of rows' keys, with commas between
	pace  scenario.Pace
}

// flags are those that all runs share; pace gives the defaults.
func flags(name string, pace scenario.Pace) (*flag.FlagSet, *settings) {
	f := flag.NewFlagSet("bench "+name, flag.ContinueOnError)
	s := &settings{pace: pace}
	f.StringVar(&s.lapid, "lapid", "", "lapid program to measure (default: built from this repository)")
	f.StringVar(&s.dir, "dir", "", "folder for the servers' files, kept (default: a temporary one)")
	f.StringVar(&s.only, "only", "", "measure these rows only: live, nginx, redis, haproxy, tls, handshakes, access log, audit, console, export, list, flat, allocations, empty, follow, startup, crowd, seen, held, events, reconnect, views, ingest, import, memory, restart, pause, siege, reference")
	f.IntVar(&s.pace.Reference, "reference", pace.Reference, "decisions beside the reference; 0: not beside it")
	f.IntVar(&s.pace.Size, "size", pace.Size, "number of decisions")
	return f, s
}

// full is the table of the README at its real size. Only a run of all rows leaves a
// page.
func full(ctx context.Context, args []string) error {
	f, s := flags("full", scenario.FullPace())
	ten := f.Int("ten", 10_000_000, "decisions of the largest set; 0 for none")
	results := f.String("results", "bench/results", "folder for the page")
	if err := f.Parse(args); err != nil {
		return err
	}
	return s.measured(ctx, "full", *ten, func(b *scenario.Bench) error {
		err := b.Full(ctx, *ten)
		if s.only != "" {
			return err // a page would look like all there is
		}
		page, saved := b.Report.Save(*results, time.Now().Format("2006-01-02-1504")+"-full")
		if saved == nil {
			fmt.Fprintln(os.Stderr, "written:", page)
		}
		return errors.Join(err, saved)
	})
}

// short is for changes: small, and without verdicts, for its figures are too noisy to
// judge by.
func short(ctx context.Context, args []string) error {
	f, s := flags("short", scenario.ShortPace())
	if err := f.Parse(args); err != nil {
		return err
	}
	return s.measured(ctx, "short", 0, func(b *scenario.Bench) error { return b.Short(ctx) })
}

// beside is the comparison with other programs alone, all with the same set.
func beside(ctx context.Context, args []string) error {
	pace := scenario.FullPace()
	pace.Size = 100_000
	f, s := flags("peers", pace)
	if err := f.Parse(args); err != nil {
		return err
	}
	s.pace.Reference = s.pace.Size // all peers have the same set
	return s.measured(ctx, "peers", 0, func(b *scenario.Bench) error { return b.Peers(ctx) })
}

// measured builds the programs, shares out the CPUs, has do measure and
// prints the page. The generator keeps to its own half of the CPUs and
// servers to the other, or one would measure how they get in each other's
// way. What was measured is printed also when something failed.
func (s *settings) measured(ctx context.Context, name string, ten int, do func(*scenario.Bench) error) error {
	dir, err := s.folder()
	if err != nil {
		return err
	}
	if s.dir == "" {
		defer os.RemoveAll(dir)
	}
	programs, err := s.programs(ctx, dir)
	if err != nil {
		return err
	}
	server, generator, err := load.Halves()
	if err != nil {
		return err
	}
	if err := load.Pin(generator); err != nil {
		return err
	}
	b := &scenario.Bench{
		Yard: &peers.Yard{Dir: dir, ServerCPUs: server, ClientCPUs: generator[len(generator)-1:]}, Programs: *programs, Pace: s.pace, LoadCPUs: generator,
		Report: report.New("Bench "+name, name != "short", scenario.Rows(&s.pace, ten)), Log: os.Stderr,
	}
	defer b.Close()
	if s.only != "" {
		b.Only = strings.Split(s.only, ",")
	}
	b.Report.Conditions = conditions(ctx, name, s.pace, server, generator)
	err = do(b)
	if s.only != "" {
		b.Report.Keep()
	}
	return errors.Join(err, b.Report.WriteMarkdown(os.Stdout, ""))
}

// folder gives a folder that is there. One that was named is kept, for
// looking into.
func (s *settings) folder() (string, error) {
	if s.dir == "" {
		return os.MkdirTemp("", "lapid-bench-")
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// programs builds what is measured. They are built from this repository as
// it stands, statically, as releases are.
func (s *settings) programs(ctx context.Context, dir string) (*scenario.Programs, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &scenario.Programs{Lapid: s.lapid, Ceiling: filepath.Join(dir, "ceiling"), Self: self}
	build := map[string]string{p.Ceiling: "lapid/bench/ceiling"}
	if p.Lapid == "" {
		p.Lapid = filepath.Join(dir, "lapid")
		build[p.Lapid] = "lapid/cmd/lapid"
	} else if p.Lapid, err = filepath.Abs(p.Lapid); err != nil {
		return nil, err
	}
	for program, source := range build {
		c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", program, source)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building %s: %w: %s", source, err, out)
		}
	}
	return p, nil
}

// conditions tell under what the figures were measured. Figures without them
// cannot be compared: the commit, the machine, and how much of its time
// others took.
func conditions(ctx context.Context, name string, pace scenario.Pace, server, generator []int) []string {
	say := func(argv ...string) string {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	commit := say("git", "rev-parse", "--short=12", "HEAD")
	if changed := say("git", "status", "--porcelain", "-uno"); changed != "" {
		commit += " with uncommitted changes"
	}
	busy, _ := os.ReadFile("/proc/loadavg")
	lost := load.Lost(slices.Concat(server, generator), time.Second)
	return []string{
		"date: " + time.Now().UTC().Format(time.RFC3339) + ", command: bench " + name,
		"commit: " + commit + ", " + say("go", "version"),
		fmt.Sprintf("machine: %s, %d CPUs, %s, kernel %s", cpuName(), len(server)+len(generator), memory(), say("uname", "-r")),
		fmt.Sprintf("CPUs: server %s, generator %s; load before: %s", load.List(server), load.List(generator), strings.TrimSpace(string(busy))),
		fmt.Sprintf("lost to others when all CPUs are busy: %.2f %% of the worst one's time, %v at once", 100*lost.Share, lost.Longest.Round(10*time.Microsecond)),
		fmt.Sprintf("decisions: %d, seed %d; rounds: %d of %v; connections: %v", pace.Size, scenario.Seed, pace.Rounds, pace.Length, pace.Connections),
	}
}

// cpuName is the processor as the kernel calls it.
func cpuName() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // not there: unknown
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// memory is how much the machine has, in GiB.
func memory() string {
	text, _ := os.ReadFile("/proc/meminfo") // not there: unknown
	var kb int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kb); err != nil {
		return "unknown memory"
	}
	return fmt.Sprintf("%d GiB", (kb+1<<19)>>20)
}
