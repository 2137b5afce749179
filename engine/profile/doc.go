// Package profile judges alerts by the operator's rules: which decisions an
// alert without decisions of its own leads to, and which notifications follow.
//
// A rule is a profile (Spec): filters, templates of decisions, names of
// notifications. Compile turns a list of them into a Set once, at start or on
// reload; a Set never changes and its Evaluate may be called from any number
// of goroutines. Default gives the rules that hold when the operator wrote
// none.
//
//	alert ──► profile 1 ──► profile 2 ──► …
//	             │ any filter true?
//	             ├─ one copy of its decisions per true filter, unless an
//	             │  earlier profile gave some
//	             ├─ its notifications
//	             └─ on_success: break ends the walk
//
// # Filters that fail
//
// A filter fails when it cannot be evaluated or does not give a boolean. What
// then happens is said by the profile's on_error. Without it the alert is
// refused with engine.ErrProfile, which refuses the whole request it came in:
// that is what the contract's recordings show. A sender repeats a refused
// request for ever, so one alert can hold up all others of its machine until
// the profile is repaired; Options.KeepGoing is the gentler choice and treats
// such a profile as if it said on_error: continue. Either way one error in the
// log names the profile, the filter and the alert.
//
// An alert that brings its own decisions keeps them. It is judged for
// notifications only, and a failing filter only means the next profile.
//
// # The language
//
// Filters and duration_expr are written in expr (github.com/expr-lang/expr),
// checked at load: an unknown name is an error there. They see one variable,
// Alert, and the functions listed in language.go. Functions that need data
// this server does not have (files of a log processor, its stash, geography)
// load, log and give nothing. Functions that would call out over HTTP, or ask
// a reputation service, fail when they are reached; names are looked up
// through Options.Resolve.
//
// # Bounds
//
// An expression is written by the operator, but fed by what log processors send. It stops
// with an error, like any failing filter, when it
//
//   - is longer than 64 KiB or has more than 10 000 nodes (refused at load);
//   - makes more than 100 000 list elements, or more than 16 MiB of texts and
//     lists in total, or nests them deeper than 64; a turn of a loop counts 16
//     bytes, which makes a million turns;
//   - loops for longer than Options.TimeLimit: looked at in every turn and
//     behind every function that makes a text or a list.
//
// Documents (JSON, XML, key=value) beyond 1 MiB are not parsed. Regular
// expressions are RE2, linear in the text. Where the time is the product of two
// texts that the alert may have brought along both (a pattern that is not
// written in the rule, IndexAny, Trim, Match), the product is bounded. An alert
// with more than 1 MiB of text besides its events makes every expression fail
// that has its texts matched, split or otherwise read byte by byte; those that
// compare them, or count, judge it as usual. bounds.go tells how this is woven
// into a compiled expression; FuzzRules and testdata/language/bounds.txt try
// to get around it.
//
// # Where this differs from the reference
//
// A decision without a type is refused at load. A decision without a duration
// lasts 4h, as the reference announces without doing it. What can be told to be
// wrong before it runs is refused at load as well: a filter whose type is known
// and is no boolean, a duration that stands there and cannot be read, an unknown
// name among arguments that may be anything. A type that is known only at run
// time is accepted. What loads in the reference and only never does anything (a
// scope in a spelling that no alert has, however it is compared, a profile without
// filters or behind one that always stops, a function without its data) is a Warning,
// and so is the name of a notification that there is not. Words without effect (on_failure, an
// unknown on_error, a decision's simulated, value, scenario, until, uuid, id) are
// accepted and named in a Warning.
package profile
