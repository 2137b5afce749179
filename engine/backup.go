package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"lapid/persist"
)

// A backup is a view written down with all bodies, while commits go on. Unlike a
// snapshot, which a journal follows, it is exact: what happened later is not in
// it. It carries the Digest of the view, by which a restored store is verified.

// Kinds of notes in a backup. Never reused.
const (
	noteDigest uint16 = 1 // the digest of the state
	noteStore  uint16 = 2 // the id of the store it was taken of; what is restored has its own
)

// backupCut is what must be taken on the committer, between two commits.
type backupCut struct {
	view   *View
	header []byte
	people *people
	rows   *persist.Pin
	store  persist.ID
}

// Backup writes everything as it is at one moment to w, and returns that
// revision and the size in bytes. Commits go on meanwhile; Close waits for it.
// Errors: ErrDisk while alert bodies cannot be written, ErrBusy, ErrClosed, that
// of ctx, and those of w.
func (e *Engine) Backup(ctx context.Context, w io.Writer) (Revision, int64, error) {
	cut := &backupCut{}
	if e.trail.on() { // what is left for the committer is little then
		if err := e.trail.Follow(ctx, true); err != nil && !e.withoutAudit(err) {
			return 0, 0, fmt.Errorf("writing the audit: %w", err)
		}
	}
	if err := e.perform(ctx, func(v *View) error { return e.cut(cut, v) }); err != nil {
		return 0, 0, fmt.Errorf("beginning a backup: %w", err)
	}
	size, err := cut.write(ctx, w)
	if err = errors.Join(err, cut.rows.Close()); err != nil {
		return 0, 0, fmt.Errorf("writing a backup: %w", err)
	}
	return cut.view.revision, size, nil
}

// cut runs on the committer.
func (e *Engine) cut(c *backupCut, v *View) (err error) {
	if e.bodiless.Load() != 0 {
		return &Error{Kind: ErrDisk, Text: "alert bodies are not on the disk yet"}
	}
	if err := e.trail.catchUp(v); err != nil && !e.withoutAudit(err) {
		return err
	}
	c.view, c.header, c.people = v, v.appendHeader(nil), v.people()
	c.store = e.store.ID()
	c.rows, err = e.store.PinRows()
	return err
}

// withoutAudit reports whether a backup goes on though the audit could not be written: what is in
// memory is to be saved above all from a disk that refuses. A gap is told in what is restored.
func (e *Engine) withoutAudit(err error) bool {
	if !errors.Is(err, ErrDisk) && !errors.Is(err, persist.ErrDisk) && !errors.Is(err, persist.ErrGone) {
		return false
	}
	e.log.Warn("a backup is taken without the newest rows of the audit", "error", err)
	return true
}

func (c *backupCut) write(ctx context.Context, w io.Writer) (int64, error) {
	b := persist.NewBackupWriter(w, uint64(c.view.revision))
	if err := c.view.write(ctx, b, c.header, c.people); err != nil {
		return 0, err
	}
	if err := b.Rows(c.rows); err != nil {
		return 0, err
	}
	digest := c.view.digest(c.people)
	if err := errors.Join(b.Note(noteDigest, digest[:]), b.Note(noteStore, c.store[:])); err != nil {
		return 0, err
	}
	return b.End()
}

// Restore makes a store in o.Dir, which must be missing or empty, from a backup, and
// verifies that it holds what was backed up, to the last bit. It returns the revision.
// One commit or more follow, in which the places of all bouncers are forgotten: what they
// were told since the backup is not known, so each is told everything at its next poll,
// whether it asks for that or not. Where an audit is kept a row of it says that by has
// restored, and up to which revision. After an error the folder holds nothing of use. Errors
// wrap persist.ErrFormat, persist.ErrCorrupt or persist.ErrDisk.
func Restore(o *Options, by Actor, r io.Reader) (Revision, error) {
	e, rev, err := openRestored(o, r)
	if e == nil {
		return 0, err
	}
	if err == nil {
		err = e.ForgetPlaces()
	}
	if err == nil {
		err = e.trail.restored(by, rev)
	}
	return rev, errors.Join(err, e.Close())
}

// Adopt makes a store in o.Dir, which must be missing or empty, from the backup of another node of a cluster, and verifies
// it as Restore does. No commit follows: it is the same history at the same revision, to be followed from there. o.Journal
// must be nil. Errors are those of Restore, and leave nothing of use.
func Adopt(o *Options, r io.Reader) (Revision, error) {
	e, rev, err := openRestored(o, r)
	if e == nil {
		return 0, err
	}
	return rev, errors.Join(err, e.Close())
}

// openRestored makes a store from a backup and opens it. An engine is given, and is to be closed, also with an error of what is in it.
func openRestored(o *Options, r io.Reader) (*Engine, Revision, error) {
	var want [32]byte
	given := false
	rev, err := persist.Restore(&persist.Options{Dir: o.Dir, FS: o.FS, Logger: o.Logger}, r, func(kind uint16, body []byte) error {
		if kind == noteDigest && len(body) == len(want) {
			want, given = [32]byte(body), true
		}
		return nil // notes of a newer program do no harm
	})
	if err != nil {
		return nil, 0, err
	}
	e, err := Open(o)
	if err != nil {
		return nil, 0, fmt.Errorf("opening what was restored: %w", err)
	}
	err = e.Check()
	if got := e.Digest(); err == nil && (!given || got != want) {
		err = fmt.Errorf("%w: what was restored is not what was backed up", persist.ErrCorrupt)
	}
	if e.View().Revision() != Revision(rev) && err == nil {
		err = fmt.Errorf("%w: restored revision %d instead of %d", persist.ErrCorrupt, e.View().Revision(), rev)
	}
	return e, Revision(rev), err
}

// ForgetPlaces has every bouncer begin anew, durably: each is told everything at its next poll, whether it asks for that or
// not, for what it was told elsewhere is not known here. It is for a store whose history goes its own way from here on. Run
// must not be running, and the journal must be the store's own. Errors are those of the disk.
func (e *Engine) ForgetPlaces() error {
	o := &visits{}
	for row := range e.View().EachBouncer {
		if row.cursor.Load() != 0 || row.acked.Load() != 0 {
			o.bouncers = append(o.bouncers, visit{name: row.Load().Name, at: row.LastPull()})
		}
		if len(o.bouncers) == visitsAtOnce {
			if err := e.commitAlone(o); err != nil {
				return err
			}
			o = &visits{}
		}
	}
	if len(o.bouncers) == 0 {
		return nil
	}
	return e.commitAlone(o)
}

// commitAlone makes a commit of one operation, at the time of the last commit:
// nothing expires.
func (e *Engine) commitAlone(o op) error {
	p := &proposal{op: o, by: Actor{Kind: ActorServer}}
	s := e.state
	p.number(numbers{s.next.nextAlert, s.next.nextDecision})
	e.write([]*proposal{p}, nil, s.at, appendCommit(nil, s.at, 1, p.bytes, nil))
	return p.err
}

// SyncStore returns a revision up to which this engine's own disk has everything, for whoever follows a shared history and may
// forget what is behind. Errors: ErrDisk, ErrBusy, ErrClosed and that of ctx.
func (e *Engine) SyncStore(ctx context.Context) (rev Revision, err error) {
	err = e.perform(ctx, func(v *View) error {
		if e.role.behind {
			return &Error{Kind: ErrDisk, Text: "the store is behind the history that is shared"}
		}
		rev = v.revision
		return e.store.Mark()
	})
	return rev, err
}
