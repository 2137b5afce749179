package main

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

// listed is one entry of an input.
type listed struct {
	admin.Item
	left      bool // Duration is what was left of it when it was listed; it may be over
	simulated bool
}

// sink takes what a reader finds.
type sink struct {
	// entry gets every entry with where it stood. It is only good until the next
	// one; its texts may be kept. An error ends the reading.
	entry func(where string, e *listed) error
	// complain is told what no entry can be made of.
	complain func(where string, err error)
	// strange is told the name of a column or field that is not understood; nil:
	// nobody wants to know. It may be told the same name again.
	strange func(name string)
}

// reader reads one format. Its error ends the import. An input that is empty has
// no entries.
type reader func(in io.Reader, to *sink) error

var formats = map[string]reader{"csv": readCSV, "json": readJSON, "values": readValues}

// maxLine bounds one line, in bytes.
const maxLine = 1 << 20

// importColumns are the names a header line or an object may hold.
var importColumns = []string{"duration", "reason", "scope", "type", "value"}

// listColumns are those of "decisions list -o raw" that take their place, and the
// ones that say nothing about the decision.
var listColumns = []string{"id", "source", "ip", "action", "country", "as", "events_count", "expiration", "simulated",
	"alert_id", "machine"}

func readCSV(in io.Reader, to *sink) error {
	r := csv.NewReader(bufio.NewReaderSize(in, 1<<16))
	r.ReuseRecord, r.TrimLeadingSpace, r.FieldsPerRecord = true, true, -1
	header, err := r.Read()
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
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			to.complain(fmt.Sprintf("line %d", wrong.Line), wrong.Err)
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the input: %w", err)
		}
		line, _ := r.FieldPos(0)
		e = listed{left: own}
		for i, text := range record {
			if i < len(columns) {
				e.set(columns[i], strings.TrimSpace(text), own)
			}
		}
		if err := to.entry(fmt.Sprintf("line %d", line), &e); err != nil {
			return err
		}
	}
}

// columns names those that are not understood.
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

func (e *listed) set(column, text string, own bool) {
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

// readValues reads one value per line. Blank lines and what follows a # are for
// people.
func readValues(in io.Reader, to *sink) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	var e listed
	for n := 1; lines.Scan(); n++ {
		text := lines.Text()
		if n == 1 {
			text = strings.TrimPrefix(text, "\ufeff")
		}
		if text = withoutComment(text); text == "" {
			continue
		}
		e = listed{Item: admin.Item{Value: text}}
		if err := to.entry(fmt.Sprintf("line %d", n), &e); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d bytes", maxLine)
	}
	return lines.Err()
}

// withoutComment cuts a comment off: a # at the beginning of the line or behind a
// blank.
func withoutComment(line string) string {
	for i := range len(line) {
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

	// What listed decisions say beside it.
	Scenario  string          `json:"scenario"`
	Simulated bool            `json:"simulated"`
	ID        *uint64         `json:"id"`
	Origin    json.RawMessage `json:"origin"`
	UUID      json.RawMessage `json:"uuid"`
	Until     json.RawMessage `json:"until"`
	CreatedAt json.RawMessage `json:"created_at"`
}

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

// jsonAlert is an alert as "decisions list -o json" shows it.
type jsonAlert struct {
	Decisions json.RawMessage `json:"decisions"`
	Simulated bool            `json:"simulated"`
}

func readJSON(in io.Reader, to *sink) error {
	d := json.NewDecoder(bufio.NewReaderSize(in, 1<<16))
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
	var text json.RawMessage
	for n := 1; d.More(); n++ {
		if err := d.Decode(&text); err != nil {
			return fmt.Errorf("item %d: unable to parse json: %w", n, err)
		}
		if err := to.object(n, text); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("unable to parse json: %w", err)
	}
	return nil
}

// object reads one object of the list: a decision, or an alert with decisions.
func (to *sink) object(n int, text []byte) error {
	where := fmt.Sprintf("item %d", n)
	if bytes.Contains(text, []byte(`"decisions"`)) {
		var a jsonAlert
		if err := json.Unmarshal(text, &a); err == nil && a.Decisions != nil {
			return to.alert(where, &a)
		}
	}
	var j jsonDecision
	if err := to.decode(text, &j); err != nil {
		to.complain(where, err)
		return nil
	}
	e := j.listed()
	return to.entry(where, &e)
}

func (to *sink) alert(where string, a *jsonAlert) error {
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
		if err := to.entry(fmt.Sprintf("%s, decision %d", where, i+1), &e); err != nil {
			return err
		}
	}
	return nil
}

// decode reads an object, and names fields that are not understood if somebody
// wants to know: most lists have none, so that they are looked for only when there
// are some.
func (to *sink) decode(text []byte, j *jsonDecision) error {
	if to.strange == nil {
		return json.Unmarshal(text, j)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(j) == nil {
		return nil
	}
	*j = jsonDecision{}
	if err := json.Unmarshal(text, j); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	for name := range fields {
		if !slices.Contains(importColumns, strings.ToLower(name)) && !slices.Contains(decisionFields, strings.ToLower(name)) {
			to.strange(name)
		}
	}
	return nil
}

// decisionFields are those of jsonDecision beside importColumns.
var decisionFields = []string{"scenario", "simulated", "id", "origin", "uuid", "until", "created_at"}
