// Package clients holds no product code: it runs the programs that a Local API serves, unchanged as
// their authors ship them, against a real lapid process, and looks at what they do in the end: the
// address in the kernel's set, the hook's argument line, the event in a script.
//
// The tests carry the build tag "clients". install.sh fetches what they run; a client that is missing
// makes its test fail with one line that names it, and no test passes by leaving something out.
//
// Each test builds the house anew: its own folder, its own lapid on a free loopback port, its own keys
// and machines made with lapid's verbs before the start. Nothing leaves the loopback interface or the
// network namespace that the test made, and nothing outlives the test: processes are killed, folders
// removed, namespaces deleted. A test waits for conditions, each with a deadline, never for time.
//
// With LAPID_CLIENTS_SERVER=reference the same tests run against Debian's own crowdsec in its server
// role, which shows that a test asks for what the reference does and not for what we remember of it.
// The server, its start, its verbs and the size of the country table differ then, the assertions do not.
package clients
