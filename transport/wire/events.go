package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"lapid/engine"
)

// Limits of what is kept of metadata, in bytes.
const (
	mostEventMeta  = 8191 // of one event's list, as compact JSON
	mostMetaKey    = 255  // of a key of an alert
	mostMetaValue  = 4095 // of a value of an alert
	firstStripStep = 2048
	stripped       = "<stripped>"
)

// Fields of an event.
const (
	eventMeta = iota
	eventTimestamp
)

var eventFields = newFields("Event", "meta", "timestamp")

// An event whose meta is null lacks it; one with an empty list does not.
const eventRequired = 1<<eventMeta | 1<<eventTimestamp

// events reads the events of an alert and gives the list of what is missing in
// the first bad one.
func (p *alertParser) events(a *engine.Alert, o *object) (missing string) {
	a.Events = nil
	if p.null() {
		o.note(false)
		return ""
	}
	o.note(true)
	i := 0
	for p.open('[', "[]models.Event"); p.more(']'); i++ {
		p.step()
		e, seen := p.event()
		switch {
		case p.err != nil || missing != "":
		case seen.has(eventRequired):
			a.Events = append(grown(a.Events, p.rest(), smallestEvent), e)
		default:
			path := strconv.Itoa(p.index) + ".events." + strconv.Itoa(i) + "."
			missing = seen.missing(path, eventRequired)
		}
	}
	return missing
}

// event reads one event and what was seen of it. A time that cannot be read is now.
func (p *alertParser) event() (engine.Event, object) {
	e, o := engine.Event{}, newObject(&eventFields)
	for p.open('{', "models.Event"); p.fieldOf(&o); {
		switch o.at {
		case eventMeta:
			o.note(p.eventMeta(&e))
		case eventTimestamp:
			o.note(p.optionalString(&e.Text))
		default:
			p.skip()
		}
	}
	e.Timestamp = p.moment(e.Text)
	return e, o
}

// eventMeta reads the list of an event, shortened to its limit, and reports
// whether there is one. Beyond the limit even after every cut there is none,
// which is told as null: that is the reference's own rule.
func (p *alertParser) eventMeta(e *engine.Event) bool {
	e.Meta, e.NoMeta = nil, false
	if p.null() {
		return false
	}
	start, fixed := p.at, 1 // a bracket and what no cutting can take away
	p.meta = p.meta[:0]
	for p.open('[', "[]models.MetaItems"); p.more(']'); {
		p.step()
		m := p.metaItem()
		if fixed += len(",{}") + len(m.Key); fixed <= mostEventMeta {
			p.meta = append(p.meta, m)
		}
	}
	if fixed > mostEventMeta {
		e.NoMeta = true
		return true
	}
	e.Meta = append(e.Meta, p.meta...)
	// A byte of text is at most six bytes of JSON.
	if (p.at-start)*6 > mostEventMeta && !stripMeta(e.Meta) {
		e.Meta, e.NoMeta = nil, true
	}
	return true
}

// alertMeta reads the meta of an alert and cuts keys and values to their
// limits.
func (p *alertParser) alertMeta(a *engine.Alert) {
	a.Meta = nil
	if p.null() {
		return
	}
	p.meta = p.meta[:0]
	for p.open('[', "[]models.MetaItems"); p.more(']'); {
		p.step()
		m := p.metaItem()
		m.Key, m.Value = cut(m.Key, mostMetaKey), cut(m.Value, mostMetaValue)
		a.Meta = append(grown(a.Meta, p.rest(), smallestMeta), m)
	}
}

// Fields of an entry of metadata.
const (
	metaKey = iota
	metaValue
)

var metaFields = newFields("MetaItems", "key", "value")

// metaItem reads one entry. The one at the same place of the list before lends
// its texts, for the events of an alert resemble each other.
func (p *alertParser) metaItem() engine.Meta {
	var m engine.Meta
	if n := len(p.meta); n < cap(p.meta) {
		m = p.meta[:n+1][n]
	}
	o := newObject(&metaFields)
	for p.open('{', "models.MetaItems"); p.fieldOf(&o); {
		switch o.at {
		case metaKey:
			p.metaText(&m.Key, &o)
		case metaValue:
			p.metaText(&m.Value, &o)
		default:
			p.skip()
		}
	}
	if o.seen&(1<<metaKey) == 0 {
		m.Key = ""
	}
	if o.seen&(1<<metaValue) == 0 {
		m.Value = ""
	}
	return m
}

// metaText reads a key or a value; unlike a required field it keeps what it
// has when null follows.
func (p *alertParser) metaText(dst *string, o *object) {
	if p.optionalString(dst) {
		o.note(true)
	}
}

// stripMeta shortens values, the longest first, until the list fits, and
// reports whether it does. Each round halves what a long value may keep, so
// it ends after a dozen.
func stripMeta(meta []engine.Meta) bool {
	size := metaSize(meta)
	for step := firstStripStep; step > 0 && size > mostEventMeta; step /= 2 {
		for i := range meta {
			if v := meta[i].Value; len(v) > 2*step {
				meta[i].Value = v[:step] + stripped
			}
		}
		size = metaSize(meta)
	}
	for i := range meta {
		meta[i].Value = valid(meta[i].Value)
	}
	return size <= mostEventMeta
}

// metaSize is the number of bytes appendMeta writes.
func metaSize(meta []engine.Meta) int {
	size := len("[]") + max(len(meta)-1, 0)
	for i := range meta {
		m := &meta[i]
		size += len("{}")
		if m.Key != "" {
			size += len(`"key":""`) + escapedLen(m.Key)
		}
		if m.Value != "" {
			size += len(`"value":""`) + escapedLen(m.Value)
		}
		if m.Key != "" && m.Value != "" {
			size++
		}
	}
	return size
}

// cut shortens s to n bytes. The bytes of a character that was cut through
// become U+FFFD.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return valid(strings.Clone(s[:n])) // the rest is not to be kept alive
}

// valid gives s with every byte that is not part of a character replaced.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s)+8)
	for _, c := range s {
		out = utf8.AppendRune(out, c)
	}
	return string(out)
}
