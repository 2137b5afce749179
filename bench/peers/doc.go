// Package peers starts what is measured and what it is measured beside, loads all
// of them with the same decision set, and stops them again: lapid and the reference
// Local API (lapi.go, two programs with one configuration), Redis, nginx with a geo
// map, HAProxy with a map file, the ceiling, and Pebble alone (a process of this program).
//
// Every server is a process of its own on the server's half of the CPUs, listens on
// 127.0.0.1 at a port that was free, keeps its files in a folder of the Yard and is
// gone when the Yard is closed. install.sh installs the peers from Debian.
package peers
