// Package program is the server as a whole: the house built from the bottom up, run, and
// taken down from the top.
//
// Serve looks whether it may start at all, opens the log and makes a Program, which
// checks and compiles what was configured before it touches network, store or folder
// (New). Run opens store, engine, gate and listeners in the order of dependence (program.go),
// tells /ready, the service manager and the log where it stands (condition.go, notify.go),
// obeys SIGHUP (reload.go), and ends by leaving in the reverse order: each request that was
// let in gets an answer. Test looks whether a start would succeed and makes nothing
// (try.go, certificates.go).
//
// What the process may use is found out at the start and shared out (limits.go, memory.go,
// processors.go). On a disk that takes no writes it starts all the same (disk.go).
//
// # The log
//
// Lines have the reference's form (log_text.go), and what clients wrote is shown in them
// as what it is, whatever the format. Files are put away by a rotation that goes by names, so
// not in folders that another user may change (log_file.go, log_rotation.go).
package program
