package program

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// lookAtVolume says of a container's data folder what would else be noticed when it is gone: an error where
// it cannot be written, a line in the log where it goes with the container.
func (p *program) lookAtVolume() error {
	if p.setup.Container() == nil {
		return nil
	}
	folder := p.setup.Config.Paths.DataDir
	there := nearest(p.setup.Data().Folder())
	if err := unix.Access(there, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("the data folder %s cannot be written by user %d, to whom this container belongs (%s: %w): mount a volume there that is that user's "+
			"(chown %[2]d:%[5]d; in Kubernetes fsGroup: %[5]d), or name another folder in LAPID_DATA_DIR", folder, os.Geteuid(), there, err, os.Getegid())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil // not Linux, or nothing that can be told
	}
	switch m := mountOf(mounts, there); {
	case m.kind == "tmpfs":
		p.log.Warn(fmt.Sprintf("the data folder %s is in memory (tmpfs at %s): decisions, bouncers and machines go when the container stops", folder, m.point))
	case m.point == "/":
		p.log.Warn(fmt.Sprintf("THE DATA FOLDER %s IS NO VOLUME: decisions, bouncers and machines go with this container; mount a volume there", folder))
	case nameless.MatchString(m.root):
		p.log.Warn(fmt.Sprintf("THE DATA FOLDER %s IS ON A VOLUME WITHOUT A NAME: the next container gets another one, empty, and nobody finds this one again; "+
			"give it a name, as in -v lapid-data:%s", folder, m.point))
	}
	return nil
}

// nearest is the folder itself, or the first above it that is there, without links.
func nearest(folder string) string {
	for at := folder; ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			if abs, err := filepath.Abs(real); err == nil {
				return abs
			}
			return real
		}
		if !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			return at
		}
	}
}

// nameless is the folder of a volume that Docker or Podman makes for a VOLUME of the image where
// nothing was mounted.
var nameless = regexp.MustCompile(`/volumes/[0-9a-f]{64}/_data$`)

// A mount is one line of /proc/self/mountinfo.
type mount struct {
	root  string // the folder of the file system that is shown
	point string // where it is shown
	kind  string // of file system
}

// mountOf is what a path is on, by the text of /proc/self/mountinfo. Of several at one place the
// last is the one that is seen.
func mountOf(mounts []byte, path string) (m mount) {
	for line := range bytes.Lines(mounts) {
		front, back, ok := strings.Cut(string(line), " - ")
		words, more := strings.Fields(front), strings.Fields(back)
		if !ok || len(words) < 5 || len(more) < 1 {
			continue
		}
		at := mountWords.Replace(words[4])
		if (path == at || strings.HasPrefix(path, strings.TrimSuffix(at, "/")+"/")) && len(at) >= len(m.point) {
			m = mount{root: mountWords.Replace(words[3]), point: at, kind: more[0]}
		}
	}
	return m
}

// mountWords are how the kernel writes what would end a word.
var mountWords = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
