// Package notify tells people and programs of alerts: it sends what the profiles named a
// notification for to a webhook, a mailbox, a chat or a file, or hands it to a plugin
// program of the field.
//
// Which notifications an alert is due to was decided when it was taken in, and stands in
// the history beside it (engine.Notice). A Notifier has a courier for each notification
// that a profile names, and each courier is a reader of the history with a durable
// bookmark, "notify." and the name:
//
//	history ── courier (bookmark) ─┬─ gathers what is due to it
//	                               ├─ groups (group_wait, group_threshold)
//	                               ├─ puts it into words (format)
//	                               ├─ sends, again and again
//	                               └─ moves the bookmark
//
// So nothing is queued in memory alone. A restart, a crash or a receiver that is down
// delays: the courier goes on from its bookmark. A message may come twice where the end
// came between sending and moving, never not at all, within these bounds, each of which is
// told in the log and counted (Figures):
//
//   - When a round of attempts has failed (max_retry + 1 of them, or 5 minutes), one of the
//     messages behind is tried; at once, when the receiver refuses what the message is (an
//     answer of 400, 413, 422 and the like, a mail that is rejected). If that is taken the
//     receiver is well, and the first message is given up after one more attempt: a poison
//     message holds up nobody. Only then may one come before another that was stored earlier.
//     No answer whatever gives a message up by itself: a key that was withdrawn, an address
//     that moved and a proxy without its backend refuse everything.
//   - What the format fails for cannot be sent, and is given up.
//   - While the receiver takes nothing all wait, in order, and rounds go on every 5 minutes.
//     That is a trouble (Trouble) after the first round, or some ten seconds. What has become
//     24 hours old by then is given up.
//   - What is behind the bookmark is kept as long as the engine keeps it
//     (engine.Options.History and BookmarkBytes).
//
// Of a message of several alerts that is not taken each alert gets a message of its own
// before anything is given up.
//
// Couriers do not wait for one another, and no request waits for any of them. The messages
// of one go out one after the other.
//
// A plugin program is one process for all notifications of its type, as in the field
// (running.go, process.go). It is started with the first message and again when it has died
// or hung, with pauses, and ends as a whole group. What it refuses cannot be told from what
// it could not deliver: that is a message that failed.
//
// A notification begins with what is taken in after it was first configured. When it is
// no longer named what waits for it waits on, for 24 hours, in case it is named again; that
// is told in the log, at once, and as a trouble. Its bookmark goes when nothing waits.
package notify
