//go:build linux

package peers

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lapid/bench/load"
)

// PebbleWork is what Pebble alone does: so many writers, each committing one
// synced record after the other.
type PebbleWork struct {
	Dir     string
	Writers int
	Size    int // bytes of a record
	Length  time.Duration
}

// PebbleDone is what it managed.
type PebbleDone struct {
	Rate float64       // commits a second
	P50  time.Duration // of one commit
	P99  time.Duration
}

// Run does the work in this process. Every commit is synced, as the
// journal's are.
func (w *PebbleWork) Run() (*PebbleDone, error) {
	db, err := pebble.Open(w.Dir, &pebble.Options{MemTableSize: 64 << 20, Logger: quiet{}})
	if err != nil {
		return nil, err
	}
	var number atomic.Uint64
	var wait sync.WaitGroup
	results := make([]load.Histogram, w.Writers)
	failed := make(chan error, w.Writers)
	begin := time.Now()
	for i := range w.Writers {
		wait.Go(func() {
			if err := w.write(db, &number, &results[i], begin.Add(w.Length)); err != nil {
				failed <- err
			}
		})
	}
	wait.Wait()
	elapsed := time.Since(begin)
	close(failed)
	for err := range failed {
		return nil, err
	}
	for i := range results[1:] {
		results[0].Merge(&results[i+1])
	}
	all := &results[0]
	return &PebbleDone{Rate: float64(all.Count()) / elapsed.Seconds(), P50: all.Quantile(0.5), P99: all.Quantile(0.99)}, db.Close()
}

// write is one writer until the end.
func (w *PebbleWork) write(db *pebble.DB, number *atomic.Uint64, took *load.Histogram, end time.Time) error {
	record := make([]byte, w.Size)
	var key [8]byte
	for begin := time.Now(); begin.Before(end); {
		n := number.Add(1)
		binary.BigEndian.PutUint64(key[:], n)
		copy(record, key[:])
		if err := db.Set(key[:], record, pebble.Sync); err != nil {
			return err
		}
		now := time.Now()
		took.Record(now.Sub(begin))
		begin = now
	}
	return nil
}

// Pebble has program, which is this one with a verb for it, do the work in a
// process on the server's CPUs.
func (y *Yard) Pebble(ctx context.Context, program string, w *PebbleWork) (*PebbleDone, error) {
	c := exec.CommandContext(ctx, program, "pebble", w.Dir, fmt.Sprint(w.Writers), fmt.Sprint(w.Size), w.Length.String())
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := load.StartPinned(c, y.ServerCPUs); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(out)
	if err != nil {
		return nil, err
	}
	if err := c.Wait(); err != nil {
		return nil, fmt.Errorf("pebble alone: %w", err)
	}
	done := new(PebbleDone)
	return done, json.Unmarshal(text, done)
}

// quiet drops what Pebble says while all is well.
type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
