package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	releases "lapid/cmd/lapid/dist/release"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run builds everything into a folder beside the last image and puts it in its place at the end.
func run() error {
	out := cmp.Or(os.Getenv("DIST"), "dist")
	arches := strings.Fields(cmp.Or(os.Getenv("ARCHES"), "amd64 arm64"))
	made, err := releases.New()
	if err != nil {
		return err
	}
	r := release{made}
	work, err := os.MkdirTemp("", "lapid-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	texts, err := licences()
	if err != nil {
		return err
	}
	var images []platform
	for _, arch := range arches {
		program := filepath.Join(work, "lapid."+arch)
		if err := r.build(arch, program); err != nil {
			return err
		}
		p, err := r.platform(arch, program, texts)
		if err != nil {
			return err
		}
		images = append(images, p)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := r.write(out, images); err != nil {
		return err
	}
	for _, p := range images {
		if err := r.tell(p); err != nil {
			return err
		}
	}
	return nil
}

// release is what is built, for each processor.
type release struct{ *releases.Release }

// build makes the program, which needs no library and no C.
func (r release) build(arch, program string) error {
	flags := fmt.Sprintf("-s -w -X main.version=%s -X main.commit=%s", r.Version, r.Commit)
	c := exec.Command(cmp.Or(os.Getenv("GO"), "go"), "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", program, "./cmd/lapid")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("building lapid for %s: %w", arch, err)
	}
	return nil
}

// licences are those of every module that is linked in, each with its name.
func licences() ([]byte, error) {
	c := exec.Command(cmp.Or(os.Getenv("GO"), "go"), "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "./cmd/lapid")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOFLAGS=")
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("listing modules: %w", err)
	}
	var text strings.Builder
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		words := strings.Split(strings.TrimSpace(line), "\t")
		if len(words) != 3 || seen[words[0]] {
			continue
		}
		seen[words[0]] = true
		fmt.Fprintf(&text, "==== %s %s\n\n", words[0], words[1])
		files, err := os.ReadDir(words[2])
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			name := strings.ToLower(f.Name())
			if f.IsDir() || !strings.HasPrefix(name, "licen") && !strings.HasPrefix(name, "copying") && !strings.HasPrefix(name, "notice") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(words[2], f.Name()))
			if err != nil {
				return nil, err
			}
			text.Write(append(b, '\n'))
		}
	}
	return []byte(text.String()), nil
}
