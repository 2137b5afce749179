package persist

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
)

// A folder can be removed, moved or exchanged under the Store that has it open, and
// a writer that goes on notices nothing: the files live on without names until they are
// closed. So a Store is asked now and then whether what it writes to is still there.

// place tells one file from another that has its name; zero where that cannot be
// told, as in memory.
type place struct{ device, inode uint64 }

// logPlace is the log that is written to.
type logPlace struct {
	path string
	at   place
}

// goneError is what is said of something that is not there any more, or is not it.
type goneError struct{ text string }

func (g *goneError) Error() string        { return g.text }
func (g *goneError) Is(target error) bool { return target == ErrGone || target == ErrDisk }

func gone(path, what string) error { return &goneError{path + " " + what + ": " + ErrGone.Error()} }

// vanished tells that there is nothing at a path, or nothing that is a file. Other
// errors say nothing about that.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// same makes sure that what is at a path is what was there before.
func (f folder) same(path string, before place) error {
	info, err := f.fs.Stat(path)
	switch {
	case err != nil && vanished(err):
		return gone(path, "is not there any more")
	case err == nil && before != place{} && placeOf(info) != before:
		return gone(path, "is another than the one that was opened")
	}
	return nil
}

// settle notes what the folder is, at the end of Open.
func (s *Store) settle() {
	if info, err := s.options.FS.Stat(s.folder.path); err == nil {
		s.opened = placeOf(info)
	}
}

// Present tells whether the store is still where it was opened: the folder, FORMAT,
// LATEST, the logs that must be there, and the one that is written to. If not, the
// error is an ErrGone, and an ErrDisk, and nothing is written any more: what would
// be accepted from now on is lost with the process. Reopen ends that when all is
// back. It costs a look at each, some microseconds. It is the committer's.
func (s *Store) Present() error {
	if s.options.ReadOnly {
		return nil
	}
	in, err := s.use()
	if err != nil {
		return err
	}
	defer in.users.Done()
	err = s.present()
	if err == nil {
		err = s.logPresent(in)
	}
	if err == nil && s.identity.given() {
		err = s.latestPresent()
	}
	if err != nil {
		in.fence.lower("", s.folder.path, err)
	}
	return err
}

// present looks at what must be there before the folder may be opened again.
func (s *Store) present() error {
	if err := s.folder.same(s.folder.path, s.opened); err != nil {
		return err
	}
	if err := s.formatPresent(); err != nil {
		return err
	}
	for _, log := range s.latest.logs() {
		path := s.options.FS.PathJoin(s.folder.join(storeDir), logName(log))
		err := s.folder.same(path, place{})
		if err != nil && slices.Contains(s.latest.logs(), log) { // else it has just been dropped
			return err
		}
	}
	return nil
}

// formatPresent looks at FORMAT. A copy that says the same is as good.
func (s *Store) formatPresent() error {
	path := s.folder.join(formatFile)
	info, err := s.options.FS.Stat(path)
	switch {
	case err != nil && vanished(err):
		return gone(path, "is not there any more")
	case err != nil:
		return nil // the disk's affair
	case s.format != place{} && placeOf(info) == s.format:
		return nil
	case !info.Mode().IsRegular():
		return gone(path, "is no ordinary file any more")
	}
	if text, err := s.folder.read(formatFile); err == nil {
		if who, _, ok := parseFormat(text); !ok || who != s.identity {
			return gone(path, "is another than the one that was opened")
		}
		s.format = placeOf(info)
	}
	return nil
}

// logPresent looks at the log that is written to; which one that is may change
// meanwhile.
func (s *Store) logPresent(in *instance) error {
	for {
		log := in.fence.writing.Load()
		if log == nil {
			return nil
		}
		err := s.folder.same(log.path, log.at)
		if err == nil || in.fence.writing.Load() == log {
			return err
		}
	}
}

// latestPresent looks at LATEST, which Reopen makes anew, when it was cut too: it
// has the size that renew gave it for as long as it is written to.
func (s *Store) latestPresent() error {
	s.latest.mu.Lock()
	defer s.latest.mu.Unlock()
	if s.latest.file == nil {
		return nil
	}
	if err := s.folder.same(s.latest.path, s.latest.at); err != nil {
		return err
	}
	if info, err := s.options.FS.Stat(s.latest.path); err == nil && info.Size() < 2*markSize {
		return gone(s.latest.path, "was cut")
	}
	return nil
}

// Whose looks which store is in the folder, without opening it: its id, which is zero
// in one of format 1. There is none when the folder is missing or holds nothing of a
// store's. The error is what Open would say of it.
func Whose(o *Options) (id ID, there bool, err error) {
	c := o.withDefaults()
	who, version, err := (folder{c.FS, c.Dir}).version()
	return who.id, version != 0, err
}
