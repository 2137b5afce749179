package backups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"lapid/engine"
	"lapid/persist"
)

// Options say what a Keeper does. All but Free and Now must be given.
type Options struct {
	Dir   string        // where the backups are, of this Keeper alone; made when it is missing
	Every time.Duration // from the end of one to the next
	Keep  int           // how many backups stay in Dir, 1 or more

	// Backup writes one, as engine.Engine.Backup does.
	Backup func(context.Context, io.Writer) (engine.Revision, int64, error)
	Logger *slog.Logger
	Free   func(dir string) int64 // how many bytes there is room for, -1 when that is not known; nil: nobody looks
	Now    func() time.Time       // nil: time.Now
}

// Keeper makes backups by itself. Each is read again from the disk, every checksum compared, before it
// has its name; then those beyond Keep are removed, the oldest first, and never the one just made. What is
// named by a time to come, from a clock that ran ahead, is older than all else. On the disk are Keep backups at most, and one
// more while it is being written; one that fails leaves nothing, and none is begun, or gone on with, for which
// there is no room. What has another name than its own, such as backups that people have made, it never removes.
// It holds the folder: a second one is refused, for it would remove what the first has made.
//
// Run belongs to one goroutine; the rest may be asked by any.
type Keeper struct {
	options Options
	held    *os.File // the folder, locked
	figures atomic.Pointer[Figures]
	trouble atomic.Pointer[engine.Trouble]
}

// Figures are what metrics tell. They are since the start, but for LastSuccess.
type Figures struct {
	LastSuccess int64 // Unix seconds of the newest backup in the folder; 0: there is none, or none but of a time to come
	Failures    uint64
	Duration    time.Duration // the last one took, that is well
	Bytes       int64         // and has
}

// againAfter is when one is tried again that failed, unless the next is due before.
const againAfter = 5 * time.Minute

// slack is by how much a backup may be of a time to come, and is believed.
const slack = time.Minute

// mark begins the names of files that a Keeper is writing, so that it removes its own alone after a kill.
const mark = unnamed + "auto-"

// ownNames begins the names of the backups that a Keeper makes; those of the verb lack the word.
const ownNames = "lapid-auto-"

// leastRoom is how many bytes a backup leaves free, for on a full disk others fail too.
const leastRoom = 16 << 20

// NewKeeper looks at the folder, so that a setting that cannot work is known at the start, and holds it until
// Close. Errors are those of the folder, and ErrHeld.
func NewKeeper(o *Options) (*Keeper, error) {
	k := &Keeper{options: *o}
	if err := k.open(); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

func (k *Keeper) open() error {
	if k.options.Now == nil {
		k.options.Now = time.Now
	}
	f, err := begin(k.options.Dir, mark)
	if err != nil {
		return err
	}
	f.Discard()
	if k.held, err = hold(k.options.Dir); err != nil {
		return err
	}
	list, err := k.tidy()
	if err != nil {
		return err
	}
	first := &Figures{}
	if n := len(list); n > 0 && !list[n-1].ahead {
		first.LastSuccess = list[n-1].at.Unix()
	}
	k.figures.Store(first)
	return nil
}

// ErrHeld: another Keeper has the folder.
var ErrHeld = errors.New("another server makes its backups there: each needs a folder of its own")

// hold locks a folder, where the file system has such locks; the end of a process ends its lock.
func hold(dir string) (*os.File, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(ErrHeld, folder.Close())
	}
	return folder, nil
}

// Close gives the folder back. Run does it at its end; who does not get so far has to. It may be called twice.
func (k *Keeper) Close() {
	if k.held != nil {
		_ = syscall.Flock(int(k.held.Fd()), syscall.LOCK_UN) // at once, whatever child still has it open
		_ = k.held.Close()
		k.held = nil
	}
}

// Figures are what was counted.
func (k *Keeper) Figures() Figures { return *k.figures.Load() }

// Trouble is why the last backup failed; nil when it did not.
func (k *Keeper) Trouble() *engine.Trouble { return k.trouble.Load() }

// Run makes backups until ctx ends, and closes: the first when the newest in the folder is old enough.
func (k *Keeper) Run(ctx context.Context) {
	defer k.Close()
	wait := time.Duration(0)
	if last := k.Figures().LastSuccess; last != 0 {
		wait = min(max(time.Unix(last, 0).Add(k.options.Every).Sub(k.options.Now()), 0), k.options.Every) // a clock may have been wrong
	}
	for {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if wait = k.options.Every; k.turn(ctx) != nil {
			wait = min(wait, againAfter)
		}
	}
}

// turn makes one backup and tells what came of it.
func (k *Keeper) turn(ctx context.Context) error {
	began, started := k.options.Now(), time.Now()
	path, rev, size, err := k.make(ctx)
	if ctx.Err() != nil {
		return ctx.Err() // the server ends: that is no failure
	}
	f := k.Figures()
	if err != nil {
		f.Failures++
		k.figures.Store(&f)
		t := &engine.Trouble{Kind: engine.TroubleBackup, Since: began.UnixNano(), Text: fmt.Sprintf("no backup can be made in %s: %v; it is tried again every few minutes, and older ones stay", k.options.Dir, err)}
		if before := k.trouble.Load(); before != nil {
			t.Since = before.Since
		}
		k.trouble.Store(t)
		k.options.Logger.Error("a backup has failed", "dir", k.options.Dir, "error", err)
		return err
	}
	f.LastSuccess, f.Duration, f.Bytes = began.Unix(), time.Since(started), size
	k.figures.Store(&f)
	k.trouble.Store(nil)
	removed, err := k.prune(filepath.Base(path))
	k.options.Logger.Info("made a backup, and read it again", "file", path, "revision", uint64(rev), "bytes", size, "took", f.Duration.Round(time.Millisecond), "removed", removed)
	if err != nil {
		k.options.Logger.Warn("old backups cannot be removed", "dir", k.options.Dir, "error", err)
	}
	return nil
}

// make writes one and reads it again before it has its name.
func (k *Keeper) make(ctx context.Context) (path string, rev engine.Revision, size int64, err error) {
	if err := k.roomForAnother(); err != nil {
		return "", 0, 0, err
	}
	f, err := begin(k.options.Dir, mark)
	if err != nil {
		return "", 0, 0, err
	}
	defer f.Discard()
	if rev, size, err = k.options.Backup(ctx, &careful{Writer: f, keeper: k}); err != nil {
		return "", 0, 0, err
	}
	if err := f.Sync(); err != nil {
		return "", 0, 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", 0, 0, err
	}
	b, err := persist.Verify(&stoppable{f, ctx})
	if err != nil {
		return "", 0, 0, fmt.Errorf("what was written is not whole when it is read again: %w", err)
	}
	if b.Rev != uint64(rev) || b.Size() != size {
		return "", 0, 0, fmt.Errorf("what was written is another backup when it is read again: revision %d with %d bytes instead of %d with %d", b.Rev, b.Size(), rev, size)
	}
	path, err = f.keep(ownNames, b, k.options.Now())
	return path, rev, size, err
}

// roomForAnother is an error when one that is a little larger than the newest has no room.
func (k *Keeper) roomForAnother() error {
	folder, err := os.OpenRoot(k.options.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is made again
	}
	if err != nil {
		return err
	}
	defer folder.Close()
	list, err := k.list(folder)
	if err != nil || len(list) == 0 {
		return err
	}
	before, err := folder.Stat(list[len(list)-1].name)
	if err != nil {
		return err
	}
	return k.room(before.Size() + before.Size()/8)
}

// room is an error when so many bytes, and leastRoom, are not free.
func (k *Keeper) room(size int64) error {
	if k.options.Free == nil {
		return nil
	}
	if free := k.options.Free(k.options.Dir); free >= 0 && free < size+leastRoom {
		return fmt.Errorf("%w: %d MiB are free there, and at least %d must be: make room, or let fewer stay (backup.keep)", syscall.ENOSPC, free>>20, (size+leastRoom)>>20+1)
	}
	return nil
}

// careful is a writer that looks every carefulBytes whether there is room.
type careful struct {
	io.Writer
	keeper *Keeper
	left   int
}

const carefulBytes = 4 << 20

func (w *careful) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		if err := w.keeper.room(int64(len(p))); err != nil {
			return 0, err
		}
		w.left = carefulBytes
	}
	return w.Writer.Write(p)
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	io.Reader
	ctx context.Context
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.Reader.Read(p)
}

// named is a backup in the folder, by its name.
type named struct {
	name  string
	at    time.Time
	ahead bool // of a time to come
}

// names are those of a Keeper's backups; whatever else is in the folder is not looked at.
var names = regexp.MustCompile(`^lapid-auto-(\d{8}T\d{6}Z)-\d+\.backup$`)

// list is the backups in the folder, the oldest first; those of a time to come are the oldest.
func (k *Keeper) list(folder *os.Root) ([]named, error) {
	entries, err := readFolder(folder)
	latest := k.options.Now().Add(slack)
	var all []named
	for _, e := range entries {
		m := names.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		if at, err := time.Parse(stamp, m[1]); err == nil {
			all = append(all, named{e.Name(), at, at.After(latest)})
		}
	}
	slices.SortFunc(all, func(a, b named) int {
		if a.ahead != b.ahead {
			if a.ahead {
				return -1
			}
			return 1
		}
		if n := a.at.Compare(b.at); n != 0 {
			return n
		}
		return strings.Compare(a.name, b.name)
	})
	return all, err
}

func readFolder(folder *os.Root) ([]os.DirEntry, error) {
	dir, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadDir(-1)
}

// tidy removes what a killed process has left unfinished, and tells which backups there are.
func (k *Keeper) tidy() ([]named, error) {
	folder, err := os.OpenRoot(k.options.Dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	entries, err := readFolder(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), mark) && e.Type().IsRegular() {
			if err := folder.Remove(e.Name()); err != nil {
				return nil, err
			}
		}
	}
	return k.list(folder)
}

// prune removes the oldest backups beyond those that stay, of which the one just made is one.
func (k *Keeper) prune(made string) (removed int, err error) {
	folder, err := os.OpenRoot(k.options.Dir)
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	all, err := k.list(folder)
	if err != nil {
		return 0, err
	}
	all = slices.DeleteFunc(all, func(b named) bool { return b.name == made })
	for _, b := range all[:max(len(all)+1-k.options.Keep, 0)] {
		if e := folder.Remove(b.name); e != nil {
			err = errors.Join(err, e)
			continue
		}
		removed++
	}
	return removed, err
}
