package program

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"lapid/cmd/lapid/backups"
	"lapid/transport"
)

// openBackups looks whether backups can be made where lapid.yaml says, before anything is served.
func (p *program) openBackups() error {
	every, keep, err := p.setup.Own.Backup.Plan()
	if err != nil || every == 0 {
		return err
	}
	dir := filepath.Clean(p.setup.Own.Backup.Dir)
	store, err := filepath.Abs(p.setup.Store())
	if err != nil {
		return err
	}
	if dir == store || strings.HasPrefix(dir, store+string(filepath.Separator)) {
		return fmt.Errorf("backup.dir: %s is within the store (%s), which a restore puts aside: choose a folder elsewhere, best on another disk", dir, store)
	}
	keeper, err := backups.NewKeeper(&backups.Options{Dir: dir, Every: every, Keep: keep, Backup: p.engine.Backup, Logger: p.log.Logger})
	if err != nil {
		return fmt.Errorf("backup.dir: no backups can be made in %s: %w", dir, err)
	}
	p.backups = keeper
	p.condition.backups.Store(keeper)
	return nil
}

// runBackups makes them until ctx ends.
func (p *program) runBackups(ctx context.Context) {
	if p.backups != nil {
		p.backups.Run(ctx)
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
