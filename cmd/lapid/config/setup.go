package config

import (
	"errors"
	"fmt"
	"path/filepath"

	"lapid/cmd/lapid/datadir"
)

// Setup is everything the operator wrote, read and checked: the reference's
// configuration, our own settings beside it, and what is worth a warning. Its methods
// are for one goroutine; nothing changes once the server runs on it, for a reload
// loads another.
type Setup struct {
	File     string   // "" when there is none and the defaults hold
	Found    bool     // File was not named, but found where configurations usually are
	Config   Config   // file and overlay, with our own addresses put in
	Own      Settings // lapid.yaml and variables
	Warnings []string // sentences for the log of the server, without line ends; checks add to them

	env       Environment
	container *Container       // nil: this is none
	tree      *node            // the merged configuration
	place     map[string]*node // every key given, by its dotted path

	ownPlace map[string]*node // every key of Own that was given
}

// inPlaceOf are our own settings that take the place of keys of config.yaml: what is
// wrong with the value is then theirs.
var inPlaceOf = map[string]string{
	"config_paths.data_dir": "data_dir", "api.server.listen_uri": "listen_uri",
	"prometheus.listen_port": "metrics", "prometheus.listen_addr": "metrics", "admin_socket": "admin_socket",
}

// warn notes a sentence for the log of the server. Verbs do not show it.
func (s *Setup) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// given tells whether a key was written, even without a value.
func (s *Setup) given(path string) bool { return s.place[path] != nil }

// Bad is an error about the value of a key, given by its dotted path, with its place: file,
// line and column, or the variable, of what was written; in lapid.yaml or the
// environment where the value comes from there.
func (s *Setup) Bad(path, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if n := s.ownPlace[inPlaceOf[path]]; n != nil {
		return fmt.Errorf("%s: %s", n.at(), text)
	}
	if n := s.place[path]; n != nil {
		return fmt.Errorf("%s: %s", n.at(), text)
	}
	if s.File != "" {
		return fmt.Errorf("%s: %s", s.File, text)
	}
	return errors.New(text)
}

// Data is the data directory, which need not be there.
func (s *Setup) Data() datadir.Dir { return datadir.Dir(s.Config.Paths.DataDir) }

// Store is the folder of the journal and the snapshots, below Data.
func (s *Setup) Store() string { return s.Data().Store() }

// Socket is the path of the operator's socket: admin_socket, or one below Data.
func (s *Setup) Socket() string {
	if s.Own.AdminSocket != "" {
		return s.Own.AdminSocket
	}
	return filepath.Join(s.Data().Folder(), "admin.sock")
}

// Named is the option that names this configuration, with a blank before it; "" where
// there is none.
func (s *Setup) Named() string {
	if s.File == "" {
		return ""
	}
	return " -c " + datadir.Absolute(s.File)
}
