package transport

import "lapid/transport/conn"

// caller is who may ask.
type caller uint8

const (
	anyone  caller = iota
	bouncer        // an API key or a bouncer's certificate
	machine        // a token of a machine that exists
	session        // a token, whether or not its machine is still there
	either         // bouncer or machine, see admitEither
	proxy          // a bouncer that asks about its client, whom its headers name
)

// anyMethod is the method of a line for all that have no line of their own.
const anyMethod = "*"

// route is one line of the table.
type route struct {
	method  string
	path    string // the part in braces is one segment, the last
	who     caller
	body    *conn.BodyPlan
	missing int // status when required fields are missing

	number int    // its line, for the counters
	label  string // path as dashboards know it
	prefix int    // length of the path before its parameter
}

// healthPath is the one line that looks at nothing.
const healthPath = "/health"

// loginPath is where machines show their password.
const loginPath = "/v1/watchers/login"

// unmatchedLabel is the route of requests that match no line of the table.
const unmatchedLabel = "invalid-endpoint"
