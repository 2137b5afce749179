package console

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"lapid/engine"
	"lapid/transport/admin"
)

// decisionsOfAlert is how many of its decisions an alert in a list has with it.
const decisionsOfAlert = 256

// browsed is a page of decisions or alerts as it is asked for.
type browsed struct {
	view   *engine.View
	now    int64
	at     int64 // of the first page of the list, to which moments are relative
	filter engine.Filter
	query  engine.PageQuery
}

// browse reads where a page begins, its order, what is counted.
func (w *words) browse(e *engine.Engine) *browsed {
	b := &browsed{view: e.View(), now: e.Now()}
	b.query = engine.PageQuery{Now: b.now, Limit: w.limit(), Descending: true, Last: w.yes("last")}
	b.at = b.now
	if text := w.plain("cursor"); text != "" {
		c, err := engine.ParseCursor(text)
		if w.fail(err); err == nil {
			b.query.Cursor, b.at = c, c.At()
		}
		if b.query.Last {
			w.wrong("cursor and last=true are two places in one list")
		}
	}
	w.order(&b.query)
	w.facets(&b.query)
	return b
}

// decisions reads which decisions are meant: running ones unless it is said.
func (w *words) decisions(f *engine.Filter, at int64) {
	w.filter(f, at, engine.Running)
	w.chosen("type", w.text("type"), &f.Words[engine.FieldType])
	if community := w.flag("community"); community != nil && !*community {
		admin.ShowCommunity(f, false)
	}
}

// alerts reads which alerts are meant.
func (w *words) alerts(f *engine.Filter, at int64) {
	w.filter(f, at, engine.AnyStanding)
	w.alertsOnly(f)
}

// filter reads what decisions and alerts have in common: the search, and fields. since and until are relative
// to at. unless is which decisions are meant where that is not said.
func (w *words) filter(f *engine.Filter, at int64, unless engine.Standing) {
	f.Standing, f.HideCommunity = unsaid, true
	w.fail(admin.ParseSearch(f, w.plain("q"), at))
	w.standing(f, unless)
	f.Since = max(f.Since, w.moment("since", at))
	if until := w.moment("until", at); f.Until == 0 || until != 0 && until < f.Until {
		f.Until = until
	}
	for _, field := range []engine.Field{engine.FieldScenario, engine.FieldCountry, engine.FieldAS, engine.FieldMachine, engine.FieldOrigin} {
		w.chosen(field.String(), w.text(field.String()), &f.Words[field])
	}
	if scope := w.text("scope"); scope != nil {
		canonical := engine.CanonicalScope(*scope)
		w.chosen("scope", &canonical, &f.Words[engine.FieldScope])
	}
	w.chosen("value", w.text("value"), &f.Value)
	w.concerned(f)
}

// chosen adds a choice of one value, unless the search has made one.
func (w *words) chosen(name string, value *string, c *engine.Choice) {
	if value == nil {
		return
	}
	if len(c.Any) > 0 && !slices.Equal(c.Any, []string{*value}) {
		w.wrong("%s is asked for twice, in q and by itself", name)
	}
	c.Any = []string{*value}
}

// concerned reads addresses, alert and what is simulated or runs.
func (w *words) concerned(f *engine.Filter) {
	if text := w.plain("ip"); text != "" {
		p, err := engine.ParseTarget(text)
		if w.fail(err); w.yes("contains_only") {
			f.Inside = append(f.Inside, p)
		} else {
			f.Covers = append(f.Covers, p)
		}
	}
	if text := w.plain("range"); text != "" {
		p, err := engine.ParseTarget(text)
		w.fail(err)
		f.Inside = append(f.Inside, p)
	}
	if text := w.plain("alert"); text != "" {
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil || id == 0 {
			w.wrong("alert is a number")
		}
		f.Alerts = append(f.Alerts, engine.AlertID(id))
	}
	switch simulated := w.flag("simulated"); {
	case simulated == nil:
	case *simulated:
		w.simulated(f, engine.Simulated)
	default:
		w.simulated(f, engine.Enforced)
	}
}

func (w *words) simulated(f *engine.Filter, s engine.Simulation) {
	if f.Simulation != engine.AnySimulation && f.Simulation != s {
		w.wrong("what is simulated is asked for twice, and differs")
	}
	f.Simulation = s
}

// unsaid stands in a filter until it is said which decisions are meant.
const unsaid = engine.Ended + 1

// standing reads whether decisions run, unless the search has said it.
func (w *words) standing(f *engine.Filter, unless engine.Standing) {
	text := w.plain("state")
	if text == "" && f.Standing == unsaid {
		f.Standing = unless
	}
	if text == "" {
		return
	}
	standing, known := map[string]engine.Standing{"running": engine.Running, "ended": engine.Ended, "all": engine.AnyStanding}[text]
	if !known {
		w.wrong("state is running, ended or all")
	}
	if f.Standing != unsaid && f.Standing != standing {
		w.wrong("state is asked for twice, in q and by itself")
	}
	f.Standing = standing
}

// moment is a parameter that is one, 0 when it is not there.
func (w *words) moment(name string, now int64) int64 {
	text := w.plain(name)
	if text == "" {
		return 0
	}
	at, err := engine.ParseMoment(text, now)
	if err != nil {
		w.wrong("%s: %v", name, err)
	}
	return at
}

// order is sort, with - in front for the highest first; usually the newest are.
func (w *words) order(q *engine.PageQuery) {
	text := w.plain("sort")
	if text == "" {
		return
	}
	name, falling := strings.CutPrefix(text, "-")
	by, known := engine.ParseSort(name)
	if !known {
		w.wrong("sort is id, started, value, scope, scenario, country, as or machine, until, origin or type of decisions, or decisions of alerts, with - in front for the highest first")
	}
	q.Sort, q.Descending = by, falling
}

// facets are the fields whose values are to be counted, with commas between, or all.
func (w *words) facets(q *engine.PageQuery) {
	if text := w.plain("facet_limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > engine.MostFacets {
			w.wrong("facet_limit is a number from 1 to %d", engine.MostFacets)
		}
		q.FacetLimit = n
	}
	text := w.plain("facets")
	if text == "" {
		return
	}
	if text == "all" {
		text = "scope,origin,type,scenario,country,as,machine"
	}
	for name := range strings.SplitSeq(text, ",") {
		f, known := engine.ParseField(name)
		if !known || slices.Contains(q.Facets, f) {
			w.wrong("facets are all, or some of scope, origin, type, scenario, country, as, machine with commas between, each once")
		}
		q.Facets = append(q.Facets, f)
	}
}

// fail notes an error as the first fault.
func (w *words) fail(err error) {
	if err != nil && w.fault == nil {
		w.fault = err
	}
}

// listDecisions is a page of decisions, running ones unless it is said, the newest first.
func (s *Server) listDecisions(q *request) error {
	w := q.words()
	b := w.browse(s.options.Engine)
	w.decisions(&b.filter, b.at)
	b.query.Grouped = w.yes("grouped")
	if err := w.err(); err != nil {
		return err
	}
	found, err := b.view.DecisionPage(q.Context(), &b.filter, &b.query)
	if err != nil {
		return err
	}
	out := page[decisionShown]{Items: make([]decisionShown, 0, len(found.Rows)), Revision: found.Revision, Total: &found.Totals.Rows, Next: spelledCursor(found.Next),
		Previous: spelledCursor(found.Previous), Facets: facetsShown(found.Facets)}
	if b.query.Grouped {
		out.Matches = &found.Matches
	}
	for _, row := range found.Rows {
		shown := decisionOf(row.Decision, b.now)
		if b.query.Grouped {
			shown.Count = row.Count
		}
		out.Items = append(out.Items, shown)
	}
	return q.answer(200, out)
}

// listAlerts is a page of alerts, the newest first, each with its first decisions.
func (s *Server) listAlerts(q *request) error {
	w := q.words()
	b := w.browse(s.options.Engine)
	f := &b.filter
	w.alerts(f, b.at)
	if err := w.err(); err != nil {
		return err
	}
	found, err := s.options.Engine.AlertPage(q.Context(), b.view, f, &b.query)
	if err != nil {
		return err
	}
	out := page[*admin.Alert]{Items: make([]*admin.Alert, 0, len(found.Rows)), Revision: found.Revision, Total: &found.Totals.Rows, AtLeast: found.AtLeast,
		Next: spelledCursor(found.Next), Previous: spelledCursor(found.Previous), Facets: facetsShown(found.Facets)}
	for _, row := range found.Rows {
		if err := q.Context().Err(); err != nil {
			return err
		}
		a, err := s.alertOf(b.view, row.ID, b.now)
		if errors.Is(err, engine.ErrNotFound) {
			continue // deleted a moment ago
		}
		if err != nil {
			return err
		}
		out.Items = append(out.Items, a)
	}
	return q.answer(200, out)
}

// alertOf is an alert as lists have it: with its first decisions, and without events, which one alert is shown with.
func (s *Server) alertOf(v *engine.View, id engine.AlertID, now int64) (*admin.Alert, error) {
	a, err := s.options.Engine.AlertAlone(v, id)
	if err != nil {
		return nil, err
	}
	var first []engine.Decision
	for d := range s.options.Engine.DecisionsOf(v, id) {
		if first = append(first, d); len(first) == decisionsOfAlert {
			break
		}
	}
	a.Events = nil
	return admin.AlertOf(a, first, now), nil
}

// alertsOnly reads what is asked of alerts alone, by the names that alerts list has for it. Community and
// third-party lists are left out unless they, or something they have, are asked for.
func (w *words) alertsOnly(f *engine.Filter) {
	kind := w.text("decision_type")
	if also := w.text("type"); also != nil {
		if kind != nil && *kind != *also {
			w.wrong("type and decision_type are the same, and differ")
		}
		kind = also
	}
	w.chosen("type", kind, &f.Words[engine.FieldType])
	if text := w.text("kind"); text != nil {
		f.Kind = engine.Word{Given: true, Text: *text}
	}
	batch, list := w.plain("batch"), w.plain("list")
	if batch != "" && list != "" {
		w.wrong("an alert belongs to a batch or to a list")
	}
	if f.Batch.Name = batch; list != "" {
		f.Batch = engine.Batch{Name: list, List: true}
	}
	if w.yes("active") {
		if f.Standing == engine.Ended {
			w.wrong("active and state differ")
		}
		f.Standing = engine.Running
	}
	if w.yes("hide_simulated") {
		w.simulated(f, engine.Enforced)
	}
	if w.yes("community") || len(f.Words[engine.FieldOrigin].Any) > 0 || f.Batch.Name != "" || len(f.Alerts) > 0 {
		f.HideCommunity = false // what is named is to be seen
	}
}

// spelledCursor is "" for none.
func spelledCursor(c *engine.Cursor) string {
	if c == nil {
		return ""
	}
	return c.String()
}

func facetsShown(list []engine.Facet) []facetShown {
	out := make([]facetShown, 0, len(list))
	for _, f := range list {
		shown := facetShown{Field: f.Field.String(), Values: make([]valueShown, 0, len(f.Values)), More: f.More}
		for _, v := range f.Values {
			shown.Values = append(shown.Values, valueShown(v))
		}
		out = append(out, shown)
	}
	return out
}
