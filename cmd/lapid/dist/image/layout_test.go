package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	composed "github.com/compose-spec/compose-go/v2/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	releases "lapid/cmd/lapid/dist/release"
)

// TestMain puts the tests where make image is run: at the top of the repository.
func TestMain(m *testing.M) {
	if err := os.Chdir("../../../.."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

var someRelease = release{&releases.Release{Version: "0.2.0", Tagged: true, Commit: "0123abcd", Made: time.Unix(1_700_000_000, 0).UTC()}}

// lay writes an image of two processors whose program is a text.
func lay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("a program"), 0o600); err != nil {
		t.Fatal(err)
	}
	var images []platform
	for _, arch := range []string{"amd64", "arm64"} {
		p, err := someRelease.platform(arch, program, []byte("licences"))
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, p)
	}
	for range 2 { // the second takes the place of the first
		if err := someRelease.write(dir, images); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLayout: what is written is a sound image for both processors under all of its names, the same bytes each
// time.
func TestLayout(t *testing.T) {
	t.Parallel()
	dir := lay(t)
	if one, other := digests(t, dir), digests(t, lay(t)); one != other || !strings.Contains(one, "rootfs-linux-arm64.tar.gz") {
		t.Errorf("one time\n%s\nanother\n%s", one, other)
	}
	top, err := layout.ImageIndexFromPath(filepath.Join(dir, "image"))
	if err != nil {
		t.Fatal(err)
	}
	names, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, m := range names.Manifests {
		tags = append(tags, m.Annotations["org.opencontainers.image.ref.name"])
		index, err := top.ImageIndex(m.Digest)
		if err == nil {
			err = validate.Index(index)
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := len(images(t, index)); n != 2 {
			t.Errorf("%d images", n)
		}
	}
	if fmt.Sprint(tags) != "[0.2.0 0.2 latest]" {
		t.Errorf("%q", tags)
	}
	if r := (release{&releases.Release{Version: "0.2.0~20261130.0123abc"}}); fmt.Sprint(r.tags()) != "[0.2.0-20261130.0123abc latest]" {
		t.Errorf("%q", r.tags())
	}
}

// digests are the names and sums of all files below a folder.
func digests(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		info, bad := d.Info()
		if bad != nil {
			return bad
		}
		fmt.Fprintf(&out, "%x %v %s\n", sha256.Sum256(b), info.Mode(), strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// images are those of an index, by their processor.
func images(t *testing.T, index v1.ImageIndex) map[string]v1.Image {
	t.Helper()
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]v1.Image{}
	for _, d := range m.Manifests {
		if out[d.Platform.Architecture], err = index.Image(d.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRoot: what is in the root of a container, whose it is, and that authorities can be read.
func TestRoot(t *testing.T) {
	t.Parallel()
	index, err := layout.ImageIndexFromPath(filepath.Join(lay(t), "image"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	inner, err := index.ImageIndex(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(images(t, inner)["arm64"])
	defer content.Close()
	var got []string
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(someRelease.Made) {
			t.Errorf("%s is of %v", h.Name, h.ModTime)
		}
		if h.Name == "etc/ssl/certs/ca-certificates.crt" {
			text, _ := io.ReadAll(r)
			if !x509.NewCertPool().AppendCertsFromPEM(text) || bytes.Count(text, []byte("BEGIN CERTIFICATE")) < 80 {
				t.Error("no authorities")
			}
		}
		got = append(got, fmt.Sprintf("%s %04o %d:%d", h.Name, h.Mode, h.Uid, h.Gid))
	}
	for _, want := range []string{
		"etc/crowdsec/ 0750 65532:65532", "var/lib/lapid/ 0700 65532:65532", "tmp/ 1777 0:0", "etc/passwd 0644 0:0", "usr/bin/lapid 0755 0:0",
		"usr/share/doc/lapid/THIRD-PARTY-LICENCES 0644 0:0",
	} {
		if !slices.Contains(got, want) && !slices.Contains(got, strings.Replace(want, "/ ", " ", 1)) {
			t.Errorf("no %s in\n%s", want, strings.Join(got, "\n"))
		}
	}
}

// TestDockerfile: what it says is what the image says.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("cmd/lapid/dist/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	c := someRelease.config()
	quoted := func(words []string) string { return `["` + strings.Join(words, `", "`) + `"]` }
	h := c.Healthcheck
	want := map[string]string{
		"FROM": "scratch", "ARG": "TARGETARCH=amd64", "ADD": "rootfs-linux-${TARGETARCH}.tar.gz /", "USER": c.User, "ENV": strings.Join(c.Env, " "),
		"EXPOSE": "8080 6060", "VOLUME": quoted([]string{"/etc/crowdsec", "/var/lib/lapid"}), "STOPSIGNAL": c.StopSignal,
		"HEALTHCHECK": fmt.Sprintf("--interval=%ds --timeout=%ds --start-period=%dm --retries=%d CMD %s", int(h.Interval.Seconds()), int(h.Timeout.Seconds()), int(h.StartPeriod.Minutes()), h.Retries, quoted(h.Test[1:])),
		"ENTRYPOINT":  quoted(c.Entrypoint), "CMD": quoted(c.Cmd),
	}
	lines := regexp.MustCompile(`(?m)^([A-Z]+) (.*)$`).FindAllStringSubmatch(string(text), -1)
	for _, line := range lines {
		if want[line[1]] != line[2] {
			t.Errorf("%s, want %s", line[0], want[line[1]])
		}
	}
	if len(lines) != len(want) || len(c.Volumes) != 2 || len(c.ExposedPorts) != 2 {
		t.Errorf("%d lines, %d are known", len(lines), len(want))
	}
}

// compose reads a file as compose does, which knows every key.
func compose(t *testing.T, file string, environ ...string) (*composed.Project, error) {
	t.Helper()
	o, err := cli.NewProjectOptions([]string{"cmd/lapid/dist/" + file}, cli.WithEnv(environ), cli.WithName("lapid"))
	if err != nil {
		t.Fatal(err)
	}
	return o.LoadProject(t.Context())
}

// TestCompose: compose takes the file; it says what is missing; what it gives lapid is what lapid knows.
func TestCompose(t *testing.T) {
	t.Parallel()
	if _, err := compose(t, "compose.yaml"); err == nil || !strings.Contains(err.Error(), "AGENT_PASSWORD is missing a value: see the first lines") {
		t.Errorf("%v", err)
	}
	p, err := compose(t, "compose.yaml", "AGENT_PASSWORD=x")
	if err != nil {
		t.Fatal(err)
	}
	s, c := p.Services["lapid"], someRelease.config()
	for _, v := range s.Volumes {
		if _, ok := c.Volumes[v.Target]; !ok {
			t.Errorf("%s is no volume of the image", v.Target)
		}
	}
	for _, port := range s.Ports {
		if _, ok := c.ExposedPorts[fmt.Sprintf("%d/%s", port.Target, port.Protocol)]; !ok || port.HostIP != "127.0.0.1" {
			t.Errorf("%+v", port)
		}
	}
	if len(s.Volumes) != 2 || len(s.Ports) != 2 || !s.ReadOnly || len(s.Secrets) != 1 || p.Secrets[s.Secrets[0].Source].File == "" {
		t.Errorf("%+v", s)
	}
	for name, other := range p.Services {
		for on, how := range other.DependsOn {
			if check := p.Services[on].HealthCheck; how.Condition == composed.ServiceConditionHealthy && (check == nil || len(check.Test) < 2) {
				t.Errorf("%s waits for the health of %s, which nobody looks at: an image of the OCI's format has no check", name, on)
			}
		}
	}
	if check := s.HealthCheck; check == nil || strings.Join(check.Test, " ") != "CMD /"+c.Entrypoint[0][1:]+" health" {
		t.Errorf("%+v", check)
	}
	if other := p.Services["crowdsec"].Environment; *other["AGENT_USERNAME"] != *s.Environment["AGENT_USERNAME"] || *other["DISABLE_LOCAL_API"] != "true" {
		t.Errorf("%v", other)
	}
}

// TestComposeCluster: three nodes that differ in name, place and port alone, each looked after.
func TestComposeCluster(t *testing.T) {
	t.Parallel()
	p, err := compose(t, "compose-cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for name, s := range p.Services {
		if check := s.HealthCheck; check == nil || strings.Join(check.Test, " ") != "CMD /usr/bin/lapid health" || !s.ReadOnly || len(s.Secrets) != 1 {
			t.Errorf("%s: %+v", name, s)
		}
		for _, v := range s.Volumes {
			if _, ok := someRelease.config().Volumes[v.Target]; !ok || seen[v.Source] || !strings.Contains(v.Source, name) {
				t.Errorf("%s: %+v", name, v)
			}
			seen[v.Source] = true
		}
		for _, port := range s.Ports {
			if seen[port.Published] || port.HostIP != "127.0.0.1" {
				t.Errorf("%s: %+v", name, port)
			}
			seen[port.Published] = true
		}
	}
	if len(p.Services) != 3 || len(seen) != 9 {
		t.Errorf("%d services, %v", len(p.Services), seen)
	}
}

// pageCommands are the lines of the blocks in sh of the page about containers.
func pageCommands(t *testing.T) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("cmd/lapid/docs/containers.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	return lines
}

// TestPage: what the page has one type names what make image writes, and starts it as compose.yaml does. What it has run in a
// container is run by TestImage.
func TestPage(t *testing.T) {
	t.Parallel()
	c := someRelease.config()
	words := map[string]func(line string) bool{
		"make image":   func(line string) bool { return line == "make image" },
		"skopeo copy":  func(line string) bool { return strings.Contains(line, " oci:dist/image:latest docker") },
		"docker build": func(line string) bool { return line == "docker build -f cmd/lapid/dist/Dockerfile -t lapid dist" },
		"docker run": func(line string) bool {
			for volume := range c.Volumes {
				if !strings.Contains(line, ":"+volume+" ") {
					return false
				}
			}
			return strings.Contains(line, " --read-only ") && strings.Contains(line, " --cap-drop ALL ") && strings.Contains(line, ":8080:8080 ")
		},
		"docker exec": func(line string) bool { return strings.HasPrefix(line, "docker exec lapid lapid ") },
	}
	seen := map[string]bool{}
	for _, line := range pageCommands(t) {
		parts := strings.SplitN(line, " ", 3)
		form := strings.Join(parts[:min(2, len(parts))], " ")
		if good := words[form]; good == nil || !good(line) {
			t.Errorf("%s", line)
		}
		seen[form] = true
	}
	if len(seen) != len(words) {
		t.Errorf("%v", seen)
	}
}
