// Package conformance replays recorded conversations with the reference server against any server
// that claims the same contract, and says where the answers differ.
//
// A [Case] is a transcript: requests, and what the reference answered. It names no fixed address or
// word; its placeholders ({{net}}, {{u}}, …) are drawn anew each time, so that cases do not see each
// other and may be replayed on a server that already holds data. A [Session] plays cases, one at a
// time, against one [Target]. One step goes through the files in this order:
//
//	case.go    a transcript as written, checked when it is loaded
//	expand.go  placeholders and macros become values (macro.go, times.go)
//	forge.go   tokens that no server gave out
//	build.go   a request as a message: headers, body, credentials
//	send.go    one message on one new connection, byte for byte as meant
//	check.go   an answer beside the recorded one; what later steps need is captured
//	match.go   does one value fit one matcher? (template.go; diff.go: whole bodies)
//	run.go     the steps of a case in order
//
// Requests are written by hand on the connection instead of through an HTTP client, because the
// cases speak of framing, header repetition and path escapes that a client would tidy up.
//
// The tests of this package start a real lapid process for each configuration of testdata/fixture
// and replay everything in testdata/cases and testdata/lapid; testdata/README.md says how to run a single case.
package conformance
