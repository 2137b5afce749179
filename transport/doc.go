// Package transport is the Local API server: it lets the world in and knows its
// dialects.
//
//	bytes ─► conn ─► framing ─► routes ─► admit (auth.Gate) ─► handler ─► reply ─► bytes
//
// A request takes one straight line. conn.go knows who is at the other end and
// when to lose patience; framing.go refuses what two readers might read in two
// ways; routes.go, the whole server on one screen, finds the line of the table;
// exchange.go asks the gate who is calling; a handler of about twenty lines
// parses with package wire, asks the engine, and answers; reply.go turns errors
// into the contract's answers. What looks odd on purpose stands in quirks.go
// with the recorded case that proves it.
//
// # Loops and goroutines
//
// Connections of plain TCP and of the Unix socket begin on the loops of package
// reactor, which hold them without a goroutine each. What is asked thousands of
// times a second, live queries by address and polls that have little to tell, is
// answered there (express.go) by the same handlers. Every other request, and one
// that would have to wait or to search, moves its connection to the HTTP library
// (doorway.go), untouched; there it stays while it is busy with such requests,
// and goes back when it is idle for a moment or asks for a loop again (conn.go).
// TLS, and a server with an access log or without loops (Options.Loops), is the HTTP
// library's alone.
//
// # What is taken for a request
//
// On a connection with a goroutine one reader (intake.go) decides where a request
// ends, and hands the HTTP library one at a time, its head in one form (heads.go).
// A loop takes nothing but what has that form already, so the two cannot differ.
// What net/http takes is taken: lines that end in LF alone where no body follows
// (the connection ends with the answer, for what comes behind might be what a proxy
// took for a header), an absolute target, which is read as the path behind its host, an
// empty Host, OPTIONS *, heads of up to a megabyte. A bare LF together with
// Content-Length or Transfer-Encoding, two lengths, folded lines are 400 and the end
// of the connection. HTTP/2, with its preface or in a first line, and any other version
// that is one but 1.1 and 1.0, is 505 and the end. Every refusal says in JSON what is
// wrong; plain HTTP where TLS is spoken is told so. A client that waits for 100 before it
// sends a body has an answer instead if the head suffices for one (expect.go).
//
// # What it costs
//
// A live query, an empty delta and every other common request of a bouncer
// allocate nothing: their scratch is an exchange, taken from a pool and put
// back with its decisions cleared. The clock is read once for the answer and
// twice for the latency. Counters are sharded atomics that nobody waits for.
//
// # Streams
//
// A poll is a cursor moving (delivery.go). A delta is told until it was heard: the
// cursor moves with the write that hands the end of the answer over, and for good
// only when delivery is shown. That is
//
//   - the next request on the connection, of which nothing had come before the
//     answer left; or
//   - the connection's end in good order, with every byte acknowledged and no reset
//     within a second, as comes from one that ended its side first and then left
//     without having read everything;
//
// and in both cases that whoever asked had not ended the connection before the
// answer left. After a reset, a time-out, an end that comes first, or bytes that
// nobody has acknowledged, it moves back, also below what was heard since, and the
// next poll is told all of that again. Told twice is harmless, told never is not.
// What is written down is always before what is not shown yet, so a kill changes
// nothing about this. A poll on another connection looks first whether what its
// bouncer has under way was missed. Connections that the server ends, for their
// silence or because it stops, it ends on its side first and waits for the other.
//
// And what was heard is not told again: the cursor moves before the last bytes
// leave. A delta of up to fifteen thousand decisions or so begins with its length, so
// that behind its last brace, where many clients stop, there is nothing that a client
// could leave unread. Of a longer answer the last bytes, with the end of the chunks,
// leave in one write so small that nearly all who stop there have read all of it
// (longanswer.go): they close in good order.
//
// Not seen from here is what becomes of bytes that a client's own memory, or a
// proxy, has taken: behind a proxy it is the proxy that heard. Clients that end
// every connection with a reset, or their side before they read, are told
// everything since their last other end again and again.
//
// Bouncers that ask the same question of the same state in the same second get the
// same bytes, encoded once; large answers are encoded in pieces while they are sent.
// All of that is package feed, which is asked with a question and knows no connection.
//
// # Limits
//
//	connections            Options.MaxConnections    others are closed, see shed.go; 503
//	connections with a goroutine  Options.MaxServed   others are closed, see shed.go; they wait
//	header and request line Options.HeaderBytes       431; beyond 8 KiB out of the memory for bodies, 503 when there is none
//	time for a head        Options.ReadTimeout       408 and closed; 15 seconds for a long one before login
//	a body of which nothing comes   Options.ReadStall   408 and closed
//	the same after login of which nothing more comes   Options.ReadStall, again and again    408 and closed
//	time for a body after login    Options.UploadLimit    408 and closed
//	time between requests  Options.IdleTimeout       closed
//	a peer that reads too slowly  Options.WriteStall  closed; its cursor stays
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
//	shared stream answers kept whole   two, see package feed   the same
//
// Rows of bouncers are not among them: the engine bounds those of a key. Metrics
// have series of their own for 10 000 bouncers and machines each, and for bouncers
// that keys made from new addresses only among the first 1 000; the others are
// counted together as NAME@*.
//
// MemoryBound adds these up; Run logs it.
package transport
