// Package bench weighs the whole house.
//
//	corpus    decision sets of any size, the same for the same seed
//	load      a load generator on epoll, and what a process costs
//	ceiling   what the HTTP library allows: constant bytes
//	peers     lapid, the reference, Redis, nginx, HAProxy and Pebble alone, as processes
//	scenario  what is measured, one file each
//	report    the table, verdicts and plots; a row measured while others had too much of the CPUs has none
//	cmd/bench the command: full, short, peers, index, load
//	results   what was measured, by date
//
// The package itself holds the benchmarks that put index libraries side by side
// (index_bench_test.go). Benchmarks of one package stay beside its code.
package bench
