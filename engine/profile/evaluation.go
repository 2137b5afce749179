package profile

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/expr-lang/expr/vm"

	"lapid/engine"
)

// evaluation is the bench on which one alert is judged: the machine that runs
// expressions, what they see, and how much they may still use up. It is owned
// by one goroutine between begin and end, and pooled by its Set.
type evaluation struct {
	set     *Set
	machine vm.VM
	scene   scene
	facts   facts

	// Set by begin for one alert, dropped by end.
	alert   *engine.Alert
	view    *engine.View
	now     int64
	profile *profile // the one being looked at
	trace   *Tracer  // nil: nobody asks how it was judged

	// Set by run for one expression.
	room int          // bytes of texts and lists it may still make
	late *atomic.Bool // nil when it cannot loop; true when its time is over
}

// scene is the environment of an expression: its fields are the names it may
// use. The evaluation is handed to functions under a name that no expression can hold.
// It holds no data of its own.
type scene struct {
	Alert      *facts
	Evaluation *evaluation `expr:"(evaluation)" json:"-"`
}

// hiddenName is how the binder refers to scene.Evaluation.
const hiddenName = "(evaluation)"

// newEvaluation makes one for the pool of a set, with memory of its own.
func newEvaluation(s *Set) *evaluation {
	e := &evaluation{set: s}
	e.machine.MemoryBudget = elementLimit
	e.scene = scene{Alert: &e.facts, Evaluation: e}
	return e
}

// begin lays an alert out, as far as the rules look at it.
func (e *evaluation) begin(a *engine.Alert, v *engine.View, now int64) {
	e.alert, e.view, e.now = a, v, now
	e.facts.fill(a, e.set.needs)
}

// end lets go of everything that belongs to the alert. So what waits in the
// pool keeps no alert alive, and no view of the engine's.
func (e *evaluation) end() {
	e.alert, e.view, e.profile, e.late = nil, nil, nil, nil
	e.facts = facts{}
	clear(e.machine.Stack[:cap(e.machine.Stack)])
	clear(e.machine.Variables)
}

// run evaluates x. Everything that goes wrong, panics of the machine
// included, is an error that shows the place. Each expression has bounds of
// its own, and its time begins here. Only those that can loop pay for a
// timer.
func (e *evaluation) run(x *expression) (any, error) {
	e.room, e.late = materialLimit, nil
	if x.reads && textOf(e.alert) > documentLimit {
		return nil, errLong
	}
	if !x.loops {
		return e.machine.Run(x.program, &e.scene)
	}
	late := new(atomic.Bool)
	alarm := time.AfterFunc(e.set.options.TimeLimit, func() { late.Store(true) })
	defer alarm.Stop()
	e.late = late
	out, err := e.machine.Run(x.program, &e.scene)
	e.machine = vm.VM{MemoryBudget: elementLimit} // its scopes would keep the lists alive
	return out, err
}

// log writes one line that says which profile and which alert it is about.
// Texts of the alert are shortened in it.
func (e *evaluation) log(level slog.Level, text string, args ...any) {
	e.set.options.Logger.Log(context.Background(), level, text, append(e.about(), args...)...)
}

// complain reports a failing filter. A refused alert is an error; where the
// profile says what to do, or the alert goes on with its own decisions, it is
// a warning.
func (e *evaluation) complain(p *profile, x *expression, err error) {
	level := slog.LevelError
	if p.onError != unsaid || len(e.alert.Decisions) > 0 {
		level = slog.LevelWarn
	}
	e.log(level, "a filter has failed", "filter", x.text, "error", clip(err.Error()))
}

// debug writes the result of a filter at debug level, past the logger's own
// level: the profile asked for it.
func (e *evaluation) debug(x *expression, result bool) {
	text := fmt.Sprintf("dbg(result=%t): %s", result, x.text)
	r := slog.NewRecord(time.Unix(0, e.now), slog.LevelDebug, text, 0)
	r.Add(e.about()...)
	// A log that cannot be written is not the alert's fault.
	_ = e.set.options.Logger.Handler().Handle(context.Background(), r)
}

// about names what a log line is about.
func (e *evaluation) about() []any {
	name := ""
	if e.profile != nil {
		name = e.profile.spec.Name
	}
	return []any{
		"profile", name,
		"alert", e.alert.UUID.String(),
		"scenario", clip(e.alert.Scenario),
		"source", clip(e.alert.Source.Scope + " " + e.alert.Source.Value),
	}
}

// clip shortens a text of unknown origin for the log and for answers. At
// most 4096 bytes and a sign for the rest.
func clip(s string) string {
	const most = 4096
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// textOf is how long the texts of an alert are, in bytes. Those of its events
// and meta have been cut when it came in.
func textOf(a *engine.Alert) int {
	s := &a.Source
	return len(a.Message) + len(a.Scenario) + len(a.ScenarioHash) + len(a.ScenarioVersion) + len(a.Kind) + len(a.Leakspeed) +
		len(a.StartText) + len(a.StopText) + len(a.MachineID) +
		len(s.Scope) + len(s.Value) + len(s.IP) + len(s.Range) + len(s.AsName) + len(s.AsNumber) + len(s.Cn)
}
