// Package shadow stands in front of another Local API and compares it with lapid.
//
//	client ─► front ─► first server ─► client
//	            └────► queue ─► second server ─► compare ─► counts, report
//
// Who is first is the operator's to say, for everybody or bouncer by bouncer, and may change at
// any time: at the beginning the old server, after the cut-over lapid. A client gets the first one's answer, status,
// headers and body as they are, and never waits for the second.
//
// # How requests pass
//
// Both ends are net/http, server and Transport (not its ReverseProxy, which rewrites targets and headers by rules of
// its own). It is not the hot path: what counts is that bodies of any length are streamed both ways, that framing is
// read and written by code that does not let two readers read two requests, and that targets go out byte for byte
// (URL.Opaque). Names of headers get their usual spelling, their order is not kept, chunks are cut anew, trailers and 1xx
// answers are not passed on; HTTP/2 is not spoken, as every known client falls back. A request whose first server is away gets 502.
//
// The queue is one for all clients, in the order in which the first server has answered. A write is in the queue before its
// client has the answer. What is to be retried there (writes alone) holds up what comes behind.
//
// # How answers are compared
//
// By the rules of each route (compare*.go): decisions as sets of scope, type, value, origin and scenario with their ends within
// two seconds and the time between the two questions; alerts by scenario, source and times, field by field; errors by class;
// deltas of the stream not at all, but what a bouncer holds after them, when nothing was written for a while (states.go).
// Every difference is unexplained but those of the allow list (reasons.go).
//
// What the old server has without anybody having written it through here was made there by itself: written.go remembers the
// values of what passed, and tells why that is enough. Taking its database over again, beside the shadow, brings lapid level.
//
// # When the one who answers changes
//
// New requests wait until those under way and the queue are done, then both are level (switch.go). A poll that something was
// stored or ended beside is not passed on (queue.go): the second server's place for the bouncer may be behind what the first
// has told it, never before. So a bouncer's next delta tells all that its last one did not.
//
// A machine may name a number that the other server has shown it before the change. It is told apart by who has shown it
// which numbers (shown.go), and both servers get their own; where the pair is not known it is refused with 409, and
// nothing is done.
//
// # What is void
//
// When a request could not be given to the second server, when the outcome of a write is not known, and when the process
// was killed with requests under way (the note in Options.Dir tells), the two need not be alike any more. The comparison is void from
// there on, loudly, until lapid was brought level and Reset.
//
// # Limits
//
//	connections                    Options.Connections   others are closed and counted
//	request line and headers       Options.HeaderBytes   431
//	a piece of a body, either way  1 minute              the connection is closed
//	the first byte of an answer    Options.Patience      502
//	a body for both servers        Options.Body          passed on, the second server does not get it: void
//	one body in memory             Options.Memory        the rest is in a file without a name
//	requests that wait             Options.QueueItems    dropped and counted: void
//	bytes of what waits            Options.QueueBytes    the same
//	pairs of tokens, pairs of ids  Options.Tokens, Pairs the oldest are forgotten; requests by an unknown id are skipped and counted
//	numbers a machine was shown    Options.Pairs         the oldest are forgotten: then one is taken for the answering server's
//	decisions of one answer        Options.Entries       16 bytes each of both answers: counted as not comparable beyond
//	what bouncers hold, together   Options.States        some 50 bytes each; the bouncer that is too much is skipped and counted
//	values and alerts written      Options.Values        beyond, nothing is explained by what the old server did itself
//	a list of alerts               32 MiB                skipped and counted
//	waiting for a change of who answers  Options.SwitchLimit   nothing changes, and the verb says why
//	lost writes that are named     100                   later ones are counted
//	examples of a difference       10 of each kind, 50 kinds of each route, 4 KiB of each body
//
// This package imports nothing of ours.
package shadow
