package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// UsualConfigs are the places where a configuration is looked for when none is
// named, in the order of looking. Relative ones are below the current folder. They are not
// to be changed.
var UsualConfigs = []string{"config.yaml", filepath.Join(LocalData, QuickConfig), ownConfig, stockConfig}

// findConfig gives the first of the places where there is a configuration,
// "" when there is none. In the current folder, where anything may lie
// about, only a file counts that is the user's own or root's and says where
// the data is. The order goes from the nearest to the farthest, so that a
// trial beside an installation does not touch it.
func findConfig(places []string) string {
	for _, place := range places {
		info, err := os.Stat(place)
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && info.IsDir():
			continue
		case err == nil && !filepath.IsAbs(place) && !(ours(info) && speaksOfData(place)):
			continue
		}
		return place // also one that may not be read: the error says so
	}
	return ""
}

// ours tells whether a file belongs to whom this process runs for, or to root.
// Another user's file in the current folder must not choose where root's store is.
func ours(info fs.FileInfo) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	return !ok || owner.Uid == 0 || int(owner.Uid) == os.Geteuid()
}

// speaksOfData tells whether a file is a configuration of ours, as far as can be
// seen: every one has the section config_paths. One that is no YAML is, so that its
// mistake is named.
func speaksOfData(file string) bool {
	tree, err := readOne(file, nil)
	if err != nil {
		return true
	}
	if tree == nil {
		return false
	}
	for _, e := range tree.entries {
		if e.key.text == "config_paths" {
			return true
		}
	}
	return false
}

// Origin says in words, for a person, which configuration is in force. Verbs say it
// where no file was named.
func (s *Setup) Origin() string {
	switch {
	case s.container != nil && s.Found && !isThere(s.File):
		return "the configuration that is built in (there is no " + s.File + ")"
	case s.File == "":
		return "no configuration (" + strings.Join(UsualConfigs, ", ") + "): built-in defaults"
	case s.Found:
		return "configuration " + s.File
	}
	return "configuration " + s.File + " (-c)"
}

const (
	// ownConfig and stockConfig are where our package and the reference's put
	// their files.
	ownConfig   = "/etc/lapid/config.yaml"
	stockConfig = "/etc/crowdsec/config.yaml"

	// LocalData is the store's folder when there is no configuration at all.
	LocalData = "lapid-data"

	// QuickConfig is what a quickstart calls its configuration, in a folder of its own.
	QuickConfig = "config.yaml"
)
