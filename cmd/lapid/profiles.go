package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"lapid/engine/profile"
)

// profiles reads and compiles the rules: the file of the configuration, with
// the documents of FILE.local in front of it, or the stock rules when it names
// none.
func (s *Setup) profiles(log *slog.Logger) ([]profile.Spec, *profile.Set, error) {
	specs, err := s.profileSpecs(log)
	if err != nil {
		return nil, nil, fmt.Errorf("while loading profiles for LAPI: %w", err)
	}
	set, warnings, err := profile.Compile(specs, &profile.Options{Logger: log, KeepGoing: s.Own.OnFilterError == "continue"})
	if err != nil {
		return nil, nil, fmt.Errorf("failed to compile profiles: %w", err)
	}
	for _, w := range warnings {
		log.Warn(w.Text)
	}
	return specs, set, nil
}

func (s *Setup) profileSpecs(log *slog.Logger) ([]profile.Spec, error) {
	a := s.Config.API.Server
	if a == nil || a.ProfilesPath == "" {
		return profile.Default(), nil
	}
	local := a.ProfilesPath + ".local"
	specs, err := readProfiles(local)
	switch {
	case err == nil:
		log.Info(fmt.Sprintf("Prepending yaml: '%s' with '%s'", a.ProfilesPath, local))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	more, err := readProfiles(a.ProfilesPath)
	if err != nil {
		return nil, err
	}
	if specs = append(specs, more...); len(specs) == 0 {
		return nil, fmt.Errorf("%s: zero profiles loaded for LAPI", a.ProfilesPath)
	}
	return specs, nil
}

// readProfiles reads a file of one profile per document. Variables are not
// expanded: a dollar sign belongs to the expressions.
func readProfiles(file string) ([]profile.Spec, error) {
	trees, err := readTrees(file, nil)
	if err != nil {
		return nil, err
	}
	specs := make([]profile.Spec, len(trees))
	for i, tree := range trees {
		if _, err := decodeTree(tree, &specs[i]); err != nil {
			return nil, err
		}
	}
	return specs, nil
}
