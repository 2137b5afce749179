package persist

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// What an operator can do. Each message about a store that does not open ends with
// one of these, or with what else to do to a file that is named.
const (
	restoreIt = "restore a backup with: lapid restore --force FILE"
	putBack   = "put it back, or " + restoreIt
	// remedy ends what is said of things that are missing.
	remedy = "put back what is missing, " + restoreIt + ", or accept the loss with: lapid check --accept-loss"
)

// advice is an error that says what to do next.
type advice struct {
	err  error
	next string
}

func (a *advice) Error() string { return a.err.Error() + "; " + a.next }
func (a *advice) Unwrap() error { return a.err }

func advise(next string, err error) error { return &advice{err, next} }

// Advise returns an ErrCorrupt with what to do next, if it does not say so yet; any
// other error, and nil, as it is.
func Advise(err error) error {
	if given := new(advice); !errors.Is(err, ErrCorrupt) || errors.As(err, &given) {
		return err
	}
	return advise(restoreIt, err)
}

// Advise is the same, for a store that may have snapshots to go on from.
func (s *Store) Advise(err error) error {
	newest := s.snapshots.newest()
	if given := new(advice); newest == 0 || !errors.Is(err, ErrCorrupt) || errors.As(err, &given) {
		return Advise(err)
	}
	return advise(fmt.Sprintf("%s, or, if there is none, move %s away and go on from the snapshot of revision %d with: "+
		"lapid check --accept-loss (what came after it is lost then, and what only the journal tells of alerts)",
		restoreIt, s.folder.join(storeDir), newest), err)
}

// ordinary makes sure that what is at a path is a file, or a folder, or a link to
// one. Opening anything else, such as a pipe, may wait for ever.
func (f folder) ordinary(path string, dir bool) error {
	info, err := f.fs.Stat(path)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return advise(putBack, fmt.Errorf("%w: %s is a link that leads to itself", ErrCorrupt, path))
	case err != nil:
		return err
	case dir && !info.IsDir():
		return advise("put the folder back, or "+restoreIt, fmt.Errorf("%w: %s is no folder", ErrCorrupt, path))
	case !dir && info.IsDir():
		return advise("put the file back, or "+restoreIt, fmt.Errorf("%w: %s is a folder and should be a file", ErrCorrupt, path))
	case !dir && !info.Mode().IsRegular():
		return advise("put the file back, or "+restoreIt, fmt.Errorf("%w: %s is no ordinary file", ErrCorrupt, path))
	}
	return nil
}

// ordinaryFiles looks at the files of the journal. A link that leads nowhere is one
// that is missing.
func (s *Store) ordinaryFiles(names []string) error {
	for _, name := range names {
		_, isLog := parseLogName(name)
		if !isLog && !isTable(name) && !strings.HasPrefix(name, manifestPrefix) && !strings.HasPrefix(name, optionsPrefix) {
			continue
		}
		path := s.options.FS.PathJoin(s.folder.join(storeDir), name)
		switch err := s.folder.ordinary(path, false); {
		case errors.Is(err, fs.ErrNotExist):
			return advise("put back what it leads to, or "+restoreIt, fmt.Errorf("%w: %s is a link that leads nowhere", ErrCorrupt, path))
		case errors.Is(err, ErrCorrupt):
			return err
		}
		if err := s.plausible(name, path); err != nil {
			return err
		}
	}
	return nil
}

// The longest that Pebble's files get, and more, in bytes: a log has a memtable or some
// records, a manifest is begun anew after a megabyte. A longer one would be read for
// minutes, and into memory.
const (
	longestLog      = 2 << 30
	longestManifest = 256 << 20
	longestOptions  = 1 << 20
)

// plausible makes sure that a file is not far longer than it can be.
func (s *Store) plausible(name, path string) error {
	most, next := int64(longestLog), restoreIt
	switch {
	case isTable(name):
		return nil // parts of it are read
	case strings.HasPrefix(name, manifestPrefix):
		most = longestManifest
	case strings.HasPrefix(name, optionsPrefix):
		most, next = longestOptions, "remove it: it holds nothing but settings, and the next start makes it anew"
	}
	if info, err := s.options.FS.Stat(path); err == nil && info.Size() > most {
		return advise(next, fmt.Errorf("%w: %s is not as it was written: it has %d bytes now", ErrCorrupt, path, info.Size()))
	}
	return nil
}

// Names of Pebble's that matter here. Markers are empty, their names say it all.
const (
	manifestPrefix = "MANIFEST-"
	optionsPrefix  = "OPTIONS-"
	manifestMarker = "marker.manifest."
	versionMarker  = "marker.format-version."
)

func startsWith(prefix string) func(string) bool {
	return func(name string) bool { return strings.HasPrefix(name, prefix) }
}

// markers makes sure that Pebble's markers are there. The loss of an empty file is
// none: it can be made again.
func (s *Store) markers(names []string) error {
	missing := func(marker string) error {
		path := s.options.FS.PathJoin(s.folder.join(storeDir), marker)
		return advise("put it back: it is empty, so this makes it: touch "+path, fmt.Errorf("%w: %s is missing", ErrCorrupt, path))
	}
	manifests := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.HasPrefix(name, manifestPrefix) })
	if len(manifests) == 0 {
		return nil
	}
	if !slices.ContainsFunc(names, startsWith(manifestMarker)) {
		return missing(manifestMarker + "000001." + slices.Max(manifests))
	}
	if !slices.ContainsFunc(names, startsWith(versionMarker)) {
		return missing(fmt.Sprintf("%s000001.%03d", versionMarker, pebble.FormatTableFormatV6))
	}
	return nil
}

// namedFile is how Pebble speaks of a file.
var namedFile = regexp.MustCompile(`\b(MANIFEST-[0-9]+|OPTIONS-[0-9]+|[0-9]{6,}(\.sst|\.log|\.blob)?)\b`)

// blame says which file it is that Pebble cannot be opened with, if that can be told.
func (s *Store) blame(err error) error {
	dir := s.folder.join(storeDir)
	if path := s.badOptions(dir); path != "" {
		return advise("remove it: it holds nothing but settings, and the next start makes it anew",
			fmt.Errorf("%w: %s is not as it was written: %w", ErrCorrupt, path, err))
	}
	name := namedFile.FindString(err.Error())
	if name == "" {
		return fmt.Errorf("%w: the journal in %s cannot be read: %w", ErrCorrupt, dir, err)
	}
	if !strings.ContainsAny(name, ".-") {
		name += ".sst"
	}
	path, what := s.options.FS.PathJoin(dir, name), "is missing"
	if info, err := s.options.FS.Stat(path); err == nil {
		what = fmt.Sprintf("is not as it was written, and has %d bytes now", info.Size())
	}
	return fmt.Errorf("%w: %s, a part of the journal, %s: %w", ErrCorrupt, path, what, err)
}

// badOptions is the newest file with Pebble's settings, if it is not as Pebble wrote
// it.
func (s *Store) badOptions(dir string) string {
	names, _ := s.options.FS.List(dir)
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, optionsPrefix) })
	if len(names) == 0 {
		return ""
	}
	name := slices.Max(names)
	text, err := (folder{s.options.FS, dir}).read(name)
	plain := new(pebble.Options)
	plain.EnsureDefaults()
	if err != nil || plain.CheckCompatibility(dir, text) == nil {
		return ""
	}
	return s.options.FS.PathJoin(dir, name)
}

// atMost are the first of many names, and how many more there are.
func atMost(names []string) string {
	const most = 10
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}
