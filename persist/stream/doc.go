// Package stream is a history that several servers share, kept in order by etcd: the journal
// (engine.Journal) of a node of a cluster.
//
// One node writes. Which one is said by a key, whose number in etcd is the term, and every
// commit compares it, and the end of the log, in the transaction that stores it: a node that
// was deposed can store nothing, however late its requests come. The others read the log as it
// grows. etcd holds the last minutes alone; the whole history is in the store of each node.
//
//	PREFIX/id                     whose history it is: cluster, base, epoch, level; put anew with each term
//	PREFIX/writer                 node, start, address; put once a term, and its mod_revision is the term
//	PREFIX/beat                   put by a writer that has nothing to commit, each 500 ms: term and start, as text
//	PREFIX/log/REVISION           a commit; 16 hexadecimal digits, dense
//	PREFIX/head                   the newest revision and the chain after it, as text; put with every commit
//	PREFIX/part/REVISION/ATTEMPT/I  pieces of a commit that is too large for one request
//	PREFIX/known/NODE             what a node tells of itself, each 5 s
//
// All values but head and beat are sealed (Seal): whoever may read the etcd, its backups or its disks sees
// sizes, times and names of nodes, and can delete, but cannot read, alter or move a value.
//
// An entry of the log, before it is sealed:
//
//	version u8 (1) │ codec u8 (0 as it is, 1 zstd) │ term u64 │ chain 16 │ parts u8 │ attempt 8, if there are parts │ commit, if there are none
//
// Numbers are big-endian. The chain binds a commit to all before it: the first 16 bytes of SHA-256 over the chain
// before and the commit as it was given. Two histories that differ anywhere differ in every later chain, so a node
// never goes on in another history than its own: it stops with ErrOtherHistory.
//
// What is not relied on, because some version of etcd gets it wrong: progress notifications, events of
// deletions, completeness of watches beside compactions. Revisions and chains tell what is missing; a watch that is
// not what it should be is thrown away, and the log is read by pages of 16 instead, at one revision of etcd.
package stream
