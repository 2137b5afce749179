// Package wire is the JSON contract of the Local API in both directions,
// without a server: bytes in, bytes out. It knows field names, the difference
// between null and [], the text of a duration and the lists of what is
// missing; it knows nothing of connections, statuses or credentials.
//
// # Inwards
//
// [ParseAlerts], [ParseLogin], [ParseRegistration], [ParseUsage] and
// [ParseTargets] read request bodies. They share one reader, which takes what
// the contract's leniency takes: only the first JSON value counts, names match
// without regard to case, the last of two equal names wins, null leaves a field
// unset, unknown fields are passed over, and what is not UTF-8 becomes U+FFFD.
// Every string they give is a copy: the body may be reused at once.
//
// The reader is our own. The library that was meant for it keeps invalid UTF-8
// as it is, and both it and the standard library build every element of a
// hostile list before anybody can look at it, which costs a hundred times the
// body (a list of 17 million empty objects fits the limit of 50 MiB). The
// reader sees each element as it comes, needs a small multiple of the body in
// the worst case, and is several times faster on alerts (BenchmarkParseAlerts).
// The standard library is its judge: tests and fuzzing compare the two.
//
// [ParseQuery], [ParseStreamQuery], [ParseDeletion], [ParseAlertQuery] and
// [ParseAlertDeletion] read query strings as they came in the request line. The
// strings in the queries they fill may point into those bytes.
//
// Whatever cannot be read is an [*Error], whose [Kind] tells the server which
// family of answers the contract has for it.
//
// # Outwards
//
// Every AppendX appends one JSON value to dst and returns the longer slice, in
// the manner of strconv. They allocate nothing but dst itself, so an answer
// written into a buffer that is long enough costs no memory. Keys come in
// alphabetical order, nothing is indented, and <, >, &, U+2028 and U+2029 are
// escaped. The moment an answer is written, now, is Unix nanoseconds and is
// given by the caller: nothing here looks at a clock.
//
// All functions may be called from any goroutine; there is no shared state but
// pools of scratch memory.
package wire
