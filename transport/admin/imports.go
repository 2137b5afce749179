package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"lapid/engine"
)

// An import comes as one request of any length: a line with an ImportHead, and chunks, each of
// them lines of values (items.go) and a line with their number. A chunk is one alert, stored
// whole or not at all, and its answer is a line too:
//
//	{"Source":"list.csv","Scope":"Ip","Type":"ban","Duration":"24h","Reason":"manual"}
//	{"Items":[{"v":"192.0.2.1"},…]}
//	{"End":true,"Count":1}                     {"Item":{"Alert":7,"Stored":1,…}}
//	{"Items":[{"v":"192.0.2.2"},…]}
//	{"End":true,"Count":1}                     {"Item":{"Alert":8,"Stored":1,…}}
//	                                           {"End":true}
//
// While one is stored the next is read, and the one behind it is on its way: neither the disk nor the
// other side is waited for. They are stored one after another all the same, in their order, and what
// follows one that was refused is not stored. A chunk without its last line is none.

// ImportHead is what the chunks of an import have in common. Fields that a value leaves empty are
// those of the head.
type ImportHead struct {
	Machine  string // as in NewDecision
	Source   string // file name, for the alerts' scenario
	Scope    string
	Type     string
	Duration string
	Reason   string

	Batch string // what the import stores has this name; "": none
	First bool   // nothing of the import is stored yet: refuse a name that exists, with ErrExists
	Dry   bool   // store nothing, only say what would come of it
}

// Imported says what became of a chunk. What is in neither Stored nor
// Allowlisted does not exist: a chunk with anything wrong is refused as a
// whole.
type Imported struct {
	Alert       uint64 // the alert that holds them, 0 when nothing was stored
	Stored      int
	Allowlisted []Allowlisted // left out because of an allowlist
	Warning     string        // what the caller should know of what was stored; "": nothing
	Outlook     *Outlook      // of a dry run: what Stored would be about
}

// Allowlisted is a value with the items that protect it.
type Allowlisted struct {
	Value   string
	Reasons []string
}

// importStall is for how long a client may send nothing of an import: it has read all of its input
// before, and holds a place that others wait for.
const importStall = time.Minute

// importDecisions reads an import, which takes a place as a verb does, and one of a large request.
// A failure is told at once, and what still comes is passed over, so that the client reads it.
func (h *Handler) importDecisions(w http.ResponseWriter, r *http.Request) {
	ctx := asOperator(r.Context())
	out := http.NewResponseController(w)
	if err := out.EnableFullDuplex(); err != nil {
		fail(w, err)
		return
	}
	body := &patient{r.Body, out, importStall}
	leave, err := enterLarge(ctx)
	if err == nil {
		defer leave()
		w.Header().Set("Content-Type", "application/json")
		_ = out.Flush() // the head: from here on both sides speak
		answers := json.NewEncoder(w)
		err = h.importChunks(ctx, body, func(l line[Imported]) error {
			if err := answers.Encode(l); err != nil {
				return err
			}
			return out.Flush()
		})
	} else {
		fail(w, err)
		_ = out.Flush()
	}
	if err != nil {
		_, _ = io.CopyN(io.Discard, body, h.most)
	}
	_ = out.SetReadDeadline(time.Time{})
}

// importChunks stores the chunks of an import, says what became of each, and last that this was the
// last one or why there are no more, which is also its error.
func (h *Handler) importChunks(ctx context.Context, from io.Reader, say func(line[Imported]) error) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	in := &chunkReader{handler: h, lines: newItemLines(from, h.engine.Pace), spare: make(chan []Item, 2)}
	ready := make(chan *chunk) // one is ready while another is stored
	go func() {
		defer close(ready)
		in.err = in.each(reading, ready)
	}()
	var err error
	var all imported
	stored := false
	for c := range ready {
		if err != nil {
			continue // it is not wanted any more, and the reader is about to see that
		}
		if c.first = c.head.First && !stored; h.ending.Load() {
			err = &engine.Error{Kind: engine.ErrClosed, Text: "the server is shutting down"}
		} else if err = h.importChunk(ctx, c); err == nil {
			all.add(c)
			err = say(line[Imported]{Item: c.out})
		}
		stored = stored || c.out.Alert != 0
		in.giveBack(c)
		if err != nil {
			h.logImport(ctx, &all)
			_ = say(line[Imported]{Fail: failureOf(err)})
			stop()
		}
	}
	if err == nil {
		h.logImport(ctx, &all)
	}
	switch {
	case err != nil:
		return err
	case in.err != nil:
		_ = say(line[Imported]{Fail: failureOf(in.err)})
		return in.err
	}
	return say(line[Imported]{End: true})
}

// chunk is one, judged: what is to be stored of it is chosen.
type chunk struct {
	head  *ImportHead
	first bool
	items []Item

	view      *engine.View // by whose allowlists
	now       int64
	decisions []engine.NewDecision
	out       *Imported
}

// chunkReader makes chunks of lines. Two may be in memory at once, and a part of a third.
type chunkReader struct {
	handler *Handler
	lines   *itemLines
	head    ImportHead
	spare   chan []Item // memory of chunks that are stored
	err     error       // of each
}

// each hands over one chunk after another, until the request or ctx ends.
func (r *chunkReader) each(ctx context.Context, ready chan<- *chunk) error {
	if err := r.lines.head(&r.head); err != nil {
		return err
	}
	if err := usableBatch(r.head.Batch); err != nil {
		return err
	}
	for {
		c, err := r.next(ctx)
		if c == nil || err != nil {
			return err
		}
		if err := r.handler.choose(c); err != nil {
			return err
		}
		select {
		case ready <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next reads a chunk; nil at the end of the request. Of more values than MaxChunk no more are kept
// than a line has.
func (r *chunkReader) next(ctx context.Context) (*chunk, error) {
	var in itemLine
	select {
	case in.Items = <-r.spare:
	default:
		in.Items = make([]Item, 0, itemsAtFirst)
	}
	for size := int64(0); ; {
		n, err := r.lines.read(&in)
		if err == io.EOF && size == 0 {
			return nil, nil
		}
		if err != nil {
			return nil, cutOff(err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(in.Items) > MaxChunk {
			return nil, invalid("a chunk holds at most %d values", MaxChunk)
		}
		if size += int64(n); size > r.handler.most {
			return nil, invalid("a chunk has at most %d bytes: give fewer values at once", r.handler.most)
		}
		if !in.End {
			continue
		}
		if in.Count != len(in.Items) {
			return nil, invalid("a chunk was to have %d values, and %d came: nothing of it was stored", in.Count, len(in.Items))
		}
		return &chunk{head: &r.head, items: in.Items}, nil
	}
}

// itemsAtFirst is what there is room for at first: a usual chunk.
const itemsAtFirst = 10_000

// giveBack takes a chunk's memory for another.
func (r *chunkReader) giveBack(c *chunk) {
	clear(c.items)
	select {
	case r.spare <- c.items[:0]:
	default:
	}
	c.items = nil
}

// importChunk stores a chunk as one alert. A dry run stores nothing: what would be is chosen.
func (h *Handler) importChunk(ctx context.Context, c *chunk) error {
	if c.first { // two imports must not both find that a name is free
		h.batches.Lock()
		defer h.batches.Unlock()
	}
	view := h.engine.View()
	if c.first && view.HasBatch(engine.Batch{Name: c.head.Batch}) {
		return &engine.Error{Kind: engine.ErrExists, Text: fmt.Sprintf("there is a batch %q already: give another name", c.head.Batch)}
	}
	if c.head.Dry {
		return nil
	}
	again := !view.SameAllowlists(c.view)
	for range choices {
		if again {
			if err := h.choose(c); err != nil {
				return err
			}
		}
		err := h.storeChunk(ctx, c)
		if again = errors.Is(err, engine.ErrChanged); !again {
			return err
		}
	}
	return &engine.Error{Kind: engine.ErrChanged, Text: "allowlists change all the time: nothing of this chunk was stored"}
}

// choices is how often decisions are chosen anew because allowlists have changed until they were
// to be stored: an allowlist ends what it protects, and nothing slips in behind it.
const choices = 5

// storeChunk stores what was chosen, with an ErrChanged when allowlists have changed since.
func (h *Handler) storeChunk(ctx context.Context, c *chunk) error {
	if c.out.Stored == 0 {
		return nil
	}
	a := operatorsAlert(c.view, c.head.Machine, c.now)
	a.Decisions, a.Batch = c.decisions, engine.Batch{Name: c.head.Batch}
	a.Scenario = fmt.Sprintf("import %s: %d IPs", c.head.Source, c.out.Stored)
	a.EventsCount, a.Unlogged = int32(c.out.Stored), true
	ids, err := h.engine.AddChosenAlerts(ctx, a.MachineID, []*engine.Alert{a}, c.view, c.now)
	c.decisions = nil // they are the engine's
	if err != nil {
		return err
	}
	if len(ids) == 1 {
		c.out.Alert = uint64(ids[0])
	}
	return nil
}

// choose makes decisions of a chunk's values, without those that an allowlist protects. One value
// that makes no sense refuses the whole chunk. A dry run keeps none, and says what they would meet.
func (h *Handler) choose(c *chunk) error {
	c.now, c.view, c.out = h.engine.Now(), h.engine.View(), &Imported{}
	var err error
	if c.head.Dry {
		look := newForesight(c.view, c.now)
		_, err = h.chosen(c, look.see)
		c.out.Outlook = look.done()
		return err
	}
	c.decisions, err = h.chosen(c, nil)
	return err
}

// chosen are the decisions of a chunk, without what an allowlist protects, which its
// answer is told. They are counted as Stored; with see each is shown to it instead of being kept.
func (h *Handler) chosen(c *chunk, see func(d *engine.NewDecision, again bool)) ([]engine.NewDecision, error) {
	var list []engine.NewDecision
	if see == nil {
		list = make([]engine.NewDecision, 0, len(c.items))
	}
	guarded := len(c.view.Allowlists()) > 0
	var found []engine.AllowlistMatch
	for i := range c.items {
		h.engine.Pace(i) // live queries must not wait for all of it
		d := c.items[i].decision(c.head)
		if err := d.Fits(); err != nil {
			return nil, &engine.Error{Kind: engine.ErrInvalid, Text: fmt.Sprintf("%.100s: %v", d.Value, err)}
		}
		if engine.HoldsAddress(d.Scope) {
			p, err := engine.ParseTarget(d.Value)
			if err != nil {
				return nil, err
			}
			if guarded {
				found = c.view.Allowlisted(found[:0], p, c.now)
			}
			if len(found) > 0 {
				c.out.leaveOut(d.Value, found)
				continue
			}
		}
		var err error
		if d.Duration, err = decisionDuration(d.Duration); err != nil {
			return nil, err
		}
		if err := usableWords(d.Scope, d.Type, d.Value); err != nil {
			return nil, err
		}
		c.out.Stored++
		if see != nil {
			see(&d, c.items[i].Again)
			continue
		}
		list = append(list, d)
	}
	return list, nil
}

// decision is the item with the head's words where it has none.
func (i *Item) decision(q *ImportHead) engine.NewDecision {
	d := engine.NewDecision{
		Duration: q.Duration, Origin: engine.OriginImport, Scenario: q.Reason, Scope: q.Scope, Type: q.Type, Value: i.Value,
	}
	for _, f := range []struct {
		given string
		into  *string
	}{{i.Duration, &d.Duration}, {i.Reason, &d.Scenario}, {i.Scope, &d.Scope}, {i.Type, &d.Type}} {
		if f.given != "" {
			*f.into = f.given
		}
	}
	d.Scope = engine.CanonicalScope(d.Scope)
	return d
}

// leaveOut notes a value that is protected.
func (o *Imported) leaveOut(value string, found []engine.AllowlistMatch) {
	a := Allowlisted{Value: value}
	for _, m := range found {
		a.Reasons = append(a.Reasons, m.Reason())
	}
	o.Allowlisted = append(o.Allowlisted, a)
}

// errAnswered: the server has answered, whatever was still to be sent.
var errAnswered = errors.New("the server has answered")

// Import stores what each hands over, chunk by chunk, and tells what became of each, in their order.
// each is called once, in a goroutine of its own: it adds values, and ends a chunk after at most
// MaxChunk of them. What it ends is stored even when it returns an error then, unless the server
// refuses it or the chunks before; what it has added without an end is not. The error is
// each's, or why the server takes no more.
func (c *Client) Import(ctx context.Context, head *ImportHead, each func(*Chunks) error, tell func(*Imported)) error {
	return c.stream(ctx, "/decisions/import", head, func(v *Values) error { return each(&Chunks{v}) }, func(answer io.Reader) error {
		for d := json.NewDecoder(answer); ; {
			var l line[Imported]
			switch err := d.Decode(&l); {
			case err != nil:
				return fmt.Errorf("the answers were cut off: %w", err)
			case l.Fail != nil:
				return l.Fail.error()
			case l.End:
				return nil
			}
			tell(l.Item)
		}
	})
}

// Chunks are the values of an import.
type Chunks struct{ *Values }

// ChunksTo are an import that goes to a writer, as a client sends it.
func ChunksTo(to io.Writer) *Chunks {
	return &Chunks{&Values{out: bufio.NewWriterSize(to, lineAtLeast)}}
}

// Copy sends chunks that ChunksTo has written, as they are, to the end of from.
func (c *Chunks) Copy(from io.Reader) error {
	_, err := io.Copy(c.out, from)
	return err
}

// End ends a chunk, which is stored from now on. Without values it does nothing.
func (c *Chunks) End() error {
	if c.count == 0 {
		return nil
	}
	if err := c.end(); err != nil {
		return err
	}
	return c.out.Flush()
}

// stream sends a request of lines that each writes, and has its answer read, which may begin before
// they end. What the server says wins over what went wrong while it was sent.
func (c *Client) stream(ctx context.Context, verb string, head any, each func(*Values) error, answer func(io.Reader) error) error {
	body, to := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := sendLines(to, head, each)
		sent <- err
		_ = to.CloseWithError(err) // nil: the end
	}()
	err := c.receive(ctx, verb, body, answer)
	_ = body.CloseWithError(errAnswered)
	failed := <-sent
	if said := (*engine.Error)(nil); errors.As(err, &said) || failed == nil || errors.Is(failed, errAnswered) ||
		err != nil && errors.Is(failed, io.ErrClosedPipe) {
		return err
	}
	return failed
}

func (c *Client) receive(ctx context.Context, verb string, body io.Reader, answer func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+verb, body)
	if err != nil {
		return err
	}
	w, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	if w.StatusCode == http.StatusOK {
		return answer(w.Body)
	}
	return failureAnswered(w, verb)
}

// sendLines writes a request.
func sendLines(to io.Writer, head any, each func(*Values) error) error {
	out := bufio.NewWriterSize(to, lineAtLeast)
	if err := json.NewEncoder(out).Encode(head); err != nil {
		return err
	}
	if err := each(&Values{out: out}); err != nil {
		return err
	}
	return out.Flush()
}
