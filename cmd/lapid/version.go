package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"lapid/persist"
)

// Set by the linker (-X main.version=… -X main.commit=…); `make build` does it.
var (
	// version is the tag of a release without its v.
	version = "0.1.0-dev"
	// commit is what git knew of the files, for builds in which Go finds no
	// repository: a hash, with "-dirty" behind it if files were in no commit. What Go
	// itself has noted in the binary goes before it.
	commit string
)

// versionCommand is version.
func versionCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is, and which format of stores it writes", Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return t.showVersion(versionOf()) },
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
func versionOf() versionObject {
	v := versionObject{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, StoreFormat: persist.FormatVersion}
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
		v.Commit, v.Modified = strings.CutSuffix(commit, "-dirty")
	}
	return v
}

// showVersion answers the verb.
func (t *terminal) showVersion(v versionObject) error {
	if t.output == jsonWords {
		return t.json(v, " ")
	}
	t.sayVersion(v)
	return nil
}

// sayVersion is for people and for -version. Lines are only ever added: scripts read
// the first.
func (t *terminal) sayVersion(v versionObject) {
	t.print("lapid %s\nGo: %s\nPlatform: %s\n", v.Version, v.Go, v.Platform)
	modified := ""
	if v.Modified {
		modified = " (modified)"
	}
	t.print("Commit: %s%s\n", cmp.Or(v.Commit, "not known"), modified)
	t.print("Store: writes format %d, reads 1 to %d\n", v.StoreFormat, v.StoreFormat)
}
