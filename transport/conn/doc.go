// Package conn makes requests of bytes, and bytes of answers: listeners, loops, the
// HTTP library, framing, bodies, deadlines, and how a connection that is idle is kept.
// It knows no engine and no gate; what it has to ask about callers it asks its Owner.
//
//	listener ─► handshake, reactor, session ─► plain ─────┐
//	listener ─► conn ─► intake ─► fasthttp ─► Request.fill ─► Handler.Serve(Request, Answer)
//
// A Front is everything by which requests come in. A Request is a value: it has the
// same fields wherever it came in, and what a handler may not do on a loop is asked with
// MayWait. An Answer is what the handler says to it. What is assumed of the HTTP library
// stands in assumptions.go.
//
// # Loops and goroutines
//
// Connections of plain TCP and of the Unix socket begin on the loops of package
// reactor, which hold them without a goroutine each. What is asked thousands of
// times a second, live queries by address and polls that have little to tell, is
// answered there (express.go) by the same handlers. Every other request, and one
// that would have to wait or to search, moves its connection to the HTTP library
// (listener.go), untouched; there it stays while it is busy with such requests,
// and goes back when it is idle for a moment or asks for a loop again (conn.go).
// A server without loops (Options.Loops) is the HTTP library's alone.
//
// A connection over TLS has a goroutine for its handshake, as many at once as may have one
// (Limits.MaxServed) and each for the time of a head, and goes to a loop with what came behind
// it. There crypto/tls reads from a buffer and writes to one (session.go), so what is said of
// connections that are plain is so of those over TLS; but where a loop has part of a record
// alone, or a farewell of somebody who has yet to show what he heard, a goroutine goes on.
// Options.SecureAlone is the way back.
//
// An answer may be put off (Answer.Park), and it may have no end (ongoing.go): then its
// request is served again for every part of it, on a loop, or a function with a goroutine of
// its own tells the next parts and gives the connection back. Nothing is answered behind it,
// and it ends with the connection: by its handler, when the client goes, when it takes
// nothing for Limits.WriteStall, and in good order when the server ends.
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
// # What was heard
//
// An answer may move a Cursor (delivery.go), and is told until it was heard: the
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
package conn
