package console

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/visible"
)

// A list is told whole, as one revision has it, as a file: every row that the filter of the page lets through, the
// newest first. It is written while memory is walked, so it takes none, and the one who reads slowly is waited
// for by nobody; nothing is looked at once he has gone. Bouncers' connections are looked after between rows, and
// while bouncers ask, a file has half of a processor.

// pieceSize is how many bytes of a file are written at once.
const pieceSize = 64 << 10

// fileKinds are the formats of a file with their types.
var fileKinds = map[string]string{"csv": "text/csv; charset=utf-8", "json": "application/json", "ndjson": "application/x-ndjson"}

// How many turns of a loop, as engine.Pace counts them, a row takes as long as: some microseconds, and for that of
// an alert the disk is asked.
const (
	turnsOfDecision = 4
	turnsOfAlert    = 16
	// turnsAtOnce are done between two rests.
	turnsAtOnce = 256
)

// rowFile is a file on its way. It is for one goroutine.
type rowFile struct {
	q    *request
	pace func(turn int) // engine.Pace
	rest func(worked time.Duration)
	turn int
	from time.Time         // of the work since the last rest
	head map[string]string // of the answer, once it begins
	out  *bufio.Writer
	kind string
	rows int
	csv  *csv.Writer   // of csv alone
	json *json.Encoder // of the others
}

// file reads the format that is asked for, and makes the file of it. columns are those of csv.
func (s *Server) file(w *words, q *request, noun string, as engine.AsOf, columns []string) *rowFile {
	f := &rowFile{q: q, pace: s.options.Engine.Pace, rest: s.options.Rest, from: time.Now(), kind: w.plain("format")}
	if f.kind == "" {
		f.kind = "csv"
	}
	if fileKinds[f.kind] == "" {
		w.wrong("format is csv, json or ndjson")
	}
	f.head = map[string]string{
		"Content-Type": fileKinds[f.kind], "Lapid-Revision": strconv.FormatUint(uint64(as.Revision), 10),
		"Content-Disposition": `attachment; filename="` + fileName(noun, w.values, as.At, f.kind) + `"`,
	}
	f.out = bufio.NewWriterSize(f, pieceSize)
	if f.kind == "csv" {
		f.csv = csv.NewWriter(f.out)
		_ = f.csv.Write(columns) // no more than the piece holds
	} else {
		f.json = json.NewEncoder(f.out)
	}
	return f
}

// longestFileName bounds what a file's name has of the filter, in bytes.
const longestFileName = 100

// fileName names a file by what is in it and when: letters, digits, points and signs that no system minds.
func fileName(noun string, filter url.Values, at int64, kind string) string {
	name := []byte(noun)
	for _, word := range slices.Sorted(maps.Keys(filter)) {
		if word == "format" {
			continue
		}
		name = append(name, '_')
		for _, c := range []byte(word + "-" + filter.Get(word)) {
			switch {
			case '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '.' && name[len(name)-1] != '.':
				name = append(name, c)
			case name[len(name)-1] != '-':
				name = append(name, '-')
			}
		}
	}
	return string(name[:min(len(name), longestFileName)]) + "_" + time.Unix(0, at).UTC().Format("20060102T150405Z") + "." + kind
}

// Write sends a piece, which the client must take within bodyWithin. Before the first it begins the answer.
func (f *rowFile) Write(piece []byte) (int, error) {
	for name, value := range f.head {
		f.q.w.Header().Set(name, value)
	}
	f.head = nil
	_ = http.NewResponseController(f.q.w).SetWriteDeadline(time.Now().Add(bodyWithin))
	return f.q.w.Write(piece)
}

// row writes one, which took so many turns; false: the client takes no more. cells are of csv, shown of the other formats.
func (f *rowFile) row(turns int, cells func() []string, shown any) bool {
	var err error
	f.rows++
	f.work(turns)
	if f.csv != nil {
		line := cells()
		for i, cell := range line {
			line[i] = visible.Cell(cell)
		}
		err = f.csv.Write(line)
	} else {
		if f.kind == "json" {
			before := byte(',')
			if f.rows == 1 {
				before = '['
			}
			err = f.out.WriteByte(before)
		}
		err = errors.Join(err, f.json.Encode(shown))
	}
	return err == nil && f.q.Context().Err() == nil
}

// work is told of the turns that were done.
func (f *rowFile) work(turns int) {
	before := f.turn / turnsAtOnce
	f.turn += turns
	f.pace(f.turn - 1)
	if f.rest != nil && f.turn/turnsAtOnce > before {
		f.rest(time.Since(f.from))
		f.from = time.Now()
	}
}

// end sends the rest. err is why there is no more; an answer that has begun is cut off then, which the client sees.
func (f *rowFile) end(err error) error {
	if err == nil {
		err = f.q.Context().Err()
	}
	if err == nil {
		switch {
		case f.csv != nil:
			f.csv.Flush()
		case f.kind == "json" && f.rows == 0:
			_, err = f.out.WriteString("[]\n")
		case f.kind == "json":
			_, err = f.out.WriteString("]\n")
		}
		if err = errors.Join(err, f.out.Flush()); err == nil && f.head != nil { // nothing at all
			_, err = f.Write(nil)
		}
	}
	if err != nil && f.head == nil {
		panic(http.ErrAbortHandler)
	}
	return err
}

// decisionColumns are those of a file of decisions, by their names in JSON.
var decisionColumns = []string{"id", "value", "scope", "type", "origin", "scenario", "created_at", "until", "running", "ended_by", "simulated", "country", "as_number", "as_name", "machine", "alert_id", "uuid"}

func (d *decisionShown) cells() []string {
	return []string{
		fmt.Sprint(d.ID), d.Value, d.Scope, d.Type, d.Origin, d.Scenario, spelledTime(d.CreatedAt), spelledTime(d.Until), strconv.FormatBool(d.Running), d.EndedBy,
		strconv.FormatBool(d.Simulated), d.Country, d.AsNumber, d.AsName, d.Machine, fmt.Sprint(d.AlertID), d.UUID,
	}
}

// spelledTime is "" for never.
func spelledTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

// exportDecisions is every decision that the filter of a list lets through.
func (s *Server) exportDecisions(q *request) error {
	w, view := q.words(), s.options.Engine.View()
	as := engine.AsOf{Revision: view.Revision(), At: s.options.Engine.Now()}
	var filter engine.Filter
	w.decisions(&filter, as.At)
	f := s.file(w, q, "decisions", as, decisionColumns)
	if err := w.err(); err != nil || q.Method == http.MethodHead {
		return f.end(err)
	}
	return f.end(view.SiftDecisions(q.Context(), &filter, as, func(d engine.Decision) bool {
		shown := decisionOf(d, as.At)
		return f.row(turnsOfDecision, shown.cells, &shown)
	}))
}

// alertColumns are those of a file of alerts.
var alertColumns = []string{"id", "created_at", "start_at", "stop_at", "scenario", "message", "scope", "value", "ip", "range", "country", "as_number", "as_name", "events", "decisions", "machine", "simulated", "kind", "uuid"}

// exportAlerts is every alert that the filter of a list lets through, each as lists have it.
func (s *Server) exportAlerts(q *request) error {
	w, view := q.words(), s.options.Engine.View()
	as := engine.AsOf{Revision: view.Revision(), At: s.options.Engine.Now()}
	var filter engine.Filter
	w.alerts(&filter, as.At)
	f := s.file(w, q, "alerts", as, alertColumns)
	if err := w.err(); err != nil || q.Method == http.MethodHead {
		return f.end(err)
	}
	var broken error
	err := s.options.Engine.SiftAlerts(q.Context(), view, &filter, as, func(row engine.AlertRow, _ engine.Revision) bool {
		a, err := s.alertOf(view, row.ID, as.At)
		if errors.Is(err, engine.ErrNotFound) {
			return true // deleted a moment ago
		}
		if broken = err; err != nil {
			return false
		}
		return f.row(turnsOfAlert, func() []string { return alertCells(a, row.Decisions) }, a)
	})
	return f.end(errors.Join(err, broken))
}

func alertCells(a *admin.Alert, decisions int) []string {
	from := &a.Source
	return []string{
		fmt.Sprint(a.ID), a.CreatedAt, a.StartAt, a.StopAt, a.Scenario, a.Message, from.Scope, from.Value, from.IP, from.Range, from.Cn, from.AsNumber, from.AsName, fmt.Sprint(a.EventsCount),
		fmt.Sprint(decisions), a.MachineID, strconv.FormatBool(a.Simulated), a.Kind, a.UUID,
	}
}
