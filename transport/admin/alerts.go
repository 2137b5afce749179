package admin

import (
	"context"
	"time"

	"lapid/engine"
)

// AlertRequest asks for one alert.
type AlertRequest struct{ ID uint64 }

// AlertShown is one alert, and which of its decisions run by the server's clock.
type AlertShown struct {
	Alert   *Alert
	Running []uint64 // ids of the decisions still running
}

// AlertDeletion asks which alerts to delete. An id wins over the filter. The
// zero filter is every alert: the verbs ask for one, the protocol does not.
type AlertDeletion struct {
	ID     uint64 // 0: by the filter
	Filter AlertFilter

	Listed *Listed `json:",omitempty"` // what a list has, in place of the filter
	Dry    bool    `json:",omitempty"` // of Listed: delete nothing, only say what would be
}

// DeletedAlerts is what a deletion of alerts has deleted.
type DeletedAlerts struct {
	N     int
	First []DeletedAlert // the newest of them, at most ShownEnded

	Listing *Listing `json:",omitempty"` // of Listed
}

// DeletedAlert is one of them, as it was before.
type DeletedAlert struct {
	ID                     uint64
	Scope, Value, Scenario string
	Decisions              int
}

// Flush bounds the alerts that are kept; those with running decisions stay.
type Flush struct {
	MaxItems int   // 0: any number
	MaxAge   int64 // nanoseconds; 0: any age
}

// listAlerts yields alerts one by one out of one view, so a list of millions takes no
// more memory than one alert, and shows one moment. It ends when the client reads no
// more.
func (h *Handler) listAlerts(ctx context.Context, f *AlertFilter, yield func(*Alert) bool) error {
	now := h.engine.Now()
	q, err := f.query(now)
	if err != nil {
		return err
	}
	var concerned []engine.Decision
	return h.engine.Alerts(ctx, h.engine.View(), q, func(a *engine.Alert, ds []engine.Decision) bool {
		named := q.Batch.Name != "" && f.Active // what it has now
		if f.Concerned || named {
			concerned = concerned[:0]
			for _, d := range ds {
				if (!f.Concerned || concerns(d, q)) && (!named || d.Running(now)) {
					concerned = append(concerned, d)
				}
			}
			if ds = concerned; len(ds) == 0 {
				return true
			}
		}
		return yield(AlertOf(a, ds, now))
	})
}

// AlertPart is a stretch of a list of alerts: the next alert with the first of its
// decisions or, when Alert is nil, more decisions of the alert before. So nobody holds an alert of a
// million decisions.
type AlertPart struct {
	Alert  *Alert         `json:",omitempty"`
	More   []Decision     `json:",omitempty"`
	Counts map[string]int `json:",omitempty"` // AlertFilter.Counted: decisions by CountedAs, of all of the alert
}

// partSize is how many decisions a part has at most.
const partSize = 256

// CountedAs is the word by which a decision is counted: its type, marked when it is simulated.
func (d *Decision) CountedAs() string {
	if d.Simulated {
		return "(simul)" + d.Type
	}
	return d.Type
}

// listAlertParts is listAlerts in parts, which a list of any length takes no memory for.
func (h *Handler) listAlertParts(ctx context.Context, f *AlertFilter, yield func(*AlertPart) bool) error {
	now, view := h.engine.Now(), h.engine.View()
	q, err := f.query(now)
	if err != nil {
		return err
	}
	q.WithoutDecisions = true
	l := alertLister{engine: h.engine, view: view, filter: f, query: q, now: now, yield: yield}
	return h.engine.Alerts(ctx, view, q, func(a *engine.Alert, _ []engine.Decision) bool { return l.alert(a) })
}

// alertLister makes the parts of one list.
type alertLister struct {
	engine *engine.Engine
	view   *engine.View
	filter *AlertFilter
	query  *engine.AlertQuery
	now    int64
	yield  func(*AlertPart) bool
}

// alert yields the parts of one alert; false ends the list.
func (l *alertLister) alert(a *engine.Alert) bool {
	named := l.query.Batch.Name != "" && l.filter.Active // what it has now
	part, found := &AlertPart{}, false
	head := func() *Alert { return AlertOf(a, nil, l.now) }
	for d := range l.engine.DecisionsOf(l.view, a.ID) {
		if l.filter.Concerned && !concerns(d, l.query) || named && !d.Running(l.now) {
			continue
		}
		if !found {
			part.Alert, found = head(), true
		}
		if l.filter.Counted {
			one := Decision{Type: d.Type().S, Simulated: d.Simulated()}
			if part.Counts == nil {
				part.Counts = map[string]int{}
			}
			part.Counts[one.CountedAs()]++
			continue
		}
		if part.add(decisionOf(d, l.now)) < partSize {
			continue
		}
		if !l.yield(part) {
			return false
		}
		part = &AlertPart{}
	}
	if !found && (l.filter.Concerned || named) {
		return true
	}
	if !found {
		part.Alert = head()
	}
	return part.Alert == nil && len(part.More) == 0 || l.yield(part)
}

// add puts a decision behind the others and says how many the part has.
func (p *AlertPart) add(d Decision) int {
	list := &p.More
	if p.Alert != nil {
		list = &p.Alert.Decisions
	}
	*list = append(*list, d)
	return len(*list)
}

// concerns tells whether a decision is one of those for which its alert was found.
func concerns(d engine.Decision, q *engine.AlertQuery) bool {
	if q.DecisionType.Given && d.Type().S != q.DecisionType.Text || q.Origin.Given && d.Origin().S != q.Origin.Text {
		return false
	}
	target := d.Target()
	switch {
	case !q.Address.IsValid():
		return true
	case !target.IsValid():
		return false
	case q.Inside:
		return target.Bits() >= q.Address.Bits() && q.Address.Contains(target.Addr())
	}
	return target.Bits() <= q.Address.Bits() && target.Contains(q.Address.Addr())
}

// getAlert fails with ErrNotFound, and with what the disk says about a body that
// cannot be read.
func (h *Handler) getAlert(_ context.Context, q *AlertRequest) (*AlertShown, error) {
	now := h.engine.Now()
	a, ds, err := h.engine.Alert(h.engine.View(), engine.AlertID(q.ID))
	if err != nil {
		return nil, err
	}
	out := &AlertShown{Alert: AlertOf(a, ds, now)}
	for _, d := range ds {
		if d.Running(now) {
			out.Running = append(out.Running, uint64(d.ID()))
		}
	}
	return out, nil
}

// deleteAlerts looks first which alerts it is about, the newest ten of them, and then
// deletes all that match in one commit: what came in between is deleted too, and
// counted, but not named.
func (h *Handler) deleteAlerts(ctx context.Context, q *AlertDeletion) (*DeletedAlerts, error) {
	now, view, out := h.engine.Now(), h.engine.View(), &DeletedAlerts{}
	if q.Listed != nil {
		return h.deleteListed(ctx, view, q, now)
	}
	if q.Dry {
		return nil, invalid("only what a list has can be looked at before it is deleted")
	}
	show := func(a *engine.Alert, ds []engine.Decision) bool {
		out.First = append(out.First, DeletedAlert{uint64(a.ID), a.Source.Scope, a.Source.Value, a.Scenario, len(ds)})
		return len(out.First) < ShownEnded
	}
	if q.ID != 0 {
		if a, ds, err := h.engine.Alert(view, engine.AlertID(q.ID)); err == nil {
			show(a, ds)
		}
		if err := h.engine.DeleteAlert(ctx, engine.AlertID(q.ID), now); err != nil {
			return nil, err
		}
		out.N = 1
		h.logChange(ctx, "deleted alerts", "alerts", 1, "asked", q.asked())
		return out, nil
	}
	query, err := q.Filter.query(now)
	if err != nil {
		return nil, err
	}
	// A limit is for lists.
	query.Limit = 0
	if err := h.engine.Alerts(ctx, view, query, show); err != nil {
		return nil, err
	}
	if out.N, err = h.engine.DeleteAlerts(ctx, query); err != nil {
		return nil, err
	}
	h.logChange(ctx, "deleted alerts", "alerts", out.N, "asked", q.asked())
	return out, nil
}

// flushAlerts is retention at once, by the bounds that were given.
func (h *Handler) flushAlerts(ctx context.Context, q *Flush) (*Done, error) {
	n, err := h.engine.FlushAlerts(ctx, q.MaxItems, time.Duration(q.MaxAge), h.engine.Now())
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "flushed alerts", "alerts", n, "max_items", q.MaxItems, "max_age", time.Duration(q.MaxAge))
	return &Done{N: n}, nil
}

// listUsage yields stored reports as they came, oldest first, without reading what is
// in them.
func (h *Handler) listUsage(ctx context.Context, q *UsageRequest, yield func(*UsageReport) bool) error {
	kind := engine.UsageBouncer
	if q.Kind == "machine" {
		kind = engine.UsageMachine
	}
	for u, err := range h.engine.Usage(ctx, kind, q.Name) {
		if err != nil {
			return err
		}
		if !yield(&UsageReport{Name: u.Name, ReceivedAt: u.ReceivedAt, Payload: u.Payload}) {
			return nil
		}
	}
	return nil
}
