package wire

import (
	"strconv"

	"lapid/engine"
)

// ParseUsage reads the body of POST /v1/usage-metrics for a sender of that
// kind. The result has what the report says of its sender, and its metrics as
// a compact JSON list in Payload; Name and ReceivedAt are left to the caller.
//
// All entries must be well-formed, but only the one of the sender's kind is
// used. An empty object is taken for an empty list, for some bouncers cannot
// write one. An error is of KindSyntax, KindMissing or KindWrongUsage, in this
// order of precedence.
func ParseUsage(body []byte, kind engine.UsageKind) (*engine.Usage, error) {
	p := usageParser{kind: kind, usage: &engine.Usage{Kind: kind}}
	p.data, p.texts.room = body, len(body)
	if !p.null() {
		p.report()
	}
	if p.err != nil {
		return nil, p.err
	}
	if text := p.missing(); text != "" {
		return nil, &Error{Kind: KindMissing, Text: text}
	}
	if text := p.wrongKind(); text != "" {
		return nil, &Error{Kind: KindWrongUsage, Text: text}
	}
	return p.usage, nil
}

// usageParser reads one report. Entries of other kinds are read for their
// syntax and for what they lack, and dropped.
type usageParser struct {
	reader
	kind  engine.UsageKind
	usage *engine.Usage // what the first entry of that kind says

	// By section: how many entries it has, and what is missing in the first
	// bad one.
	entries [3]int
	lacks   [3]string
}

// Sections of a report, in the order in which what is missing is listed.
const (
	usageLapi = iota
	usageProcessors
	usageComponents
)

// A report of a kind that is not the sender's own is read and dropped.
var usageFields = newFields("AllMetrics", "lapi", "log_processors", "remediation_components")

// report reads the three sections. A section that comes twice replaces what was read
// of it.
func (p *usageParser) report() {
	o := newObject(&usageFields)
	for p.open('{', "models.AllMetrics"); p.fieldOf(&o); {
		if o.at < 0 {
			p.skip()
			continue
		}
		section := o.at
		p.entries[section], p.lacks[section] = 0, ""
		if p.kind == sender(section) {
			*p.usage = engine.Usage{Kind: p.kind}
		}
		switch {
		case p.null():
		case section == usageLapi:
			p.entry(section, "lapi.")
		default:
			p.section(section)
		}
	}
}

// section reads the entries of one kind.
func (p *usageParser) section(section int) {
	if p.emptyObject() {
		return
	}
	name := usageFields.names[section]
	for p.open('[', "[]"+name); p.more(']'); p.entries[section]++ {
		p.entry(section, name+"."+strconv.Itoa(p.entries[section])+".")
	}
}

// sender is the kind of sender whose entries stand in a section.
func sender(section int) engine.UsageKind {
	switch section {
	case usageProcessors:
		return engine.UsageMachine
	case usageComponents:
		return engine.UsageBouncer
	}
	return 0
}

// missing is the list of what the whole report lacks. Headers that follow each
// other at its very start are written once.
func (p *usageParser) missing() string {
	var f failures
	for _, lacks := range p.lacks {
		f.inner(lacks)
	}
	return collapsed(f.String())
}

// collapsed leaves one of the headers at the start of a list of failures.
func collapsed(text string) string {
	const repeated = failureHeader + "\n" + failureHeader + "\n"
	for len(text) > len(repeated) && text[:len(repeated)] == repeated {
		text = text[len(failureHeader)+1:]
	}
	return text
}

// wrongKind says why the report is of no use for its sender, "" if it is. Two
// entries of a kind are too many, from any sender.
func (p *usageParser) wrongKind() string {
	for section, name := range [...]string{usageProcessors: "log processor", usageComponents: "remediation component"} {
		switch n := p.entries[section]; {
		case n == 0 && p.kind == sender(section) && section != usageLapi:
			return "Missing " + name + " data"
		case n > 1:
			return "Payload has more than one " + name
		}
	}
	return ""
}
