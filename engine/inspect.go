package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lapid/persist"
)

// Inspection is what Inspect read and what it found.
type Inspection struct {
	Opened    bool // if not, Damage is why, and what to do
	Store     persist.Report
	ID        persist.ID // of the store; zero in one of format 1
	Revision  Revision   // a start would reach, 0 when it would fail
	Alerts    int
	Decisions int
	Damage    []string // one sentence each; empty: all is well
	Bodiless  int      // of Alerts, whose bodies are missing; each is damage
	Accepted  int      // of Alerts, whose bodies are lost and were given up (AcceptLoss); no damage
}

func (i *Inspection) damage(format string, args ...any) {
	const most = 1000 // a longer list tells no more
	if len(i.Damage) < most {
		i.Damage = append(i.Damage, oneLine(fmt.Sprintf(format, args...)))
	}
}

// oneLine joins the lines of errors that come together, and leaves out those
// that only carry something for programs.
func oneLine(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool {
		return l == "" || l[0] == '<' && l[len(l)-1] == '>'
	})
	return strings.Join(lines, "; ")
}

// Inspect verifies a store that is not open, and changes nothing: every
// checksum, that a start would come to its end, that the indexes built from it
// agree, and that every alert has a body that can be read. Damage is no error;
// errors are persist.ErrLocked, persist.ErrFormat, and that of ctx.
func Inspect(ctx context.Context, o *Options) (*Inspection, error) {
	options := o.withDefaults()
	disk := &persist.Options{Dir: options.Dir, FS: options.FS, NoSync: options.NoSync, ReadOnly: true, Logger: options.Logger}
	i := &Inspection{}
	store, err := persist.Open(disk)
	if errors.Is(err, persist.ErrCorrupt) || errors.Is(err, persist.ErrDisk) {
		i.damage("%v", err)
		return i, nil
	}
	if err != nil {
		return nil, err
	}
	defer store.Close()
	i.Opened, i.ID = true, store.ID()
	if i.Store, err = store.Check(ctx); err != nil {
		return nil, err
	}
	for _, d := range i.Store.Damage {
		i.damage("%s: %v", d.What, d.Err)
	}
	i.recover(ctx, &options, store)
	return i, ctx.Err()
}

// recover starts an engine in memory, without writing.
func (i *Inspection) recover(ctx context.Context, o *Options, store *persist.Store) {
	if store.Last() == 0 {
		return // never begun
	}
	e := &Engine{options: *o, log: o.Logger, store: store, remade: map[uint64]bool{}}
	if err := e.recover(ctx); err != nil {
		i.damage("a start would fail: %v", store.Advise(err))
		return
	}
	v := e.View()
	i.Revision, i.Decisions = v.revision, e.state.ids.Len()
	if err := e.Check(); err != nil {
		i.damage("%v", err)
	}
	var body []byte
	for id := range v.eachAlert {
		if ctx.Err() != nil {
			break
		}
		i.Alerts++
		if e.remade[id] {
			continue // a start makes it from the journal
		}
		var err error
		body, err = e.body(body[:0], id)
		switch {
		case errors.Is(err, errBodiless):
			i.Bodiless++
			i.damage("alert %d: %v", id, err)
		case err != nil:
			i.damage("alert %d: %v", id, err)
		case len(body) == 0:
			i.Accepted++
		}
	}
}

// errBodiless is what is said of an alert without a body.
var errBodiless = fmt.Errorf("%w: its body is missing", persist.ErrCorrupt)

// body reads an alert's body and makes sure that it can be decoded. An empty one stands
// for a body whose loss was accepted.
func (e *Engine) body(dst []byte, id uint64) ([]byte, error) {
	dst, ok, err := e.store.Row(dst, rowAlert, idKey(id))
	if err != nil || len(dst) == 0 && ok {
		return dst, err
	}
	if !ok {
		return dst, errBodiless
	}
	a, d := &Alert{}, decoder{rest: dst}
	a.decodeBody(&d)
	return dst, d.err
}

// AcceptLoss gives up what is missing from a store that is not open: of the
// journal (persist.AcceptLoss), and the bodies of alerts. Each of these is replaced by an
// empty one, which says so from then on, in backups too. It returns what was given up of
// the journal, and how many bodies. It may be called again after it was interrupted.
// Errors are those of Open.
func AcceptLoss(ctx context.Context, o *Options) (loss persist.Loss, bodies int, err error) {
	options := o.withDefaults()
	disk := &persist.Options{Dir: options.Dir, FS: options.FS, NoSync: options.NoSync, Logger: options.Logger}
	if loss, err = persist.AcceptLoss(disk); err != nil {
		return loss, 0, err
	}
	e, err := OpenContext(ctx, o)
	if err != nil {
		return loss, 0, err
	}
	bodies, err = e.acceptBodiless(ctx)
	return loss, bodies, errors.Join(err, e.Close())
}

// acceptBodiless puts an empty body in the place of each that is missing.
func (e *Engine) acceptBodiless(ctx context.Context) (n int, err error) {
	v := e.View()
	var body []byte
	for id := range v.eachAlert {
		if err != nil {
			break
		}
		if body, err = e.body(body[:0], id); err == nil || !errors.Is(err, errBodiless) {
			err = ctx.Err() // what is there, and damaged, is not missing
			continue
		}
		e.state.rows.set(rowAlert, idKey(id), nil)
		n++
		if err = ctx.Err(); err == nil && e.state.rows.bytes >= rowsAtOnce {
			err = e.state.rows.write(e.store, e.batch)
		}
	}
	return n, errors.Join(err, e.state.rows.write(e.store, e.batch))
}

// pass takes the place of writing rows in an engine that must not write: it
// remembers which bodies a replay makes.
func (r *rows) pass(remade map[uint64]bool) {
	for _, c := range r.changes {
		if c.kind == rowAlert && len(c.key) == 8 {
			remade[idOf(c.key)] = c.how == rowSet
		}
	}
	r.drop(len(r.changes))
}
