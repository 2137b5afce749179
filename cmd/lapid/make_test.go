package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestMakeStampsTheCommit asks make what it would have the linker write.
func TestMakeStampsTheCommit(t *testing.T) {
	t.Parallel()
	make := exec.Command("make", "--no-print-directory", "-n", "-C", "../..", "build", "VERSION=1.2.3", "COMMIT=0123abcd")
	out, err := make.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"-X main.version=1.2.3", "-X main.commit=0123abcd"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("make build runs\n%swithout %s", out, want)
		}
	}
}
