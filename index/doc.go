// Package index answers "which ones?" in memory, one kind of question per type.
//
// # The story
//
// A record lives in a [Slab] and is named by its [Slot], a small number that
// is given again once no reader can hold it. Everything else in the package maps
// a question to slots:
//
//	Hosts      which record has exactly this address?       Get, Within
//	Ranges     which ranges cover this, or lie inside it?   Covering, Within
//	Values     which record has this text as its value?       Get
//	Deadlines  which are due by now?                        Due
//	Revisions  what began and ended since?                  Window
//	Strings    which number stands for this text?           Lookup
//
// The package does not know what a record means, reads no clock, writes no log
// and starts no goroutine.
//
//	     Slab         Hosts · Ranges · Values      Revisions
//	┌──────────────┐      key ──► slot            3+ 4+ 3- …
//	│ 1 │ 2 │ 3 │… │                                │
//	└──────────────┘ ◄──────────────────────────────┘
//	   at stable addresses, so that a slot is all a caller has to keep
//
// # One writer, many readers
//
// One goroutine writes; the comment on each method says whether it is the
// writer's alone or for any goroutine. Readers take no lock, never wait for the
// writer, and allocate nothing. What both sides touch is atomic:
//
//   - A change that fits in one word is one atomic store in place: a slot
//     under a key, a number under a text.
//   - A change that does not (a table that grows, new prefixes in the tree, a
//     history that loses its oldest part) is built aside and published by one
//     atomic pointer. A reader that was there before keeps the old one, and
//     the collector takes it when the last reader leaves.
//
// So a reader never sees half an entry, never loops for ever, and never misses
// an entry that was there before it came and is there after it has gone.
//
// # What the caller promises
//
// Readers may see an entry early, before the commit it belongs to is complete.
// The caller stamps records with the revisions at which they begin and end,
// and a reader skips what is not true at its revision. A reader at revision r
// takes its revision first and looks up afterwards; then whatever was set up
// to r is found.
//
// A slot or a number is given back ([Slab.Free], [Strings.Release]) only when
// no reader can reach it any more: it is out of every index, out of the kept
// history, out of the wheel of deadlines, and every reader that came before
// has gone. Memory goes only by [Slab.Release], a chunk of free records at a time: a
// reader that goes through all slots finds records there that are not there.
//
// # Order
//
// Tables are cut by a hash that differs from one process to the next, so that
// an attacker cannot choose addresses which collide. Therefore [Hosts.Within]
// has no order to rely on: a caller that writes history from it sorts first. Slots
// from Slab, Deadlines.Due and Revisions depend on their history alone.
//
// # Measured
//
// By the benchmarks beside the code, on four cores of an AMD EPYC with 32 MiB of
// last-level cache, Go 1.26. Other work kept all cores busy, so times are given
// as lowest and highest of several runs, and what was decided by them was
// decided by their ratios.
//
//	26–30 ns     a host among 10 000                      BenchmarkHostsLookup
//	140–280 ns   a host among a million                   BenchmarkHostsLookup
//	85–100 ns    no range around an address, of 50 000    BenchmarkRangesCovering
//	130–300 ns   the ranges around one, of 50 000         BenchmarkRangesCovering
//	300–420 ns   both, among a million mixed, no range    BenchmarkLookupMixed
//	14 B         a host, one in twenty IPv6               TestBytesPerEntry
//	39 B         a range, with tree and anchor            BenchmarkRangesBulk
package index
