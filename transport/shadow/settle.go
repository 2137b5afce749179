package shadow

import (
	"regexp"
	"time"
)

// difference is one thing that the two answers do not have in common.
type difference struct {
	kind   string // of differences, a few words that are the same for all of one kind
	what   string // what exactly, for a person
	reason string // why it is right so; "": unexplained
}

const (
	mostExamples = 10      // of each kind are kept
	mostKinds    = 50      // of each route; later ones count as "others"
	exampleBytes = 4 << 10 // of each body
)

// settle counts one comparison.
func (s *Shadow) settle(x *exchange, differences []difference) {
	c := s.route(x.route)
	c.mu.Lock()
	defer c.mu.Unlock()
	for side := range x.answers {
		if a := &x.answers[side]; !a.ended.IsZero() {
			c.took[side].add(a.took())
		}
	}
	reasons, open := map[string]bool{}, map[string]*difference{}
	for i := range differences {
		if d := &differences[i]; d.reason != "" {
			reasons[d.reason] = true
		} else if open[d.kind] == nil {
			open[d.kind] = d
		}
	}
	for why := range reasons {
		c.explained[why]++
	}
	switch {
	case len(open) > 0:
		c.unexplained++
		for _, d := range open {
			c.keep(x, d, s.options.Now())
		}
	case len(reasons) == 0:
		c.equal++
	default:
		c.right++
	}
}

// keep counts a difference, and keeps it if it is among the first of its kind.
func (c *routeCounts) keep(x *exchange, d *difference, now time.Time) {
	kind := d.kind
	if c.kinds[kind] == nil && len(c.kinds) >= mostKinds {
		kind = "others"
	}
	k := c.kinds[kind]
	if k == nil {
		k = &Kind{Kind: kind}
		c.kinds[kind] = k
	}
	k.Count++
	if len(k.Examples) >= mostExamples {
		return
	}
	e := Example{At: now.UTC(), Request: shorten(redact(x.method+" "+x.target), 2048), What: shorten(redact(d.what), exampleBytes)}
	e.Theirs, e.Ours = said(&x.answers[Theirs]), said(&x.answers[Ours])
	if x.route.kind != accountKind { // those hold passwords and tokens
		if x.body != nil {
			e.Body = evidence(x.body)
		}
		e.Theirs.Body, e.Ours.Body = evidence(x.answers[Theirs].body), evidence(x.answers[Ours].body)
	}
	k.Examples = append(k.Examples, e)
}

// said is one server's part of an example, without the body.
func said(a *answer) Said { return Said{Status: a.status, Began: a.began.UTC(), Ended: a.ended.UTC()} }

// evidence is the beginning of a body.
func evidence(c *capture) string {
	if c == nil {
		return ""
	}
	text := redact(string(c.start(exampleBytes)))
	if c.n > exampleBytes {
		text += "…"
	}
	return text
}

// secrets are what a body or a target may hold that must not be shown: fields by name, and what looks
// like a token of a machine.
var (
	secretFields = regexp.MustCompile(`(?i)("(?:password|token|registration_token|api_key|apikey|key)"\s*:\s*)"(?:[^"\\]|\\.)*("|$)`)
	secretWords  = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*){0,2}`)
)

// redact takes secrets out of a text. Meta data of alerts has "key" fields too, which are taken out with them.
func redact(text string) string {
	return secretWords.ReplaceAllString(secretFields.ReplaceAllString(text, `$1"…"`), "…")
}
