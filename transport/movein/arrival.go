package movein

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// Arrival takes a database over into the store of a running server, whole or not at all.
//
//	receive   the frames of a Sender go into a file, and are checked; the store has nothing
//	          of them yet
//	          — whoever is interrupted before the next line, or has not sent the end: the
//	          file is dropped, nothing happened
//	arrived   the file gets another name, durably: from now on it is taken over, whatever
//	          happens to who sent it or to the server
//	apply     a Bringer reads the file; streams are held meanwhile, so that bouncers are
//	          told of all of it as one change
//	          — a server that dies here does it anew at its next start, before it
//	          listens: what is there already is known again, and stays
//	done      the file is removed
//	aside     what cannot be applied gets another name, with why in movein.failed: at once
//	          where the fault is not the disk's, else after mostAttempts. Another may
//	          arrive then; the next that is taken over removes both
//
// Memory is bounded by a frame, the bouncers' names, the UUIDs of the alerts that are
// there, and some 64 bytes for each alert of the source. Methods may be called from any
// goroutine; one taking over is under way at a time.
type Arrival struct {
	e   *engine.Engine
	dir string
	log *slog.Logger
	one sync.Mutex // held while one is under way

	attempts int // of applying, that failed. Under one
	trouble  atomic.Pointer[engine.Trouble]
}

// NewArrival makes one for an engine that runs. dir is the folder with the store's, in
// which the files are.
func NewArrival(e *engine.Engine, dir string, log *slog.Logger) *Arrival {
	a := &Arrival{e: e, dir: dir, log: log}
	if text := Failed(dir); text != "" {
		a.trouble.Store(&engine.Trouble{Kind: engine.TroubleMoveIn, Text: text, Since: e.Now()})
	}
	return a
}

func (a *Arrival) arriving() string { return filepath.Join(a.dir, "movein.arriving") }
func (a *Arrival) arrived() string  { return filepath.Join(a.dir, "movein.arrived") }

func failedFile(dir string) string { return filepath.Join(dir, "movein.failed") }

// Failed is a sentence about a database that arrived and was put aside, for it could not be
// taken over; "": there is none since the last that was.
func Failed(dir string) string {
	text, err := os.ReadFile(failedFile(dir))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// Forget removes what was put aside: another database was taken over.
func Forget(dir string) error {
	a := &Arrival{dir: dir}
	for _, path := range []string{a.aside(), failedFile(dir)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (a *Arrival) aside() string { return a.arrived() + ".unusable" }

// Trouble is what to tell the operator of a database that has arrived and is not taken over;
// nil when there is none. Any goroutine may ask.
func (a *Arrival) Trouble() *engine.Trouble { return a.trouble.Load() }

// AccountFile is where what came of it is kept, in the folder of the store's.
func AccountFile(dir string) string { return filepath.Join(dir, "movein.json") }

// UnderWay reports whether a database has arrived, in the folder of a store's, and is not
// wholly taken over yet.
func UnderWay(dir string) bool {
	_, err := os.Lstat((&Arrival{dir: dir}).arrived())
	return err == nil
}

// longestHold is for how long streams are held at most. Then what is there is told, and the
// rest as it comes: each such change is right by itself.
const longestHold = time.Minute

// ErrUnfinished wraps an error that came when everything had arrived: the server goes on
// with it by itself.
var ErrUnfinished = errors.New("everything has arrived, but could not be taken over yet: the server tries it again by itself, and after a restart")

// ErrPutAside wraps an error that came when everything had arrived, and that trying again
// does not mend. What was taken over of it stays, and another may be taken over.
var ErrPutAside = errors.New("everything has arrived, but it cannot be taken over, and is put aside: what was taken over of it stays; mend what is wrong and run it again")

// Taken reports whether a store has taken something over before.
func Taken(e *engine.Engine) bool { return e.View().Secret(recordName) != nil }

// Receive takes over what a Sender wrote, from a reader that ends behind its last frame.
// tell gets, while it is applied, how many bytes of how many are done; nil: nobody asks.
// Errors but ErrUnfinished say that nothing was taken over. ctx counts until all has
// arrived: what then happens needs nobody who waits for it.
func (a *Arrival) Receive(ctx context.Context, from io.Reader, tell func(done, of int64)) (*Account, error) {
	if !a.one.TryLock() {
		return nil, &engine.Error{Kind: engine.ErrBusy, Text: "another database is being taken over: try again when that has ended ('lapid movein status' tells)"}
	}
	defer a.one.Unlock()
	if _, err := os.Lstat(a.arrived()); err == nil {
		return nil, &engine.Error{Kind: engine.ErrBusy, Text: "a database has arrived that could not be taken over yet: the server goes on trying, and its log says why it fails"}
	}
	if err := a.store(ctx, from); err != nil {
		_ = os.Remove(a.arriving())
		return nil, err
	}
	account, err := a.apply(context.WithoutCancel(ctx), tell)
	if err != nil && !errors.Is(err, ErrPutAside) {
		err = fmt.Errorf("%w: %w", ErrUnfinished, err)
	}
	return account, err
}

// store keeps the frames, and gives the file its name when it is whole.
func (a *Arrival) store(ctx context.Context, from io.Reader) error {
	file, err := os.OpenFile(a.arriving(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("nothing was taken over: %w", err)
	}
	defer file.Close()
	var people Bringer // knows names alone
	if err := a.copy(ctx, from, file, &people); err != nil {
		return fmt.Errorf("nothing was taken over: %w", err)
	}
	if people.last, err = lastRecord(a.e.View()); err == nil {
		err = people.sameSource()
	}
	if err == nil {
		err = a.room(file)
	}
	if err = errors.Join(err, file.Sync(), file.Close(), ctx.Err()); err == nil {
		err = os.Rename(a.arriving(), a.arrived())
	}
	if err != nil {
		return fmt.Errorf("nothing was taken over: %w", err)
	}
	return syncFolder(a.dir)
}

// room refuses, while nothing has happened yet, what would not fit: the store takes as much
// again, in its journal and in its snapshots.
func (a *Arrival) room(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	need := 2*info.Size() + 16<<20
	if free, known := freeBytes(a.dir); known && free < need {
		return &engine.Error{Kind: engine.ErrDisk, Text: fmt.Sprintf("no space left for it: %d MiB are free in %s, and taking it over needs %d MiB: make room and run it again", free>>20, a.dir, need>>20)}
	}
	return nil
}

// copy copies frames up to the last.
func (a *Arrival) copy(ctx context.Context, from io.Reader, to io.Writer, people *Bringer) error {
	out := bufio.NewWriterSize(to, 1<<20)
	var buf []byte
	for n := 0; ; n++ {
		f, raw, err := readFrame(from, buf)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("what was sent is cut off: whoever sent it has gone")
		} else if err != nil {
			return err
		}
		if buf = raw; (n == 0) != (f.Head != nil) {
			return errFrame
		}
		for _, m := range f.Machines {
			people.machines = append(people.machines, m.ID)
		}
		for _, b := range f.Bouncers {
			people.bouncers = append(people.bouncers, b.Name)
		}
		if n == 0 {
			f.Head.Store = a.e.StoreID()
			if raw, err = appendFrame(f); err != nil {
				return err
			}
		}
		if _, err := out.Write(raw); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.End != nil {
			return out.Flush()
		}
	}
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Resume goes on, before a server listens, with what an earlier one was interrupted in:
// what had not arrived is dropped, what had is taken over. Both are told in the log. The
// error is about what has arrived and cannot be taken over now; call Finish then.
func (a *Arrival) Resume(ctx context.Context) error {
	if err := os.Remove(a.arriving()); err == nil {
		a.log.Warn("taking over a database was interrupted before all of it had arrived: what there was is dropped, and nothing was taken over; run it again")
	} else if !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("what is left of an interrupted taking over cannot be removed", "error", err)
	}
	if _, err := os.Lstat(a.arrived()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	a.log.Warn("a database had arrived when the server ended: taking it over goes on")
	a.one.Lock()
	defer a.one.Unlock()
	_, err := a.apply(ctx, nil)
	if errors.Is(err, ErrPutAside) {
		return nil
	}
	return err
}

// mostAttempts is how often what has arrived is tried on a disk that refuses: for an hour.
const mostAttempts = 360

// again is the pause between two attempts of Finish.
const again = 10 * time.Second

// Finish tries again, until ctx ends, to take over what has arrived and could not be.
func (a *Arrival) Finish(ctx context.Context) {
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := os.Lstat(a.arrived()); err != nil || !a.one.TryLock() {
			continue
		}
		_, _ = a.apply(ctx, nil) // it tells
		a.one.Unlock()
	}
}

// apply takes over what has arrived and removes it. What cannot be taken over is put aside.
// It tells what came of it.
func (a *Arrival) apply(ctx context.Context, tell func(done, of int64)) (*Account, error) {
	file, err := os.Open(a.arrived())
	if err != nil {
		return nil, a.failed(ctx, err)
	}
	defer file.Close()
	account, err := a.bring(ctx, file, tell)
	if err != nil {
		return nil, a.failed(ctx, err)
	}
	if err := account.Keep(AccountFile(a.dir)); err != nil {
		a.log.Warn("'lapid movein status' will not tell of this taking over", "error", err)
	}
	if err := errors.Join(os.Remove(a.arrived()), Forget(a.dir), syncFolder(a.dir)); err != nil {
		return account, a.failed(ctx, err)
	}
	a.attempts = 0
	a.trouble.Store(nil)
	c := &account.Changes
	a.log.Info("a database was taken over", "source", account.Source, "new_alerts", c.NewAlerts, "new_decisions", c.NewDecisions,
		"ended_decisions", c.EndedDecisions, "removed_alerts", c.RemovedAlerts, "removed_others", c.Removed)
	return account, nil
}

// failed tells why something could not be applied, and puts it aside where trying again
// would come to the same: for all faults but a disk's that refuses, or has refused for long.
func (a *Arrival) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, engine.ErrClosed) {
		return err // the server ends, and goes on at its next start
	}
	a.attempts++
	var file *fs.PathError
	retry := errors.Is(err, engine.ErrDisk) || errors.Is(err, engine.ErrBusy) || errors.As(err, &file)
	if retry && a.attempts < mostAttempts {
		a.log.Error("a database that has arrived could not be taken over yet: it is tried again", "error", err, "attempt", a.attempts, "of", mostAttempts)
		a.tell(fmt.Sprintf("a database that has arrived could not be taken over yet, and is tried again (attempt %d of %d): %v", a.attempts, mostAttempts, err))
		return err
	}
	text := fmt.Sprintf("a database that has arrived could not be taken over, and is put aside as %s: %v; what was taken over of it stays: mend what is wrong and run 'lapid movein' again", a.aside(), err)
	a.attempts = 0
	a.tell(text)
	a.log.Error("a database that has arrived cannot be taken over: it is put aside, and what was taken over of it stays; run the taking over again", "file", a.aside(), "error", err)
	return errors.Join(fmt.Errorf("%w (the file is %s): %w", ErrPutAside, a.aside(), err),
		os.WriteFile(failedFile(a.dir), []byte(text+"\n"), 0o600), os.Rename(a.arrived(), a.aside()), syncFolder(a.dir))
}

func (a *Arrival) tell(text string) {
	since := a.e.Now()
	if t := a.trouble.Load(); t != nil {
		since = t.Since
	}
	a.trouble.Store(&engine.Trouble{Kind: engine.TroubleMoveIn, Text: text, Since: since})
}

// bring reads the file twice: bouncers come last, so that the first answer that one gets
// is whole; and usage metrics behind them.
func (a *Arrival) bring(ctx context.Context, file *os.File, tell func(done, of int64)) (*Account, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	b, err := NewBringer(ctx, a.e)
	if err != nil {
		return nil, err
	}
	release := a.e.HoldStreams()
	defer release()
	defer time.AfterFunc(longestHold, release).Stop()
	account := &Account{}
	reading := &rereading{file: file, size: info.Size(), tell: tell}
	var refused []func(*Tally)
	err = reading.each(func(f *frame) error {
		if f.Head != nil && f.Head.Store != a.e.StoreID() {
			return fmt.Errorf("%w: it was sent to another store", errFrame)
		}
		if f.Head != nil {
			account.At = time.Unix(0, f.Head.At).UTC()
		}
		if f.End != nil {
			account.Tally = f.End
		}
		return b.first(ctx, f, &refused)
	})
	if err == nil && account.Tally == nil {
		err = errFrame
	}
	if err != nil {
		return nil, err
	}
	for _, say := range refused {
		say(account.Tally)
	}
	if err := b.settle(ctx, account.Tally); err != nil {
		return nil, err
	}
	release()
	if err = reading.each(func(f *frame) error { return b.second(ctx, f, account.Tally) }); err == nil {
		err = b.keep(ctx, account.Tally)
	}
	account.Changes = b.Changes
	return account, err
}

// rereading reads what has arrived, twice in all.
type rereading struct {
	file *os.File
	size int64
	done int64
	tell func(done, of int64) // nil: nobody asks
}

// each hands over the frames from the first on.
func (r *rereading) each(take func(*frame) error) error {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	in, buf := bufio.NewReaderSize(r.file, 1<<20), []byte(nil)
	for {
		f, raw, err := readFrame(in, buf)
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := take(f); err != nil {
			return err
		}
		buf = raw
		if r.done += int64(len(raw)); r.tell != nil {
			r.tell(r.done, 2*r.size)
		}
	}
}

// first takes over what comes before the bouncers.
func (b *Bringer) first(ctx context.Context, f *frame, refused *[]func(*Tally)) error {
	note := func(of *relation, id int64, err error) error {
		var r Refusal
		var l Leave
		if errors.As(err, &r) || errors.As(err, &l) {
			*refused = append(*refused, func(t *Tally) { t.refuseOr(of, id, err) })
			return nil
		}
		return err
	}
	for _, x := range f.Bouncers {
		b.bouncers = append(b.bouncers, x.Name)
	}
	for _, m := range f.Machines {
		if err := note(machinesTable, m.Number, b.Machine(ctx, m)); err != nil {
			return err
		}
	}
	for _, l := range f.Lists {
		err := b.Allowlist(ctx, l)
		for i := range l.Items {
			if n := l.Items[i].Number; err != nil && n != 0 && note(itemsTable, n, err) != nil {
				return err
			}
		}
		if err := note(listsTable, l.Number, err); err != nil {
			return err
		}
	}
	if len(f.Alerts) > 0 {
		if err := b.sameSource(); err != nil {
			return err
		}
	}
	if err := b.portions(ctx, f.Alerts); err != nil {
		return err
	}
	if f.Central != nil {
		if err := b.Central(ctx, f.Central); err != nil {
			return err
		}
	}
	if f.Counters != nil {
		return b.Counters(ctx, *f.Counters)
	}
	return nil
}

// second takes over the others.
func (b *Bringer) second(ctx context.Context, f *frame, t *Tally) error {
	note := func(of *relation, id int64, err error) error {
		if t.refuseOr(of, id, err) {
			return nil
		}
		return err
	}
	names := b.bouncers
	for _, x := range f.Bouncers {
		if err := note(bouncersTable, x.Number, b.Bouncer(ctx, x)); err != nil {
			return err
		}
	}
	b.bouncers = slices.Clip(names)
	for _, u := range f.Usage {
		if err := note(metricsTable, 0, b.Usage(ctx, u)); err != nil {
			return err
		}
	}
	return nil
}
