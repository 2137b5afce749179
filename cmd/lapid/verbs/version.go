package verbs

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"lapid/persist"
)

// versionCommand is version.
func versionCommand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is, and which format of stores it writes", Args: NoArgs,
		RunE: func(*cobra.Command, []string) error { return showVersion(t, versionOf(&t.Build)) },
	}
}

// versionObject is a version in JSON.
type versionObject struct {
	Version     string `json:"version"`
	Commit      string `json:"commit,omitempty"`
	Modified    bool   `json:"modified,omitempty"` // built from files that are in no commit
	Go          string `json:"go"`
	Platform    string `json:"platform"`
	StoreFormat int    `json:"store_format"` // the one that is written; all from 1 on are read
}

// versionOf asks the binary itself, which cannot be out of date.
func versionOf(b *Build) versionObject {
	v := versionObject{Version: b.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, StoreFormat: persist.FormatVersion}
	// Built in a repository, Go has noted the commit by itself, and cannot be wrong.
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if v.Commit == "" {
		v.Commit, v.Modified = strings.CutSuffix(b.Commit, "-dirty")
	}
	return v
}

// showVersion answers the verb.
func showVersion(t *Terminal, v versionObject) error {
	if t.Output == jsonWords {
		return t.json(v, " ")
	}
	sayVersion(t, v)
	return nil
}

// sayVersion is for people and for -version. Lines are only ever added: scripts read
// the first.
func sayVersion(t *Terminal, v versionObject) {
	t.print("lapid %s\nGo: %s\nPlatform: %s\n", v.Version, v.Go, v.Platform)
	modified := ""
	if v.Modified {
		modified = " (modified)"
	}
	t.print("Commit: %s%s\n", cmp.Or(v.Commit, "not known"), modified)
	t.print("Store: writes format %d, reads 1 to %d\n", v.StoreFormat, v.StoreFormat)
}

// SayVersion says for a person which program this is, as -version asks for.
func SayVersion(t *Terminal) { sayVersion(t, versionOf(&t.Build)) }
