package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"lapid/engine/profile"
	"lapid/transport/notify"
)

// Profiles reads and compiles the rules: the file of the configuration, with
// the documents of FILE.local in front of it, or the stock rules when it
// names none; and the notifications that they name. Warnings go to log, each with its
// place. The error has the place of what was refused; nothing is in force by it.
func (s *Setup) Profiles(log *slog.Logger) ([]profile.Spec, *profile.Set, []*notify.Configuration, error) {
	specs, written, err := readSpecs(s, log)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("while loading profiles for LAPI: %w", err)
	}
	sent, err := s.sent(specs, log)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("while loading notifications: %w", err)
	}
	set, warnings, err := profile.Compile(specs, &profile.Options{Logger: log, KeepGoing: s.Own.OnFilterError == "continue", Sends: func(name string) bool {
		return slices.ContainsFunc(sent, func(c *notify.Configuration) bool { return c.Name == name })
	}})
	for _, w := range warnings {
		log.Warn(placed(written, w.Index, w.Field) + w.Text)
	}
	if err != nil {
		place := ""
		var f *profile.Fault
		if errors.As(err, &f) {
			place = placed(written, f.Index, f.Field)
		}
		return nil, nil, nil, fmt.Errorf("failed to compile profiles: %s%w", place, err)
	}
	doubtProfiles(specs, func(i int, field, text string) { log.Warn(placed(written, i, field) + text) })
	return specs, set, sent, nil
}

// writtenProfile is where one profile, and what is in it, was written.
type writtenProfile struct {
	tree    *node
	decoded *decoder
}

// placed is the place of a field in front of what is said about it, "" when there
// is no file. A field that was not written stands for what it would be in.
func placed(written []writtenProfile, i int, field string) string {
	if i >= len(written) {
		return ""
	}
	w := written[i]
	for field != "" {
		for _, places := range []map[string]*node{w.decoded.places, w.decoded.items} {
			if n := places[field]; n != nil {
				return n.at() + ": "
			}
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return w.tree.at() + ": "
}

// readSpecs reads the files; without one the profiles were written nowhere.
func readSpecs(s *Setup, log *slog.Logger) ([]profile.Spec, []writtenProfile, error) {
	a := s.Config.API.Server
	if a == nil || a.ProfilesPath == "" {
		return profile.Default(), nil, nil
	}
	local := a.ProfilesPath + ".local"
	specs, written, err := readProfiles(local)
	switch {
	case err == nil:
		log.Info(fmt.Sprintf("Prepending yaml: '%s' with '%s'", a.ProfilesPath, local))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, nil, err
	}
	more, places, err := readProfiles(a.ProfilesPath)
	if err != nil {
		return nil, nil, err
	}
	if specs = append(specs, more...); len(specs) == 0 {
		return nil, nil, fmt.Errorf("%s: zero profiles loaded for LAPI", a.ProfilesPath)
	}
	return specs, append(written, places...), nil
}

// readProfiles reads a file of one profile per document. Variables are not
// expanded: a dollar sign belongs to the expressions. Unknown keys are
// refused, as in the configuration.
func readProfiles(file string) ([]profile.Spec, []writtenProfile, error) {
	trees, err := readTrees(file, nil)
	if err != nil {
		return nil, nil, err
	}
	specs, written := make([]profile.Spec, len(trees)), make([]writtenProfile, len(trees))
	for i, tree := range trees {
		d, err := decodeTree(tree, &specs[i])
		if err != nil {
			return nil, nil, err
		}
		written[i] = writtenProfile{tree, d}
	}
	return specs, written, nil
}

// ProfileSpecs reads the rules as they are written, and compiles none of them.
func (s *Setup) ProfileSpecs() ([]profile.Spec, error) {
	specs, _, err := readSpecs(s, slog.New(slog.DiscardHandler))
	return specs, err
}
