package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lapid/cmd/lapid/dist/release"
)

// sources is where the chart is, from the top of the repository.
const sources = "cmd/lapid/dist/chart"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// run packs the chart of this commit and takes away those of others.
func run() error {
	r, err := release.New()
	if err != nil {
		return err
	}
	out := filepath.Join(cmp.Or(os.Getenv("DIST"), "dist"), "chart")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(out, "lapid-*.tgz"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := pack(&b, r); err != nil {
		return err
	}
	file := filepath.Join(out, "lapid-"+r.Semantic()+".tgz")
	fmt.Println(file)
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// pack writes the chart as Helm reads it: below a folder of its name, Chart.yaml first.
func pack(to io.Writer, r *release.Release) error {
	files, err := chartFiles()
	if err != nil {
		return err
	}
	z, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := tar.NewWriter(z)
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(sources, name)) // through links
		if err != nil {
			return err
		}
		if name == "Chart.yaml" {
			if text, err = stamped(text, r); err != nil {
				return err
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: "lapid/" + filepath.ToSlash(name), Mode: 0o644, Size: int64(len(text)), ModTime: r.Made, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return z.Close()
}

// chartFiles are all of the chart, in the order of the archive.
func chartFiles() (files []string, err error) {
	err = filepath.WalkDir(sources, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(sources, path)
		if err == nil && (name == ".helmignore" || !strings.HasPrefix(filepath.Base(name), ".")) {
			files = append(files, name)
		}
		return err
	})
	slices.SortFunc(files, func(a, b string) int {
		if first := cmp.Compare(rank(a), rank(b)); first != 0 {
			return first
		}
		return strings.Compare(a, b)
	})
	return files, err
}

func rank(name string) int {
	if name == "Chart.yaml" {
		return 0
	}
	return 1
}

// stamped is Chart.yaml with the release's versions.
func stamped(text []byte, r *release.Release) ([]byte, error) {
	for _, line := range [][2]string{{"\nversion: 0.0.0\n", "\nversion: " + r.Semantic() + "\n"}, {"\nappVersion: latest\n", "\nappVersion: " + fmt.Sprintf("%q", r.Tag()) + "\n"}} {
		if bytes.Count(text, []byte(line[0])) != 1 {
			return nil, fmt.Errorf("%s/Chart.yaml has no line %q", sources, strings.TrimSpace(line[0]))
		}
		text = bytes.Replace(text, []byte(line[0]), []byte(line[1]), 1)
	}
	return text, nil
}
