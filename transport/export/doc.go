// Package export writes the list of what is banned in the tongues of devices that cannot be
// bouncers: firewalls, proxies, DNS servers.
//
//	engine.View
//	  │  choose.go     bans of addresses and ranges that run and are not simulated; one target once
//	  │  subtract.go   allowlisted addresses are cut out, of ranges too
//	  │  aggregate.go  neighbours are joined, where that is asked for
//	  │  cut.go        the best, where there is room for so many; a page or a shard of them
//	  ▼
//	Choice: entries by family, address and length, and what was left out and why
//	  │  format.go and a file for each family of formats
//	  ▼
//	body
//
// A list is exactly what is enforced: no address is on it that no decision covers, none is
// missing but those that Choice counts. It follows from the view, the definition and the
// moment alone, so every server with the same history writes the same bytes.
//
// The package knows no HTTP and keeps nothing. All of it may be called from any goroutine.
package export
