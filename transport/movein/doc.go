// Package movein reads the database of a CrowdSec server that is to be replaced, and
// brings what it holds into a store.
//
// The source is SQLite, PostgreSQL, MySQL or MariaDB, of the versions 1.4 to 1.7. It is
// only read, in one consistent view, and by its own columns: a table or column that a
// version does not have reads as NULL. Nothing of the reference's own tools is used, for
// opening a database with them changes it.
//
//	Place     where the database is: a URL, or what db_config says
//	Source    it, opened: one connection, one transaction that only reads
//	Read      hands its rows over in order: machines, bouncers, allowlists, alerts with
//	          all that is theirs, usage metrics, the counters
//	Taker     who gets them
//	Bringer   a Taker that stores it: again.go makes what was taken before equal
//	Sender    a Taker that writes frames, for another process
//	Arrival   gets them beside a running server, and takes all over or nothing
//	Tally     what was read, taken over and left out, per table and by reason
//
// Memory is bounded by the rows of a few hundred alerts at a time, or by those of one
// alert that has more. Every row that was read is counted, as taken over or as left out
// with a reason. A row that cannot be read is left out as damaged; who calls decides
// whether that stops the whole.
//
// And the other way round, for going back: a Back is a database of SQLite's that is written
// of what an engine holds, with the tables, numbers and counters that a server of a given
// version (Schema) has.
//
// This is the only room that knows database drivers, and it imports engine alone.
package movein
