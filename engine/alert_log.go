package engine

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
)

// What is stored is told in the log at info, in the words by which the reference's log
// is searched: one line for each decision,
//
//	(m1/crowdsec) crowdsecurity/ssh-bf by ip 192.0.2.1 (FR/1234) : 4h ban on Ip 192.0.2.1
//
// and one for an alert without any, or one that brings an imported list:
//
//	(m1) alert : crowdsecurity/http-probing by ip 192.0.2.1
//
// No report makes the log as long as its sender likes: of one alert linesOfAlert
// decisions have lines and the others are a number, and in a second linesInSecond
// are written in all. What had none is counted in a line of its own, which names the
// first of it.
const (
	linesOfAlert  = 5
	linesInSecond = 100
	// missedBytes is how many bytes of names the line about reports without a line has.
	missedBytes = 1000
)

// alertLog counts the lines of a second, and what there was no line for. Any
// goroutine may use it.
type alertLog struct {
	mu                sync.Mutex
	second            int64
	lines             int
	alerts, decisions int    // without a line
	first             []byte // of what had none, up to missedBytes
}

// may reports whether so many more lines may be written at now. If not, or if only a part
// of them has room, the alert is counted, with so many decisions, as one without lines.
func (t *alertLog) may(now int64, lines, decisions int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if second := now / 1e9; t.over(second) {
		t.second, t.lines = second, 0
	}
	if t.lines+lines > linesInSecond {
		t.lines = linesInSecond // a shorter one must not come before those that are counted
		t.alerts++
		t.decisions += decisions
		return false
	}
	t.lines += lines
	return true
}

// name keeps what an alert without a line is about, as long as there is room.
func (t *alertLog) name(of *alertLines) {
	t.mu.Lock()
	defer t.mu.Unlock()
	add := func(value string) (more bool) {
		if value = cutText(value); value == "" {
			return true
		}
		if len(t.first)+len(value)+1 > missedBytes {
			return false
		}
		if len(t.first) > 0 {
			t.first = append(t.first, ' ')
		}
		t.first = append(t.first, value...)
		return true
	}
	if len(of.decisions) == 0 {
		add(of.alert.Source.Value)
		return
	}
	for i := range of.decisions {
		if !add(of.decisions[i].Value) {
			return
		}
	}
}

// over reports whether another second than the one that is counted has begun. A writer
// that waited for its commit comes with an earlier second and begins none; a clock that
// was set back does.
func (t *alertLog) over(second int64) bool { return second > t.second || second < t.second-lateAtMost }

// lateAtMost is how many seconds a report may be under way.
const lateAtMost = 60

// missed returns what had no line, once the second is over, and forgets it.
func (t *alertLog) missed(now int64) (alerts, decisions int, first string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over(now / 1e9) {
		return 0, 0, ""
	}
	alerts, decisions, first = t.alerts, t.decisions, string(t.first)
	t.alerts, t.decisions, t.first = 0, 0, nil
	return alerts, decisions, first
}

// logAlerts logs what has been stored.
func (e *Engine) logAlerts(o *addAlerts) {
	for i := range o.alerts {
		in := &o.alerts[i]
		if in.lines.alert == nil {
			continue
		}
		if !e.alertLog.may(o.at, in.lines.size(len(in.plans)), len(in.plans)) {
			e.alertLog.name(&in.lines)
			continue
		}
		for _, line := range in.lines.lines(reporter(o.machine), len(in.plans)) {
			e.log.Info(line)
		}
	}
}

// logMissed says what had no line of its own. The committer calls it each time
// round.
func (e *Engine) logMissed(now int64) {
	if alerts, decisions, first := e.alertLog.missed(now); alerts > 0 {
		e.log.Info("more alerts came than the log has lines for in a second", "alerts", alerts, "decisions", decisions, "lines", linesInSecond, "first", first)
	}
}

// logDiscarded says that decisions of an alert name no address though they must,
// and which was the first.
func (e *Engine) logDiscarded(a *Alert, decisions []NewDecision, unreadable int) {
	if !e.alertLog.may(a.CreatedAt, 1, unreadable) {
		return
	}
	first := ""
	for i := range decisions {
		if _, ok := parseTarget(decisions[i].Value); !ok && HoldsAddress(decisions[i].Scope) && len(decisions[i].Value) <= LongestValue {
			first = decisions[i].Value
			break
		}
	}
	e.log.Warn("discarded decisions without a readable address", "value", first, "discarded", unreadable,
		"machine", a.MachineID, "scenario", a.Scenario, "alert", a.UUID.String())
}

// reporter names the reporter: an operator may have no machine's name.
func reporter(machine string) string {
	if machine == "" {
		return "operator"
	}
	return cutText(machine)
}

// alertLines is what the log will say of an alert, put into words only if there is room
// for them.
type alertLines struct {
	alert     *Alert // nil: nothing is to be told
	decisions []NewDecision
}

// alertLinesOf is made before the alert is stored, of the decisions that are proposed.
func (e *Engine) alertLinesOf(a *Alert, decisions []NewDecision) alertLines {
	if a.Unlogged || !e.log.Enabled(context.Background(), slog.LevelInfo) {
		return alertLines{}
	}
	return alertLines{a, decisions}
}

// imported reports whether the decisions are a list's, which is told as a whole.
func (t *alertLines) imported() bool {
	return len(t.decisions) > 0 && t.decisions[0].Origin == OriginImport
}

// size is how many lines are told of an alert of which so many decisions are stored.
func (t *alertLines) size(stored int) int {
	switch {
	case t.imported(), stored == 0:
		return 1
	case stored > linesOfAlert:
		return linesOfAlert + 1
	}
	return stored
}

// lines are these lines.
func (t *alertLines) lines(machine string, stored int) []string {
	reason := t.alert.reason()
	if t.imported() || stored == 0 {
		return []string{"(" + machine + ") alert : " + reason}
	}
	simulated := ""
	if t.alert.Simulated {
		simulated = "(simulated alert)"
	}
	lines := make([]string, 0, linesOfAlert+1)
	for i := range t.decisions {
		d := &t.decisions[i]
		if len(lines) == linesOfAlert {
			break
		}
		if _, ok := parseTarget(d.Value); len(d.Value) > LongestValue || HoldsAddress(d.Scope) && !ok {
			continue // it was left out
		}
		lines = append(lines, "("+machine+"/"+cutText(d.Origin)+") "+reason+" : "+simulated+
			cutText(d.Duration)+" "+cutText(d.Type)+" on "+cutText(d.Scope)+" "+cutText(d.Value))
	}
	if more := stored - len(lines); more > 0 {
		lines = append(lines, "("+machine+") "+reason+" : and "+strconv.Itoa(more)+" more decisions")
	}
	return lines
}

// reason is what was seen, and where it came from.
func (a *Alert) reason() string {
	what := a.Scenario
	if what == "" {
		what = a.Message
	}
	if what == "" {
		what = "empty scenario"
	}
	if a.Source.Scope == "" && a.Source.Value == "" {
		return cutText(what)
	}
	return cutText(what) + " by " + a.Source.label()
}

// label names a source as the reference does: its address with country and
// number of the network, a range, or anything else by its scope.
func (s *Source) label() string {
	if s.Scope != ScopeIP && s.Scope != ScopeRange {
		return cutText(s.Scope) + " " + cutText(s.Value)
	}
	where := ""
	if s.Cn != "" {
		if where = cutText(s.Cn); s.AsNumber != "" {
			where += "/" + cutText(s.AsNumber)
		}
		where = " (" + where + ")"
	}
	return strings.ToLower(s.Scope) + " " + cutText(s.Value) + where
}

// cutText keeps a part of a line from being as long as its sender likes.
func cutText(s string) string { return cutTo(s, 200) }

// cutTo is the text, or its first bytes and an ellipsis.
func cutTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
