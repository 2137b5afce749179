package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lapid/transport/admin"
)

// reader reads one format: it yields every item with where it stood, and tells
// complain of what it cannot make an item of. Its error ends the import. The
// item is only good until the next one; its texts may be kept.
type reader func(in io.Reader, yield func(where string, item *admin.Item) error, complain func(where string, err error)) error

var formats = map[string]reader{"csv": readCSV, "json": readJSON, "values": readValues}

// maxLine bounds one line, in bytes.
const maxLine = 1 << 20

// importColumns are the names a header line may hold; others are skipped.
var importColumns = []string{"duration", "reason", "scope", "type", "value"}

func readCSV(in io.Reader, yield func(string, *admin.Item) error, complain func(string, error)) error {
	r := csv.NewReader(bufio.NewReaderSize(in, 1<<16))
	r.ReuseRecord, r.TrimLeadingSpace, r.FieldsPerRecord = true, true, -1
	header, err := r.Read()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the input is empty: a header line is needed")
		}
		return fmt.Errorf("unable to parse csv: %w", err)
	}
	columns := make([]string, len(header))
	for i, name := range header {
		columns[i] = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
	}
	if !slices.Contains(columns, "value") {
		return fmt.Errorf("the header line has no column 'value' (known are %s)", strings.Join(importColumns, ", "))
	}
	var item admin.Item
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			complain(fmt.Sprintf("line %d", wrong.Line), wrong.Err)
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the input: %w", err)
		}
		line, _ := r.FieldPos(0)
		item = admin.Item{}
		for i, text := range record {
			if i < len(columns) {
				setField(&item, columns[i], strings.TrimSpace(text))
			}
		}
		if err := yield(fmt.Sprintf("line %d", line), &item); err != nil {
			return err
		}
	}
}

func setField(item *admin.Item, column, text string) {
	switch column {
	case "value":
		item.Value = text
	case "scope":
		item.Scope = text
	case "type":
		item.Type = text
	case "duration":
		item.Duration = text
	case "reason":
		item.Reason = text
	}
}

func readValues(in io.Reader, yield func(string, *admin.Item) error, complain func(string, error)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	var item admin.Item
	for n := 1; lines.Scan(); n++ {
		item = admin.Item{Value: strings.TrimSpace(lines.Text())}
		if err := yield(fmt.Sprintf("item %d", n), &item); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d bytes", maxLine)
	}
	return lines.Err()
}

// jsonItem is one object of the list; other names are skipped.
type jsonItem struct {
	Value    string `json:"value"`
	Scope    string `json:"scope"`
	Type     string `json:"type"`
	Duration string `json:"duration"`
	Reason   string `json:"reason"`
}

func readJSON(in io.Reader, yield func(string, *admin.Item) error, complain func(string, error)) error {
	d := json.NewDecoder(bufio.NewReaderSize(in, 1<<16))
	first, err := d.Token()
	if err != nil {
		return fmt.Errorf("unable to parse json: %w", err)
	}
	if first != json.Delim('[') {
		return errors.New("unable to parse json: a list of objects is needed")
	}
	var item admin.Item
	for n := 1; d.More(); n++ {
		var j jsonItem
		err := d.Decode(&j)
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			complain(fmt.Sprintf("item %d", n), err)
			continue
		}
		if err != nil {
			return fmt.Errorf("item %d: unable to parse json: %w", n, err)
		}
		item = admin.Item{Value: j.Value, Scope: j.Scope, Type: j.Type, Duration: j.Duration, Reason: j.Reason}
		if err := yield(fmt.Sprintf("item %d", n), &item); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("unable to parse json: %w", err)
	}
	return nil
}
