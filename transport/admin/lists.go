package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"lapid/engine"
)

// A named list comes as one request of any length: a line with a ListHead, lines with
// values, and a last line with their number, without which nothing is done.
//
//	{"Name":"spamhaus","Scope":"Ip","Type":"ban","Duration":"24h","Source":"drop.txt"}
//	{"Items":[{"v":"192.0.2.1"},…]}
//	{"End":true,"Count":1}
//
// All of it is one commit.

// ListHead says which list is to have which content.
type ListHead struct {
	Name     string
	Source   string // file name, for the log
	Scope    string // of values that have none, as Type and Duration
	Type     string
	Duration string
	Shrink   bool // take a content that is empty, or less than half of what runs
	Dry      bool // change nothing, only say what would come of it
}

// ReplacedList says what a replacement did, or would do.
type ReplacedList struct {
	Name        string
	Before      int // decisions of the list that ran
	Entries     int // of the new content, each once
	New         int // not on the list before
	Renewed     int // told anew, with the time that the new content gives
	Unchanged   int
	Ended       int           // not on the list any more
	Again       int           // entries that came before in the same content
	Allowlisted int           // left out because of an allowlist
	First       []Allowlisted // of them, at most ShownEnded
	Alert       uint64        // that has what began; 0: nothing did, or it is a dry run
	Overflows   []Overflow    `json:",omitempty"` // of a dry run
}

// mostListed is how many values a list may have.
const mostListed = 4 << 20

// replaceList reads the list, which takes a place as a verb does, and puts it in force.
func (h *Handler) replaceList(w http.ResponseWriter, r *http.Request) {
	ctx := asOperator(r.Context())
	if c, ok := r.Context().Value(callerKey{}).(*caller); ok {
		leave, err := c.begin(ctx)
		if err != nil {
			fail(w, err)
			return
		}
		defer leave()
	}
	out := http.NewResponseController(w)
	answer, err := h.putList(ctx, &patient{r.Body, out, moveInStall})
	_ = out.SetReadDeadline(time.Time{})
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (h *Handler) putList(ctx context.Context, from io.Reader) (*ReplacedList, error) {
	in := listReader{view: h.engine.View(), now: h.engine.Now(), groups: map[[2]string]int{}}
	if err := in.read(from, h.engine.Pace); err != nil {
		return nil, err
	}
	l := &in.list
	l.Origin, l.Name, l.Own, l.Shrunken = engine.OriginLists, in.head.Name, true, in.head.Shrink
	replace := func() (engine.ListChange, error) { return h.engine.ReplaceList(ctx, l, in.now) }
	if in.head.Dry {
		replace = func() (engine.ListChange, error) { return h.engine.WouldReplaceList(l, in.now) }
	}
	if in.count == 0 && !in.head.Shrink { // also where there is nothing yet: a fetch that failed leaves an empty file
		return nil, refused("the new content of list %q is empty, and nothing was changed: if it is right, repeat with --allow-shrink", in.head.Name)
	}
	change, err := replace()
	switch {
	case err != nil:
		return nil, err
	case change.Foreign > 0:
		return nil, refused("%d decisions of a list %q run that is no named list of yours, as those that are pulled from the Central API are not: choose another --name", change.Foreign, in.head.Name)
	case change.Held:
		return nil, refused("list %q has %d decisions, and the new content has %d entries, which is less than half: nothing was changed. "+
			"If it is right, repeat with --allow-shrink", in.head.Name, change.Before, change.Entries)
	}
	answer := &ReplacedList{
		Name: in.head.Name, Before: change.Before, Entries: change.Entries, New: change.Begun, Renewed: change.Renewed, Ended: change.Ended,
		Unchanged: change.Entries - change.Allowlisted - change.Begun - change.Renewed, Again: in.count - change.Entries - change.Unreadable,
		Allowlisted: change.Allowlisted, First: in.protected, Alert: uint64(change.Alert),
	}
	if in.head.Dry {
		answer.Overflows = in.look.done().Overflows
	} else {
		h.logChange(ctx, "set a named list", "list", in.head.Name, "source", in.head.Source, "entries", change.Entries, "new", change.Begun,
			"renewed", change.Renewed, "ended", change.Ended, "allowlisted", change.Allowlisted)
	}
	return answer, nil
}

func refused(format string, args ...any) error {
	return &engine.Error{Kind: engine.ErrRefused, Text: fmt.Sprintf(format, args...)}
}

// listReader makes a list of its lines.
type listReader struct {
	view      *engine.View
	now       int64
	head      ListHead
	words     ImportHead // of the head, for values
	list      engine.List
	groups    map[[2]string]int // by scope and type
	count     int
	durations map[string]time.Duration
	protected []Allowlisted
	look      *foresight // of a dry run
}

// read reads all of it. What is not whole is refused.
func (l *listReader) read(from io.Reader, pace func(int)) error {
	lines := newItemLines(from, pace)
	if err := lines.head(&l.head); err != nil {
		return err
	}
	if err := UsableBatchName("the list's name", l.head.Name); err != nil {
		return err
	}
	l.words = ImportHead{Scope: l.head.Scope, Type: l.head.Type, Duration: l.head.Duration, Reason: l.head.Name}
	if l.head.Dry {
		l.look = newForesight(l.view, l.now)
	}
	var piece itemLine
	for !piece.End {
		clear(piece.Items)
		piece.Items = piece.Items[:0]
		if _, err := lines.read(&piece); err != nil {
			return cutOff(err)
		}
		if l.count += len(piece.Items); l.count > mostListed {
			return invalid("a list has at most %d values", mostListed)
		}
		for i := range piece.Items {
			pace(i)
			if err := l.add(&piece.Items[i]); err != nil {
				return err
			}
		}
	}
	if piece.Count != l.count {
		return invalid("the list was to have %d values, and %d came: nothing was changed", piece.Count, l.count)
	}
	return nil
}

// add takes one value. Addresses are spelt one way, so that an address that is spelt
// another way the next time is the same entry.
func (l *listReader) add(item *Item) error {
	d := item.decision(&l.words)
	if err := d.Fits(); err != nil {
		return &engine.Error{Kind: engine.ErrInvalid, Text: fmt.Sprintf("%.100s: %v", d.Value, err)}
	}
	if err := usableWords(d.Scope, d.Type, d.Value); err != nil {
		return err
	}
	if !engine.HoldsAddress(d.Scope) {
		d.Value = strings.Clone(d.Value) // which else keeps its line
	} else {
		p, err := engine.ParseTarget(d.Value)
		if err != nil {
			return err
		}
		if len(l.protected) < ShownEnded {
			if found := l.view.Allowlisted(nil, p, l.now); len(found) > 0 {
				out := &Imported{}
				out.leaveOut(d.Value, found)
				l.protected = append(l.protected, out.Allowlisted...)
			}
		}
		if d.Value = p.String(); d.Scope == engine.ScopeIP && p.IsSingleIP() {
			d.Value = p.Addr().String()
		}
	}
	if d.Origin = engine.OriginLists; l.look != nil {
		l.look.see(&d, item.Again)
	}
	lasts, err := l.lasts(d.Duration)
	if err != nil {
		return err
	}
	at, ok := l.groups[[2]string{d.Scope, d.Type}]
	if !ok {
		d.Scope, d.Type = strings.Clone(d.Scope), strings.Clone(d.Type)
		at = len(l.list.Groups)
		l.groups[[2]string{d.Scope, d.Type}] = at
		l.list.Groups = append(l.list.Groups, engine.ListGroup{Scope: d.Scope, Type: d.Type, Scenario: l.head.Name})
	}
	g := &l.list.Groups[at]
	g.Values = append(g.Values, engine.ListValue{Value: d.Value, Lasts: lasts})
	return nil
}

// rememberedDurations bounds how many spellings of durations are kept.
const rememberedDurations = 1024

func (l *listReader) lasts(text string) (time.Duration, error) {
	if d, ok := l.durations[text]; ok {
		return d, nil
	}
	stored, err := decisionDuration(text)
	if err != nil {
		return 0, err
	}
	d, err := engine.ParseDuration(stored)
	if err != nil {
		return 0, err
	}
	if l.durations == nil || len(l.durations) >= rememberedDurations {
		l.durations = map[string]time.Duration{}
	}
	l.durations[strings.Clone(text)] = d
	return d, nil
}

// ReplaceList makes values the whole content of a named list, in one commit. each adds
// them, and is called once, in a goroutine of its own; its error breaks it off, and then nothing is
// changed. engine.ErrRefused: the content is empty or shrunken, or the name is that of a pulled list.
func (c *Client) ReplaceList(ctx context.Context, head *ListHead, each func(*Values) error) (*ReplacedList, error) {
	if err := UsableBatchName("the list's name", head.Name); err != nil {
		return nil, err // before JSON turns it into something else
	}
	a := new(ReplacedList)
	err := c.stream(ctx, "/lists/replace", head, func(v *Values) error {
		if err := each(v); err != nil {
			return err
		}
		return v.end()
	}, func(answer io.Reader) error {
		if err := json.NewDecoder(answer).Decode(a); err != nil {
			return fmt.Errorf("unreadable answer to /lists/replace: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}
