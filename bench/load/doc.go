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
// # TLS
//
// With Target.TLS connections are encrypted (secure.go): crypto/tls shakes hands, and
// from then on each thread seals and opens records itself, without goroutines and
// without allocating, so that one core of generator still keeps one core of server
// busy. Handshakes counts handshakes; its clients are crypto/tls as it is, and
// Result.Idle says whether they were the limit. CPU of the server for each request is
// fair also then.
//
// # Costs
//
// A Process is read before and after (meter.go): CPU seconds of the server with
// all its processes, resident memory and its peak. Pinned and StartPinned
// (cpus.go) keep server and generator on different cores. A Watch (others.go) says
// how much of these cores others had meanwhile.
//
// The package needs Linux.
package load
