package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lapid/transport/inputs"
)

// What an installation is configured to do and this program does not do gets a
// line of its own, with the place of the key and what stops: in a test of the
// configuration, at the start and at a reload. Keys that only had a meaning for
// another program are listed in one line instead (see loadSetup).

// loud are the ignored keys that have a line of their own.
var loud = []string{"api.cti"}

// Losses warns of everything that is asked for and will not happen, and of
// what happens otherwise than it looks. Call it once. Each is one sentence
// that says what stops and what to do.
func (s *Setup) Losses() {
	a := s.Config.API.Server
	s.warnOfCentral()
	if c := s.Config.API.CTI; c != nil && (c.Enabled == nil || *c.Enabled) {
		s.warnAt("api.cti", "no reputation service is asked: a filter that calls CrowdsecCTI fails")
	}
	if a != nil && len(a.TrustedProxies) > 0 && !a.ForwardedFor {
		s.warnAt("api.server.trusted_proxies", "use_forwarded_for_headers is not on, but the forwarding headers of these peers are believed all the same: "+
			"turn it on to say so, or take the list out if they shall not count")
	}
	warnOfRelativeData(s)
	if s.Own.Sync != nil && !*s.Own.Sync {
		s.warn("sync is false: writes are answered before the disk has them, so that a crash of the machine or a loss of power may lose the last of them; " +
			"take sync out of lapid.yaml, or LAPID_SYNC out of the environment, to keep them")
	}
}

// warnAt is a warning about a key, with its place.
func (s *Setup) warnAt(path, format string, args ...any) {
	text := path + ": " + fmt.Sprintf(format, args...)
	if n := s.place[path]; n != nil {
		text = n.at() + ": " + text
	}
	s.Warnings = append(s.Warnings, text)
}

// usedSQLite tells whether a file is an SQLite database that holds something, or one that
// this user may not read.
func usedSQLite(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() { // a pipe would hold the start up
		return errors.Is(err, fs.ErrPermission)
	}
	f, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrPermission)
	}
	defer f.Close()
	const mark = "SQLite format 3\x00"
	head := make([]byte, len(mark))
	_, err = io.ReadFull(f, head)
	return err == nil && bytes.Equal(head, []byte(mark))
}

// warnOfRelativeData warns of a data directory that depends on where the server is
// started.
func warnOfRelativeData(s *Setup) {
	dir := s.Config.Paths.DataDir
	if s.File == "" || dir == "" || filepath.IsAbs(dir) {
		return
	}
	key := "config_paths.data_dir"
	if s.Own.DataDir != "" {
		key = "data_dir"
	}
	where, err := filepath.Abs(dir)
	if err != nil {
		where = "a folder that cannot be told (" + err.Error() + ")"
	}
	s.warnAt(key, "%s is relative and stands for %s now: started from another folder the server begins with an empty store; write the whole path", dir, where)
}

// StrayVariables warns of variables in environ ("NAME=value") that look like
// settings and are none. Those of the tests have a beginning of their own, and LAPID_TOKEN is for verbs.
// A slip in the name of a variable would otherwise silently mean the default.
func (s *Setup) StrayVariables(environ []string) {
	names := settingVariables()
	var stray []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "LAPID_") && !strings.HasPrefix(name, "LAPID_TEST_") && name != "LAPID_TOKEN" &&
			name != replaceVariable && name != ContainerVariable && !slices.Contains(names, name) {
			stray = append(stray, name)
		}
	}
	slices.Sort(stray)
	for _, name := range stray {
		hint := "; there are " + strings.Join(names, ", ")
		if near := nearestVariable(name, names); near != "" {
			hint = "; did you mean " + near + "?"
		}
		s.warn("environment variable %s is no setting and has no effect%s", name, hint)
	}
}

// nearestVariable compares what follows LAPID_, so that the common beginning does
// not make everything alike.
func nearestVariable(name string, names []string) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = strings.ToLower(strings.TrimPrefix(n, "LAPID_"))
	}
	if near := inputs.Nearest(strings.TrimPrefix(name, "LAPID_"), words); near != "" {
		return "LAPID_" + strings.ToUpper(near)
	}
	return ""
}
