// Package datadir knows the folder in which a store is.
//
// Whose it is: a verb of root's goes on with the rights of the owner (AsOwner), and a
// server of root's is refused in another user's folder (RefuseRoot, RefuseLinks). Links that
// another user may put into a folder lead nowhere: what is written there follows none
// (OpenPlain, WriteSecret).
//
// Which store belongs there: a file beside the store, written when it is opened for the
// first time, tells a folder that never had one from a folder whose store was removed or
// exchanged (AsMade, NoteMade).
//
// What may not be touched: an error of the system becomes a sentence that says as whom to
// run the command (Permitted, DeniedFile).
//
// Nothing here reads a configuration. Everything is for one goroutine; AsOwner changes the
// whole process.
package datadir
