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
			t.sayVersion()
			return nil
		},
	}
}

func (t *terminal) sayVersion() {
	t.print("lapid %s\nGo: %s\nPlatform: %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				t.print("Commit: %s\n", s.Value)
			}
		}
	}
}
