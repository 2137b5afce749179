package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is whom a container belongs to: the number that images without a shell agreed on.
const user = 65532

// file is one thing in the root of a container.
type file struct {
	path  string // without a slash in front; with one at the end: a folder
	mode  int64
	owner int
	text  []byte
	from  string // in place of text: a file that is read
}

// platform is the image for one processor.
type platform struct {
	arch  string
	image v1.Image
	files []file
}

// platform makes the image of one processor: a layer of what hardly changes, and one of the program.
func (r release) platform(arch, program string, licences []byte) (platform, error) {
	p := platform{arch: arch}
	still, err := stillFiles()
	if err != nil {
		return p, err
	}
	changing := []file{
		{path: "usr/bin/lapid", mode: 0o755, from: program},
		{path: "usr/share/doc/lapid/THIRD-PARTY-LICENCES", mode: 0o644, text: licences},
	}
	p.files = append(still, changing...)
	base := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	var layers []mutate.Addendum
	for _, part := range []struct {
		files []file
		what  string
	}{{still, "folders, certificates of authorities"}, {changing, "lapid " + r.Version}} {
		layer, err := r.layer(part.files)
		if err != nil {
			return p, err
		}
		layers = append(layers, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.Made}, CreatedBy: "make image", Comment: part.what}})
	}
	if p.image, err = mutate.Append(base, layers...); err != nil {
		return p, err
	}
	c, err := p.image.ConfigFile()
	if err != nil {
		return p, err
	}
	c = c.DeepCopy()
	c.Architecture, c.OS, c.Created, c.Config = arch, "linux", v1.Time{Time: r.Made}, r.config()
	p.image, err = mutate.ConfigFile(p.image, c)
	return p, err
}

// config is how a container is run.
func (r release) config() v1.Config {
	return v1.Config{
		User:         fmt.Sprintf("%d:%d", user, user),
		Env:          []string{"PATH=/usr/bin", "LAPID_CONTAINER=true"},
		Entrypoint:   []string{"/usr/bin/lapid"},
		Cmd:          []string{"serve", "--container"},
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}, "6060/tcp": {}},
		Volumes:      map[string]struct{}{"/etc/crowdsec": {}, "/var/lib/lapid": {}},
		StopSignal:   "SIGTERM",
		Healthcheck: &v1.HealthConfig{
			Test:     []string{"CMD", "/usr/bin/lapid", "health"},
			Interval: 30 * time.Second, Timeout: 10 * time.Second, StartPeriod: 5 * time.Minute, Retries: 3,
		},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "lapid",
			"org.opencontainers.image.description": "A decision engine in place of CrowdSec's Local API",
			"org.opencontainers.image.version":     r.Version,
			"org.opencontainers.image.revision":    r.Commit,
			"org.opencontainers.image.created":     r.Made.Format(time.RFC3339),
			"org.opencontainers.image.licenses":    "MIT",
			"org.opencontainers.image.vendor":      "the lapid authors",
		},
	}
}

// stillFiles are those that every release has.
func stillFiles() ([]file, error) {
	var roots bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue // trusted only for what a file cannot say
		}
		if err := pem.Encode(&roots, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, fmt.Errorf("run it at the top of the repository: %w", err)
	}
	return []file{
		{path: "etc/", mode: 0o755},
		{path: "etc/crowdsec/", mode: 0o750, owner: user},
		{path: "etc/group", mode: 0o644, text: fmt.Appendf(nil, "root:x:0:\nlapid:x:%d:\n", user)},
		{path: "etc/passwd", mode: 0o644, text: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nlapid:x:%d:%d:lapid:/var/lib/lapid:/sbin/nologin\n", user, user)},
		{path: "etc/ssl/", mode: 0o755},
		{path: "etc/ssl/certs/", mode: 0o755},
		{path: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, text: roots.Bytes()},
		{path: "tmp/", mode: 0o1777},
		{path: "usr/", mode: 0o755},
		{path: "usr/bin/", mode: 0o755},
		{path: "usr/share/", mode: 0o755},
		{path: "usr/share/doc/", mode: 0o755},
		{path: "usr/share/doc/lapid/", mode: 0o755},
		{path: "usr/share/doc/lapid/copyright", mode: 0o644, text: licence},
		{path: "var/", mode: 0o755},
		{path: "var/lib/", mode: 0o755},
		{path: "var/lib/lapid/", mode: 0o700, owner: user},
	}, nil
}

// layer packs files. What it reads stays in memory until the image is written.
func (r release) layer(files []file) (v1.Layer, error) {
	var b bytes.Buffer
	if err := r.pack(&b, files); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching)
}

// pack writes files as a tar, in their order, with the commit's time.
func (r release) pack(to io.Writer, files []file) error {
	w := tar.NewWriter(to)
	for _, f := range files {
		text := f.text
		if f.from != "" {
			var err error
			if text, err = os.ReadFile(f.from); err != nil {
				return err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.path, Mode: f.mode, Uid: f.owner, Gid: f.owner, Size: int64(len(text)), ModTime: r.Made, Format: tar.FormatUSTAR}
		if strings.HasSuffix(f.path, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return w.Close()
}

// tags are the names of this image: X.Y.Z, of a release also X.Y, and latest.
func (r release) tags() []string {
	tags := []string{r.Tag()}
	if parts := strings.Split(r.Version, "."); r.Tagged && len(parts) == 3 && !strings.ContainsAny(r.Version, "-~+") {
		tags = append(tags, parts[0]+"."+parts[1])
	}
	return append(tags, "latest")
}

// write lays the image into the folder image of out, and the archives beside it.
func (r release) write(out string, images []platform) error {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: p.image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: p.arch}}})
	}
	fresh, err := os.MkdirTemp(out, ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	l, err := layout.Write(fresh, empty.Index)
	if err != nil {
		return err
	}
	for _, tag := range r.tags() {
		if err := l.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag})); err != nil {
			return err
		}
	}
	if err := readable(fresh); err != nil {
		return err
	}
	place := filepath.Join(out, "image")
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	if err := os.Rename(fresh, place); err != nil {
		return err
	}
	for _, p := range images {
		if err := r.archive(out, p); err != nil {
			return err
		}
	}
	return nil
}

// readable gives everybody the leave to read what was written for its owner.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}

// archive writes all files of one processor as one, for a Dockerfile.
func (r release) archive(out string, p platform) error {
	f, err := os.Create(filepath.Join(out, "rootfs-linux-"+p.arch+".tar.gz"))
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	if err := r.pack(z, p.files); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}

// tell says what was made.
func (r release) tell(p platform) error {
	m, err := p.image.Manifest()
	if err != nil {
		return err
	}
	size := m.Config.Size
	for _, l := range m.Layers {
		size += l.Size
	}
	fmt.Printf("linux/%s %s %.1f MB, tags %s\n", p.arch, m.Config.Digest, float64(size)/1e6, strings.Join(r.tags(), " "))
	return nil
}
