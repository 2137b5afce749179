package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"lapid/transport/admin"
)

// YAML is read by goccy/go-yaml and written by hand: that library (1.19) sets
// lists within lists ten blanks in where the golden files have eight, quotes with "
// where they have ', and reads some texts it wrote back as others (".inf" as a
// number, a line end as nothing), which TestYAMLScalars forbids.

// yamlScalar writes one value so that every YAML reader takes it for the text it is.
// What looks like a number or a truth, and what is not seen, stands in double quotes,
// other texts that need quotes in single ones, as the reference's writer does it.
func yamlScalar(s string) string {
	switch {
	case s == "", looksTyped.MatchString(s):
		return strconv.Quote(s)
	case strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029' }) >= 0:
		return jsonText(s)
	case plainText.MatchString(s) && !strings.Contains(s, ": ") && !strings.Contains(s, " #") &&
		!strings.HasSuffix(s, ":") && !strings.HasSuffix(s, " "):
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// looksTyped is what a YAML reader would take for a number, a truth, nothing or
// a moment; plainText needs no quotes.
var (
	looksTyped = regexp.MustCompile(`^(?i:true|false|yes|no|on|off|y|n|null|~|[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?|[-+]?0x[0-9a-f_]+|[-+]?0o[0-7_]+|[-+]?[0-9]+(:[0-5]?[0-9])+|[-+]?\.(inf|nan)|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt][0-9:.]+(Z|[-+][0-9:]+)?)?)$`)
	plainText  = regexp.MustCompile(`^[\p{L}\p{N}_./(+$^;\\][^\x00-\x1f]*$`)
)

// jsonText is a text in quotes, as JSON and YAML both read it.
func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a string cannot be written as JSON: " + err.Error())
	}
	return string(b)
}

// yamlMap is a map whose order is kept; a value is a text, a number, a truth, a
// yamlMap or a list of them.
type yamlMap []yamlField

// yamlField is one key with its value; the name is written as it is.
type yamlField struct {
	name  string
	value any
}

// appendTo writes the map; its first line continues the line that is there.
// Fields stand at indent, what is inside them four blanks right of base.
// Keys are the program's own and need no quotes.
func (m yamlMap) appendTo(out *strings.Builder, indent, base string) {
	deeper := base + "    "
	for i, f := range m {
		if i > 0 {
			out.WriteString(indent)
		}
		out.WriteString(f.name + ":")
		switch v := f.value.(type) {
		case yamlMap:
			out.WriteString("\n" + deeper)
			v.appendTo(out, deeper, deeper)
		case []yamlMap:
			if len(v) == 0 {
				out.WriteString(" []\n")
				continue
			}
			out.WriteByte('\n')
			for _, item := range v {
				out.WriteString(deeper + "- ")
				item.appendTo(out, deeper+"  ", deeper)
			}
		case string:
			out.WriteString(" " + yamlScalar(v) + "\n")
		default:
			fmt.Fprintf(out, " %v\n", v)
		}
	}
}

// alertYAML is the raw form of one alert: field names in lower case, run
// together.
func alertYAML(a *admin.Alert) string {
	var decisions, events []yamlMap
	for _, d := range a.Decisions {
		decisions = append(decisions, yamlMap{
			{"duration", d.Duration}, {"id", d.ID}, {"origin", d.Origin}, {"scenario", d.Scenario}, {"scope", d.Scope},
			{"simulated", d.Simulated}, {"type", d.Type}, {"until", ""}, {"uuid", ""}, {"value", d.Value},
		})
	}
	for _, e := range a.Events {
		events = append(events, yamlMap{{"meta", metaYAML(e.Meta)}, {"timestamp", e.Timestamp}})
	}
	s := &a.Source
	alert := yamlMap{
		{"capacity", a.Capacity}, {"createdat", a.CreatedAt}, {"decisions", decisions}, {"events", events},
		{"eventscount", a.EventsCount}, {"id", a.ID}, {"kind", a.Kind}, {"labels", []yamlMap(nil)},
		{"leakspeed", a.Leakspeed}, {"machineid", a.MachineID}, {"message", a.Message}, {"meta", metaYAML(a.Meta)},
		{"remediation", a.Remediation}, {"scenario", a.Scenario}, {"scenariohash", a.ScenarioHash},
		{"scenarioversion", a.ScenarioVersion}, {"simulated", a.Simulated},
		{"source", yamlMap{
			{"asname", s.AsName}, {"asnumber", s.AsNumber}, {"cn", s.Cn}, {"ip", s.IP}, {"latitude", s.Latitude},
			{"longitude", s.Longitude}, {"range", s.Range}, {"scope", s.Scope}, {"value", s.Value},
		}},
		{"startat", a.StartAt}, {"stopat", a.StopAt}, {"uuid", a.UUID},
	}
	var out strings.Builder
	alert.appendTo(&out, "", "")
	return out.String()
}

// metaYAML is a list of keys and values.
func metaYAML(ms []admin.Meta) []yamlMap {
	var out []yamlMap
	for _, m := range ms {
		out = append(out, yamlMap{{"key", m.Key}, {"value", m.Value}})
	}
	return out
}

// texts are the words of a list in JSON, or the text itself when it is none.
func texts(s string) []string {
	var list []string
	if json.Unmarshal([]byte(s), &list) != nil {
		return []string{s}
	}
	return list
}
