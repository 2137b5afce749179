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
// came between sending and moving, never not at all, within bounds: a message that its
// receiver does not take is given up after keptFor; and what is behind the bookmark is
// kept as long as the engine keeps it (engine.Options.History and BookmarkBytes). Both are
// told in the log. What a receiver refuses for good, such as an answer of 404 or a mail
// that is rejected, is told and not sent again, or one bad message would hold up all that
// follow.
//
// Couriers do not wait for one another, and no request waits for any of them. The messages
// of one go out one after the other, in the order of the history.
//
// A plugin program is a process for each notification (program.go), started with the first
// message and again when it has died. What it refuses cannot be told from what it could not
// deliver, so it is tried for as long as keptFor.
//
// A notification begins with what is taken in after it was first configured. When it is
// no longer named its bookmark goes with it.
package notify
