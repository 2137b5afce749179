package program

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapid/cmd/lapid/config"
	"lapid/transport/capi/capitest"
)

// TestAccount: a container whose account with the Central API is named and not there gets one, once, and is enrolled; one
// that cannot be asked leaves no file behind, and a folder that cannot be written to has nobody be registered.
func TestAccount(t *testing.T) {
	t.Parallel()
	f, dir := capitest.New(t.TempDir(), t.Errorf), t.TempDir()
	defer f.Close()
	account, shared := filepath.Join(dir, "online.yaml"), filepath.Join(dir, "console.yaml")
	text := "config_paths: {data_dir: %[1]s}\napi: {server: {listen_uri: '127.0.0.1:1', console_path: %[2]s, online_client: {credentials_path: %[3]s}}}\n"
	setup := func(at string, more ...string) *config.Setup {
		t.Helper()
		file := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, text, dir, shared, at), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.ReadContainer(append(more, "CONFIG_FILE="+file), dir)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Load("")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p := &program{log: &serverLog{Logger: slog.New(slog.DiscardHandler)}, version: "1"}
	try := func(s *config.Setup, changed bool, fails string) {
		t.Helper()
		did, err := p.tryAccount(t.Context(), s, f.URL)
		if did != changed || (err == nil) != (fails == "") || err != nil && !strings.Contains(err.Error(), fails) {
			t.Errorf("%t, want %t: %v", did, changed, err)
		}
	}
	asked := func(path string, want int) {
		t.Helper()
		if got := len(f.Requests(path)); got != want {
			t.Errorf("%s was asked %d times, want %d", path, got, want)
		}
	}

	try(setup(filepath.Join(dir, "none", "online.yaml")), false, "cannot be written")
	asked("/v3/watchers", 0)
	ended, end := context.WithCancel(t.Context())
	end()
	if err := p.openAccount(ended, setup(account), f.URL, nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(account); err == nil {
		t.Error("an account that nobody has given was written down")
	}
	s := setup(account, "ENROLL_KEY=k", "ENROLL_INSTANCE_NAME=edge")
	before := len(f.Requests("/v3/watchers"))
	hangups := make(chan os.Signal, 1)
	if err := p.openAccount(t.Context(), s, f.URL, hangups); err != nil || len(hangups) != 1 {
		t.Errorf("%v, %d reloads", err, len(hangups))
	}
	if got := len(f.Requests("/v3/watchers")) - before; got < 3 { // registered, logged in, enrolled
		t.Errorf("%d requests", got)
	}
	if info, err := os.Stat(account); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if o, err := s.Central(); err != nil || o.Credentials.URL != f.URL || !o.Console.Manual || !o.Console.Context {
		t.Errorf("%+v %v", o, err)
	}
	for _, off := range []string{"DISABLE_ONLINE_API=true", ""} {
		p.noCentral = off == ""
		if err := p.openAccount(t.Context(), setup(filepath.Join(dir, "other.yaml"), off), f.URL, hangups); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "other.yaml")); err == nil {
		t.Error("a server that is to have no Central API has an account")
	}
}
