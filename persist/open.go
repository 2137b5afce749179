package persist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// Open opens the folder, or creates it. The error is an ErrLocked, ErrFormat,
// ErrCorrupt or ErrDisk. After an error the folder opens as soon as what is missing is put
// back; after ErrLocked and ErrFormat nothing was touched.
//
// A store of an older format is one of format 3 from then on, with an id; as it was it
// is kept until DropPrevious.
func Open(o *Options) (*Store, error) { return OpenContext(context.Background(), o) }

// OpenContext is Open with an end: when ctx ends, nothing more is begun, and the
// error is that of ctx. What the library is at it does first; a caller that cannot wait
// may leave, for the folder is at every moment as a crash may leave it.
func OpenContext(ctx context.Context, o *Options) (*Store, error) {
	s := newStore(o)
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("open store %s: %w", o.Dir, s.Advise(err))
	}
	return s, nil
}

func newStore(o *Options) *Store {
	s := &Store{options: o.withDefaults()}
	s.log = s.options.Logger
	s.folder = folder{s.options.FS, s.options.Dir}
	s.latest.disk, s.latest.path = s.options.FS, s.folder.join(latestFile)
	return s
}

func (s *Store) open(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.look(); err != nil {
		return err
	}
	if s.written == 0 {
		if err := s.folder.makeDirs(); err != nil {
			return fmt.Errorf("%w: %w", ErrDisk, err)
		}
	}
	if s.lock, err = s.folder.lock(); err != nil {
		if !s.options.ReadOnly || !errors.Is(err, syscall.EROFS) {
			return err
		}
	}
	s.cache = pebble.NewCache(s.options.CacheSize)
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	// Another process may have made the store, or brought it up to date, before this one
	// had the lock: only now what is found stays.
	if err := s.look(); err != nil {
		return err
	}
	version := s.written
	if version == 0 {
		if s.identity, err = newIdentity(); err != nil {
			return err
		}
		if err := s.folder.create(s.identity); err != nil {
			return err
		}
	}
	fresh, err := s.folder.isNew(ctx, s.identity)
	if err != nil {
		return err
	}
	if fresh && !s.options.ReadOnly {
		err = s.begin(version != 0)
	} else {
		err = s.load(ctx)
	}
	if err == nil {
		s.settle()
	}
	return err
}

// look finds out what is in the folder.
func (s *Store) look() (err error) {
	if s.identity, s.written, err = s.folder.version(); err != nil {
		return err
	}
	if s.written == 0 && (s.options.ReadOnly || s.accepting) {
		return fmt.Errorf("%w: no store there", ErrFormat)
	}
	return nil
}

// begin opens a store in which nothing was accepted yet. again tells that what is
// there may be half made.
func (s *Store) begin(again bool) (err error) {
	if again {
		if err := s.folder.startOver(); err != nil {
			return err
		}
	}
	if err := s.snapshots.open(s); err != nil {
		return err
	}
	if s.current, err = s.openInstance(); err != nil {
		return err
	}
	if err := s.adopt(s.current); err != nil {
		return err
	}
	if err := s.folder.notNew(); err != nil {
		return err
	}
	return s.current.settleID()
}

// load opens what the folder holds and finds the last revision in it. Before
// anything is changed it makes sure that all is there: what is missing may be put
// back, and must then be as welcome as if it had never been away.
func (s *Store) load(ctx context.Context) (err error) {
	if err := s.snapshots.open(s); err != nil {
		return err
	}
	if err := s.lookForFiles(); err != nil {
		return err
	}
	if err := s.lookInside(ctx); err != nil || s.options.ReadOnly {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // before anything is changed
	}
	if s.snapshots.homeless {
		if err := s.folder.makeDirs(); err != nil {
			return fmt.Errorf("%w: %w", ErrDisk, err)
		}
	}
	if err := s.openToWrite(); err != nil {
		if !s.options.ServeReads || !errors.Is(err, ErrDisk) {
			return err
		}
		if s.current, err = s.openToRead(err); err != nil {
			return err
		}
	}
	tail, err := s.current.lastRecord()
	s.tail.Store(tail)
	return err
}

// openToWrite opens Pebble for good, and gives the store an id if it has none.
func (s *Store) openToWrite() error {
	if err := s.migrate(); err != nil {
		return err
	}
	if s.identity.given() {
		if err := s.latest.renew(s.folder, func(*mark) {}); err != nil {
			return fmt.Errorf("%w: %w", ErrDisk, err)
		}
	}
	in, err := s.openInstance()
	if err == nil && !s.identity.given() {
		err = s.adopt(in)
	}
	if err == nil {
		err = s.modern()
	}
	if err != nil && in != nil {
		err = errors.Join(err, in.close())
	}
	if err == nil {
		s.current = in
	}
	return err
}

// adopt binds the journal to the folder, and the folder to the journal. A folder
// of format 1 gets an id and is one of format 2 when this returns. If it fails, the folder
// is as before, except that the journal may hold an id, which is taken the next time.
func (s *Store) adopt(in *instance) error {
	tail, err := in.lastRecord()
	if err != nil {
		return err
	}
	last, who := max(tail, s.snapshots.newest()), s.identity
	if !who.given() {
		if who, err = newIdentity(); err != nil {
			return err
		}
		earlier, err := in.whose()
		if err != nil {
			return err
		}
		if earlier != (ID{}) {
			who.id = earlier
		}
		who = identityOf(who.id, last)
	}
	var batch pebble.Batch
	who.sign(&batch)
	if err := in.db.Apply(&batch, pebble.Sync); err != nil {
		return fmt.Errorf("%w: %w", kindOf(err), err)
	}
	if err := in.fence.err(); err != nil {
		return err
	}
	if last > 0 { // until a store is open for the first time, it has no tables
		if err := in.settleID(); err != nil {
			return err
		}
	}
	err = s.latest.renew(s.folder, func(m *mark) {
		*m = mark{id: who.id, count: m.count, journal: tail, last: last, accepted: m.accepted, logs: m.logs}
	})
	if err == nil && who != s.identity {
		err = s.folder.write(formatFile, who.formatText())
		s.written = FormatVersion
	}
	if err != nil {
		return fmt.Errorf("give the store its id: %w: %w", ErrDisk, err)
	}
	s.identity, in.identity = who, who
	return nil
}

// lookForFiles makes sure, from the names of files alone, that what was there is
// still there, and is this store's.
func (s *Store) lookForFiles() error {
	if err := s.folder.ordinary(s.folder.join(storeDir), true); errors.Is(err, ErrCorrupt) {
		return err
	}
	names, err := s.options.FS.List(s.folder.join(storeDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if err := errors.Join(s.markers(names), s.ordinaryFiles(names)); err != nil {
		return err
	}
	if !slices.ContainsFunc(names, startsWith(manifestMarker)) {
		s.emptied = true
		if s.accepting && slices.ContainsFunc(names, isTable) {
			return advise("move it away and accept the loss then", fmt.Errorf("%w: what is left of the journal in %s cannot be used, and would be removed", ErrCorrupt, s.folder.join(storeDir)))
		}
		if err := s.missing(fmt.Errorf("there is no journal in %s: it was removed or emptied", s.folder.join(storeDir))); err != nil {
			return err
		}
	}
	if !s.identity.given() {
		return nil
	}
	if err := s.folder.ordinary(s.latest.path, false); errors.Is(err, ErrCorrupt) {
		return advise("or move it away, and accept the loss with: lapid check --accept-loss", err)
	}
	if err := s.latest.read(); errors.Is(err, ErrDisk) {
		return err
	} else if err != nil {
		return s.missing(fmt.Errorf("%s, which tells how far the store reaches, cannot be used: %w", s.latest.path, err))
	}
	s.latest.mark.logs = slices.DeleteFunc(s.latest.mark.logs, func(log uint64) bool {
		if slices.Contains(names, logName(log)) {
			return false
		}
		s.gone = append(s.gone, s.options.FS.PathJoin(s.folder.join(storeDir), logName(log)))
		return true
	})
	return nil
}

// lookInside opens Pebble without changing anything and makes sure that it is this
// store's and reaches as far as it was known to. In a read-only Store it stays open.
func (s *Store) lookInside(ctx context.Context) (err error) {
	found, err := s.folder.scanLogs(ctx, s.identity)
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if err != nil {
		return fmt.Errorf("read the logs: %w: %w", ErrDisk, err)
	}
	if err := s.strangers(found); err != nil {
		return err
	}
	if s.emptied {
		if err := s.folder.makeDirs(); err != nil {
			return fmt.Errorf("%w: %w", ErrDisk, err)
		}
		return s.reaches(0, 0) // to learn what is lost
	}
	in, err := s.openToRead(nil)
	if err != nil {
		return err
	}
	defer func() {
		if s.options.ReadOnly && err == nil {
			s.current = in
		} else {
			err = errors.Join(err, in.close())
		}
	}()
	tail, err := in.lastRecord()
	if err != nil {
		return err
	}
	if err := s.owns(in, tail); err != nil {
		return err
	}
	s.tail.Store(tail)
	if len(s.gone) > 0 {
		if err := s.missing(fmt.Errorf("logs of the journal are missing: %s", strings.Join(s.gone, ", "))); err != nil {
			return err
		}
	}
	if err := s.reaches(tail, found.last); err != nil {
		return err
	}
	return s.begins(in, tail)
}

// begins makes sure that the journal goes on from something: from a snapshot that
// is there and whole, or from nothing at all. A state without its beginning cannot
// be made, so this loss cannot be accepted. An opening that only inspects goes on: a
// check names all that is missing.
func (s *Store) begins(in *instance, tail uint64) error {
	newest := s.snapshots.newest()
	if tail <= newest || s.options.ReadOnly {
		return nil
	}
	first, err := in.firstRecord()
	if err != nil || first <= newest+1 {
		return err
	}
	there := "there is no whole snapshot"
	if newest > 0 {
		there = fmt.Sprintf("the newest whole snapshot is of revision %d", newest)
	}
	return advise("put back what is missing, or "+restoreIt, fmt.Errorf("%w: snapshots are missing: the journal begins at revision %d, and in %s %s",
		ErrCorrupt, first, s.folder.join(snapshotDir), there))
}

// strangers makes sure that FORMAT, LATEST, logs and snapshots are of one store, as
// far as they say. If all others agree, it is FORMAT that is not.
func (s *Store) strangers(found evidence) error {
	format, latest := s.folder.join(formatFile), s.latest.mark.id
	if latest != (ID{}) && latest != s.identity.id {
		ofLatest := func(info SnapshotInfo) bool { return info.origin.id == latest }
		if found.whose == latest || slices.ContainsFunc(s.snapshots.sound(), ofLatest) {
			return advise("put back its own, or "+restoreIt, fmt.Errorf("%w: %s is from another store, that with the id %s; what it lies beside is of the store with the id %s",
				ErrCorrupt, format, s.identity.id, latest))
		}
	}
	if err := s.foreign(found); err != nil {
		return err
	}
	if latest != (ID{}) && latest != s.identity.id {
		s.latest.mark, s.gone = mark{count: s.latest.mark.count}, nil // all it says is about another store
		return s.missing(fmt.Errorf("%s is from another store, that with the id %s", s.latest.path, latest))
	}
	return nil
}

// foreign names the logs and snapshots that are of other stores, all that there are.
func (s *Store) foreign(found evidence) error {
	names, whose := found.foreign, found.whose
	for _, info := range s.snapshots.sound() {
		if id, foreign := s.identity.foreign(&info); foreign {
			names, whose = append(names, info.Path), id
		}
	}
	if len(names) == 0 {
		return nil
	}
	of, are, it := "that with the id "+whose.String(), "is", "it"
	if whose == (ID{}) {
		of = "one without an id"
	}
	if len(names) > 1 {
		are, it = "are", "them"
	}
	return advise(fmt.Sprintf("move %s away, and put back what belongs there, or %s", it, restoreIt),
		fmt.Errorf("%w: %s %s from another store, %s", ErrCorrupt, atMost(names), are, of))
}

// owns makes sure that the journal is this store's.
func (s *Store) owns(in *instance, tail uint64) error {
	if !s.identity.given() {
		return nil
	}
	id, err := in.whose()
	switch {
	case err != nil:
		return err
	case id == s.identity.id:
	case id == ID{} && tail == 0:
		if err := s.missing(fmt.Errorf("the journal in %s is empty", s.folder.join(storeDir))); err != nil {
			return err
		}
		s.emptied = true
	case id == ID{}:
		return advise("put back what belongs there, or "+restoreIt, fmt.Errorf("%w: %s is from another store, one without an id", ErrCorrupt, s.folder.join(storeDir)))
	default:
		return advise("put back what belongs there, or "+restoreIt, fmt.Errorf("%w: %s is from another store, that with the id %s", ErrCorrupt, s.folder.join(storeDir), id))
	}
	return in.soundRecord(tail)
}

// soundRecord makes sure that a record is what was written, and for this store.
func (in *instance) soundRecord(rev uint64) error {
	if rev == 0 {
		return nil
	}
	value, closer, err := in.db.Get(appendJournalKey(nil, rev))
	if err != nil {
		return fmt.Errorf("journal record %d: %w: %w", rev, kindOf(err), err)
	}
	defer closer.Close()
	_, err = in.identity.parseFrame(rev, value)
	return err
}

// reaches compares how far the journal gets with all that is known of how far it got.
func (s *Store) reaches(tail, written uint64) error {
	m := &s.latest.mark
	last := max(tail, s.snapshots.newest())
	s.last.Store(last)
	if closed := s.folder.closedAt(); !s.identity.given() && closed > last {
		s.known = max(s.known, closed)
		if err := s.missing(fmt.Errorf("it was closed at revision %d and now ends at %d", closed, last)); err != nil {
			return err
		}
	}
	if !s.options.NoSync && written > last+1 { // without syncs a whole record proves nothing
		s.known = max(s.known, written-1)
		if err := s.missing(fmt.Errorf("its log was damaged after revision %d, but went on to revision %d at least", last, written-1)); err != nil {
			return err
		}
	}
	if m.id == s.identity.id && (m.journal > tail || m.last > last) {
		s.known = max(s.known, m.journal, m.last)
		if err := s.missing(fmt.Errorf("it reached revision %d and now ends at %d%s", max(m.journal, m.last), last, s.cutLog())); err != nil {
			return err
		}
	}
	for _, info := range s.snapshots.sound() {
		if far := info.origin.journal; far > tail && (far > m.accepted || m.id != s.identity.id) {
			s.known = max(s.known, far)
			if err := s.missing(fmt.Errorf("the journal reached revision %d when the snapshot of revision %d was written, and now ends at %d", far, info.Rev, tail)); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutLog names the log that ends too early, as far as one can tell: the newest, for
// it is the one that was written to.
func (s *Store) cutLog() string {
	logs := s.latest.mark.logs
	if s.emptied || len(logs) == 0 {
		return ""
	}
	return ": the end of a log is missing, probably of " + s.options.FS.PathJoin(s.folder.join(storeDir), logName(logs[len(logs)-1]))
}

// missing decides whether a store in which something is missing can be opened.
func (s *Store) missing(what error) error {
	if !s.accepting {
		return advise(remedy, fmt.Errorf("%w: %w", ErrCorrupt, what))
	}
	s.accepted = append(s.accepted, what.Error())
	return nil
}

// Loss is what AcceptLoss gave up.
type Loss struct {
	Missing []string // one sentence each; empty: nothing was missing
	Last    uint64   // the revision at which the store ends from now on
	Known   uint64   // the highest revision that it is known to have reached
}

// AcceptLoss opens a folder that Open refuses because something is missing, makes
// what is there the whole store, and closes it. Nothing that it finds is removed.
// It does not help against things that are from another store, which must be moved
// away before, nor against damage in the middle. Errors are those of Open.
func AcceptLoss(o *Options) (Loss, error) {
	s := newStore(o)
	s.accepting = true
	err := s.open(context.Background())
	if err == nil {
		err = errors.Join(s.acceptLoss(), s.Close())
	}
	if err != nil {
		return Loss{}, fmt.Errorf("accept the loss in %s: %w", o.Dir, s.Advise(err))
	}
	return Loss{s.accepted, s.Last(), max(s.known, s.Last())}, nil
}

// acceptLoss notes that what is there is the whole store.
func (s *Store) acceptLoss() error {
	if len(s.accepted) == 0 {
		return nil
	}
	s.latest.mark.journal, s.latest.mark.last = 0, 0
	s.latest.mark.accepted = max(s.latest.mark.accepted, s.known)
	if err := s.options.FS.Remove(s.folder.join(closedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return s.adopt(s.current)
}
