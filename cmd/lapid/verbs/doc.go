// Package verbs holds the operator's verbs: one file per noun (machines.go, bouncers.go,
// allowlists.go, alerts.go, decisions.go, metrics.go …), the tables and texts they show,
// and the client end of the operator's socket. It knows the configuration and what the
// socket speaks, never the program that runs behind it.
//
// # How a verb runs
//
// The tree of commands finds the verb; it has a Terminal: its streams, the chosen
// format, the configuration. The verb asks through transport/admin. When a server
// runs, that is its private socket; when none does, the verb says so, opens the
// store under its lock, serves the same handler to itself and closes the store
// again (client.go). There is never a second writer, and no verb makes a store that
// is not there, unless it is told to with --init.
//
// Where a store was made and is gone, or is another, no verb makes one or goes on with
// it, --init or not (package datadir).
//
// A verb of root's that opens a store which belongs to another user does so with
// that user's rights (datadir.Dir.AsOwner): what it makes is the user's, and that user's
// links or exchanged folders lead it nowhere the user could not go. Files that
// the operator names are opened before, or written after. What is written there,
// credentials, backups and logs, follows no link in a folder that another user
// may change (datadir.OpenPlain).
//
// # Where what is
//
// doctor.go looks at everything once; what it looks at is in doctor_*.go.
//
// commands.go lists all verbs. A noun has a file that reads from the constructor of its
// command down to what is written; long ones have more (machines_add.go, import_formats.go,
// metrics_bouncers.go). Verbs without a noun have one each: health.go, ready.go, docs.go, why.go, backup.go, restore.go, movein.go,
// check.go, version.go, manual.go. quickstart.go makes what a first server needs and has it
// served by whatever it is given.
//
// Everything of a noun is a function over a Terminal, which knows no noun: streams, format,
// questions (terminal.go), the way to a server or a store (client.go). What nouns share is
// beside them:
//
//   - arguments.go: what a command line may hold, and what is said of one that may not
//   - filters.go: the flags by which alerts and decisions are chosen
//   - sentences.go: the reference's own sentences for failures, each once
//   - shown.go, number.go, table.go: moments, signs, figures and tables as they are shown
//   - listing.go, packed.go: lists of any length, shown while they come
//   - prune.go, ids.go, progress.go, secrets.go: what two or three verbs have in common
//   - examples.go, complete.go: what help and shells offer, for the tree as a whole
//
// # What is shown
//
// Names, values, reasons and whatever else comes from outside is shown as what it is:
// each argument of a message and each cell of a table goes through package
// transport/visible, and so does, once more, every byte on its way to a terminal
// (Terminal.Guard). JSON keeps its meaning; raw output is
// passed on as it is, with --safe-csv with an apostrophe before what a
// spreadsheet would compute.
//
// # Where the verbs differ from the reference's
//
//   - a verb without a server or without a store says so; --init makes a store.
//   - machines delete fails (exit 1) when a machine is missing, as bouncers delete
//     does.
//   - decisions add refuses what can never work: a value that is no address for
//     scope Ip or Range, a duration that is over at once or longer than can be
//     counted ("forever" stands for the longest), a type spelled with capitals.
//     bouncers, machines and allowlists add refuse names and keys that no header,
//     URL or file can carry.
//   - decisions list shows only the decisions that --ip, --range, --type and --origin
//     ask for, not all of their alerts.
//   - decisions delete says what it ended, and asks on a terminal before more than a
//     thousand end. alerts delete takes several numbers (--id 41-49).
//   - decisions import checks everything before it stores anything, names bad
//     entries with their place and unknown fields, takes comments, ranges and what
//     decisions list prints, and makes an alert of every 10 000 values unless --batch
//     says otherwise. An import of nothing fails without --allow-empty; one that is
//     interrupted says which alerts it made.
//   - a wrong flag or verb costs one line, with what was probably meant; the usage is
//     shown for wrong arguments only, and never to programs (-o json, -o raw).
//   - whatever is said in words is said in JSON with -o json.
//   - decisions, alerts and allowlists go over the private socket too: no login is
//     needed, and what an operator decides is signed with this machine's own login
//     only if there is one.
//   - bouncers list and inspect, for people and in JSON, end with the cursor and how
//     far it is behind, and with what it has acknowledged and holds.
//   - lapi status says what to do where no server answers or there are no credentials.
package verbs
