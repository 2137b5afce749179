// Package transport is the Local API server: it lets the world in and knows its
// dialects.
//
//	bytes ─► conn.Request ─► routes ─► admit (auth.Gate) ─► handler ─► conn.Answer ─► bytes
//
// A request takes one straight line. Package conn knows who is at the other end and
// when to lose patience, refuses what two readers might read in two ways, and makes a
// value of the rest, whether it came over a loop or a goroutine; routes.go, the whole
// server on one screen, finds the line of the table; serve.go asks the gate who is
// calling; a handler of about twenty lines
// parses with package wire, asks the engine, and answers; reply.go turns errors
// into the contract's answers. What looks odd on purpose stands in quirks.go
// with the recorded case that proves it.
//
// # What it costs
//
// A live query, an empty delta and every other common request of a bouncer
// allocate nothing: their scratch is an exchange, used again with its
// decisions cleared. The clock is read once for the answer and
// twice for the latency. Counters are sharded atomics that nobody waits for.
//
// # Streams
//
// A poll is a cursor moving: conn.Cursor says when it moves, and when it goes back.
// Bouncers that ask the same question of the same state in the same second get the
// same bytes, encoded once; large answers are encoded in pieces while they are sent.
// All of that is package feed, which is asked with a question and knows no connection.
//
// An event stream (events.go) is one poll after the other on one connection, each from where
// the one before led to, and parked between them as held polls are. Its request is served
// again for each event, so whoever is not let in any more is told nothing more. What takes
// time, or a reader's patience, is told by a goroutine (eventrun.go), which gives the
// connection back when there is nothing left but to wait. Nothing is queued for a reader: one
// that has been slow is told what changed since, as one delta.
//
// # Limits
//
//	connections            Options.MaxConnections    others are closed, see conn/shed.go; 503
//	connections with a goroutine  Options.MaxServed   others are closed, see conn/shed.go; they wait
//	header and request line Options.HeaderBytes       431; beyond 8 KiB out of the memory for bodies, 503 when there is none
//	time for a handshake   Options.ReadTimeout       closed; as many at once as may have a goroutine
//	a connection over TLS that is idle    48 KiB, mostly what its longest record took
//	time for a head        Options.ReadTimeout       408 and closed; 15 seconds for a long one before login
//	a body of which nothing comes   Options.ReadStall   408 and closed
//	the same after login of which nothing more comes   Options.ReadStall, again and again    408 and closed
//	time for a body after login    Options.UploadLimit    408 and closed
//	time between requests  Options.IdleTimeout       closed
//	a peer that reads too slowly  Options.WriteStall  closed; its cursor stays
//	a reader of events that takes nothing  Options.WriteStall  cut off; it goes on from its last id
//	what came behind the request of an event stream  4 KiB  thrown away; with more it is closed
//	waiting for a peer's end, to know what it heard   5 seconds, then it did not
//	the same under TLS, before we say farewell        1 second, then its end may look like a reset
//	body, inflated         2 MiB or 50 MiB, see routes.go    400; 413 to who waits for 100
//	bodies in memory       Options.BodyMemory        waits, then 503 and Retry-After
//	the same before login  Options.StrangerMemory    503 and Retry-After
//	long answers in memory Options.AnswerMemory      waits, then 503 and Retry-After; see package feed
//	shared stream answers  Options.SharedMemory      later ones are encoded for one reader, in pieces
//	a body before login    15 seconds from when it has begun, a login's from the head on    408, or refused before, and closed
//	lines about who is refused  256 addresses and reasons, one a minute, see denials.go    counted together
//	lines about deletions  20 a second               counted together
//	texts that are stored  engine/bounds.go          422; those of alerts are cut or left out, and counted
//	lines of the access log that wait   4 MiB     later ones are lost and counted, see accesslog.go
//	shared stream answers kept whole   two, see package feed   the same
//
// Rows of bouncers are not among them: the engine bounds those of a key. Metrics
// have series of their own for 10 000 bouncers and machines each, and for bouncers
// that keys made from new addresses only among the first 1 000; the others are
// counted together as NAME@*.
//
// MemoryBound adds these up; Run logs it.
package transport
