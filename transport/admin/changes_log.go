package admin

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"
)

// Each change by an operator has a line in the log: what, how many, and which user, by
// what the kernel says of the process that asked. Within the command's own
// process, where no server runs, there is no log, and the verb says what it did.

// logChange logs that a verb has changed something.
func (h *Handler) logChange(ctx context.Context, what string, args ...any) {
	if r := remoteOf(ctx); r != nil {
		h.log.Info("operator: "+what, append(args, r.described()...)...)
		return
	}
	if p := passedBy(ctx); p != nil {
		h.log.Info("operator: "+what, append(args, "user", p.By.Name)...)
		return
	}
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return
	}
	h.log.Info("operator: "+what, append(args, c.name()...)...)
}

// name is the caller: the name of the user and its number, or the number
// alone when the system has no name for it.
func (c *caller) name() []any {
	if c.user < 0 {
		return []any{"user", "unknown"}
	}
	if u, err := user.LookupId(strconv.Itoa(c.user)); err == nil {
		return []any{"user", u.Username, "uid", c.user}
	}
	return []any{"uid", c.user}
}

// imported is what has become of the chunks of an import so far: there is one line for all of them.
type imported struct {
	source                 string
	chunks                 int // none of a dry run
	stored, alerts, spared int
}

// add counts a chunk that was answered.
func (i *imported) add(c *chunk) {
	if c.head.Dry {
		return
	}
	i.source = c.head.Source
	i.chunks++
	i.stored += c.out.Stored
	i.spared += len(c.out.Allowlisted)
	if c.out.Alert != 0 {
		i.alerts++
	}
}

// logImport logs an import, before its client is told the end of it: lines stand in the order of what happened.
func (h *Handler) logImport(ctx context.Context, i *imported) {
	if i.chunks > 0 {
		h.logChange(ctx, "imported decisions", "source", i.source, "decisions", i.stored, "alerts", i.alerts, "allowlisted", i.spared)
	}
}

// asked is a filter as a line tells it: what was given.
func (q *DecisionFilter) asked() string {
	if q.Listed != nil {
		return q.Listed.asked()
	}
	var parts []string
	add := func(name, value string) { parts = append(parts, fmt.Sprintf("%s=%.100s", name, value)) }
	if q.ID != 0 {
		add("id", strconv.FormatUint(q.ID, 10))
	}
	if q.Address != "" {
		add("address", q.Address)
	}
	if q.Batch != "" {
		add("batch", q.Batch)
	}
	if q.List != "" {
		add("list", q.List)
	}
	return given(parts, []filled{{"type", q.Type}, {"value", q.Value}, {"scenario", q.Scenario}, {"origin", q.Origin}})
}

// asked is the same for a deletion of alerts.
func (q *AlertDeletion) asked() string {
	if q.Listed != nil {
		return q.Listed.asked()
	}
	var parts []string
	f := &q.Filter
	if q.ID != 0 {
		return fmt.Sprintf("id=%d", q.ID)
	}
	if f.Address != "" {
		parts = append(parts, fmt.Sprintf("address=%.100s", f.Address))
	}
	if f.Since != 0 {
		parts = append(parts, "since="+time.Duration(f.Since).String())
	}
	if f.Until != 0 {
		parts = append(parts, "until="+time.Duration(f.Until).String())
	}
	if f.Active {
		parts = append(parts, "active")
	}
	return given(parts, []filled{{"scope", f.Scope}, {"value", f.Value}, {"scenario", f.Scenario},
		{"type", f.DecisionType}, {"origin", f.Origin}, {"kind", f.Kind}})
}

// filled is a field of a filter, nil when it was not given.
type filled struct {
	name  string
	value *string
}

// given adds the fields that were given to what was said; "all" when nothing was.
func given(parts []string, fields []filled) string {
	for _, f := range fields {
		if f.value != nil {
			parts = append(parts, fmt.Sprintf("%s=%.100s", f.name, *f.value))
		}
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, " ")
}

// some names the first of a list, and how many more there are.
func some(names []string) string {
	const most = 5
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
