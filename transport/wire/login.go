package wire

import (
	"unicode/utf8"

	"lapid/engine"
)

// Login is the body of POST /v1/watchers/login. How long its texts may be is
// the server's to say; the whole body is bounded.
type Login struct {
	MachineID string
	Password  string
	Scenarios []string // nil when missing, null or empty
}

// Registration is the body of POST /v1/watchers. The length of its token is
// checked here, whether it is the right one is not.
type Registration struct {
	MachineID string
	Password  string
	Token     string // for auto-registration; "" when missing
}

// Length of a registration token that is not empty, in characters.
const (
	shortestToken = 32
	longestToken  = 255
)

// Fields of a login and of a registration.
const (
	credentialMachineID = iota
	credentialPassword
	credentialExtra // scenarios or registration_token
)

var (
	loginFields        = newFields("WatcherAuthRequest", "machine_id", "password", "scenarios")
	registrationFields = newFields("WatcherRegistrationRequest", "machine_id", "password", "registration_token")
)

// Scenarios may be missing, and so may the token.
const credentialRequired = 1<<credentialMachineID | 1<<credentialPassword

// ParseLogin reads a login. An error is of KindSyntax or KindMissing. An empty id or
// password is accepted here: that no machine has it is found later.
func ParseLogin(body []byte) (Login, error) {
	var l Login
	r := reader{data: body}
	r.texts.room = len(body)
	o := newObject(&loginFields)
	if !r.null() {
		for r.open('{', "models.WatcherAuthRequest"); r.fieldOf(&o); {
			switch o.at {
			case credentialMachineID:
				o.note(r.optionalString(&l.MachineID))
			case credentialPassword:
				o.note(r.optionalString(&l.Password))
			case credentialExtra:
				l.Scenarios = r.strings("[]string", false)
			default:
				r.skip()
			}
		}
	}
	if r.err != nil {
		return Login{}, r.err
	}
	if text := o.missing("", credentialRequired); text != "" {
		return Login{}, &Error{Kind: KindMissing, Text: text}
	}
	return l, nil
}

// ParseScenarios reads the login of a client with a certificate, of which
// nothing counts but the scenarios: nil when missing, null or empty. An error is
// of KindSyntax.
func ParseScenarios(body []byte) ([]string, error) {
	var list []string
	r := reader{data: body}
	r.texts.room = len(body)
	o := newObject(&loginFields)
	if !r.null() {
		for r.open('{', "models.WatcherAuthRequest"); r.fieldOf(&o); {
			if o.at == credentialExtra {
				list = r.strings("[]string", false)
			} else {
				r.skip()
			}
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return list, nil
}

// ParseRegistration reads a registration. An error is of KindSyntax or
// KindMissing.
func ParseRegistration(body []byte) (Registration, error) {
	var g Registration
	r := reader{data: body}
	r.texts.room = len(body)
	o := newObject(&registrationFields)
	if !r.null() {
		for r.open('{', "models.WatcherRegistrationRequest"); r.fieldOf(&o); {
			switch o.at {
			case credentialMachineID:
				o.note(r.optionalString(&g.MachineID))
			case credentialPassword:
				o.note(r.optionalString(&g.Password))
			case credentialExtra:
				r.optionalString(&g.Token)
			default:
				r.skip()
			}
		}
	}
	if r.err != nil {
		return Registration{}, r.err
	}
	if text := g.missing(&o); text != "" {
		return Registration{}, &Error{Kind: KindMissing, Text: text}
	}
	return g, nil
}

// missing lists what the registration lacks, or has too much of, in the order of the
// contract.
func (g *Registration) missing(o *object) string {
	var f failures
	for i := range credentialExtra {
		if o.seen&(1<<i) == 0 {
			f.required("", registrationFields.names[i])
		}
	}
	if len(g.MachineID) > engine.LongestName {
		f.atMost("", registrationFields.names[credentialMachineID], engine.LongestName)
	}
	switch n := utf8.RuneCountInString(g.Token); {
	case n > 0 && n < shortestToken:
		f.atLeast("", registrationFields.names[credentialExtra], shortestToken)
	case n > longestToken:
		f.atMost("", registrationFields.names[credentialExtra], longestToken)
	}
	return f.String()
}

var targetFields = newFields("BulkCheckAllowlistRequest", "targets")

// ParseTargets reads the body of POST /v1/allowlists/check: what to check, as
// sent. An error is of KindSyntax, or KindEmptyTargets when there is nothing.
// Whether they are addresses is not looked at.
func ParseTargets(body []byte) ([]string, error) {
	var targets []string
	r := reader{data: body}
	r.texts.room = len(body)
	o := newObject(&targetFields)
	if !r.null() {
		for r.open('{', "models.BulkCheckAllowlistRequest"); r.fieldOf(&o); {
			if o.at == 0 {
				targets = r.strings("[]string", false)
			} else {
				r.skip()
			}
		}
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case len(targets) == 0:
		return nil, &Error{Kind: KindEmptyTargets, Text: "targets list cannot be empty"}
	}
	return targets, nil
}

// strings reads a list of strings or null; null as an element is an empty
// string. With lenient an empty object is an empty list.
func (r *reader) strings(want string, lenient bool) []string {
	var list []string
	if r.null() || lenient && r.emptyObject() {
		return nil
	}
	for r.open('[', want); r.more(']'); {
		s := ""
		r.optionalString(&s)
		list = append(grown(list, r.rest(), smallestLabel), s)
	}
	return list
}

// emptyObject moves past an object without fields, if that is what comes next.
// Some programs cannot write an empty list and write this instead.
func (r *reader) emptyObject() bool {
	if r.peek() != '{' {
		return false
	}
	for at := r.at + 1; at < len(r.data); at++ {
		switch r.data[at] {
		case ' ', '\t', '\n', '\r':
		case '}':
			r.at = at + 1
			return true
		default:
			return false
		}
	}
	return false
}
