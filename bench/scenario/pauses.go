//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// ending is how many decisions end at one moment.
	ending = 100_000
	// perAlert is how many of them an alert brings.
	perAlert = 10_000
	// pushers push alerts until a snapshot is written, so long at most.
	pushers    = 16
	snapshotIn = 15 * time.Second
	// settles is how long readers go on after all that.
	settles = 2 * time.Second
)

// Pauses asks live queries while 100 000 decisions end at one moment, many are
// imported so that garbage is collected, and alerts are pushed until one of the
// snapshots, which are due every few seconds here, is written.
func (b *Bench) Pauses(ctx context.Context, l *peers.LAPI, set *corpus.Set) (err error) {
	if err := b.again(ctx, l, "LAPID_SNAPSHOT_EVERY=5s"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.again(ctx, l)) }()
	restless, err := b.file(corpus.New(b.Restless, Seed+6), 0, "restless")
	if err != nil {
		return err
	}
	end := time.Now().Truncate(time.Second).Add(8 * time.Second)
	if err := b.ending(ctx, l, end); err != nil {
		return err
	}
	b.say("pauses: %d decisions end at one moment, %d are imported", ending, b.Restless)
	before, err := newest(l.Data())
	if err != nil {
		return err
	}
	noise, err := b.noiseOn(ctx, true, l, set, 2*readers)
	if err != nil {
		return err
	}
	_, err = l.Import(ctx, restless)
	if left := time.Until(end); err == nil && left > 0 {
		err = pause(ctx, left)
	}
	written := false
	if err == nil {
		written, err = b.untilSnapshot(ctx, l, before)
	}
	if err == nil {
		err = pause(ctx, settles)
	}
	r, failed := noise()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	b.Report.Measured(rowPause, ms(r.P999), "longest %.2f ms, p99 %.2f ms of %d; snapshot written: %v", ms(r.Max), ms(r.P99), r.Requests, written)
	b.section("Live queries while snapshots, expiry and garbage collection go on", []load.Named{{Name: "lapid", Result: r}}, "")
	return nil
}

// again starts a server anew, with something in its environment.
func (b *Bench) again(ctx context.Context, l *peers.LAPI, env ...string) error {
	l.Stop()
	l.Env = env
	_, err := l.Start(ctx)
	return err
}

// untilSnapshot pushes alerts until there is a snapshot younger than a moment; false
// when that takes too long.
func (b *Bench) untilSnapshot(ctx context.Context, l *peers.LAPI, before time.Time) (written bool, err error) {
	b.say("pauses: alerts until a snapshot is written")
	us, err := b.writer(ctx, "lapid", l, Seed+9)
	if err != nil {
		return false, err
	}
	p, err := load.Dial(load.Target{Address: us.address, Threads: 1, CPUs: b.LoadCPUs[len(b.LoadCPUs)-1:]}, pushers)
	if err != nil {
		return false, err
	}
	defer p.Close()
	for begin := time.Now(); !written && time.Since(begin) < snapshotIn; {
		r, err := p.Run(ctx, &load.Plan{Sources: us.sources, Wanted: us.wanted, Length: time.Second / 2})
		if err == nil {
			err = sound("pauses", r)
		}
		if err != nil {
			return false, err
		}
		at, err := newest(l.Data())
		if err != nil {
			return false, err
		}
		written = at.After(before)
	}
	return written, nil
}

// ending posts the decisions that are to end together. None may end before all
// are posted.
func (b *Bench) ending(ctx context.Context, l *peers.LAPI, end time.Time) error {
	set := corpus.New(ending, Seed+7)
	for first := 0; first < ending; first += perAlert {
		stop := time.Now().Truncate(time.Second)
		if err := l.Post(ctx, alertOf(lasting(set.Part(first, first+perAlert), end.Sub(stop)), stop)); err != nil {
			return err
		}
	}
	if !time.Now().Before(end) {
		return fmt.Errorf("posting %d decisions took too long: some have ended", ending)
	}
	return nil
}

// lasting gives the entries one duration.
func lasting(entries iter.Seq[corpus.Entry], d time.Duration) iter.Seq[corpus.Entry] {
	return func(yield func(corpus.Entry) bool) {
		for e := range entries {
			e.Duration = d
			if !yield(e) {
				return
			}
		}
	}
}

// newest gives the time of the youngest snapshot below a folder.
func newest(dir string) (at time.Time, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isSnapshot(path) {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err == nil && info.ModTime().After(at) {
			at = info.ModTime()
		}
		return ignoreGone(err)
	})
	return at, err
}

// isSnapshot knows the files by their suffix.
func isSnapshot(path string) bool { return filepath.Ext(path) == ".snapshot" }

// ignoreGone lets files go that vanish while they are looked at.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
