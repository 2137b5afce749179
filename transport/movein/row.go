package movein

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lapid/engine"
)

// row is one row of a relation, as text, good until the next one. What cannot be read
// of it is noted, the first of it, and the value is zero.
type row struct {
	of  *relation
	raw []sql.RawBytes
	bad string // why the row cannot be taken over; it goes into the tally
	odd string // what there is to say of it all the same
}

func (r *row) fault(i int, what string) {
	if r.bad == "" {
		r.bad = r.of.columns[i].name + " " + what
	}
}

func (r *row) null(i int) bool { return r.raw[i] == nil }

// text is a column's text; what is no UTF-8 in it is replaced, for it goes into JSON.
func (r *row) text(i int) string {
	if utf8.Valid(r.raw[i]) {
		return string(r.raw[i])
	}
	return strings.ToValidUTF8(string(r.raw[i]), "\uFFFD")
}

func (r *row) number(i int) int64 {
	if r.null(i) {
		return 0
	}
	n, err := strconv.ParseInt(string(r.raw[i]), 10, 64)
	if err != nil {
		r.fault(i, "is no number")
	}
	return n
}

// small is a number that is kept in 32 bits.
func (r *row) small(i int) int32 {
	n := r.number(i)
	if n != int64(int32(n)) {
		r.fault(i, "is too large a number")
	}
	return int32(n)
}

// id is a number of a row, or of the one that it belongs to: 0 is none.
func (r *row) id(i int) int64 {
	n := r.number(i)
	if n < 0 {
		r.fault(i, "is negative")
	}
	return n
}

// float has 32 bits in the source, whatever the database widens it to. What is none that can
// be said in JSON is 0, and the row is taken over all the same.
func (r *row) float(i int) float32 {
	if r.null(i) {
		return 0
	}
	f, err := strconv.ParseFloat(string(r.raw[i]), 32)
	if err != nil || f-f != 0 { // no number, too large for 32 bits, infinite or none
		if r.odd == "" {
			r.odd = r.of.columns[i].name + " is no number, or too large: it is 0 here"
		}
		return 0
	}
	return float32(f)
}

// word is a text that must be kept whole, for cut it would mean something else.
func (r *row) word(i, most int) string {
	text := r.text(i)
	if len(text) > most {
		r.fault(i, fmt.Sprintf("is longer than %d bytes, which is the most that is kept", most))
	}
	return text
}

func (r *row) flag(i int) bool {
	switch string(r.raw[i]) {
	case "", "0", "false", "f":
		return false
	case "1", "true", "t":
		return true
	}
	r.fault(i, "is neither true nor false")
	return false
}

// time is a moment; the zero one when there is none.
func (r *row) time(i int) time.Time {
	if r.null(i) || len(r.raw[i]) == 0 {
		return time.Time{}
	}
	t, err := parseTime(string(r.raw[i]))
	if err != nil {
		r.fault(i, "is no time")
	}
	return t
}

// moment is a time in Unix nanoseconds; 0 when there is none.
func (r *row) moment(i int) int64 { return unix(r.time(i)) }

// stamp is a time with the zone that it was written in; where there is none, the year 1,
// which is what the reference shows.
func (r *row) stamp(i int) engine.Stamp {
	return engine.StampOf(r.time(i))
}

// uuid is zero where there is none, or another text.
func (r *row) uuid(i int) engine.UUID {
	u, _ := parseUUID(string(r.raw[i]))
	return u
}

// list is a text of words that are joined by commas.
func (r *row) list(i int) []string {
	var words []string
	for word := range strings.SplitSeq(r.text(i), ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// decode reads a JSON column into to, which stays as it is for NULL.
func (r *row) decode(i int, to any) {
	if len(r.raw[i]) > 0 && json.Unmarshal(r.raw[i], to) != nil {
		r.fault(i, "is no JSON that is known")
	}
}

// unix is a time as the engine counts it; the zero one is 0.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return engine.StampOf(t).At
}

// parseUUID reads the usual form with four dashes.
func parseUUID(text string) (u engine.UUID, ok bool) {
	if len(text) != 36 {
		return u, false
	}
	n := 0
	for i := 0; i < len(text); {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if text[i] != '-' {
				return engine.UUID{}, false
			}
			i++
			continue
		}
		b, err := strconv.ParseUint(text[i:i+2], 16, 8)
		if err != nil {
			return engine.UUID{}, false
		}
		u[n] = byte(b)
		n, i = n+1, i+2
	}
	return u, true
}

// timeForms are the ways in which the three databases write times. Each fraction is
// taken whether the form has one or not.
var timeForms = []string{"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05Z07", "2006-01-02 15:04:05 Z0700", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00:00", "2006-01-02"}

// parseTime reads a time as it stands in a database. Without an offset it is UTC. One
// driver writes the zone a second time, as a word or as the offset again, and a reading
// of the monotonic clock behind it: what comes after the offset says nothing more.
func parseTime(text string) (time.Time, error) {
	text = strings.TrimSpace(text)
	if len(text) > 10 && text[10] == 'T' {
		text = text[:10] + " " + text[11:]
	}
	if words := strings.Fields(text); len(words) > 3 {
		text = strings.Join(words[:3], " ")
	}
	if text == "0000-00-00 00:00:00" {
		return time.Time{}, nil // what MySQL has in the place of none
	}
	var first error
	for _, form := range timeForms {
		t, err := time.Parse(form, text)
		if err == nil {
			if y := t.UTC().Year(); y < 0 || y > 9999 {
				return time.Time{}, fmt.Errorf("the year %d is out of range", y)
			}
			return t, nil
		}
		if first == nil {
			first = err
		}
	}
	return time.Time{}, first
}

// scan reads the rows of a query one by one. Each may stop it with an error.
func (s *Source) scan(ctx context.Context, of *relation, query string, args []any, each func(*row) error) error {
	rows, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	r := newRow(of)
	to := r.targets()
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		r.bad, r.odd = "", ""
		if err := each(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

func newRow(of *relation) *row { return &row{of: of, raw: make([]sql.RawBytes, len(of.columns))} }

func (r *row) targets() []any {
	to := make([]any, len(r.raw))
	for i := range r.raw {
		to[i] = &r.raw[i]
	}
	return to
}

// all reads a table whole, ordered.
func (s *Source) all(ctx context.Context, of *relation, order string, each func(*row) error) error {
	if s.has[of.name] == nil {
		return nil
	}
	return s.scan(ctx, of, "SELECT "+s.selection(of)+" FROM "+s.quote(of.name)+" ORDER BY "+order, nil, each)
}

// metrics is the list in a report of usage metrics, as it stands there.
func (r *row) metrics(i int) []byte {
	var report struct {
		Metrics json.RawMessage `json:"metrics"`
	}
	r.decode(i, &report)
	if len(report.Metrics) == 0 || string(report.Metrics) == "null" {
		return []byte("[]")
	}
	if report.Metrics[0] != '[' {
		r.fault(i, "has no list of metrics")
	}
	return report.Metrics
}

// copy keeps what is in a row.
func (r *row) copy() [][]byte {
	out := make([][]byte, len(r.raw))
	for i, b := range r.raw {
		if b != nil {
			out[i] = append([]byte{}, b...)
		}
	}
	return out
}

func rowOf(of *relation, values [][]byte) *row {
	r := newRow(of)
	for i, b := range values {
		r.raw[i] = b
	}
	return r
}
