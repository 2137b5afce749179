package main

// Set by the linker (-X main.version=… -X main.commit=…); `make build` does it.
var (
	// version is the tag of a release without its v.
	version = "0.1.0-dev"
	// commit is what git knew of the files, for builds in which Go finds no
	// repository: a hash, with "-dirty" behind it if files were in no commit. What Go
	// itself has noted in the binary goes before it.
	commit string
)
