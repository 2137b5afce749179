package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"lapid/persist"
)

// A snapshot is a view written down while commits go on. It may already know
// of things that happened after its revision where those are harmless to know
// early (a changed machine, a tombstone): every operation, applied again over
// such knowledge, leads to the same state.
//
//	header      revision's counters, the floor of the history, keys
//	machines    many to a section
//	bouncers    with their cursors, many to a section
//	allowlists  pieces of lists: a list goes on in the next section
//	secrets
//	bookmarks   of the readers of the history
//	exports, and keys of bouncers whose key was rotated
//	gaps        numbers of alerts and decisions that were never given
//	allowances  since when items of allowlists are in effect, those that were within the
//	            history, and when allowlist_wins was set
//	operators   with their tokens and last logins, many to a section
//	requests    ids of requests that were passed on, with what was answered
//	alerts      heldAlerts, many to a section
//	decisions   records by ascending id, many to a section; a section has its
//	            own dictionary, so sections can be decoded side by side
//	part        the beginning of the section that follows, whose body is larger
//	            than one may be: only what an older program let in is that large
//
// A section begins with the version of its layout, recordVersion, and each row in it
// with its length, so that fields can be added at the end of a row, or of the header, as
// in records (codec.go).
//
// Section numbers are never reused. Those up to 8 have no version and no lengths, and
// are read for ever; the first snapshots had machines, bouncers,
// allowlists and secrets in a row in one section (firstPeople).
const (
	firstHeader     uint16 = 1
	firstPeople     uint16 = 2
	firstAlerts     uint16 = 3
	firstDecisions  uint16 = 4
	firstMachines   uint16 = 5
	firstBouncers   uint16 = 6
	firstAllowlists uint16 = 7
	firstSecrets    uint16 = 8

	sectionPart       uint16 = 9
	sectionHeader     uint16 = 10
	sectionMachines   uint16 = 11
	sectionBouncers   uint16 = 12
	sectionAllowlists uint16 = 13
	sectionSecrets    uint16 = 14
	sectionAlerts     uint16 = 15
	sectionDecisions  uint16 = 16
	sectionBookmarks  uint16 = 17
	sectionGaps       uint16 = 18
	sectionAllowances uint16 = 19
	sectionExports    uint16 = 22
	sectionOperators  uint16 = 24
	sectionKeys       uint16 = 26
	sectionRequests   uint16 = 28
)

const (
	// sectionLength is how many alerts or decisions share a section at most.
	sectionLength = 1 << 15
	// sectionBytes ends a section: it is as long as this and one thing more.
	sectionBytes = 1 << 20
	// sectionAtMost is the longest body that goes as one section, well below
	// what the store takes; a longer one goes in parts.
	sectionAtMost = 4 << 20
)

// considerSnapshot wakes the snapshotter when a snapshot is due.
func (e *Engine) considerSnapshot(steady int64) {
	behind := e.counters.journalBytes.Load()
	if behind == 0 {
		e.nextSnapshot = steady + int64(e.options.SnapshotEvery)
		return
	}
	if len(e.snapshotting) > 0 || steady < e.snapshotPause.Load() {
		return // one is being written, or the last one failed just now
	}
	// A snapshot costs as much as the state is large: let the journal grow in
	// proportion, so that a busy large store does not write itself all day.
	due := max(e.options.SnapshotBytes, e.counters.stored.Load()*16)
	if behind < due && steady < e.nextSnapshot && !e.snapshotFailing.Load() {
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
		}
	}
}

// Snapshot writes the newest view down and trims the journal behind the older
// of the two snapshots that are kept. It does not hold up commits. A second
// caller waits for the first. A failure is a trouble (TroubleSnapshot) until one
// succeeds; an end of ctx is none.
func (e *Engine) Snapshot(ctx context.Context) error {
	select {
	case e.snapshotting <- struct{}{}:
		defer func() { <-e.snapshotting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err := e.snapshot(ctx)
	if err != nil && ctx.Err() == nil {
		e.snapshotFailed(err)
	}
	return err
}

// snapshotFailed says so loudly, each time: a journal that is never trimmed fills
// the disk and makes every start longer, which is not seen from outside.
func (e *Engine) snapshotFailed(cause error) {
	last := "there is no snapshot yet"
	if rev := e.counters.snapshotRevision.Load(); rev != 0 {
		last = fmt.Sprintf("the last snapshot is of revision %d", rev)
	}
	e.counters.snapshotFailures.Add(1)
	e.snapshotFailing.Store(true)
	e.troubles.set(TroubleSnapshot, fmt.Sprintf("cannot write a snapshot (%v): %s, and the journal has grown by %d MiB since: "+
		"free the disk or repair it, the next attempt follows by itself", cause, last, e.counters.journalBytes.Load()>>20), e.Now())
	e.log.Error("cannot write a snapshot: the journal is kept and grows", "error", cause,
		"last", e.counters.snapshotRevision.Load(), "journal_bytes", e.counters.journalBytes.Load(), "failures", e.counters.snapshotFailures.Load())
}

func (e *Engine) snapshot(ctx context.Context) error {
	began := time.Now() // a duration for the metrics, not a moment of the history
	written := e.counters.journalBytes.Load()
	v := e.View()
	if from := e.bodiless.Load(); from != 0 && from <= uint64(v.revision) {
		return fmt.Errorf("%w: alert bodies since revision %d are not on disk yet", persist.ErrDisk, from)
	}
	// Bodies are with the store, and a snapshot syncs all before it: a start from it does
	// not make them again.
	if err := e.writeDown(ctx, v); errors.Is(err, persist.ErrDisk) {
		return &Error{Kind: ErrDisk, Text: err.Error(), Cause: err}
	} else if err != nil {
		return err
	}
	e.counters.journalBytes.Add(-written)
	e.counters.snapshots.Add(1)
	e.counters.snapshotNanos.Store(int64(time.Since(began)))
	e.counters.snapshotRevision.Store(uint64(v.revision))
	e.counters.snapshotAt.Store(e.Now())
	e.log.Info("wrote a snapshot", "revision", v.revision, "seconds", time.Since(began).Seconds())
	if err := e.trimJournal(ctx); err != nil {
		return fmt.Errorf("trimming the journal: %w", err)
	}
	e.snapshotFailing.Store(false)
	if e.troubles.clear(TroubleSnapshot) {
		e.log.Info("snapshots can be written again", "revision", v.revision)
	}
	return nil
}

// writeDown writes one view.
func (e *Engine) writeDown(ctx context.Context, v *View) error {
	return e.store.WriteSnapshot(uint64(v.revision), func(w *persist.SnapshotWriter) error {
		return v.write(ctx, w, v.appendHeader(nil), v.people())
	})
}

// trimJournal lets the committer, which owns the journal, forget what both
// kept snapshots know and no bookmark waits for.
func (e *Engine) trimJournal(ctx context.Context) error {
	upto := Revision(e.store.SafeTrim())
	if upto == 0 {
		return nil
	}
	return e.perform(ctx, func(v *View) error {
		awaited, err := e.trimmable(v)
		if err != nil {
			return err
		}
		if err = e.local.Trim(min(upto, awaited)); err == nil {
			err = e.noteFloor()
		}
		e.tellLost()
		return err
	})
}

// noteFloor notes where the journal begins.
func (e *Engine) noteFloor() error {
	first, err := e.store.First()
	if err != nil {
		return fmt.Errorf("looking where the journal begins: %w", err)
	}
	if first == 0 {
		first = e.store.Last() + 1
	}
	e.journalFloor.Store(first - 1)
	return nil
}

// sectionWriter takes the sections of a view, in order: a snapshot, or a backup.
type sectionWriter interface {
	Section(kind uint16, body []byte) error
}

func (v *View) write(ctx context.Context, to sectionWriter, header []byte, p *people) error {
	w := &sections{ctx: ctx, to: to, pace: v.state.pace, began: time.Now()}
	w.put(sectionHeader, header)
	p.write(w)
	v.writeBookmarks(w)
	v.writeGaps(w)
	v.writeAllowances(w)
	v.writeOperators(w)
	v.writeRequests(w)
	v.writeAlerts(w)
	v.writeDecisions(w)
	return w.err
}

// sections cuts what is written into sections. After an error it takes nothing
// more.
type sections struct {
	ctx   context.Context
	to    sectionWriter
	pace  pace
	n     int       // things in body
	body  []byte    // of the section that grows
	rows  int       // in all sections
	began time.Time // to write since the last rest
	err   error
}

const (
	// writtenAtOnce is how many rows are written before a rest of the same length: about a
	// millisecond's worth. So a snapshot takes half a processor at most, and goes on among
	// those who ask.
	writtenAtOnce = 4096
	// restAtMost bounds a rest, for a disk may have taken most of the time.
	restAtMost = 5 * time.Millisecond
)

// put gives out one section, in parts if it has to be.
func (w *sections) put(kind uint16, body []byte) {
	for w.err == nil && len(body) > sectionAtMost {
		w.err = w.to.Section(sectionPart, body[:sectionAtMost])
		body = body[sectionAtMost:]
	}
	if w.err == nil {
		w.err = w.to.Section(kind, body)
	}
	if w.err == nil {
		w.err = w.ctx.Err()
	}
}

// full counts one thing more in body and reports whether the section is to end.
func (w *sections) full() bool {
	w.n++
	return w.n == sectionLength || len(w.body) >= sectionBytes
}

// row ends a row, which began at an index of body, and reports whether the section is to
// end with it.
func (w *sections) row(from int) bool {
	w.body = endRow(w.body, from)
	w.pace.step(w.rows)
	if w.rows++; w.rows%writtenAtOnce == 0 {
		time.Sleep(min(time.Since(w.began), restAtMost))
		w.began = time.Now()
	}
	return w.full()
}

// end gives out body as a section that begins with its version and the number of things
// in it, if there are any, and begins the next.
func (w *sections) end(kind uint16) {
	if w.n == 0 {
		return
	}
	var head [1 + binary.MaxVarintLen64]byte
	head[0] = recordVersion
	n := 1 + binary.PutUvarint(head[1:], uint64(w.n))
	w.body = append(w.body, head[:n]...)
	copy(w.body[n:], w.body[:len(w.body)-n])
	copy(w.body, head[:n])
	w.put(kind, w.body)
	w.n, w.body = 0, w.body[:0]
	if cap(w.body) > sectionAtMost {
		w.body = nil // one giant must not hold its memory for long
	}
}

func (v *View) appendHeader(dst []byte) []byte {
	s := v.state
	dst = append(dst, recordVersion)
	for _, n := range [...]uint64{v.nextAlert, v.nextDecision, uint64(v.serial), min(s.history.Floor(), uint64(v.revision)), s.uuidKey[0], s.uuidKey[1]} {
		dst = binary.AppendUvarint(dst, n)
	}
	return binary.AppendVarint(dst, v.at)
}

// writeGaps adds the numbers that were never given, if there are any.
func (v *View) writeGaps(w *sections) {
	if v.gaps == [2]*gaps{} {
		return
	}
	w.body = append(w.body, recordVersion)
	for _, g := range v.gaps {
		if g == nil {
			g = &gaps{}
		}
		w.body = g.append(w.body)
	}
	w.put(sectionGaps, w.body)
	w.body = w.body[:0]
}

func (v *View) writeAlerts(w *sections) {
	var words dictionary
	before := uint64(0)
	for id, h := range v.eachAlert {
		if w.err != nil {
			return
		}
		from := len(w.body)
		for _, x := range [...]uint64{id - before, h.begun.Load(), h.first, uint64(h.count), uint64(h.machine)} {
			w.body = binary.AppendUvarint(w.body, x)
		}
		w.body = binary.AppendVarint(binary.AppendVarint(w.body, h.createdAt), h.startAt-h.createdAt)
		w.body = appendBool(appendBool(w.body, h.simulated), h.community)
		w.body = words.append(w.body, v.state.strings.At(h.scenario))
		var listed []uint64
		if h.listed {
			listed = *v.state.lists.At(id).Load()
		}
		w.body = appendBatch(appendIDs(w.body, listed), v.state.batchOf(id))
		if h.batch == noBatch {
			w.body = appendString(append(w.body, noBatch), "") // so that more can follow
		}
		w.body = v.state.appendSource(w.body, &words, h)
		before = id
		if w.row(from) {
			w.end(sectionAlerts)
			words, before = dictionary{}, 0
		}
	}
	w.end(sectionAlerts)
}

func (v *View) writeDecisions(w *sections) {
	var c recordCodec
	v.each(func(r *record) bool {
		from := len(w.body)
		w.body = c.append(w.body, v, r)
		if w.row(from) {
			w.end(sectionDecisions)
			c = recordCodec{}
		}
		return w.err == nil
	})
	w.end(sectionDecisions)
}

// recordCodec writes and reads the records of one section, each relative to
// the one before.
type recordCodec struct {
	id, alert, begun uint64
	until            int64
	words            [5]dictionary
	actors           dictionary
}

// Marks of a stored record.
const (
	storedEnded = 1 << iota
	storedPurged
	storedUUID
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
	flags, on, words := r.flags()&storedFlags, v.state.onOf(r), v.state.wordsOf(r)
	if flags&flagUUID != 0 {
		marks |= storedUUID
	}
	dst = append(dst, marks, flags, on.bits)
	dst = binary.AppendUvarint(dst, r.id-c.id)
	dst = binary.AppendVarint(dst, int64(r.alert-c.alert))
	dst = binary.AppendVarint(dst, int64(r.begun-c.begun))
	dst = binary.AppendVarint(dst, r.until-c.until)
	c.id, c.alert, c.begun, c.until = r.id, r.alert, r.begun, r.until
	if ended {
		dst = binary.AppendUvarint(dst, r.endedRev.Load())
		dst = binary.AppendVarint(dst, r.until-r.endedAt)
	}
	if flags&flagV6 != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, on.hi)
		dst = binary.LittleEndian.AppendUint64(dst, on.lo)
	} else if flags&flagAddress != 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(on.lo))
	}
	for i, n := range [...]uint32{words.Scope, words.Type, words.Origin, words.Scenario} {
		dst = c.words[i].append(dst, v.state.strings.At(n))
	}
	if on.text == 0 {
		dst = appendBool(dst, false)
	} else {
		dst = c.words[4].append(appendBool(dst, true), v.state.strings.At(on.text))
	}
	if ended {
		dst = c.actors.append(dst, v.state.actors.At(uint32(r.by())))
	}
	if flags&flagUUID != 0 {
		uuid := Decision{v, r}.UUID()
		dst = append(dst, uuid[:]...)
	}
	return dst
}
