// Package scenario holds what is measured, one file each: what a scenario sets up,
// what it compares with what, and which rows of the report it fills.
//
// A scenario's figures are ratios inside one run wherever they can be: server and
// its limit (bench/ceiling, Pebble alone) or its peers stand on the same cores, and
// are asked in turn, round after round, by the same generator on the other cores.
// They are compared within each round; the table has the ratio in the middle, and
// with it the least and the most (contender.go). A row that is made of several
// figures shows the worst of them.
//
// What others had of the CPUs while a row was measured is counted (load.Watch) and
// stands in the row. Beyond report.MostLost it has no verdict: it is noisy.
//
// An answer is looked at before it is counted: a scenario whose hits come back
// empty, or whose deltas lack what was posted, fails instead of being fast.
package scenario
