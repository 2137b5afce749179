package conformance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxExpansion bounds what one macro may grow to: bytes of a $$rle text, elements of a $repeat.
// Beyond it the case is refused.
const maxExpansion = 64 << 20

// runShape is one run: a character, a star, how often.
var runShape = regexp.MustCompile(`^(.)\*(\d+)$`)

// expandRuns reads "a*9000|x" as 9000 times a, then x.
func expandRuns(text string) (string, error) {
	var b strings.Builder
	for segment := range strings.SplitSeq(text, "|") {
		m := runShape.FindStringSubmatch(segment)
		if m == nil {
			b.WriteString(segment)
			continue
		}
		times, err := strconv.Atoi(m[2])
		if err != nil || times > maxExpansion/len(m[1]) || b.Len() > maxExpansion {
			return "", fmt.Errorf("run %q: longer than %d bytes", segment, maxExpansion)
		}
		b.WriteString(strings.Repeat(m[1], times))
	}
	return b.String(), nil
}

// repeat expands {"$repeat": n, "item": …}; inside the item {{i}}, {{i/256}} and {{i%256}} count from 0.
// The counters are gone afterwards.
func (n *names) repeat(o *object) ([]any, error) {
	number, _ := o.values["$repeat"].(json.Number)
	times, err := strconv.Atoi(number.String())
	if err != nil || times < 0 || times > maxExpansion {
		return nil, fmt.Errorf("$repeat: bad number %s", short(o.values["$repeat"], 40))
	}
	defer func() {
		for _, k := range []string{"i", "i/256", "i%256"} {
			delete(n.vars, k)
		}
	}()
	var out []any
	for i := range times {
		n.vars["i"] = strconv.Itoa(i)
		n.vars["i/256"] = strconv.Itoa(i / 256)
		n.vars["i%256"] = strconv.Itoa(i % 256)
		v, err := n.expand(o.values["item"])
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// makeDecision expands {"$decision": {…}}: a decision as an operator's order has it, with the given fields
// instead.
func (n *names) makeDecision(given any) (any, error) {
	over, ok := given.(*object)
	if !ok {
		return nil, fmt.Errorf("$decision: want an object, got %s", short(given, 80))
	}
	base := fields(
		"duration", "4h", "origin", "cscli", "scenario", "{{u}}/manual",
		"scope", "Ip", "type", "ban", "value", "{{net}}.1")
	return n.expand(override(base, over))
}

// makeAlert expands {"$alert": {…}}: a complete alert that just happened, with the given fields instead.
// "scope" and "value" are those of its source.
func (n *names) makeAlert(given any) (any, error) {
	over, ok := given.(*object)
	if !ok {
		return nil, fmt.Errorf("$alert: want an object, got %s", short(given, 80))
	}
	over = over.clone()
	source := fields("scope", "Ip", "value", "{{net}}.1")
	for _, k := range source.keys {
		if v, ok := over.get(k); ok {
			source.set(k, v)
			over.remove(k)
		}
	}
	scenario, ok := over.get("scenario")
	if !ok {
		scenario = "{{u}}/scn"
	}
	did := inWords(scenario)
	if did == "$omit" {
		did = "x"
	}
	base := fields(
		"capacity", json.Number("5"), "decisions", nil, "events", []any{}, "events_count", json.Number("1"),
		"labels", nil, "leakspeed", "10s",
		"message", inWords(source.values["value"])+" did "+did,
		"scenario", scenario, "scenario_hash", "hash-1", "scenario_version", "0.1",
		"simulated", false, "source", source, "start_at", "{{nowns}}", "stop_at", "{{nowns}}")
	return n.expand(override(base, over))
}

// inWords gives a value as part of a message: a text as it is, anything else as JSON.
func inWords(v any) string {
	if text, ok := v.(string); ok {
		return text
	}
	return string(appendValue(nil, v))
}

// fields makes an object of names and values in turn.
func fields(pairs ...any) *object {
	o := newObject()
	for i := 0; i < len(pairs); i += 2 {
		o.set(pairs[i].(string), pairs[i+1])
	}
	return o
}

// override puts the given fields into base; the value "$omit" takes a field out.
// base is changed and given back.
func override(base, over *object) *object {
	for _, k := range over.keys {
		if v := over.values[k]; v == "$omit" {
			base.remove(k)
		} else {
			base.set(k, v)
		}
	}
	return base
}
