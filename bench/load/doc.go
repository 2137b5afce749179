// Package load asks a server questions faster than it can answer, and writes down
// how long each answer took.
//
// # How it keeps out of the way
//
// A Pool holds connections, shared out to a few threads. Each thread is one OS
// thread with one epoll descriptor and drives its connections alone: read what
// came, note the time, write the next request, wait again. Two system calls per
// request are all, nothing is allocated, nothing is shared but at the end. So one
// core of generator keeps about one core of server busy; whether it does is
// checked against bench/ceiling in every report.
//
// # Two loops
//
// With Plan.Rate 0 the loop is closed: every connection always has one request
// under way. That finds the most a server can do; its latencies are those of a
// server that is overrun, and leave out the requests that were not sent because an
// answer was late.
//
// With a rate the loop is open: requests are due at fixed moments whatever the
// server does, and latency runs from the moment a request was due, not from the
// moment a connection was free to send it. Latencies to be compared come from here.
//
// # Costs
//
// A Process is read before and after (meter.go): CPU seconds of the server with
// all its processes, resident memory and its peak. Pinned and StartPinned
// (cpus.go) keep server and generator on different cores.
//
// The package needs Linux.
package load
