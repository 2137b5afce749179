//go:build clients

package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The generator of clients and what its clients import.
const (
	generator = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"
	imported  = "github.com/oapi-codegen/runtime@v1.9.0"
)

// TestGeneratedClient generates a client in Go from the description, compiles it, and has it log in, push an alert, pull the
// stream and delete a decision.
func TestGeneratedClient(t *testing.T) {
	t.Parallel()
	description, err := filepath.Abs("../openapi/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("testdata/client/main.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "client"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), program, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"mod", "init", "generated"},
		{"run", generator, "-generate", "types,client", "-package", "client", "-o", "client/client.go", description},
		{"get", imported},
		{"mod", "tidy"},
		{"build", "-o", "program", "."},
	} {
		c := exec.CommandContext(t.Context(), "go", args...)
		c.Dir = dir
		c.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	seed := loadSeed(t)
	p := startLapid(t, lapidBinary(t), "main", "auto", seed)
	c := exec.CommandContext(t.Context(), filepath.Join(dir, "program"), p.target.URL, p.target.MachineID, p.target.Password, p.target.BouncerKey)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, p.logTail())
	}
	p.stop(t)
}
