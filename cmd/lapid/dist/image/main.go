package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
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
	r, err := newRelease()
	if err != nil {
		return err
	}
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

// release is what is the same for each processor.
type release struct {
	version string // as in --version, such as 0.2.0 or 0.2.0~20261130.0123abc
	tagged  bool   // a release, not what is before the next one
	commit  string
	made    time.Time // the commit's: the time in all of it
}

// newRelease asks the environment and git, as packages.sh does.
func newRelease() (*release, error) {
	git := func(words ...string) string {
		out, err := exec.Command("git", words...).Output()
		if err != nil {
			return "" // sources without git: the environment has to say
		}
		return strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(cmp.Or(os.Getenv("SOURCE_DATE_EPOCH"), git("log", "-1", "--format=%ct"), "0"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	r := &release{made: time.Unix(seconds, 0).UTC()}
	r.commit = cmp.Or(os.Getenv("COMMIT"), git("describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"))
	r.version = cmp.Or(os.Getenv("VERSION"), strings.TrimPrefix(git("describe", "--tags", "--exact-match", "--match", "v[0-9]*"), "v"))
	if r.tagged = r.version != ""; r.tagged {
		return r, nil
	}
	next, err := os.ReadFile("cmd/lapid/dist/package/NEXT")
	if err != nil {
		return nil, fmt.Errorf("run it at the top of the repository: %w", err)
	}
	r.version = fmt.Sprintf("%s~%s.%.7s", strings.TrimSpace(string(next)), r.made.Format("20060102"), r.commit)
	return r, nil
}

// build makes the program, which needs no library and no C.
func (r *release) build(arch, program string) error {
	flags := fmt.Sprintf("-s -w -X main.version=%s -X main.commit=%s", r.version, r.commit)
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
