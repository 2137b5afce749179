// Package admin is the operator's private entrance: a Unix socket beside the store,
// and both ends of the protocol that is spoken over it.
//
// The verbs of the command line do not open the store of a running server:
// there is one writer. They ask over this socket, and Handler answers by calling
// the engine's methods, nothing else. While no server runs the very same Handler
// is served in-process (Local) on an engine that was opened for one command, so
// there is one code path for seeding a new installation and for a busy server.
//
// # The protocol
//
// HTTP/1.1 over the socket, one POST per verb, such as /machines/add, a JSON
// object in and a JSON object out. A failure carries its kind, noun, name and
// sentence, so that the client gives back the same engine.Error that the server met.
// Lists of alerts, which may be of any length, are answered as one JSON object
// per line and read one at a time. A database that is taken over comes as a body of any
// length, and is answered by such lines (movein.go). An import is one request, of chunks that are
// answered one by one (imports.go); a chunk is one alert, stored whole or not at all. The
// protocol is private to one version of the program on one machine: it is not
// the bouncers' API and makes no promise to other programs. Both ends compare their
// number (Version) at the first request.
//
// # Who may speak
//
// Any process that can open the socket: mode 0660 in a folder of mode 0750, so the
// server's user and group, and root. There are no other credentials. API keys
// travel as their SHA-512, passwords as their bcrypt or argon2id hash, tokens of operators as their SHA-256: what is secret does
// not leave the command that was given it.
//
// # Health
//
// /ready tells why the server should not be called ready, as the listener of the
// metrics does over HTTP; it asks the engine's atomics, not its committer, so it
// answers whatever is wrong.
//
// # Limits
//
// A request body may take 64 MiB (Handler) and must keep coming; a chunk of an
// import holds 100 000 values at most, a named list (lists.go) 4 194 304 in one
// request of any length. 64 verbs are under way at once, of which
// root and the server's own user have 16 for themselves; more wait. Connections
// that have nothing under way are closed, oldest first, when there are too many
// (places.go): half a request holds up no other.
package admin
