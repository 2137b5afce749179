package admin

import (
	"context"
	"fmt"
	"strconv"

	"lapid/engine"
)

// NewDecision asks for one decision of the operator's own. Duration is in
// the grammar of the engine or "forever"; a scope is respelled.
type NewDecision struct {
	Machine  string // named as the sender of the alert, if it exists
	Scope    string
	Value    string
	Type     string
	Duration string
	Reason   string
	Bypass   bool // add it although the value is allowlisted
	Dry      bool // store nothing, only say what would come of it
}

// DecisionFilter asks which running decisions to end. The zero filter is all
// of them.
type DecisionFilter struct {
	Dry      bool   // end nothing, only say what would end
	ID       uint64 // 0: by the fields below
	Address  string
	Inside   bool // decisions inside Address, instead of those that contain it
	Type     *string
	Value    *string
	Scenario *string
	Origin   *string
	Batch    string // "": any; what an import stored
	List     string // "": any; named list that imports set
}

// ShownEnded is how many of the decisions that ended are told one by one.
const ShownEnded = 10

// Ended says which decisions ended, or would.
type Ended struct {
	N     int
	First []Decision // the first of them, at most ShownEnded, as they were before
}

// Chunk is one piece of an import: the values of one alert. Fields that a value
// leaves empty are those of the chunk.
type Chunk struct {
	Machine  string // as in NewDecision
	Source   string // file name, for the alert's scenario
	Scope    string
	Type     string
	Duration string
	Reason   string
	Items    []Item // at most MaxChunk

	Batch string // what the import stores has this name; "": none
	First bool   // nothing of the import is stored yet: refuse a name that exists, with ErrExists
	Dry   bool   // store nothing, only say what would come of it
}

// Item is one value to import.
type Item struct {
	Value    string `json:"v"`
	Scope    string `json:"s,omitempty"`
	Type     string `json:"t,omitempty"`
	Duration string `json:"d,omitempty"`
	Reason   string `json:"r,omitempty"`

	// Again: the same target and type came before in this input. It is stored as the others,
	// and a dry run counts it apart.
	Again bool `json:"a,omitempty"`
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

// addDecision stores one decision as an alert of its own, as the reference's command
// line does. Everything is judged here, whatever the client: the verb's own checks
// only make for better sentences.
func (h *Handler) addDecision(ctx context.Context, q *NewDecision) (*Imported, error) {
	now, view := h.engine.Now(), h.engine.View()
	scope := engine.CanonicalScope(q.Scope)
	warning, err := protected(view, q, scope, now)
	if err != nil {
		return nil, err
	}
	duration, err := decisionDuration(q.Duration)
	if err != nil {
		return nil, err
	}
	if err := usableWords(scope, q.Type, q.Value); err != nil {
		return nil, err
	}
	d := engine.NewDecision{
		Duration: duration, Origin: engine.OriginManual, Scenario: q.Reason, Scope: scope, Type: q.Type, Value: q.Value,
	}
	if err := d.Fits(); err != nil {
		return nil, err
	}
	if q.Dry {
		look := newForesight(view, now)
		look.see(&d, false)
		return &Imported{Stored: 1, Outlook: look.done()}, nil
	}
	a := operatorsAlert(view, q.Machine, now)
	a.Scenario, a.Message, a.Leakspeed, a.EventsCount, a.Remediation = q.Reason, q.Reason, "0", 1, true
	a.Source = engine.Source{Scope: scope, Value: q.Value, IP: q.Value}
	a.Decisions = []engine.NewDecision{d}
	ids, err := h.engine.AddAlerts(ctx, a.MachineID, []*engine.Alert{a}, now)
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "added a decision", "decision", fmt.Sprintf("%s %s on %s %.100s", duration, q.Type, scope, q.Value), "reason", q.Reason)
	return &Imported{Stored: len(ids), Warning: warning}, nil
}

// protected is the refusal of a decision on what is allowlisted, or, where that was to be
// bypassed, the warning that bouncers will not be told.
func protected(view *engine.View, q *NewDecision, scope engine.Scope, now int64) (warning string, err error) {
	if !engine.HoldsAddress(scope) {
		return "", nil
	}
	p, err := engine.ParseTarget(q.Value)
	if err != nil {
		return "", err
	}
	m := view.Allowlisted(nil, p, now)
	switch {
	case len(m) == 0:
		return "", nil
	case !q.Bypass:
		return "", &engine.Error{Kind: engine.ErrRefused, Text: fmt.Sprintf(
			"%s is allowlisted by item %s, use --bypass-allowlist to add the decision anyway", q.Value, reasons(m))}
	case !view.AllowlistsWin():
		return "", nil
	}
	const shown = 3
	more := ""
	if len(m) > shown {
		more = fmt.Sprintf(" and %d more", len(m)-shown)
	}
	return fmt.Sprintf("allowlist_wins is on: what is allowlisted of %s stays free for bouncers, by item %s%s", q.Value, reasons(m[:min(len(m), shown)]), more), nil
}

// operatorsAlert is an alert that carries an operator's decisions. It is
// signed with the machine's name only if there is such a machine.
func operatorsAlert(view *engine.View, machine string, now int64) *engine.Alert {
	a := &engine.Alert{Kind: "cscli", StartAt: engine.Stamp{At: now}, StopAt: engine.Stamp{At: now}}
	if machine != "" && view.Machine(machine) != nil {
		a.MachineID = machine
	}
	return a
}

// reasons joins what the items say.
func reasons(ms []engine.AllowlistMatch) string {
	text := ""
	for i, m := range ms {
		if i > 0 {
			text += ", "
		}
		text += m.Reason()
	}
	return text
}

// deleteDecisions ends what matches in one commit. What is told by name is what
// matched a moment before, at most ShownEnded of it; N is what ended.
func (h *Handler) deleteDecisions(ctx context.Context, q *DecisionFilter) (*Ended, error) {
	now, view := h.engine.Now(), h.engine.View()
	if q.ID != 0 {
		return h.deleteDecision(ctx, view, q, now)
	}
	if err := q.batchThere(view); err != nil {
		return nil, err
	}
	query := &engine.Query{
		Now: now, Batch: batchOf(q.Batch, q.List), Inside: q.Inside, Type: word(q.Type), Value: word(q.Value), Scenario: word(q.Scenario),
		Origin: word(q.Origin), Simulated: true, Limit: -1,
	}
	if q.Address != "" {
		p, err := engine.ParseTarget(q.Address)
		if err != nil {
			return nil, err
		}
		query.Address = p
	}
	found, _ := view.Select(query, func(int64) bool { return true })
	out := &Ended{N: found.Len()}
	for i := range min(found.Len(), ShownEnded) {
		out.First = append(out.First, decisionOf(found.At(i), now))
	}
	if q.Dry {
		return out, nil
	}
	var err error
	if out.N, err = h.engine.EndDecisions(ctx, query); err != nil {
		return out, err
	}
	if out.N == 0 {
		return out, nil
	}
	h.logChange(ctx, "deleted decisions", "decisions", out.N, "asked", q.asked(), "first", firstOf(out))
	return out, nil
}

// deleteDecision ends one by its number; none, when it is over already. ErrNotFound when it
// is not there.
func (h *Handler) deleteDecision(ctx context.Context, view *engine.View, q *DecisionFilter, now int64) (*Ended, error) {
	out := &Ended{N: 1}
	d, ok := view.Decision(engine.DecisionID(q.ID))
	if ok {
		out.First = []Decision{decisionOf(d, now)}
	}
	if ok && !d.Running(now) {
		return &Ended{}, nil
	}
	if q.Dry && !ok {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounDecision, Name: strconv.FormatUint(q.ID, 10)}
	}
	if q.Dry {
		return out, nil
	}
	if err := h.engine.EndDecision(ctx, engine.DecisionID(q.ID), now); err != nil {
		return nil, err
	}
	h.logChange(ctx, "deleted decisions", "decisions", 1, "asked", q.asked(), "first", firstOf(out))
	return out, nil
}

// firstOf is the first of what ended, for the log.
func firstOf(out *Ended) string {
	if len(out.First) == 0 {
		return ""
	}
	d := &out.First[0]
	return fmt.Sprintf("%.100s on %.100s %.100s", d.Type, d.Scope, d.Value)
}

// importChunk stores a chunk as one alert, without the values that an allowlist
// protects. One value that makes no sense refuses the whole chunk. A dry run comes as far
// as that and says what would be stored.
func (h *Handler) importChunk(ctx context.Context, q *Chunk) (*Imported, error) {
	if len(q.Items) > MaxChunk {
		return nil, &engine.Error{Kind: engine.ErrInvalid, Text: fmt.Sprintf("a chunk holds at most %d values", MaxChunk)}
	}
	if err := usableBatch(q.Batch); err != nil {
		return nil, err
	}
	if q.First { // two imports must not both find that a name is free
		h.batches.Lock()
		defer h.batches.Unlock()
	}
	now, view := h.engine.Now(), h.engine.View()
	if q.First && view.HasBatch(engine.Batch{Name: q.Batch}) {
		return nil, &engine.Error{Kind: engine.ErrExists, Text: fmt.Sprintf("there is a batch %q already: give another name, or --append to add to it", q.Batch)}
	}
	a, out := operatorsAlert(view, q.Machine, now), &Imported{}
	var err error
	if q.Dry {
		look := newForesight(view, now)
		_, err = h.chosen(q, view, now, out, look.see)
		out.Outlook = look.done()
		return out, err
	}
	if a.Decisions, err = h.chosen(q, view, now, out, nil); err != nil {
		return nil, err
	}
	if out.Stored == 0 {
		h.logImport(ctx, q, out)
		return out, nil
	}
	a.Batch = engine.Batch{Name: q.Batch}
	a.Scenario = fmt.Sprintf("import %s: %d IPs", q.Source, out.Stored)
	a.EventsCount, a.Unlogged = int32(out.Stored), true
	ids, err := h.engine.AddAlerts(ctx, a.MachineID, []*engine.Alert{a}, now)
	if len(ids) == 1 {
		out.Alert = uint64(ids[0])
	}
	if err == nil {
		h.logImport(ctx, q, out)
	}
	return out, err
}

// chosen are the decisions of a chunk, without what an allowlist protects, which out is
// told. They are counted as Stored; with see each is shown to it instead of being kept.
func (h *Handler) chosen(q *Chunk, view *engine.View, now int64, out *Imported, see func(d *engine.NewDecision, again bool)) ([]engine.NewDecision, error) {
	var list []engine.NewDecision
	if see == nil {
		list = make([]engine.NewDecision, 0, len(q.Items))
	}
	guarded := len(view.Allowlists()) > 0
	var found []engine.AllowlistMatch
	var durations durationWords
	for i := range q.Items {
		h.engine.Pace(i) // live queries must not wait for all of it
		d := q.Items[i].decision(q)
		if err := d.Fits(); err != nil {
			return nil, &engine.Error{Kind: engine.ErrInvalid, Text: fmt.Sprintf("%.100s: %v", d.Value, err)}
		}
		if engine.HoldsAddress(d.Scope) {
			p, err := engine.ParseTarget(d.Value)
			if err != nil {
				return nil, err
			}
			if guarded {
				found = view.Allowlisted(found[:0], p, now)
			}
			if len(found) > 0 {
				out.leaveOut(d.Value, found)
				continue
			}
		}
		var err error
		if d.Duration, err = durations.stored(d.Duration); err != nil {
			return nil, err
		}
		if err := usableWords(d.Scope, d.Type, d.Value); err != nil {
			return nil, err
		}
		out.Stored++
		if see != nil {
			see(&d, q.Items[i].Again)
			continue
		}
		list = append(list, d)
	}
	return list, nil
}

// durationWords remembers the last duration that was judged: imports repeat themselves.
type durationWords struct{ given, duration string }

func (w *durationWords) stored(text string) (string, error) {
	if w.given == "" || text != w.given {
		duration, err := decisionDuration(text)
		if err != nil {
			return "", err
		}
		w.given, w.duration = text, duration
	}
	return w.duration, nil
}

// decision is the item with the chunk's words where it has none.
func (i *Item) decision(q *Chunk) engine.NewDecision {
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
