package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version=…) in releases.
var version = "0.1.0-dev"

func versionCommand(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if t.output == jsonWords {
				return t.json(versionOf(), " ")
			}
			t.sayVersion()
			return nil
		},
	}
}

// versionObject is a version in JSON.
type versionObject struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from files that are in no commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionOf() versionObject {
	v := versionObject{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
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
	return v
}

func (t *terminal) sayVersion() {
	v := versionOf()
	t.print("lapid %s\nGo: %s\nPlatform: %s\n", v.Version, v.Go, v.Platform)
	if v.Commit != "" {
		modified := ""
		if v.Modified {
			modified = " (modified)"
		}
		t.print("Commit: %s%s\n", v.Commit, modified)
	}
}
