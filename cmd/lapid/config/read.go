package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"lapid/cmd/lapid/datadir"
)

// readPlain reads an ordinary file of no more than most bytes. For root it follows no
// link of another user's to what is not that user's: a user who may put
// links into a folder would otherwise have root read what that user may not.
func readPlain(file string, most int64) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no ordinary file", file)
	case info.Size() > most:
		return nil, fmt.Errorf("%s: larger than %d MiB", file, most>>20)
	}
	if os.Geteuid() == 0 {
		if err := ownLinks(file, info); err != nil {
			return nil, err
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: larger than %d MiB", file, most>>20)
	}
	return text, err
}

// mostLinks is how many links a path may lead through, as for the system.
const mostLinks = 40

// ownLinks goes the way to a file that is open, and makes sure that every link of
// another user than root leads to a file of that user's, and the way to this file.
// It compares what it has come to with the open file at the end, so a link that is
// exchanged meanwhile is noticed.
func ownLinks(file string, opened fs.FileInfo) error {
	at, rest := string(filepath.Separator), datadir.Absolute(file)
	for n := 0; rest != ""; {
		name, after, _ := strings.Cut(strings.TrimLeft(rest, "/"), "/")
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err != nil {
			return err
		}
		rest = after
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if n++; n > mostLinks {
			return fmt.Errorf("%s: %w", file, syscall.ELOOP)
		}
		if by := datadir.OwnerOf(info); by != 0 && by != datadir.OwnerOf(opened) {
			return linkedAway(next, by)
		}
		target, err := os.Readlink(next)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) {
			at = string(filepath.Separator)
		}
		rest = strings.TrimSuffix(target+"/"+after, "/")
	}
	if found, err := os.Lstat(at); err != nil || !os.SameFile(found, opened) {
		return errors.Join(err, fmt.Errorf("%s was exchanged while it was read", file))
	}
	return nil
}

// linkedAway is the error about such a link.
func linkedAway(link string, by int) error {
	return fmt.Errorf("%s is a link of user %s to a file that is not that user's, and is not read by root: put the file itself there, "+
		"or run the command as that user", link, datadir.UserName(uint32(by)))
}

// keyLike is what a key or a word of a configuration looks like. Nothing else of a
// file is shown in what is said of it: it may be another file than was meant, one with
// secrets.
var keyLike = pattern(`^[\p{L}\p{N}_.-]{1,40}$`)

// shownWord shows a key or a word of a file, in quotes, if it looks like one.
func shownWord(text string) string {
	if keyLike().MatchString(text) {
		return `"` + text + `"`
	}
	return fmt.Sprintf("what is there (%d characters, not shown)", len([]rune(text)))
}

// shownTag is shownWord for a word that begins with an exclamation mark.
func shownTag(tag string) string {
	if keyLike().MatchString(strings.TrimLeft(tag, "!")) {
		return tag
	}
	return "a word that begins with !"
}

// inMessage is what a parser quotes from the file.
var inMessage = pattern("\"[^\"]*\"|'[^']*'|`[^`]*`")

// shownMessage is what a parser says, without what does not look like a key.
func shownMessage(text string) string {
	return inMessage().ReplaceAllStringFunc(text, func(word string) string { return shownWord(word[1 : len(word)-1]) })
}
