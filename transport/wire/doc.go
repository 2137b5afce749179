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
// The reader is this package's own. goccy/go-json and the standard library hold the same
// leniency, but both build every element of a list before the caller can look at
// it: of an alert list made of {} they keep a hundred times the body in memory,
// where 50 MiB are allowed. The reader sees each element as it comes, checks
// what is required in the same pass, shares the words that decisions and events
// repeat, and needs a small multiple of the body at worst. It is also the
// fastest of the three on decisions (BenchmarkParseAlerts). The standard
// library is its judge: tests and fuzzing compare the two on everything above.
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
// given by the caller: nothing here looks at a clock. A WriteX does the same for a value
// that may be long, and lets the caller send what there is between two of its elements.
//
// A [StreamEncoder] is for answers of very many decisions. It writes the bytes of
// [AppendDecision], which is its slow twin in tests and fuzzing, in half of the
// time.
//
// All functions may be called from any goroutine; there is no shared state but
// pools of scratch memory.
package wire
