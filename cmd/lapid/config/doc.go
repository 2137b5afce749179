// Package config reads what the operator wrote, checks it, and says what it means for
// the packages of the house. It knows no command line and starts nothing.
//
// A file becomes a tree that still knows where each word was written (tree.go), variables
// and an overlay put in; the tree fills values by their types (decode.go), and what no
// value has a place for is an error with its place and a suggestion. A Setup is the
// result: the reference's Config (schema.go) and our own Settings (own.go), complete
// enough for every verb. What only a server needs is checked when it is asked for
// (check.go: Server, Retention), so that a fault there keeps no operator from listing
// decisions. options.go hands out what other packages take: engine.Options, auth.Rules,
// auth.TLSOptions; profiles.go the compiled rules.
//
// A Setup does not change once it was loaded, but for its Warnings, and is for one
// goroutine while those are made; a reload loads another (Again, NeedRestart).
//
// # Configuration
//
// The reference's config.yaml and profiles.yaml are read as they are; a key that
// no reader knows is an error with its place and a suggestion, and one warning
// lists what is accepted and means nothing here. When no file is named, it is
// looked for in the current folder, /etc/lapid and /etc/crowdsec
// (find.go), and verbs say which it was. Without any lapid listens on
// 127.0.0.1:8080, keeps its store in the folder lapid-data and bans as the stock
// profiles do. Settings of our own (Settings) stand in lapid.yaml beside
// config.yaml or in variables LAPID_*.
package config
