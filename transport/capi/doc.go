// Package capi is this server's side of the Central API: it logs in there, keeps the
// lists that come from there in step, and knows nothing of how the Local API is served.
//
//	credentials ─► session: login, token, retries, bounds ─┐
//	                                                       ├─► pull:  lists ─► engine.ReplaceList
//	the clock, a seam ─────────────────────────────────────┼─► push:  engine.Commits ─► signals
//	                                                       ├─► presence and usage metrics
//	                                                       ├─► polls:  orders of the console ─► engine
//	                                                       └─► reports: engine.Commits ─► what was deleted here
//
// What the service is asked and what it answers is drawn in the contract of the Central
// API that other servers keep; what is done otherwise here, and why:
//
//   - A service that does not answer delays nothing: whatever fails is tried again with a
//     growing pause (1 to 30 minutes), and the server serves meanwhile.
//   - A list is replaced in one commit: what is in it still goes on as it is, what left it
//     ends, so bouncers hear of what really changed (engine.List). So the service is always
//     asked for the whole list (startup=true).
//   - A list that is empty, or lost more than half of what runs, is held back with a
//     warning, unless Options.Shrunken says that such lists are believed. An allowlist of the
//     console is held back in the same way.
//   - A line of a list that means nothing is skipped and counted; one list that fails does
//     not keep the others from being fetched.
//   - Signals leave from a durable bookmark: at least once, in order, 50 a request. One that
//     the service refuses for what is in it is left out and told, with proof that others are
//     taken; where all are refused they wait.
//   - Whether an alert is shared is decided when it is looked at first, by the rules that are
//     in force then; what is withheld is passed over durably. What waits behind a signal that
//     cannot be sent keeps its rules until the server ends (Rules); the next start decides anew.
//   - What an operator imports counts as manual, not as custom.
//   - A pull is preceded by a new login where machines have other scenarios than the last
//     login told.
//   - Allowlists come first, so that no list ever bans what they hold.
//   - Orders of the console come in as soon as a token says so, without a restart. They are
//     carried out in the order in which they were given, the oldest first, each at least
//     once: how far they came in is noted behind them. One that comes twice is as one: what
//     its decisions' UUIDs find here, running or over, is not made again.
//   - An order that lacks something is counted and told, and the others go on.
//   - What was deleted here is reported from a durable bookmark, and a report that fails is
//     sent again, as signals are. Decisions of lists, which nobody knows by a UUID, are not in it.
//
// # Bounds
//
//	an answer of the service   mostAnswer bytes; the lists mostPull, read piece by piece
//	one entry of an answer     mostEntry bytes
//	a list behind a link       mostList bytes, mostLine a line, mostValues of all lists
//	entries of all lists       Options.MostEntries; a list that does not fit beside the others is held back
//	links of one pull          mostLinks; further ones are not fetched, and that is said
//	a whole pull               pullPatience
//	signals under way          one batch; what waits is the history itself, within its own bounds
//	decisions of a signal      mostDecisions
//	usage metrics              mostUsage a request, the rest goes next; mostPresent machines and bouncers
//	an answer with orders      mostPoll bytes, mostOrder an order; mostOrders and mostKept bytes at once, the oldest;
//	                           mostBegun and mostEnded decisions an order
//	a question for orders      held for pollTimeout; askPatience in all
//	redirects                  none for what carries the token, five for a link, never from https to http
//
// Beyond a bound the answer is refused with an error that names it, and what was there
// stays. Lengths that an answer claims are not believed in either direction.
//
//   - Who ends is waited for: at most lastPatience for the last signals.
//
// # Goroutines
//
// Run is one goroutine for each job, which it waits for. The token is shared: one of them
// logs in, and the others wait for that.
package capi
