// Package peer is how nodes that share one history (engine.Journal) speak to each other. Each
// has a Node, whose listener answers the others, over mutual TLS:
//
//	POST /pass     a request that came to another node and writes, answered here, by the writer
//	GET  /state    what this node is and how far it is, a State: a sign of life
//	GET  /backup   everything as it is at one moment, for a node that is new (engine.Engine.Backup)
//	GET  /follow   the history behind a revision, redacted, for a relay, for as long as it listens
//	GET  /follow/backup   everything, redacted, for a relay that has nothing or too little
//
// Who calls must show a certificate of the cluster's authority, and whoever has one is a node:
// what it says of who asked is believed. So the authority must be the cluster's own. Relays have certificates of
// another one (Credentials.AdmitRelays) and may do the last two, no more; a Relay is their end of it. A node that is
// called must show a certificate for its name, or for the host that it is called at.
//
// # A request that is passed on
//
// It is sent whole, as often as it takes: to the node that Options.Writer names, and to the next
// one when that changes, says that it does not write, or does not answer. All of them get it under
// one id, by which the engine knows what it has stored already (engine.ForRequest), so that it is
// done once. What is answered comes back as it was written. Then Pass waits, for a second at most,
// until the engine here has applied what was stored there: a client reads here what it wrote here.
// Nothing is passed on twice: a node that does not write says so.
//
// # Bounds
//
// Connections, requests at a time, bodies and their memory, heads, answers and every wait have a
// limit, each beside its constant. A request beyond one is refused with a status that says that it
// may be sent again, and nothing of it was stored.
package peer
