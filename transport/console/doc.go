// Package console is the operators' entrance over HTTP: a listener of its own, off unless it is
// configured, on which named operators of the store do what the verbs of the command line do.
//
//	request → place → host → caller → role → handler → verbs of transport/admin
//
// # Who is let in
//
// Operators are records of the store (engine.Operator). One shows an API token (Authorization:
// Bearer), a client certificate with an allowed unit whose common name is the operator's, or the
// cookie of a session, which a password or a one-time link has begun. Machines' passwords and bouncers' keys
// open nothing here. What is wrong gets one answer, whatever is wrong with it.
//
// # What they may do
//
// Each route has a least role in one table (routes.go), verbs that are passed through have theirs
// beside them (admin.Handler.Role). What a role may not do is 403 with a sentence that says which
// role may. The handlers have no rights of their own: they ask the handler that answers the
// operator's socket, in this process, as the operator, whose name is the actor of each commit.
//
// # What it costs others
//
// At most maxAtWork requests are under way, at most maxOfOne of them for one operator; others get 503
// and 429 at once. Two passwords are checked at a time. Readers look at views and wait for no writer. Bodies are bounded to 64 KiB, imports to 64 MiB.
//
// # Failures
//
// One shape for all: application/problem+json (RFC 9457) with type, title, status, detail and
// request_id, which is in the header X-Request-Id and in the log too.
package console
