package export

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Tables and documents, for people and programs.

// csvColumns are those that there are; the first six are usual. duration and reason are
// read by lapid decisions import.
var csvColumns = []string{"value", "scope", "type", "origin", "scenario", "until", "duration", "reason"}

var csvFormat = Format{Name: "csv", Reads: "spreadsheets, SIEMs; with columns=value,scope,type,duration,reason: lapid decisions import", Type: "text/csv; charset=utf-8; header=present",
	PerEntry: 90, Ends: true, Words: true,
	Options: []Option{{Name: "columns", Usual: "value,scope,type,origin,scenario,until", Help: "any of " + strings.Join(csvColumns, ", ")}},
	whole:   writeCSV}

func writeCSV(dst []byte, p *page) []byte {
	columns := strings.Split(p.option("columns"), ",")
	cells := make([][3][]byte, len(p.words)) // quoted once for all entries that have them
	for i := range p.words {
		w := &p.words[i]
		cells[i] = [3][]byte{appendCell(nil, w.Type), appendCell(nil, w.Origin), appendCell(nil, w.Scenario)}
	}
	dst = append(append(dst, strings.Join(columns, ",")...), '\n')
	for i := range p.Entries {
		e := &p.Entries[i]
		for j, c := range columns {
			if j > 0 {
				dst = append(dst, ',')
			}
			switch c {
			case "value":
				dst = appendBare(dst, e)
			case "scope":
				dst = append(dst, scopeOf(e)...)
			case "type":
				dst = append(dst, cells[e.words][0]...)
			case "origin":
				dst = append(dst, cells[e.words][1]...)
			case "scenario", "reason":
				dst = append(dst, cells[e.words][2]...)
			case "until":
				dst = appendMoment(dst, e.until)
			case "duration":
				dst = append(strconv.AppendInt(dst, p.left(e), 10), 's')
			}
		}
		dst = append(dst, '\n')
	}
	return dst
}

func scopeOf(e *Entry) string {
	if e.host() {
		return "Ip"
	}
	return "Range"
}

// appendMoment writes RFC 3339 in whole seconds.
func appendMoment(dst []byte, at int64) []byte {
	return time.Unix(0, at).UTC().AppendFormat(dst, time.RFC3339)
}

// appendCell writes a text as RFC 4180 has it, on one line. What a spreadsheet would run has
// an apostrophe in front.
func appendCell(dst []byte, s string) []byte {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(shorten(s), "_"))
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		s = "'" + s
	}
	if !strings.ContainsAny(s, `",`) && strings.TrimSpace(s) == s {
		return append(dst, s...)
	}
	return append(append(append(dst, '"'), strings.ReplaceAll(s, `"`, `""`)...), '"')
}

// longestCell is how much of a text a table tells, in bytes.
const longestCell = 1024

func shorten(s string) string { return s[:min(len(s), longestCell)] }

var jsonFormat = Format{Name: "json", Reads: "scripts, OPNsense and Check Point with a jq path", Type: "application/json", PerEntry: 150, Ends: true, Words: true, Dated: true,
	whole: func(dst []byte, p *page) []byte {
		dst = fmt.Appendf(dst, `{"revision":%d,"generated":"%s","count":%d,"entries":[`, p.Revision, appendMoment(nil, p.Now), len(p.Entries))
		texts := p.quoted()
		dst = joined(dst, p, func(dst []byte, e *Entry) []byte { return appendObject(dst, e, texts) })
		return append(dst, "]}\n"...)
	}}

var ndjson = Format{Name: "ndjson", Reads: "scripts, an object on each line", Type: "application/x-ndjson", PerEntry: 150, Ends: true, Words: true,
	whole: func(dst []byte, p *page) []byte {
		texts := p.quoted()
		for i := range p.Entries {
			dst = append(appendObject(dst, &p.Entries[i], texts), '\n')
		}
		return dst
	}}

// quoted are the words as the members of an object.
func (p *page) quoted() [][]byte {
	texts := make([][]byte, len(p.words))
	for i := range p.words {
		w := &p.words[i]
		for j, s := range [...]string{w.Type, w.Origin, w.Scenario} {
			texts[i] = append(append(append(texts[i], `,"`...), [...]string{"type", "origin", "scenario"}[j]...), `":`...)
			texts[i] = appendJSON(texts[i], shorten(s))
		}
	}
	return texts
}

func appendObject(dst []byte, e *Entry, texts [][]byte) []byte {
	dst = append(appendBare(append(dst, `{"value":"`...), e), '"')
	dst = append(append(dst, texts[e.words]...), `,"until":"`...)
	return append(appendMoment(dst, e.until), `"}`...)
}

var checkpoint = Format{Name: "checkpoint", Reads: "Check Point custom intelligence feeds (CSV)", Comment: "#", PerEntry: 90, NoSix: true, Words: true,
	Options: []Option{
		{Name: "confidence", Usual: "high", Takes: []string{"low", "medium", "high", "critical"}, Help: "of every entry"},
		{Name: "severity", Usual: "high", Takes: []string{"low", "medium", "high", "critical"}, Help: "of every entry"},
		{Name: "product", Usual: "AB", Takes: []string{"AB", "AV"}, Help: "AB: Anti-Bot, AV: Anti-Virus"},
	},
	head: func(dst []byte, _ *page) []byte {
		return append(dst, "#UNIQ-NAME,VALUE,TYPE,CONFIDENCE,SEVERITY,PRODUCT,COMMENT\n"...)
	},
	line: func(dst []byte, p *page, e *Entry) []byte {
		dst = fmt.Appendf(dst, "lapid-%08x", uint32(e.hi>>32))
		if e.host() {
			dst = append(appendAddress(append(dst, ','), e), ",IP,"...)
		} else {
			dst = append(strconv.AppendUint(append(dst, '-'), uint64(e.bits), 10), ',')
			dst = append(appendSpan(dst, e), ",IP Range,"...)
		}
		dst = append(append(append(append(dst, p.option("confidence")...), ','), p.option("severity")...), ',')
		dst = append(append(append(dst, p.option("product")...), ','), p.wordsOf(e).scenario...)
		return append(dst, '\n')
	}}
