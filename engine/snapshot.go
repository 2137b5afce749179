package engine

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"lapid/persist"
)

// A snapshot is a view written down while commits go on. It may already know
// of things that happened after its revision where those are harmless to know
// early (a changed machine, a tombstone): every operation, applied again over
// such knowledge, leads to the same state.
//
//	header     revision's counters, the floor of the history, keys
//	people     machines, bouncers with their cursors, allowlists, secrets
//	alerts     heldAlerts, many to a section
//	decisions  records by ascending id, many to a section; a section has its
//	           own dictionary, so sections can be decoded side by side
//
// Section numbers are never reused.
const (
	sectionHeader    uint16 = 1
	sectionPeople    uint16 = 2
	sectionAlerts    uint16 = 3
	sectionDecisions uint16 = 4
)

// sectionLength is how many alerts or decisions share a section.
const sectionLength = 1 << 15

// considerSnapshot wakes the snapshotter when a snapshot is due.
func (e *Engine) considerSnapshot(steady int64) {
	behind := e.sinceSnapshot.Load()
	if behind == 0 {
		e.nextSnapshot = steady + int64(e.options.SnapshotEvery)
		return
	}
	if len(e.snapshotting) > 0 || steady < e.snapshotPause.Load() {
		return // one is being written, or the last one failed just now
	}
	// A snapshot costs as much as the state is large: let the journal grow in
	// proportion, so that a busy large store does not write itself all day.
	due := max(e.options.SnapshotBytes, e.stored.Load()*16)
	if behind < due && steady < e.nextSnapshot {
		return
	}
	e.nextSnapshot = steady + int64(e.options.SnapshotEvery)
	select {
	case e.snapshotWake <- struct{}{}:
	default:
	}
}

// snapshotLoop writes snapshots when woken and trims the journal behind them.
func (e *Engine) snapshotLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.snapshotWake:
		}
		if err := e.Snapshot(ctx); err != nil && ctx.Err() == nil {
			_, steady := e.clock()
			e.snapshotPause.Store(steady + int64(snapshotAgain))
			e.log.Error("cannot write a snapshot: the journal is kept and grows", "error", err)
		}
	}
}

// Snapshot writes the newest view down and trims the journal behind the older
// of the two snapshots that are kept. It does not hold up commits. A second
// caller waits for the first.
func (e *Engine) Snapshot(ctx context.Context) error {
	select {
	case e.snapshotting <- struct{}{}:
		defer func() { <-e.snapshotting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began := time.Now() // a duration for the metrics, not a moment of the history
	written := e.sinceSnapshot.Load()
	v := e.View()
	if from := e.bodiless.Load(); from != 0 && from <= uint64(v.revision) {
		return fmt.Errorf("%w: alert bodies since revision %d are not on disk yet", persist.ErrDisk, from)
	}
	// Bodies reach the disk with the next commit at the latest. They must be there
	// before the snapshot is, for a start from it does not make them again.
	if err := e.propose(ctx, &proposal{op: &visits{live: true}}); err != nil {
		return fmt.Errorf("syncing alert bodies: %w", err)
	}
	if err := e.writeDown(ctx, v); err != nil {
		return err
	}
	e.sinceSnapshot.Add(-written)
	e.snapshots.Add(1)
	e.snapshotNanos.Store(int64(time.Since(began)))
	e.snapshotRev.Store(uint64(v.revision))
	e.log.Info("wrote a snapshot", "revision", v.revision, "seconds", time.Since(began).Seconds())
	return e.trimJournal(ctx)
}

// writeDown writes one view.
func (e *Engine) writeDown(ctx context.Context, v *View) error {
	return e.store.WriteSnapshot(uint64(v.revision), func(w *persist.SnapshotWriter) error {
		return v.write(ctx, w, v.appendHeader(nil), v.appendPeople(nil))
	})
}

// trimJournal lets the committer, which owns the journal, forget what both
// kept snapshots know.
func (e *Engine) trimJournal(ctx context.Context) error {
	upto := e.store.SafeTrim()
	if upto == 0 {
		return nil
	}
	return e.propose(ctx, &proposal{resolve: func(*View) (op, error) {
		return nil, e.store.Trim(upto)
	}})
}

// sectionWriter takes the sections of a view, in order: a snapshot, or a backup.
type sectionWriter interface {
	Section(kind uint16, body []byte) error
}

func (v *View) write(ctx context.Context, w sectionWriter, header, people []byte) error {
	if err := w.Section(sectionHeader, header); err != nil {
		return err
	}
	if err := w.Section(sectionPeople, people); err != nil {
		return err
	}
	if err := v.writeAlerts(ctx, w); err != nil {
		return err
	}
	return v.writeDecisions(ctx, w)
}

func (v *View) appendHeader(dst []byte) []byte {
	s := v.state
	for _, n := range [...]uint64{v.nextAlert, v.nextDecision, uint64(v.serial), min(s.history.Floor(), uint64(v.revision)), s.uuidKey[0], s.uuidKey[1]} {
		dst = binary.AppendUvarint(dst, n)
	}
	return binary.AppendVarint(dst, v.at)
}

func (v *View) appendPeople(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v.machines.order)))
	for _, row := range v.machines.order {
		dst = binary.AppendUvarint(dst, uint64(row.serial))
		dst = row.load().append(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.bouncers.order)))
	for _, row := range v.bouncers.order {
		dst = row.Load().append(dst)
		dst = binary.AppendVarint(dst, row.lastPull.Load())
		// A cursor may be ahead of this view, but what is loaded from here may
		// know no more than the view: it would go on from commits of another
		// future.
		dst = binary.AppendUvarint(dst, min(row.kept.Load(), uint64(v.revision)+1))
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.allowlists.order)))
	for _, l := range v.allowlists.order {
		dst = l.append(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(len(v.secrets)))
	for _, name := range slices.Sorted(maps.Keys(v.secrets)) {
		dst = appendBytes(appendString(dst, name), v.secrets[name])
	}
	return dst
}

func (v *View) writeAlerts(ctx context.Context, w sectionWriter) error {
	var body []byte
	var words dictionary
	n, before := 0, uint64(0)
	flush := func() error {
		if n == 0 {
			return nil
		}
		err := w.Section(sectionAlerts, append(binary.AppendUvarint(nil, uint64(n)), body...))
		body, words, n, before = body[:0], dictionary{}, 0, 0
		if err == nil {
			err = ctx.Err()
		}
		return err
	}
	from, _ := v.state.alerts.Bounds()
	for id := max(from, 1); id < v.nextAlert; id++ {
		h := v.alert(id)
		if h == nil {
			continue
		}
		for _, x := range [...]uint64{id - before, h.begun, h.first, uint64(h.count), uint64(h.machine)} {
			body = binary.AppendUvarint(body, x)
		}
		body = binary.AppendVarint(binary.AppendVarint(body, h.createdAt), h.startAt-h.createdAt)
		body = appendBool(appendBool(body, h.simulated), h.community)
		body = words.append(body, v.state.strings.At(h.scenario))
		before = id
		if n++; n == sectionLength {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (v *View) writeDecisions(ctx context.Context, w sectionWriter) error {
	var body []byte
	var c recordCodec
	n := 0
	var failed error
	flush := func() bool {
		if n > 0 {
			failed = w.Section(sectionDecisions, append(binary.AppendUvarint(nil, uint64(n)), body...))
			body, c, n = body[:0], recordCodec{}, 0
		}
		if failed == nil {
			failed = ctx.Err()
		}
		return failed == nil
	}
	v.each(func(r *record) bool {
		body = c.append(body, v, r)
		n++
		return n < sectionLength || flush()
	})
	if failed != nil {
		return failed
	}
	flush()
	return failed
}

// recordCodec writes and reads the records of one section, each relative to
// the one before.
type recordCodec struct {
	id, alert, begun uint64
	until            int64
	words            [5]dictionary
}

// Marks of a stored record.
const (
	storedEnded = 1 << iota
	storedPurged
)

func (c *recordCodec) append(dst []byte, v *View, r *record) []byte {
	marks := byte(0)
	ended := v.ended(r)
	if ended {
		marks |= storedEnded
		if v.purged(r) {
			marks |= storedPurged
		}
	}
	dst = append(dst, marks, r.flags, r.bits)
	dst = binary.AppendUvarint(dst, r.id-c.id)
	dst = binary.AppendVarint(dst, int64(r.alert-c.alert))
	dst = binary.AppendVarint(dst, int64(r.begun-c.begun))
	dst = binary.AppendVarint(dst, r.until-c.until)
	c.id, c.alert, c.begun, c.until = r.id, r.alert, r.begun, r.until
	if ended {
		dst = binary.AppendUvarint(dst, r.endedRev.Load())
		dst = binary.AppendVarint(dst, r.until-r.endedAt)
	}
	if r.flags&flagV6 != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, r.hi)
		dst = binary.LittleEndian.AppendUint64(dst, r.lo)
	} else if r.flags&flagAddress != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(r.lo))
	}
	for i, n := range [...]uint32{r.scope, r.kind, r.origin, r.scenario} {
		dst = c.words[i].append(dst, v.state.strings.At(n))
	}
	if r.text == 0 {
		return appendBool(dst, false)
	}
	return c.words[4].append(appendBool(dst, true), v.state.strings.At(r.text))
}
