package main

import (
	"cmp"
	_ "embed"
	"strings"
)

// next is the number of the release that comes next; at its tag, of that release. It stands nowhere else: packages, images and the
// chart read this file too.
//
//go:embed dist/package/NEXT
var next string

// Set by the linker (-X main.version=… -X main.commit=…); `make build` does it where there is a tag.
var (
	// version is the tag of a release without its v. Packages and images of what is before it
	// say so in it (0.2.0~20261130.0123abc), and a plain build is next with -dev behind it.
	version string
	// commit is what git knew of the files, for builds in which Go finds no
	// repository: a hash, with "-dirty" behind it if files were in no commit. What Go
	// itself has noted in the binary goes before it.
	commit string
)

func init() { version = cmp.Or(version, strings.TrimSpace(next)+"-dev") }
