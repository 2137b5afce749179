package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

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
	s := &Setup{File: file, Found: found, env: env}
	tree, err := readMerged(file, expander(env))
	if err != nil {
		return nil, fmt.Errorf("while loading configuration file: %w", err)
	}
	return s, s.take(tree, filepath.Join(filepath.Dir(file), "lapid.yaml"))
}

// take fills the values from a tree and from the settings beside it.
func (s *Setup) take(tree *node, settings string) error {
	s.tree = tree
	if tree != nil && tree.further != nil {
		s.warn("only the first document of the file counts: all from %s on is passed over", tree.further.at())
	}
	d, err := decodeTree(tree, &s.Config)
	if err != nil {
		return fmt.Errorf("while loading configuration file: %w", err)
	}
	s.place = d.places
	if harmless := slices.DeleteFunc(d.ignored, func(key string) bool { return slices.Contains(loud, key) }); len(harmless) > 0 {
		s.warn("%s%s", harmlessWords, strings.Join(harmless, ", "))
	}
	if s.Own, s.ownPlace, err = loadSettings(settings, s.env); err != nil {
		return err
	}
	return complete(s)
}

// harmlessWords begin the warning that names keys of other programs.
const harmlessWords = "accepted, but without a meaning here: "

// Harmless reports whether a line of the log only names what is accepted because other programs
// read the same file.
func Harmless(line string) bool { return strings.Contains(line, harmlessWords) }

// Again reads the same files once more, as a reload does. The Setup itself stays as it is.
func (s *Setup) Again() (*Setup, error) {
	if s.container == nil {
		return Load(s.File, s.env)
	}
	c, err := s.container.again()
	if err != nil {
		return nil, err
	}
	if s.Found {
		return c.Load("")
	}
	return c.Load(s.File)
}

// defaultSetup is the setup where nothing was written.
func defaultSetup(env Environment) (*Setup, error) {
	own, places, err := loadSettings("", env)
	if err != nil {
		return nil, err
	}
	items := 5000
	s := &Setup{env: env, Own: own, ownPlace: places, Config: Config{
		Paths:   Paths{DataDir: LocalData},
		DB:      Database{Flush: &Flush{MaxItems: &items, MaxAge: "7d"}},
		API:     API{Server: &APIServer{ListenURI: "127.0.0.1:8080"}},
		Metrics: MetricsPlace{Enabled: true},
	}}
	return s, complete(s)
}
