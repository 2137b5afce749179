package program

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"lapid/cmd/lapid/backups"
	"lapid/cmd/lapid/datadir"
	"lapid/transport"
)

// openBackups looks whether backups can be made where lapid.yaml says, before anything is served.
func (p *program) openBackups() error {
	every, keep, err := p.setup.Own.Backup.Plan()
	if err != nil || every == 0 {
		return err
	}
	dir, store := filepath.Clean(p.setup.Own.Backup.Dir), datadir.Absolute(p.setup.Store())
	if within(dir, store) {
		return fmt.Errorf("backup.dir: %s is within the store (%s), which a restore puts aside: choose a folder elsewhere, best on another disk", dir, store)
	}
	keeper, err := backups.NewKeeper(&backups.Options{Dir: dir, Every: every, Keep: keep, Backup: p.engine.Backup, Logger: p.log.Logger, Free: freeBytes})
	if err != nil {
		return fmt.Errorf("backup.dir: no backups can be made in %s: %w", dir, err)
	}
	if oneDevice(dir, store) {
		p.log.Warn("backups are made on the disk of the store: what takes that takes both, and both fill it; another disk is better (backup.dir)", "dir", dir, "store", store)
	}
	p.backups = keeper
	p.condition.backups.Store(keeper)
	return nil
}

// within tells whether a folder, which may not be there yet, is another one or lies in it, by whatever links
// or mounts it is named.
func within(dir, outer string) bool {
	of, err := os.Stat(outer)
	if err != nil {
		return false
	}
	for real := ""; ; dir = filepath.Dir(dir) {
		if there, err := filepath.EvalSymlinks(dir); err == nil && real == "" {
			real, dir = there, there // what is above a link is above where it leads
		}
		if at, err := os.Stat(dir); err == nil && os.SameFile(at, of) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

// oneDevice tells whether two folders are on one file system, as far as that is known.
func oneDevice(a, b string) bool {
	device := func(path string) (uint64, bool) {
		info, err := os.Stat(path)
		if err != nil {
			return 0, false
		}
		s, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return 0, false
		}
		return uint64(s.Dev), true
	}
	on, known := device(a)
	other, also := device(b)
	return known && also && on == other
}

// runBackups makes them until ctx ends.
func (p *program) runBackups(ctx context.Context) {
	if p.backups != nil {
		p.backups.Run(ctx)
	}
}

// closeBackups gives their folder back when nothing is served after all.
func (p *program) closeBackups() {
	if p.backups != nil {
		p.backups.Close()
	}
}

// backupFigures are what metrics show of them; nil where none are made.
func (p *program) backupFigures() *transport.Backups {
	if p.backups == nil {
		return nil
	}
	f := p.backups.Figures()
	return &transport.Backups{LastSuccess: f.LastSuccess, Failures: f.Failures, Seconds: f.Duration.Seconds(), Bytes: f.Bytes}
}
