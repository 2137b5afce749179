//go:build linux

package scenario

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
	"lapid/bench/report"
)

// Seed of all decision sets.
const Seed = 42

// asked is how many addresses a generator goes through: more than the caches hold
// of what they lead to.
const asked = 1 << 18

// Programs are paths of programs that were built.
type Programs struct {
	Lapid, Ceiling string
	Self           string // this program: it has a verb pebble
}

// Pace is how long and how large everything is.
type Pace struct {
	Size        int           // decisions of most scenarios
	Warmup      time.Duration // of a closed loop
	Length      time.Duration // of one round of a closed loop
	Rounds      int           // of each, in turn; the one in the middle counts
	Open        time.Duration // of an open loop
	Connections []int         // of live queries
	Bouncers    int           // that poll an empty delta
	Followers   int           // that poll a delta of 100
	Waves       int           // of such deltas
	Crowd       int           // that start in the same second
	Seen        int           // alerts whose way to a bouncer is timed
	Busy        float64       // live queries a second meanwhile
	Hold        time.Duration // that polls are held for
	Told        int           // bans that all who are held wait for
	Beside      time.Duration // live queries beside them
	Ingest      time.Duration // writers write so long
	Restless    int           // decisions imported while pauses are looked for
	Besiegers   int           // connections, most of them a burden
	Siegetime   time.Duration // of each half of the siege
	Reference   int           // decisions beside the reference; 0: not beside it
}

// Bench is one run. Scenarios are called one after the other.
type Bench struct {
	*peers.Yard
	Programs
	Pace
	LoadCPUs []int
	Report   *report.Report
	Log      io.Writer // told what is going on, a line each
	Only     []string  // beginnings of the keys of rows to measure; none: all

	begun time.Time
}

// say tells what is going on.
func (b *Bench) say(format string, a ...any) {
	if b.begun.IsZero() {
		b.begun = time.Now()
	}
	fmt.Fprintf(b.Log, "%6.1fs  %s\n", time.Since(b.begun).Seconds(), fmt.Sprintf(format, a...))
}

// dial opens connections to a server, driven from all of the generator's CPUs.
func (b *Bench) dial(address string, protocol load.Protocol, count int) (*load.Pool, error) {
	return b.dialTo(contender{address: address, protocol: protocol}, count)
}

// dialTo does so as a contender wants it, encrypted or plain.
func (b *Bench) dialTo(c contender, count int) (*load.Pool, error) {
	return load.Dial(load.Target{Address: c.address, Protocol: c.protocol, Threads: len(b.LoadCPUs), CPUs: b.LoadCPUs, TLS: c.tls}, count)
}

// file gives the path of a CSV file of the entries of a set from first on, which is
// written unless it is there.
func (b *Bench) file(set *corpus.Set, first int, name string) (string, error) {
	path := filepath.Join(b.Dir, fmt.Sprintf("%s-%d-%d.csv", name, first, set.Len()))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if err := corpus.WriteCSV(f, set.Part(first, set.Len())); err != nil {
		_ = f.Close()
		return "", err
	}
	return path, f.Close()
}

// fill imports a set into a Local API that has its entries up to first.
func (b *Bench) fill(ctx context.Context, l *peers.LAPI, set *corpus.Set, first int) (time.Duration, error) {
	file, err := b.file(set, first, "set")
	if err != nil {
		return 0, err
	}
	took, err := l.Import(ctx, file)
	b.say("imported %d decisions into %s in %.1f s", set.Len()-first, l.Name, took.Seconds())
	return took, err
}

// started makes a lapid, starts it and loads a set, if there is one.
func (b *Bench) started(ctx context.Context, name string, set *corpus.Set) (*peers.LAPI, error) {
	l, err := b.NewLapid(ctx, name, b.Programs.Lapid)
	if err != nil {
		return nil, err
	}
	if _, err := l.Start(ctx); err != nil {
		return nil, err
	}
	if set != nil {
		_, err = b.fill(ctx, l, set, 0)
	}
	return l, err
}

// section adds results to the page, with more lines below them.
func (b *Bench) section(title string, results []load.Named, more string) {
	var text strings.Builder
	_ = load.WriteTable(&text, results) // a Builder takes everything
	b.Report.Section(title, text.String()+more)
	b.Report.Attach(title, results)
}

// sound refuses a result with errors.
func sound(name string, r *load.Result) error {
	if r.Requests == 0 {
		return fmt.Errorf("%s: nothing was answered (%s)", name, r.First)
	}
	if n := r.Errors(); n > 0 {
		return fmt.Errorf("%s: %d of %d requests failed: %d other answers, %d lost, %d unanswered (%s)",
			name, n, r.Requests, r.Bad, r.Lost, r.Late, r.First)
	}
	return nil
}

// ms gives milliseconds.
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// mb gives megabytes.
func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
