package verbs

import (
	"encoding/json"
	"fmt"
	"strings"

	"lapid/cmd/lapid/config"
	"lapid/transport/admin"
)

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
			out.WriteString(" " + config.Scalar(v) + "\n")
		default:
			fmt.Fprintf(out, " %v\n", v)
		}
	}
}

// alertYAML is the raw form of one alert: field names in lower case, run
// together.
func alertYAML(a *admin.Alert) string {
	// The reference writes its own structs this way, fields that are never set included.
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
