package inputs

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"lapid/transport/admin"
)

// Entry is one entry of an input. The value, and what else the entry says
// of itself; "" where it says nothing, which is filled with what all have in common.
type Entry struct {
	admin.Item
	Left      bool // Duration is what was left of it when it was listed; it may be over
	Simulated bool // the alert that it was listed with was, so bouncers were never told
}

// Sink takes what a reader finds. It is called by one goroutine, in the
// order of the input.
type Sink struct {
	// Entry gets every entry with where it stood. It is only good until the next
	// one; its texts may be kept. An error ends the reading.
	Entry func(where Place, e *Entry) error
	// Complain is told what no entry can be made of.
	Complain func(where Place, err error)
	// Strange is told the name of a column or field that is not understood; nil:
	// nothing is told. It may be told the same name again.
	Strange func(name string)
}

// Place is where something stood in the input. It is put into words (String) only where it is told:
// an input has as many as entries.
type Place struct {
	kind     string // "line", "item"
	n        int
	decision int // of those in an alert, from 1 on; 0: it is none of them
}

// String is such as "line 7".
func (p Place) String() string {
	if p.decision > 0 {
		return fmt.Sprintf("%s %d, decision %d", p.kind, p.n, p.decision)
	}
	return fmt.Sprintf("%s %d", p.kind, p.n)
}

// Reader reads one format. Its error ends the import. An input that is empty
// has no entries. Readers keep one entry in memory, and one line of at most
// MaxLine bytes or one object.
type Reader func(in io.Reader, to *Sink) error

// Names of the formats.
const (
	CSV    = "csv"
	JSON   = "json"
	NDJSON = "ndjson"
	Values = "values"
)

// Formats are the readers by them.
var Formats = map[string]Reader{CSV: readCSV, JSON: readJSON, NDJSON: readNDJSON, Values: readValues}

const (
	// MaxLine bounds one line, in bytes. No address, scope and reason is so
	// long; a file without line ends is found before it fills the memory.
	MaxLine = 1 << 20
	// MaxObject bounds one object of JSON, in bytes: an alert with all decisions of
	// an import, as a list prints it, is shorter.
	MaxObject = 64 << 20
)

// Columns are the names a header line or an object may hold.
var Columns = []string{"duration", "reason", "scope", "type", "value"}

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
func readCSV(in io.Reader, to *Sink) error {
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
		return fmt.Errorf("the header line has no column 'value' (known are %s)", strings.Join(Columns, ", "))
	}
	to.columns(columns, own)
	var e Entry
	for {
		record, err := r.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			var wrong *csv.ParseError
			if errors.As(err, &wrong) {
				to.Complain(Place{kind: "line", n: r.line}, wrong.Err)
				continue
			}
			return fmt.Errorf("reading the input: %w", err)
		}
		if len(record) == 1 && withoutComment(record[0]) == "" {
			continue
		}
		e = Entry{Left: own}
		for i, text := range record {
			if i < len(columns) {
				e.set(columns[i], strings.TrimSpace(text), own)
			}
		}
		if err := to.Entry(Place{kind: "line", n: r.line}, &e); err != nil {
			return err
		}
	}
}

// columns names those that are not understood. Only the first reading asks
// for that.
func (to *Sink) columns(names []string, own bool) {
	if to.Strange == nil {
		return
	}
	for _, name := range names {
		if !slices.Contains(Columns, name) && !(own && slices.Contains(listColumns, name)) {
			to.Strange(name)
		}
	}
}

// set takes one field of a line. own says that the file is a list as we print it,
// whose columns have other names.
func (e *Entry) set(column, text string, own bool) {
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
		e.Simulated = text == "true"
	}
}

// readValues reads one value per line. Blank lines and what follows a # are
// for people. A byte order mark before the first value is taken away, as
// Windows' editors write one.
func readValues(in io.Reader, to *Sink) error {
	lines := newInputLines(in)
	var e Entry
	for n := 1; ; n++ {
		text, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, ErrTooLong):
			return fmt.Errorf("a line is longer than %d bytes", MaxLine)
		case err != nil:
			return err
		}
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text = withoutComment(text); text == "" {
			continue
		}
		e = Entry{Item: admin.Item{Value: text}}
		if err := to.Entry(Place{kind: "line", n: n}, &e); err != nil {
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

// Entry is the object as an entry. One with an id was printed by a list, so its
// duration is what was left of it then, and its scenario stands for a reason.
func (j *jsonDecision) entry() Entry {
	e := Entry{Item: admin.Item{Value: j.Value, Scope: j.Scope, Type: j.Type, Duration: j.Duration, Reason: j.Reason}, Simulated: j.Simulated}
	if j.ID != nil { // it was listed somewhere
		e.Left = true
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
func readJSON(in io.Reader, to *Sink) error {
	start := bufio.NewReaderSize(in, 1<<16)
	if peeked, _ := start.Peek(start.Size()); guess(bytes.TrimPrefix(peeked, []byte("\ufeff"))) == NDJSON {
		return readNDJSON(start, to)
	}
	ration := &rationed{in: &uncommented{in: start}, most: MaxObject}
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
		if err := to.object(Place{kind: "item", n: n}, to.decode(d, &o), &o); err != nil {
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
func readNDJSON(in io.Reader, to *Sink) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), MaxObject)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if n == 1 {
			text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
		}
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		where := Place{kind: "line", n: n}
		if text[0] != '{' {
			to.Complain(where, errors.New("unable to parse json: an object on each line is needed"))
			continue
		}
		var o jsonObject
		err := to.unmarshal(text, &o)
		if broken := (*json.SyntaxError)(nil); errors.As(err, &broken) {
			to.Complain(where, fmt.Errorf("unable to parse json: %w", err)) // the next line is another object
			continue
		}
		if err := to.object(where, err, &o); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("%w: a line has at most %d MiB", ErrTooLong, MaxObject>>20)
	}
	return lines.Err()
}

// Wording says of a value that encoding/json could not take which field it is, what it is, and what is asked for, in
// the words of JSON. Another error is returned as it is.
func Wording(err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return err
	}
	wanted := "an object"
	switch wrong.Type.Kind() {
	case reflect.String:
		wanted = "a string"
	case reflect.Bool:
		wanted = "true or false"
	case reflect.Slice, reflect.Array:
		wanted = "a list"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64, reflect.Float64:
		wanted = "a number"
	}
	name := "the value"
	if path := strings.Split(wrong.Field, "."); wrong.Field != "" {
		path = slices.DeleteFunc(path, func(part string) bool { return strings.ToLower(part) != part }) // a type's, which is part of another
		name = fmt.Sprintf("%.100q", strings.Join(path, "."))
	}
	if figure, is := strings.CutPrefix(wrong.Value, "number "); is { // a number that does not fit
		return fmt.Errorf("%s is %.40s, and a whole number is asked for, not too large and written without a fraction or an exponent", name, figure)
	}
	return fmt.Errorf("%s is of the kind %s, and %s is asked for", name, wrong.Value, wanted)
}

// object takes an object that was read, or could not be.
func (to *Sink) object(where Place, err error, o *jsonObject) error {
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrong):
		to.Complain(where, Wording(err))
		return nil
	case err != nil:
		return fmt.Errorf("%s: unable to parse json: %w", where, err)
	case o.Decisions != nil:
		return to.alert(where, o)
	}
	e := o.entry()
	return to.Entry(where, &e)
}

// alert takes the decisions out of an alert as a list shows it. All of its decisions
// count as listed, and are simulated when the alert is.
func (to *Sink) alert(where Place, a *jsonObject) error {
	var ds []jsonDecision
	if err := json.Unmarshal(a.Decisions, &ds); err != nil {
		to.Complain(where, Wording(err))
		return nil
	}
	for i := range ds {
		e := ds[i].entry()
		e.Left, e.Simulated = true, e.Simulated || a.Simulated
		if e.Reason == "" {
			e.Reason = ds[i].Scenario
		}
		if err := to.Entry(Place{where.kind, where.n, i + 1}, &e); err != nil {
			return err
		}
	}
	return nil
}

// decode reads the next object, and names the fields of a decision that are
// not understood if that is asked for. Names are compared without
// regard to case, as encoding/json fills fields. Alerts are left alone: most
// of their fields are not a decision's.
func (to *Sink) decode(d *json.Decoder, o *jsonObject) error {
	if to.Strange == nil {
		return d.Decode(o)
	}
	var text json.RawMessage
	if err := d.Decode(&text); err != nil {
		return err
	}
	return to.unmarshal(text, o)
}

// unmarshal is decode for an object that is there as a text.
func (to *Sink) unmarshal(text []byte, o *jsonObject) error {
	err := json.Unmarshal(text, o)
	if broken := (*json.SyntaxError)(nil); to.Strange != nil && o.Decisions == nil && !errors.As(err, &broken) {
		eachKey(text, func(key []byte) {
			if decisionFields[string(key)] {
				return
			}
			if lower := strings.ToLower(string(key)); !decisionFields[lower] {
				to.Strange(lower)
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
