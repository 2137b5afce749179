// Package persist keeps bytes in order, through crashes and power failures.
// It does not know what a decision is.
//
// A Store is a folder with three things in it:
//
//	journal     the history: one record per revision, synced before Append returns
//	rows        cold bodies by kind and key, derived from the journal
//	snapshots   the state after some revision, files of their own; two are kept
//
// and a start reads them in this order:
//
//	Open ─► LoadSnapshot ─► Replay(after the snapshot) ─► Append, WriteRows, …
//
// Journal and rows live in one Pebble, in one log, so a row never reaches the
// disk before the record it was derived from. Snapshots are files because they
// are written whole and read whole: a tree of sorted tables would only be in the
// way. FORMAT.md draws every byte.
//
// # What is promised
//
//   - Append returned nil: the record is there after any crash, whole
//     (TestCrashEverywhere: the power fails before each operation of a run).
//   - Append returned an error: Last is what it was, and after Reopen the record is
//     not there. If the process dies before Reopen, the record may be found by the
//     next Open, whole: a caller that was told "error" does not know, as with any server
//     that dies before it answers.
//   - Rows come with the next Append, or a crash takes them; replaying makes them
//     again. Reopen brings back those that were accepted (TestReopenKeepsRows).
//   - A snapshot exists when WriteSnapshot returned nil, and the journal reaches at
//     least as far. One damaged snapshot costs nothing: Trim stops at the older of
//     the two newest (TestDamagedSnapshot: each byte flipped, each cut;
//     TestFallBack).
//   - What is damaged is an ErrCorrupt that names it, never an empty answer
//     (TestDamagedFiles), and a store that does not open is left as it is and says
//     what to do next (TestMissing).
//   - A file that is missing is noticed, and one of another store is refused by name
//     (TestMissing). No checksum shows that the end of a log is cut, or that a log is
//     not there: the folder therefore notes how far it reaches, and which logs must
//     be there, and Open compares before it changes anything. FORMAT.md tells what
//     cannot be noticed.
//   - Nothing is touched in a folder of another format, or one that is held by
//     another Store; taking the file LOCK away admits no second Store.
//
// # When the disk refuses
//
// Pebble treats a write that fails as the end of the process: a log that cannot be synced
// or switched panics, partly with its mutex given up, from which a Go program cannot
// recover; a manifest ends in Logger.Fatalf on a goroutine of Pebble's own; a table is
// tried again at once and for ever, while writers wait behind it. None of this may happen
// to a server that can still answer from memory.
//
// So the disk is fenced (see fence): the first write it refuses, whatever for, is
// turned into a power failure. Pebble gets to hear that all is well, nothing more
// reaches the disk, and the Store answers every write with ErrDisk, at once. Rows
// can still be read. What is on disk is what a power failure would have left, and
// recovering from that is what Pebble is good at: Reopen tries the disk, opens a
// second Pebble beside the first, brings it to exactly what was accepted, and lets
// the first go. The caller decides when to try.
//
// What remains for Logger.Fatalf are broken assumptions inside Pebble; they panic
// with "BUG: pebble:". Nothing in this package ends the process by itself.
// Reads that fail are errors of their call; merges of tables that fail are tried
// again after a pause that grows.
//
// # Goroutines
//
// One committer appends, writes rows, trims and reopens; one snapshotter may write
// a snapshot beside it; any goroutine may read. Pebble has a few goroutines of its own
// for its log, for flushing and merging tables and for deleting files; none of them
// wakes up without work. The package starts one, after Reopen, to close the
// predecessor, and Close waits for it.
package persist
