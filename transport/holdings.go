package transport

import (
	"encoding/json"
	"strings"
	"time"

	"lapid/engine"
)

// What bouncers hold, and what they have told of themselves, by the names of rows. Rows whose
// polls are remembered (engine.PollsKept, those that polled last) have series of their own, and
// where there is room for more, others that have come, the eldest first; of all others there is
// the worst, under otherBouncers, as there is of a bouncer that is called so.
var (
	bouncerLagSeconds  = desc("lapid_bouncer_lag_seconds", "Age of the oldest change that concerns a bouncer and that it has not acknowledged; of those that polled last.", "bouncer")
	bouncerLastPull    = desc("lapid_bouncer_last_pull_timestamp_seconds", "When a bouncer last asked for decisions, in Unix seconds; missing before the first time.", "bouncer")
	bouncerLag         = desc("lapid_bouncer_lag_revisions", "Revisions since what a bouncer has acknowledged, 0 where none concerns it; of those that polled last.", "bouncer")
	bouncerExpected    = desc("lapid_bouncer_expected_decisions", "Decisions that a bouncer should hold; of those that polled last.", "bouncer")
	bouncerReported    = desc("lapid_bouncer_reported_decisions", "Decisions that a bouncer last said that it holds; of those that reported last.", "bouncer")
	bouncerActive      = desc("cs_bouncer_active_decisions", "What bouncers last reported as active_decisions, all origins together.", "bouncer")
	bouncerDropped     = desc("cs_bouncer_dropped_total", "What bouncers have reported as dropped, since the start of the server.", "bouncer", "origin", "unit")
	bouncerProcessed   = desc("cs_bouncer_processed_total", "What bouncers have reported as processed, since the start of the server.", "bouncer", "origin", "unit")
	reportedFigures    = map[string]string{"dropped": "dropped", "processed": "processed"}
	reportedOrigins    = []string{"", "crowdsec", "cscli", "cscli-import", "console", "CAPI", "lists"}
	reportedUnits      = []string{"ip", "byte", "packet", "request"}
	otherBouncers      = "other"
	activeDecisionName = "active_decisions"
)

// holdings sends what bouncers have of what there is for them. It costs a look at each row,
// of a few nanoseconds, and for each that has series of its own the look of
// engine.Holdings, which those share that ask the same.
func (c collectorOf) holdings(m measure) {
	h := c.s.engine.Holdings(c.s.engine.Now())
	own, rows, oldest := c.ownRows(m, h)
	worst, any := engine.Holding{}, false
	for _, r := range rows {
		o, name, at := h.Of(r), rowName(r), r.LastPull()
		if name == otherBouncers {
			worst, any = o, o.Streams
			oldest = older(oldest, at)
			continue
		}
		m.lastPull(name, at)
		if o.Streams {
			m.holding(name, &o)
		}
	}
	m.lastPull(otherBouncers, oldest)
	rest, some := h.Worst(func(r *engine.BouncerRow) bool { return own[r] })
	if some {
		rest.Lag, rest.Behind, rest.Expected = max(rest.Lag, worst.Lag), max(rest.Behind, worst.Behind), max(rest.Expected, worst.Expected)
		worst, any = rest, true
	}
	if any {
		m.holding(otherBouncers, &worst)
	}
}

// ownRows chooses the rows that have series of their own, and sends how many there are in each
// state. oldest is the last pull of that of the others which came longest ago; 0: none has come.
func (c collectorOf) ownRows(m measure, h *engine.Holdings) (own map[*engine.BouncerRow]bool, rows []*engine.BouncerRow, oldest int64) {
	own = map[*engine.BouncerRow]bool{}
	take := func(r *engine.BouncerRow) bool {
		if !own[r] {
			own[r], rows = true, append(rows, r)
		}
		return true
	}
	c.s.engine.EachPoller(take)
	states := map[engine.BouncerState]int{}
	c.s.engine.View().EachBouncer(func(r *engine.BouncerRow) bool {
		states[h.State(r)]++
		switch at := r.LastPull(); {
		case at == 0 || own[r]:
		case len(rows) < engine.PollsKept:
			take(r)
		default:
			oldest = older(oldest, at)
		}
		return true
	})
	for _, state := range engine.BouncerStates {
		m.gauge(bouncers, float64(states[state]), state.String())
	}
	return own, rows, oldest
}

// older is the earlier of two moments, of which 0 is none.
func older(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func (m measure) lastPull(name string, at int64) {
	if at != 0 {
		m.gauge(bouncerLastPull, float64(at/int64(time.Second)), name)
	}
}

func (m measure) holding(name string, o *engine.Holding) {
	m.gauge(bouncerLagSeconds, o.Lag.Seconds(), name)
	m.gauge(bouncerLag, float64(o.Behind), name)
	m.gauge(bouncerExpected, float64(o.Expected), name)
}

// reports sends what bouncers have told of themselves.
func (c collectorOf) reports(m measure) {
	var others []engine.Figure
	least, some := int64(0), false
	var list []func()
	c.s.engine.EachReport(func(r *engine.BouncerRow, told *engine.Report) {
		if r == nil || rowName(r) == otherBouncers {
			others = engine.AddFigures(others, told.Figures)
			if told.HasActive && (!some || told.Active < least) {
				least, some = told.Active, true
			}
			return
		}
		name, one := rowName(r), *told
		one.Figures = append([]engine.Figure(nil), told.Figures...)
		list = append(list, func() { m.report(name, &one) })
	})
	for _, send := range list {
		send()
	}
	m.report(otherBouncers, &engine.Report{Active: least, HasActive: some, Figures: others})
}

func (m measure) report(name string, told *engine.Report) {
	if told.HasActive {
		m.gauge(bouncerReported, float64(told.Active), name)
		m.gauge(bouncerActive, float64(told.Active), name)
	}
	for _, f := range told.Figures {
		d := bouncerDropped
		if f.Name == reportedFigures["processed"] {
			d = bouncerProcessed
		}
		m.counter(d, f.Value, name, f.Origin, f.Unit)
	}
}

// reportOf is what the metrics of a bouncer say that is kept in memory. Names that are not
// known are left out; origins and units that are not known are one, for each is a series.
func reportOf(u *engine.Usage) *engine.Report {
	var entries []struct {
		Meta struct {
			Now float64 `json:"utc_now_timestamp"`
		} `json:"meta"`
		Items []struct {
			Name   string            `json:"name"`
			Unit   string            `json:"unit"`
			Value  float64           `json:"value"`
			Labels map[string]string `json:"labels"`
		} `json:"items"`
	}
	told := &engine.Report{At: u.ReceivedAt}
	if json.Unmarshal(u.Payload, &entries) != nil {
		return told
	}
	for _, e := range entries {
		active, has := int64(0), false
		for _, i := range e.Items {
			switch name, known := reportedFigures[i.Name]; {
			case i.Value < 0 || i.Value > 1<<53:
			case i.Name == activeDecisionName:
				if !has {
					told.Holds = nil // an entry before this one told of an earlier moment
				}
				active, has = active+int64(i.Value), true
				told.Holds = engine.AddFigures(told.Holds, []engine.Figure{
					{Name: activeDecisionName, Origin: reportedOrigin(i.Labels["origin"]), Unit: among(reportedUnits, i.Unit), Value: i.Value},
				})
			case known:
				told.Figures = engine.AddFigures(told.Figures, []engine.Figure{
					{Name: name, Origin: reportedOrigin(i.Labels["origin"]), Unit: among(reportedUnits, i.Unit), Value: i.Value},
				})
			}
		}
		if has {
			told.Active, told.HasActive = active, true
		}
		told.Sent = max(told.Sent, int64(e.Meta.Now))
	}
	return told
}

// reportedOrigin is an origin without the name of a list.
func reportedOrigin(o string) string {
	if strings.HasPrefix(o, "lists:") {
		o = "lists"
	}
	return among(reportedOrigins, o)
}

// among is a word of a list, or the word for others.
func among(list []string, word string) string {
	for _, w := range list {
		if w == word {
			return w
		}
	}
	return otherBouncers
}
