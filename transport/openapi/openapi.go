// Package openapi holds the description of both APIs, the Local API's and the operators', as OpenAPI
// 3.1, and the page that shows it to people.
//
// openapi.yaml is written by hand, and is the only place where anything is said; openapi.json is the
// same in JSON, made from it by a test (go test ./transport/openapi -args -rewrite). What keeps it
// true stands in tests: package openapitest checks exchanges against it, and those who have a table of
// routes, recorded cases or a live server hold it to them (transport, transport/console,
// transport/conformance).
//
// The package knows no server: it gives files, and what their heads have to say.
package openapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"sync"
)

//go:embed openapi.yaml
var written []byte

//go:embed openapi.json
var made []byte

// Access says who may have the files.
type Access string

// The three ways. The description holds nothing secret.
const (
	Public        Access = "public"        // everybody who reaches a listener; the default
	Authenticated Access = "authenticated" // those whom the listener lets in
	Off           Access = "off"           // nobody: the paths are not there
)

// Valid reports whether it is one of the three, or "", which is Public.
func (a Access) Valid() bool { return a == "" || a == Public || a == Authenticated || a == Off }

// File is one of the files as it is sent. It is made once and never changed; any goroutine may
// read it.
type File struct {
	Path string // where it is served, such as /openapi.json
	Type string // Content-Type
	Body []byte
	Gzip []byte // the same, packed

	// Tag and PackedTag are the ETags of both, with their quotes.
	Tag, PackedTag string

	// Policy is the Content-Security-Policy of a page; "": it is none.
	Policy string
	// Shared: pages of other sites may read it, as viewers do. It holds where the file is public.
	Shared bool
}

// Paths are where the files are served, in the order of Files.
var Paths = [...]string{"/openapi.json", "/openapi.yaml", "/docs"}

// JSON is the description as JSON. It is not to be changed.
func JSON() []byte { return made }

// YAML is the description as it was written. It is not to be changed.
func YAML() []byte { return written }

// Files are made and packed when they are asked for first, which takes some hundredths of a second.
var Files = sync.OnceValue(func() [len(Paths)]*File {
	page, policy := page()
	return [...]*File{
		file(&File{Path: Paths[0], Type: "application/json", Body: made, Shared: true}),
		file(&File{Path: Paths[1], Type: "application/yaml", Body: written}),
		file(&File{Path: Paths[2], Type: "text/html; charset=utf-8", Body: page, Policy: policy}),
	}
})

// Of is the file of a path; nil: there is none.
func Of(path string) *File {
	for i, f := range Paths {
		if f == path {
			return Files()[i]
		}
	}
	return nil
}

// file packs and names what it was given.
func file(f *File) *File {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is one
	_, _ = w.Write(f.Body)                                     // to memory
	_ = w.Close()
	f.Gzip = packed.Bytes()
	sum := sha256.Sum256(f.Body)
	name := base64.RawURLEncoding.EncodeToString(sum[:12])
	f.Tag, f.PackedTag = `"`+name+`"`, `"`+name+`-gzip"`
	return f
}
