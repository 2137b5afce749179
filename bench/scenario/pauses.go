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
	// settles is how long after that moment, or after the import, readers go on.
	settles = 2 * time.Second
)

// Pauses asks live queries while 100 000 decisions end at one moment and so much
// is imported that snapshots are written and garbage is collected.
func (b *Bench) Pauses(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
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
	noise, err := b.noise(ctx, l, set, 2*readers)
	if err != nil {
		return err
	}
	_, err = l.Import(ctx, restless)
	if left := time.Until(end); err == nil && left > 0 {
		err = pause(ctx, left)
	}
	if err == nil {
		err = pause(ctx, settles)
	}
	r, failed := noise()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	after, err := newest(l.Data())
	if err != nil {
		return err
	}
	b.Report.Measured(rowPause, ms(r.P999), "longest %.2f ms, p99 %.2f ms of %d; snapshot written: %v",
		ms(r.Max), ms(r.P99), r.Requests, after.After(before))
	b.section("Live queries while snapshots, expiry and garbage collection go on", []load.Named{{Name: "lapid", Result: r}}, "")
	return nil
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
