// Package feed answers polls: one answer, many readers. It knows the engine and the
// JSON of package wire, and nothing of connections, requests or HTTP.
//
//	Question + cursor ─► Feed.Poll ─► Answer: bytes at hand, or a StreamedBody to send
//	                                         and a CursorMove for when that leaves
//
// A bouncer is a cursor moving along the history. What it is told is a function of
// four things: its question, the revision it knows, the revision of the state, and
// the second in which durations are reckoned. Answers for which these are equal are
// the same bytes (edition), and are encoded once.
//
// # Which answer a poll gets
//
//	at the newest revision         EmptyAnswer
//	nothing changed for it         EmptyAnswer, and its cursor is passed on
//	a few hundred changes          whole, from the cache or encoded for it (deltaCache)
//	more, or everything            in pieces that all readers of the edition follow (answers, sharedAnswer)
//	the same, of too many editions in pieces that are encoded for it alone (Writer)
//
// Everything is told to a bouncer that asks for it (startup), that never pulled, or
// whose cursor is further back than the history reaches or than may be collected. An
// answer of another revision is as good if nothing that the question admits began or
// ended between, which is asked of the history in memory and of no disk.
//
// A shared answer is encoded by one goroutine of its own. It is never more than
// aheadAtMost pieces ahead of its fastest reader, and readers never wait for each
// other: a slow one keeps pieces in memory, and when that is needed for others it
// goes on alone from where it was, with the same bytes.
//
// A bouncer may also say itself where it is (Place): a Tag, which every answer leads to, names
// the history, the revision and the question. Then no cursor counts or moves.
//
// A poll that is told nothing may be held until something changes for its question (held.go).
// Those who ask the same are a group, which is looked at once a commit; who is woken asks
// again as if he came then, so that the first one's answer serves all.
//
// An event stream is held so between any two of its events, with manners (Manners): it is
// told at once what comes shortly after another event, and asked every second whether its
// bouncer is still the same.
//
// Long answers to other questions, lists and alerts, are written in pieces to one
// reader, by whatever function writes them (WriteBrief, List, Part); they are here
// because they share the memory.
//
// # Ownership
//
//   - Answer.Whole and EmptyAnswer are shared and never changed.
//   - A StreamedBody is its caller's, who sends it once at most and closes it in any
//     case; it needs nothing of the Poll. What was reserved for the answer goes with
//     it. Poll keeps neither Raw nor Query.
//   - A CursorMove is its caller's: it is offered just before the last bytes leave,
//     and heard or lost afterwards. Without that nothing has moved.
//   - What Send hands to a Write is gone when Write returns: pieces are used again.
//
// # Concurrency
//
// A Feed may be used from any goroutine. A poll with nothing to tell takes no lock
// and allocates nothing; a cached delta takes one load, and a look
// at what has changed between if other commits came since. Locks are answers.mu, then that of a
// sharedAnswer, then that of a purse; none is held while anything is waited for but
// the sharedAnswer's own condition, and none while a reader's Write runs. A Poll that
// may not wait (MayWait) does not, and is short: what is not is ErrWouldWait, and
// nothing was done.
//
// # Limits
//
//	short deltas remembered     64, of longDelta decisions; later ones take their places
//	editions kept whole         answersAtMost, and soloAtMost more with one reader
//	                            each; others are encoded for one reader
//	memory of shared answers    Options.SharedMemory; an answer that finds none lets
//	                            go of its pieces, and its readers go on alone
//	memory of long answers      Options.AnswerMemory, half for one holder while there
//	                            are others; waits Options.Patience, then ErrBusy
//	one that needs more than all of that   *TooLong
//	a delta that would take half of it     the full state instead, which is collected nowhere
//	time of one long answer     Options.StreamLimit; Send ends with an error
//	age of an edition           it may be joined within its second; for staleAtMost
//	                            more by those who would else be answered alone
//	held polls                  HeldAtMost each, questions of heldQuestion; others are not held. As
//	                            many as their callers have connections, some 300 bytes each
//	readers of a shared answer  patienceWithReaders, when its place is wanted
//
// # What else belongs here
//
// A new way for news to reach a bouncer is another reader of the same editions: it
// holds a Question and a revision, and asks again when the engine has moved. How long a
// connection is kept, and in which dress bytes leave, is its caller's.
package feed
