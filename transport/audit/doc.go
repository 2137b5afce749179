// Package audit is who did what: it keeps the engine's audit going, counts whom the doors
// refuse, and writes rows for programs that collect such things.
//
// The rows themselves are the engine's (engine.Trail): it makes them of the history, chains
// them and forgets them. What comes into no commit comes from here: a caller who is refused,
// a login, a write that failed. Of these there is one row for each name, address and minute,
// and a bound on how many (Auditor.Note); one that is lost with a crash was less than a
// minute old.
//
// The audit is a reader of the history with its own place in it: commits do not wait for it,
// and it is behind by a second or two.
package audit
