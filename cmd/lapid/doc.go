// Lapid is a decision engine in place of CrowdSec's Local API: alerts in,
// decisions out to bouncers, everything in memory, durable in a journal.
//
// This command is the architect's table, in four rooms:
//
//   - package config reads what the operator wrote and says what it means for each
//     package of the house;
//   - package verbs holds the operator's nouns and speaks to the private socket;
//   - package program builds the house from the bottom up, runs it and closes it in
//     order;
//   - package datadir knows the folder in which a store is: whose it is, and whether
//     the store that is there is the one that was made there.
//
// Verbs and program do not know each other. What is here ties them together: the tree
// of commands and the exit codes (command.go), serve, which loads the configuration for
// the program (serve.go), and the flags of the reference's server, which is started
// without a verb (daemon.go). Nothing here knows what a decision means.
package main
