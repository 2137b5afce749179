package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"lapid/cmd/lapid/datadir"
)

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

// Setup is everything the operator wrote, read and checked: the reference's
// configuration, our own settings beside it, and what is worth a warning. Its methods
// are for one goroutine; nothing changes once the server runs on it, for a reload
// loads another.
type Setup struct {
	File     string // "" when there is none and the defaults hold
	Found    bool   // File was not named, but found where configurations usually are
	Config   Config
	Own      Settings
	Warnings []string

	Env   Environment
	tree  *node            // the merged configuration
	place map[string]*node // every key given, by its dotted path

	ownPlace map[string]*node // every key of Own that was given
}

// inPlaceOf are our own settings that take the place of keys of config.yaml: what is
// wrong with the value is then theirs.
var inPlaceOf = map[string]string{
	"config_paths.data_dir": "data_dir", "api.server.listen_uri": "listen_uri",
	"prometheus.listen_port": "metrics", "prometheus.listen_addr": "metrics", "admin_socket": "admin_socket",
}

// Environment is how variables are looked up: os.LookupEnv, but for tests.
type Environment func(string) (string, bool)

// Load reads the configuration. With file "" it takes the first that is
// in one of the usual places, and else the built-in defaults: the store in a
// local folder, the API on 127.0.0.1:8080, the stock profiles. Errors name
// file, line and column, several of them in as many lines. It reads; it
// makes nothing.
func Load(file string, env Environment) (*Setup, error) {
	found := file == ""
	if found {
		if file = findConfig(UsualConfigs); file == "" {
			return defaultSetup(env)
		}
	}
	s := &Setup{File: file, Found: found, Env: env}
	tree, err := readMerged(file, expander(env))
	if err != nil {
		return nil, fmt.Errorf("while loading configuration file: %w", err)
	}
	s.tree = tree
	d, err := decodeTree(tree, &s.Config)
	if err != nil {
		return nil, fmt.Errorf("while loading configuration file: %w", err)
	}
	s.place = d.places
	if harmless := slices.DeleteFunc(d.ignored, func(key string) bool { return slices.Contains(loud, key) }); len(harmless) > 0 {
		s.warn("accepted, but without a meaning here: %s", strings.Join(harmless, ", "))
	}
	if s.Own, s.ownPlace, err = loadSettings(filepath.Join(filepath.Dir(file), "lapid.yaml"), env); err != nil {
		return nil, err
	}
	return s, s.complete()
}

// Again reads the same files once more, as a reload does.
func (s *Setup) Again() (*Setup, error) { return Load(s.File, s.Env) }

// defaultSetup is the setup of somebody who wrote nothing.
func defaultSetup(env Environment) (*Setup, error) {
	own, places, err := loadSettings("", env)
	if err != nil {
		return nil, err
	}
	items := 5000
	s := &Setup{Env: env, Own: own, ownPlace: places, Config: Config{
		Paths:   Paths{DataDir: LocalData},
		DB:      Database{Flush: &Flush{MaxItems: &items, MaxAge: "7d"}},
		API:     API{Server: &APIServer{ListenURI: "127.0.0.1:8080"}},
		Metrics: MetricsPlace{Enabled: true},
	}}
	return s, s.complete()
}

// readMerged reads a file of one document with its overlay, FILE.local. An
// overlay that is missing is no error, one that is empty changes nothing.
func readMerged(file string, expand func(string) string) (*node, error) {
	tree, err := readOne(file, expand)
	if err != nil {
		return nil, err
	}
	over, err := readOne(file+".local", expand)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return tree, nil
	case err != nil:
		return nil, err
	case over == nil:
		return tree, nil
	case tree == nil:
		tree = &node{file: file, kind: isMap}
	}
	return merge(tree, over)
}

// readOne reads a file of one document, nil when it is empty. Further
// documents of it are passed over.
func readOne(file string, expand func(string) string) (*node, error) {
	trees, err := readTrees(file, expand)
	if err != nil || len(trees) == 0 {
		return nil, err
	}
	return trees[0], nil
}

// warn notes a sentence for the log of the server. Verbs do not show it.
func (s *Setup) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// given tells whether a key was written, even without a value.
func (s *Setup) given(path string) bool { return s.place[path] != nil }

// Bad is an error about the value of a key, with its place: in lapid.yaml or the
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

// Data is the data directory.
func (s *Setup) Data() datadir.Dir { return datadir.Dir(s.Config.Paths.DataDir) }

// Store is the folder of the journal and the snapshots.
func (s *Setup) Store() string { return s.Data().Store() }

// Socket is the path of the operator's socket.
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
