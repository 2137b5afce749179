package verbs

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lapid/transport/admin"
)

// listed is one entry of an input. The value, and what else the entry says
// of itself; "" where it says nothing, which the flags then fill.
type listed struct {
	admin.Item
	left      bool // Duration is what was left of it when it was listed; it may be over
	simulated bool
}

// sink takes what a reader finds. It is called by one goroutine, in the
// order of the input.
type sink struct {
	// entry gets every entry with where it stood. It is only good until the next
	// one; its texts may be kept. An error ends the reading.
	entry func(where place, e *listed) error
	// complain is told what no entry can be made of.
	complain func(where place, err error)
	// strange is told the name of a column or field that is not understood; nil:
	// nothing is told. It may be told the same name again.
	strange func(name string)
}

// place is where something stood in the input. It is put into words only where it is told:
// an input has as many as entries.
type place struct {
	kind     string // "line", "item"
	n        int
	decision int // of those in an alert, from 1 on; 0: it is none of them
}

func (p place) String() string {
	if p.decision > 0 {
		return fmt.Sprintf("%s %d, decision %d", p.kind, p.n, p.decision)
	}
	return fmt.Sprintf("%s %d", p.kind, p.n)
}

// reader reads one format. Its error ends the import. An input that is empty
// has no entries. Readers keep one entry in memory, and one line of at most
// maxLine bytes or one object.
type reader func(in io.Reader, to *sink) error

// The words for --format.
const (
	formatCSV    = "csv"
	formatJSON   = "json"
	formatNDJSON = "ndjson"
	formatValues = "values"
)

// formats are the readers by them.
var formats = map[string]reader{formatCSV: readCSV, formatJSON: readJSON, formatNDJSON: readNDJSON, formatValues: readValues}

const (
	// maxLine bounds one line, in bytes. No address, scope and reason is so
	// long; a file without line ends is found before it fills the memory.
	maxLine = 1 << 20
	// maxObject bounds one object of JSON, in bytes: an alert with all decisions of
	// an import, as a list prints it, is shorter.
	maxObject = 64 << 20
)

// importColumns are the names a header line or an object may hold.
var importColumns = []string{"duration", "reason", "scope", "type", "value"}

// listColumns are those of "decisions list -o raw" that take their place, and the
// ones that say nothing about the decision.
var listColumns = []string{"id", "source", "ip", "action", "country", "as", "events_count", "expiration", "simulated",
	"alert_id", "machine"}

// readCSV reads a file with a header line. A line with too few columns leaves the
// last ones open, one with too many is taken as far as there are names. A line that
// is no CSV is told and passed over; a header without a value ends it.
//
// A file that has a column ip and none called value is a list as "decisions list -o
// raw" prints it. Lines that begin with # are passed over, and so is a # behind a
// blank with what follows it, but in a reason.
func readCSV(in io.Reader, to *sink) error {
	r := newCSVReader(in)
	header, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unable to parse csv: %w", err)
	}
	columns := make([]string, len(header))
	for i, name := range header {
		columns[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
	}
	own := slices.Contains(columns, "ip") && !slices.Contains(columns, "value") // a list of ours or of cscli's
	if !own && !slices.Contains(columns, "value") {
		return fmt.Errorf("the header line has no column 'value' (known are %s)", strings.Join(importColumns, ", "))
	}
	to.columns(columns, own)
	var e listed
	for {
		record, err := r.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			var wrong *csv.ParseError
			if errors.As(err, &wrong) {
				to.complain(place{kind: "line", n: r.line}, wrong.Err)
				continue
			}
			return fmt.Errorf("reading the input: %w", err)
		}
		if len(record) == 1 && withoutComment(record[0]) == "" {
			continue
		}
		e = listed{left: own}
		for i, text := range record {
			if i < len(columns) {
				e.set(columns[i], strings.TrimSpace(text), own)
			}
		}
		if err := to.entry(place{kind: "line", n: r.line}, &e); err != nil {
			return err
		}
	}
}

// columns names those that are not understood. Only the first reading asks
// for that.
func (to *sink) columns(names []string, own bool) {
	if to.strange == nil {
		return
	}
	for _, name := range names {
		if !slices.Contains(importColumns, name) && !(own && slices.Contains(listColumns, name)) {
			to.strange(name)
		}
	}
}

// set takes one field of a line. own says that the file is a list as we print it,
// whose columns have other names.
func (e *listed) set(column, text string, own bool) {
	if column != "reason" {
		text = withoutComment(text)
	}
	switch column {
	case "value":
		e.Value = text
	case "scope":
		e.Scope = text
	case "type":
		e.Type = text
	case "duration":
		e.Duration = text
	case "reason":
		e.Reason = text
	}
	if !own {
		return
	}
	switch column {
	case "ip": // Scope:value
		if scope, value, ok := strings.Cut(text, ":"); ok {
			e.Scope, e.Value = scope, value
		}
	case "action":
		e.Type = text
	case "expiration":
		e.Duration = text
	case "simulated":
		e.simulated = text == "true"
	}
}

// readValues reads one value per line. Blank lines and what follows a # are
// for people. A byte order mark before the first value is taken away, as
// Windows' editors write one.
func readValues(in io.Reader, to *sink) error {
	lines := newInputLines(in)
	var e listed
	for n := 1; ; n++ {
		text, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTooLong):
			return fmt.Errorf("a line is longer than %d bytes", maxLine)
		case err != nil:
			return err
		}
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text = withoutComment(text); text == "" {
			continue
		}
		e = listed{Item: admin.Item{Value: text}}
		if err := to.entry(place{kind: "line", n: n}, &e); err != nil {
			return err
		}
	}
}

// withoutComment cuts a comment off: a # at the beginning of the line or
// behind a blank. A # within a word belongs to the word, for values of other
// scopes than addresses may hold one.
func withoutComment(line string) string {
	for i := strings.IndexByte(line, '#'); i >= 0 && i < len(line); i++ {
		if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
			line = line[:i]
			break
		}
	}
	return strings.TrimSpace(line)
}

// jsonDecision is one object of the list: a decision as it is given, or as it is
// listed.
type jsonDecision struct {
	Value    string `json:"value"`
	Scope    string `json:"scope"`
	Type     string `json:"type"`
	Duration string `json:"duration"`
	Reason   string `json:"reason"`

	// What listed decisions say beside it; the rest means nothing here.
	Scenario  string  `json:"scenario"`
	Simulated bool    `json:"simulated"`
	ID        *uint64 `json:"id"`
}

// listed is the object as an entry. One with an id was printed by a list, so its
// duration is what was left of it then, and its scenario stands for a reason.
func (j *jsonDecision) listed() listed {
	e := listed{Item: admin.Item{Value: j.Value, Scope: j.Scope, Type: j.Type, Duration: j.Duration, Reason: j.Reason}, simulated: j.Simulated}
	if j.ID != nil { // it was listed somewhere
		e.left = true
		if e.Reason == "" {
			e.Reason = j.Scenario
		}
	}
	return e
}

// jsonObject is a decision, or an alert with decisions as "decisions list -o json"
// shows it.
type jsonObject struct {
	jsonDecision
	Decisions json.RawMessage `json:"decisions"` // nil: it is a decision
}

// readJSON reads a list of decisions, or of alerts with decisions, or what readNDJSON
// takes. An object whose fields have the wrong type is told and passed over; text that is
// no JSON ends it, for nothing behind it can be trusted. Lines that begin with # are
// passed over.
func readJSON(in io.Reader, to *sink) error {
	start := bufio.NewReaderSize(in, 1<<16)
	if peeked, _ := start.Peek(start.Size()); guess(bytes.TrimPrefix(peeked, []byte("\ufeff"))) == formatNDJSON {
		return readNDJSON(start, to)
	}
	ration := &rationed{in: &uncommented{in: start}, most: maxObject}
	ration.next()
	d := json.NewDecoder(ration)
	first, err := d.Token()
	if errors.Is(err, io.EOF) || err == nil && first == nil { // nothing, or null
		return nil
	}
	if err != nil {
		return fmt.Errorf("unable to parse json: %w", err)
	}
	if first != json.Delim('[') {
		return errors.New("unable to parse json: a list of objects is needed")
	}
	for n := 1; d.More(); n++ {
		ration.next()
		var o jsonObject
		if err := to.object(place{kind: "item", n: n}, to.decode(d, &o), &o); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("unable to parse json: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("unable to parse json: something follows the end of the list")
	}
	return nil
}

// readNDJSON reads one object on each line: decisions, or alerts with decisions. Blank
// lines and those that begin with # are passed over, and what is no object is told.
func readNDJSON(in io.Reader, to *sink) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxObject)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if n == 1 {
			text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
		}
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		where := place{kind: "line", n: n}
		if text[0] != '{' {
			to.complain(where, errors.New("unable to parse json: an object on each line is needed"))
			continue
		}
		var o jsonObject
		err := to.unmarshal(text, &o)
		if broken := (*json.SyntaxError)(nil); errors.As(err, &broken) {
			to.complain(where, fmt.Errorf("unable to parse json: %w", err)) // the next line is another object
			continue
		}
		if err := to.object(where, err, &o); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("%w: a line has at most %d MiB", errTooLong, maxObject>>20)
	}
	return lines.Err()
}

// object takes an object that was read, or could not be.
func (to *sink) object(where place, err error, o *jsonObject) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		to.complain(where, err)
		return nil
	case err != nil:
		return fmt.Errorf("%s: unable to parse json: %w", where, err)
	case o.Decisions != nil:
		return to.alert(where, o)
	}
	e := o.listed()
	return to.entry(where, &e)
}

// alert takes the decisions out of an alert as a list shows it. All of its decisions
// count as listed, and are simulated when the alert is.
func (to *sink) alert(where place, a *jsonObject) error {
	var ds []jsonDecision
	if err := json.Unmarshal(a.Decisions, &ds); err != nil {
		to.complain(where, err)
		return nil
	}
	for i := range ds {
		e := ds[i].listed()
		e.left, e.simulated = true, e.simulated || a.Simulated
		if e.Reason == "" {
			e.Reason = ds[i].Scenario
		}
		if err := to.entry(place{where.kind, where.n, i + 1}, &e); err != nil {
			return err
		}
	}
	return nil
}

// decode reads the next object, and names the fields of a decision that are
// not understood if that is asked for. Names are compared without
// regard to case, as encoding/json fills fields. Alerts are left alone: most
// of their fields are not a decision's.
func (to *sink) decode(d *json.Decoder, o *jsonObject) error {
	if to.strange == nil {
		return d.Decode(o)
	}
	var text json.RawMessage
	if err := d.Decode(&text); err != nil {
		return err
	}
	return to.unmarshal(text, o)
}

// unmarshal is decode for an object that is there as a text.
func (to *sink) unmarshal(text []byte, o *jsonObject) error {
	err := json.Unmarshal(text, o)
	if broken := (*json.SyntaxError)(nil); to.strange != nil && o.Decisions == nil && !errors.As(err, &broken) {
		eachKey(text, func(key []byte) {
			if decisionFields[string(key)] {
				return
			}
			if lower := strings.ToLower(string(key)); !decisionFields[lower] {
				to.strange(lower)
			}
		})
	}
	return err
}

// decisionFields are those of jsonDecision. And those of listed decisions
// that mean nothing here and are known to.
var decisionFields = map[string]bool{
	"value": true, "scope": true, "type": true, "duration": true, "reason": true,
	"scenario": true, "simulated": true, "id": true, "origin": true, "uuid": true, "until": true, "created_at": true,
}

// eachKey yields the keys of a JSON object as they are written, without
// those of what lies in it. The text must be valid JSON. It does not
// allocate: an import has as many objects as decisions.
func eachKey(object []byte, yield func(key []byte)) {
	depth := 0
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			from := i + 1
			for i = from; i < len(object) && object[i] != '"'; i++ {
				if object[i] == '\\' {
					i++
				}
			}
			if rest := bytes.TrimLeft(object[min(i+1, len(object)):], " \t\r\n"); depth == 1 && len(rest) > 0 && rest[0] == ':' {
				yield(object[from:i])
			}
		}
	}
}
