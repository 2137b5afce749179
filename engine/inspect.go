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
	Store     persist.Report
	ID        persist.ID // of the store; zero in one of format 1
	Revision  Revision   // a start would reach, 0 when it would fail
	Alerts    int
	Decisions int
	Damage    []string // one sentence each; empty: all is well
}

func (i *Inspection) damage(format string, args ...any) {
	const most = 1000 // a longer list tells nobody more
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

// Inspect verifies a store that nobody has open, and changes nothing: every
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
	i.ID = store.ID()
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
		i.damage("a start would fail: %v", err)
		return
	}
	v := e.View()
	i.Revision, i.Decisions = v.revision, e.state.ids.Len()
	if err := e.Check(); err != nil {
		i.damage("%v", err)
	}
	var body []byte
	from, _ := v.state.alerts.Bounds()
	for id := max(from, 1); id < v.nextAlert && ctx.Err() == nil; id++ {
		if v.alert(id) == nil {
			continue
		}
		i.Alerts++
		if e.remade[id] {
			continue // a start makes it from the journal
		}
		var err error
		if body, err = e.body(body[:0], id); err != nil {
			i.damage("alert %d: %v", id, err)
		}
	}
}

// body reads an alert's body and makes sure that it can be decoded.
func (e *Engine) body(dst []byte, id uint64) ([]byte, error) {
	dst, ok, err := e.store.Row(dst, rowAlert, idKey(id))
	if err != nil {
		return dst, err
	}
	if !ok {
		return dst, fmt.Errorf("%w: its body is missing", persist.ErrCorrupt)
	}
	a, d := &Alert{}, decoder{rest: dst}
	a.decodeBody(&d)
	return dst, d.err
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
