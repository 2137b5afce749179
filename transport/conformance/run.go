package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// Target is a server under test and the credentials it was seeded with. A case that needs one that is
// empty fails and says which.
type Target struct {
	URL    string // http://host:port, https://host:port or unix:/path/to/socket
	TLSDir string // ca.pem and NAME.pem, NAME.key for each client certificate; for https only

	MachineID, Password   string
	MachineID2, Password2 string
	BouncerKey            string
	BouncerKey2           string
	RegistrationToken     string
	JWTSecret             string
}

// flags gives the credentials by the names the placeholders have.
func (t *Target) flags() map[string]string {
	return map[string]string{
		"machine_id": t.MachineID, "password": t.Password,
		"machine_id2": t.MachineID2, "password2": t.Password2,
		"bouncer_key": t.BouncerKey, "bouncer_key2": t.BouncerKey2,
		"registration_token": t.RegistrationToken, "jwt_secret": t.JWTSecret,
		"base_url": t.URL, "tls_dir": t.TLSDir,
	}
}

// Session plays cases against one target. It is used by one goroutine at a time: cases look at what the
// server holds, and two of them delete everything.
type Session struct {
	target Target
	rng    *rand.Rand
	tokens [2]string           // the logins made so far
	nets   map[string]struct{} // the networks given to cases so far

	// Strict also compares texts that come from the reference's JSON and JWT libraries.
	Strict bool
	// Trace, when set, is told of every exchange.
	Trace func(exchange string)
	// Judge, when set, looks at every exchange of a case. What it finds wrong is a failure of the step.
	Judge func(*Exchange) (problems []string)
	// Now is the clock of placeholders, forged tokens and matchers.
	Now func() time.Time
}

// NewSession makes a session whose random names follow from the seed.
func NewSession(target Target, seed uint64) *Session {
	return &Session{
		target: target,
		rng:    rand.New(rand.NewPCG(seed, 0)),
		nets:   map[string]struct{}{},
		Now:    time.Now,
	}
}

// Exchange is what one step has sent and got, for a Judge. It may be kept.
type Exchange struct {
	Method, Target string
	RequestHeader  http.Header
	Request        []byte // as it was sent, which may be packed
	Status         int
	Header         http.Header
	Answer         []byte
}

// exchangeOf is the exchange of a message with its answer. Of a header that is repeated all values are told.
func exchangeOf(m *message, a *answer) *Exchange {
	x := &Exchange{Method: m.method, Target: m.path, RequestHeader: http.Header{}, Request: m.body, Status: a.status, Header: a.headers, Answer: a.body}
	for _, h := range m.headers {
		for _, v := range h.values {
			x.RequestHeader.Add(h.name, v)
		}
	}
	return x
}

// Failure is one step whose answer differs from the recorded one.
type Failure struct {
	Step     string   // number, note, method and path
	Problems []string // at most about forty, each cut to a readable length
}

// String is the failure in several lines.
func (f Failure) String() string {
	return f.Step + "\n    - " + strings.Join(f.Problems, "\n    - ")
}

// Run plays one case; no failures means it passed. A step whose request cannot be made or answered, or from whose
// answer something cannot be captured, ends the case, since later steps build on it. Run waits where
// the case says so, until ctx ends.
func (s *Session) Run(ctx context.Context, c *Case) []Failure {
	n := s.names(ctx)
	var failures []Failure
	for i := range c.Steps {
		step := &c.Steps[i]
		if err := wait(ctx, step.Sleep); err != nil {
			return append(failures, Failure{fmt.Sprintf("step %d", i+1), []string{err.Error()}})
		}
		if step.Request == nil {
			continue
		}
		problems, goOn := s.play(ctx, n, step)
		if len(problems) > 0 {
			failures = append(failures, Failure{step.title(i + 1), problems})
		}
		if !goOn {
			break
		}
	}
	return failures
}

// names draws the names of a case, on a network no other case of this session has had.
func (s *Session) names(ctx context.Context) *names {
	n := drawNames(s.rng, s.Now)
	for s.taken(n.vars["net"]) {
		n = drawNames(s.rng, s.Now)
	}
	n.flags = s.target.flags()
	n.token = func(machine int) (string, error) { return s.login(ctx, machine) }
	return n
}

// maxNets bounds the networks remembered; beyond it, old ones may be drawn again.
const maxNets = 10_000

// taken notes a network, and says whether it was noted before.
func (s *Session) taken(network string) bool {
	if len(s.nets) >= maxNets {
		clear(s.nets)
	}
	_, taken := s.nets[network]
	s.nets[network] = struct{}{}
	return taken
}

// wait waits so many seconds, or until ctx ends, which is its error.
func wait(ctx context.Context, seconds float64) error {
	if seconds <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// title names a step in a report.
func (s *Step) title(number int) string {
	note := ""
	if s.Note != "" {
		note = " (" + s.Note + ")"
	}
	return fmt.Sprintf("step %d%s: %s %s", number, note, s.Request.Method, s.Request.Path)
}

// play does one step; goOn is false when the rest of the case makes no sense any more.
func (s *Session) play(ctx context.Context, n *names, step *Step) (problems []string, goOn bool) {
	m, err := n.build(step.Request)
	if err != nil {
		return []string{"request not made: " + err.Error()}, false
	}
	a, err := s.target.send(ctx, m)
	if err != nil {
		return []string{"request failed: " + err.Error()}, false
	}
	if s.Trace != nil {
		s.Trace(fmt.Sprintf("%s %s -> %d %s", m.method, m.path, a.status, short(a.text(), maxBody)))
	}
	problems, err = s.check(n, step, a)
	if err != nil {
		return append(problems, "expectation not understood: "+err.Error()), false
	}
	if s.Judge != nil {
		problems = append(problems, s.Judge(exchangeOf(m, a))...)
	}
	if err := n.capture(step, a); err != nil {
		return append(problems, err.Error()), false
	}
	return problems, true
}

// login logs a machine in once per session and gives its token. A token is
// kept for the life of the session. The error says what the server answered.
func (s *Session) login(ctx context.Context, machine int) (string, error) {
	id, password := s.target.MachineID, s.target.Password
	if machine == 2 {
		id, password = s.target.MachineID2, s.target.Password2
	}
	if id == "" {
		return "", fmt.Errorf("%w for the id of machine %d", errNoValue, machine)
	}
	if token := s.tokens[machine-1]; token != "" {
		return token, nil
	}
	a, err := s.target.send(ctx, &message{
		method: "POST", path: "/v1/watchers/login",
		headers: []header{{"User-Agent", []string{userAgent}}, {"Content-Type", []string{"application/json"}}},
		body:    appendValue(nil, fields("machine_id", id, "password", password)),
		hasBody: true,
	})
	if err != nil {
		return "", fmt.Errorf("log in %s: %w", id, err)
	}
	v, err := decodeValue(a.body)
	if err == nil {
		v, err = dig(v, "token")
	}
	token, ok := v.(string)
	if a.status != 200 || err != nil || !ok || token == "" {
		return "", fmt.Errorf("log in %s: status %d, body %s", id, a.status, short(a.text(), maxShown))
	}
	s.tokens[machine-1] = token
	return token, nil
}
