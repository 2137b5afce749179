package console

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// A list of values comes as a file, or is pasted. All of it is read and judged before anything is stored, entry
// by entry; what can be used is kept packed meanwhile, so that a bad line at the end costs nothing that
// would have to be taken back, and a list that was looked at need not be sent again.

const (
	// mostEntries is how many decisions one such list makes at most. Longer ones are for lapid decisions import,
	// which reads a file twice instead of keeping it.
	mostEntries = 1_000_000
	// importChunk is how many of them become one alert.
	importChunk = 10_000
	// shownFaults is how many bad entries, doubts and allowlisted values are named; the others are counted.
	shownFaults = 20
	// mostReading is how many lists are read at once; further ones get 503.
	mostReading = 2
	// preparedFor is how long a list waits for its operator's word, mostPrepared how many do, mostPreparedBytes
	// how long they are, packed: the oldest makes room. An operator has one.
	preparedFor, mostPrepared, mostPreparedBytes = 15 * time.Minute, 8, 32 << 20
)

// importWords say how a list is read, and with which words where an entry has none.
type importWords struct {
	Format                        string // "": its beginning tells it
	Source                        string // name of the file, for the alerts' scenario
	Scope, Type, Duration, Reason string
	Batch                         string // "": a name is made up
	Skip                          bool   // what cannot be used is left out, instead of refusing all
}

var errLongList = &fault{http.StatusRequestEntityTooLarge, fmt.Sprintf("the list has more than %d MiB, as it is sent or once it is unpacked: give it in parts", maxImport>>20)}

// unusable is an entry that cannot be used, and why.
type unusable struct {
	Place string `json:"place"`
	Text  string `json:"text"`
}

// preparedList is a list that was read and judged.
type preparedList struct {
	head   admin.ImportHead
	skip   bool
	packed []byte // chunks of an import, as admin.ChunksTo writes them
	id     string // by which it waits
	at     int64  // since when

	format          string
	total           int // decisions that it makes
	over, simulated int // of what was listed elsewhere, and is left out
	faults          int // entries that cannot be used
	unusable        []unusable
	ignored, doubts []string

	outlook *importOutcome // of a list that waits
}

// importOutcome is what came of a list, or would.
type importOutcome struct {
	DryRun      bool       `json:"dry_run"`
	Format      string     `json:"format"`
	Batch       string     `json:"batch"`    // by which it can be taken back; of a dry run, as it was given
	Count       int        `json:"count"`    // stored, or what would be
	New         int        `json:"new"`      // of a dry run: nothing of the type runs on the target yet
	Known       int        `json:"known"`    // of a dry run: something does
	Repeated    int        `json:"repeated"` // of a dry run: it stands in the list twice
	Allowlisted int        `json:"allowlisted"`
	First       []string   `json:"first_allowlisted"`
	Over        int        `json:"over"`
	Simulated   int        `json:"simulated"`
	Invalid     int        `json:"invalid"` // entries that cannot be used
	Unusable    []unusable `json:"first_invalid"`
	Ignored     []string   `json:"ignored_fields"`
	Doubts      []string   `json:"doubts"`
	Alerts      []uint64   `json:"alert_ids"`
}

// importList reads a list from a request's body, and stores what is in it, or says what would be.
func (s *Server) importList(q *request) error {
	w := q.words()
	words := importWords{Format: w.plain("format"), Source: "the console", Scope: w.plain("scope"), Type: w.plain("type"), Duration: w.plain("duration"), Reason: w.plain("reason"),
		Batch: w.plain("batch"), Skip: w.yes("skip_invalid")}
	dry := w.yes("dry_run")
	if err := w.err(); err != nil {
		return err
	}
	p, err := s.prepareList(q.Context(), q.Body, &words)
	if err != nil {
		return err
	}
	out, err := s.storeList(q, p, dry)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if dry {
		status = http.StatusOK
	}
	return q.answer(status, out)
}

// prepareList reads a list and judges it. Bad entries are no error; words that make no sense, a list that is in
// no format, or too long, are.
func (s *Server) prepareList(ctx context.Context, from io.Reader, w *importWords) (*preparedList, error) {
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	default:
		return nil, &fault{http.StatusServiceUnavailable, fmt.Sprintf("%d lists are being read: try again in a moment", mostReading)}
	}
	p := &preparedList{skip: w.Skip, format: w.Format, unusable: []unusable{}, ignored: []string{}, doubts: []string{}}
	judge := inputs.Judge{Scope: cmp.Or(w.Scope, engine.ScopeIP), Scoped: w.Scope != ""}
	if err := p.words(w, &judge); err != nil {
		return nil, err
	}
	sent := &tooLong{in: from}
	in, err := inputs.Text(sent)
	guessed := p.format == ""
	if err == nil && guessed {
		p.format, err = inputs.Recognize(in)
	}
	unpacked := &bounded{in, maxImport}
	if err == nil {
		err = p.read(ctx, s.options.Engine, unpacked, &judge)
	}
	switch {
	case sent.err != nil, err != nil && unpacked.left <= 0: // which formats tell as one of theirs
		return nil, errLongList
	case err == nil, ctx.Err() != nil:
		return p, err
	case guessed && p.format != "":
		return nil, bad(fmt.Sprintf("%v (it was read as %s, by its beginning: %s)", err, p.format, inputs.Expected[p.format]))
	}
	return nil, bad(err.Error())
}

// words looks at what is said of the list as a whole.
func (p *preparedList) words(w *importWords, judge *inputs.Judge) (err error) {
	if _, known := inputs.Formats[w.Format]; w.Format != "" && !known {
		return bad(fmt.Sprintf("unknown format %.100q: use csv, json, ndjson or values", w.Format))
	}
	if w.Batch != "" {
		if err := admin.UsableBatchName("the batch's name", w.Batch); err != nil {
			return err
		}
	}
	p.head = admin.ImportHead{Source: w.Source, Scope: judge.Scope, Type: cmp.Or(w.Type, "ban"), Reason: cmp.Or(w.Reason, "manual"), Batch: w.Batch, First: true}
	if p.head.Duration, err = engine.DecisionDuration(cmp.Or(w.Duration, "4h")); err != nil {
		return bad("duration: " + err.Error())
	}
	doubt, err := inputs.TypeDoubt(p.head.Type)
	if err != nil {
		return bad(err.Error())
	}
	p.doubt(doubt)
	p.doubt(inputs.ScopeDoubt(p.head.Scope))
	return nil
}

// doubt notes what is to be said of a word, once.
func (p *preparedList) doubt(text string) {
	if text != "" && len(p.doubts) < shownFaults && !slices.Contains(p.doubts, text) {
		p.doubts = append(p.doubts, text)
	}
}

// read judges entry by entry, and packs what can be used.
func (p *preparedList) read(ctx context.Context, e *engine.Engine, in io.Reader, judge *inputs.Judge) error {
	var packed bytes.Buffer
	z, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return err
	}
	to, seen, again := admin.ChunksTo(z), 0, inputs.Repeats{}
	complain := func(where inputs.Place, err error) {
		if p.faults++; len(p.unusable) < shownFaults {
			p.unusable = append(p.unusable, unusable{where.String(), fmt.Sprintf("%.300s", err)})
		}
	}
	err = inputs.Formats[p.format](in, &inputs.Sink{
		Entry: func(where inputs.Place, entry *inputs.Entry) error {
			seen++
			if e.Pace(seen); seen%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			take, err := judge.Prepare(entry)
			switch {
			case err != nil:
				complain(where, err)
				return nil
			case entry.Simulated:
				p.simulated++
				return nil
			case !take:
				p.over++
				return nil
			case p.total == mostEntries:
				return fmt.Errorf("the list makes more than %d decisions: lapid decisions import takes longer ones", mostEntries)
			}
			kind, scope := judge.Doubts(entry)
			p.doubt(kind)
			p.doubt(scope)
			entry.Again = again.Has(entry, p.head.Scope, p.head.Type)
			if err := to.Add(&entry.Item); err != nil {
				return err
			}
			if p.total++; p.total%importChunk == 0 {
				return to.End()
			}
			return nil
		},
		Complain: complain,
		Strange: func(name string) {
			if name = fmt.Sprintf("%.100s", name); len(p.ignored) < shownFaults && !slices.Contains(p.ignored, name) {
				p.ignored = append(p.ignored, name)
			}
		},
	})
	if err == nil {
		err = to.End()
	}
	if err == nil {
		err = z.Close()
	}
	p.packed = packed.Bytes()
	return err
}

// tooLong is a body that keeps the error of one that is longer than may be sent.
type tooLong struct {
	in  io.Reader
	err *http.MaxBytesError // nil: it is not, so far
}

func (t *tooLong) Read(p []byte) (int, error) {
	n, err := t.in.Read(p)
	_ = err != nil && errors.As(err, &t.err)
	return n, err
}

// bounded is a reader that ends with an error behind so many bytes: what was packed may be much longer than
// what was sent.
type bounded struct {
	in   io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the list has more than %d MiB", maxImport>>20)
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// refusal is why a list is not stored; nil: it may be.
func (p *preparedList) refusal() error {
	switch {
	case p.faults > 0 && !p.skip:
		lines := make([]string, 0, len(p.unusable)+1)
		for _, u := range p.unusable {
			lines = append(lines, u.Place+": "+u.Text)
		}
		if more := p.faults - len(p.unusable); more > 0 {
			lines = append(lines, fmt.Sprintf("and %d more", more))
		}
		return bad(fmt.Sprintf("%d entries cannot be used, and nothing was imported: %s", p.faults, strings.Join(lines, "; ")))
	}
	return p.empty()
}

// empty refuses a list in which there is nothing at all, good or bad: to be tried, too.
func (p *preparedList) empty() error {
	if p.total == 0 && (p.faults == 0 || p.skip) {
		return bad("there is no decision in it: nothing was imported")
	}
	return nil
}

// storeList stores a list as one named import, or says what would come of it. One that breaks off says how much
// is stored, and by which name that can be taken back.
func (s *Server) storeList(q *request, p *preparedList, dry bool) (*importOutcome, error) {
	out := &importOutcome{DryRun: dry, Format: p.format, First: []string{}, Over: p.over, Simulated: p.simulated, Invalid: p.faults, Unusable: p.unusable, Ignored: p.ignored,
		Doubts: p.doubts, Alerts: []uint64{}}
	head := p.head
	if head.Dry = dry; dry && p.faults == 0 {
		if err := p.empty(); err != nil {
			return nil, err
		}
	} else if !dry {
		if err := p.refusal(); err != nil {
			return nil, err
		}
		head.Batch = cmp.Or(head.Batch, inputs.BatchName(head.Source, time.Unix(0, s.options.Engine.Now())))
	}
	out.Batch = head.Batch
	err := q.admin.Import(q.Context(), &head, func(to *admin.Chunks) error {
		return to.Copy(flate.NewReader(bytes.NewReader(p.packed)))
	}, func(in *admin.Imported) { out.add(in) })
	if err != nil && len(out.Alerts) > 0 {
		status, detail := statusOf(err)
		known, said := "are stored", (*engine.Error)(nil)
		if errors.Is(err, engine.ErrUnsure) || !errors.As(err, &said) { // what became of the last chunk nobody has told
			known = "at least are stored"
		}
		return nil, &fault{status, fmt.Sprintf("%s: %d of %d decisions %s, as the batch %s: ending that batch takes all of it back", detail, out.Count, p.total, known, head.Batch)}
	}
	return out, err
}

// add notes what became of a chunk.
func (o *importOutcome) add(in *admin.Imported) {
	o.Count += in.Stored
	if in.Alert != 0 {
		o.Alerts = append(o.Alerts, in.Alert)
	}
	o.Allowlisted += len(in.Allowlisted)
	for _, a := range in.Allowlisted[:min(len(in.Allowlisted), shownFaults-len(o.First))] {
		o.First = append(o.First, fmt.Sprintf("%.100s: %s", a.Value, strings.Join(a.Reasons, ", ")))
	}
	if look := in.Outlook; look != nil {
		o.New, o.Known, o.Repeated = o.New+look.New, o.Known+look.Known, o.Repeated+look.Again
	}
}

// sourceOf is what a file is called, without its folder, which others need not know.
func sourceOf(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "." || name == "/" || admin.UsableName("the file's name", name) != nil {
		return "the console"
	}
	return fmt.Sprintf("%.100s", name)
}

// preparedLists are those that wait for their operator's word. Any goroutine.
type preparedLists struct {
	now func() int64

	mu   sync.Mutex
	next uint64
	of   map[string]*preparedList
}

// keep has a list wait, in place of the operator's last one, and returns what it is asked for by.
func (l *preparedLists) keep(who string, p *preparedList) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[string]*preparedList{}
	}
	l.next++
	p.id, p.at = fmt.Sprint(l.next), l.now()
	l.of[who] = p
	for l.tooMany() {
		oldest := ""
		for name, other := range l.of {
			if name != who && (oldest == "" || other.at < l.of[oldest].at) {
				oldest = name
			}
		}
		if oldest == "" {
			break // it is the only one
		}
		delete(l.of, oldest)
	}
	return p.id
}

// tooMany is whether one has to make room, or has waited for too long.
func (l *preparedLists) tooMany() bool {
	size := 0
	for name, p := range l.of {
		if l.now()-p.at > int64(preparedFor) {
			delete(l.of, name)
			continue
		}
		size += len(p.packed)
	}
	return len(l.of) > mostPrepared || size > mostPreparedBytes
}

// look finds a list that waits; nil: it is gone.
func (l *preparedLists) look(who, id string) *preparedList {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tooMany()
	if p := l.of[who]; p != nil && p.id == id {
		return p
	}
	return nil
}

// take gives a list to its operator, once; nil: it is gone.
func (l *preparedLists) take(who, id string) *preparedList {
	p := l.look(who, id)
	l.mu.Lock()
	defer l.mu.Unlock()
	if p == nil || l.of[who] != p {
		return nil
	}
	delete(l.of, who)
	return p
}
