package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errNoValue says that a placeholder has nothing to stand for.
var errNoValue = errors.New("no value")

var (
	placeholder     = regexp.MustCompile(`\{\{([^{}]+)\}\}`)
	timePlaceholder = regexp.MustCompile(`^(now|nowns|t0|t0ns)([+-][0-9a-z.]+)?(@[+-]\d\d:\d\d)?$`)
	intPlaceholder  = regexp.MustCompile(`^\{\{int:([^{}]+)\}\}$`)
)

// names holds what the placeholders of one case stand for while it is played.
// It belongs to one case and one goroutine.
type names struct {
	vars   map[string]string // net, net6, u, what was captured, the counters of $repeat
	flags  map[string]string // credentials; an empty one counts as missing
	forged map[string]string // tokens made for this step, by name
	token  func(machine int) (string, error)
	now    func() time.Time
	t0     time.Time // the start of the case
}

// drawNames gives a case a /24, a /48 and a word that no other case is likely to have.
// Cases that are played on one server do not see each other by that.
func drawNames(rng *rand.Rand, now func() time.Time) *names {
	return &names{
		vars: map[string]string{
			"net":  fmt.Sprintf("%d.%d.%d", 11+rng.IntN(89), rng.IntN(256), rng.IntN(256)),
			"net6": fmt.Sprintf("fd%02x:%x:%x", rng.IntN(256), 1+rng.IntN(65535), 1+rng.IntN(65535)),
			"u":    drawTag(rng),
		},
		forged: map[string]string{},
		now:    now,
		t0:     now(),
	}
}

// drawTag is a word that no other case has. Its letters are none that the cases
// filter by ("100", "ssh", "http"): a filter must not find it by chance.
func drawTag(rng *rand.Rand) string {
	const letters = "fgjkqvwy"
	tag := []byte("q000000000")
	for i := 1; i < len(tag); i++ {
		tag[i] = letters[rng.IntN(len(letters))]
	}
	return string(tag)
}

// lookup gives the value of one placeholder, errNoValue when there is none.
// Names of moments win, then forged tokens, what the case has, logins, and the
// credentials of the target.
func (n *names) lookup(name string) (string, error) {
	if m := timePlaceholder.FindStringSubmatch(name); m != nil {
		return n.moment(m[1], m[2], m[3])
	}
	if forged, ok := strings.CutPrefix(name, "jwt:"); ok {
		if token, ok := n.forged[forged]; ok {
			return token, nil
		}
		return "", fmt.Errorf("%w for {{%s}}: no such token was forged", errNoValue, name)
	}
	if v, ok := n.vars[name]; ok {
		return v, nil
	}
	switch name {
	case "token":
		return n.token(1)
	case "token2":
		return n.token(2)
	}
	if v := n.flags[name]; v != "" {
		return v, nil
	}
	return "", fmt.Errorf("%w for {{%s}}", errNoValue, name)
}

// moment gives now or t0, moved by an offset, in the zone that was asked for.
// The text is RFC 3339, in whole seconds or with six decimals.
func (n *names) moment(kind, offset, zone string) (string, error) {
	base := n.t0
	if strings.HasPrefix(kind, "now") {
		base = n.now()
	}
	if offset != "" {
		seconds, err := parseDuration(offset)
		if err != nil {
			return "", err
		}
		base = after(base, seconds)
	}
	if zone = strings.TrimPrefix(zone, "@"); zone == "" {
		zone = "Z"
	}
	return formatStamp(base, zone, strings.HasSuffix(kind, "ns"))
}

// sub replaces every placeholder in a text. The error is that of the first
// placeholder that has no value.
func (n *names) sub(text string) (string, error) {
	var failed error
	out := placeholder.ReplaceAllStringFunc(text, func(p string) string {
		v, err := n.lookup(p[2 : len(p)-2])
		if err != nil && failed == nil {
			failed = err
		}
		return v
	})
	return out, failed
}

// expand replaces placeholders and macros all through a value that is to be sent.
// The value that was loaded is left as it is: cases are shared.
func (n *names) expand(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return n.expandText(v)
	case []any:
		return n.expandList(v)
	case *object:
		if over, ok := v.get("$alert"); ok {
			return n.makeAlert(over)
		}
		if over, ok := v.get("$decision"); ok {
			return n.makeDecision(over)
		}
		return n.expandObject(v, n.expand)
	}
	return v, nil
}

// expandText expands a text. One that is nothing but {{int:…}} becomes a number, one
// that begins with $$rle: a long text.
func (n *names) expandText(text string) (any, error) {
	if m := intPlaceholder.FindStringSubmatch(text); m != nil {
		v, err := n.lookup(m[1])
		if err != nil {
			return nil, err
		}
		if _, err := strconv.ParseInt(v, 10, 64); err != nil {
			return nil, fmt.Errorf("{{int:%s}}: %w", m[1], err)
		}
		return json.Number(v), nil
	}
	runs, isRuns := strings.CutPrefix(text, "$$rle:")
	if !isRuns {
		return n.sub(text)
	}
	runs, err := n.sub(runs)
	if err != nil {
		return nil, err
	}
	return expandRuns(runs)
}

// expandList expands the elements, of which $repeat makes many.
func (n *names) expandList(list []any) (any, error) {
	out := make([]any, 0, len(list))
	for _, x := range list {
		if o, ok := x.(*object); ok && o.values["$repeat"] != nil {
			repeated, err := n.repeat(o)
			if err != nil {
				return nil, err
			}
			out = append(out, repeated...)
			continue
		}
		v, err := n.expand(x)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// expandObject expands keys and values, in their order.
func (n *names) expandObject(o *object, each func(any) (any, error)) (any, error) {
	out := newObject()
	for _, k := range o.keys {
		key, err := n.sub(k)
		if err != nil {
			return nil, err
		}
		v, err := each(o.values[k])
		if err != nil {
			return nil, err
		}
		out.set(key, v)
	}
	return out, nil
}

// expandExpected replaces placeholders all through an expectation; matchers stay as they are.
func (n *names) expandExpected(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return n.sub(v)
	case []any:
		out := make([]any, 0, len(v))
		for _, x := range v {
			e, err := n.expandExpected(x)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	case *object:
		return n.expandObject(v, n.expandExpected)
	}
	return v, nil
}
