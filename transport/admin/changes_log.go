package admin

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Each change by an operator has a line in the log: what, how many, and which user, by
// what the kernel says of the process that asked. Within the command's own
// process, where no server runs, there is no log, and the verb says what it did.

// logChange logs that a verb has changed something. It ends the count of an
// import on the same connection, so that lines stand in the order of what
// happened.
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
	c.imports.end()
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

// imports are the chunks of an import that come on one connection, for there is one
// line for all of them: when the connection ends, or another verb comes on it, or
// another import.
type imports struct {
	mu                     sync.Mutex
	source                 string
	stored, alerts, spared int
	write                  func(source string, stored, alerts, spared int) // nil: none has come
}

// add counts a chunk.
func (i *imports) add(source string, out *Imported, write func(source string, stored, alerts, spared int)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.source != source {
		i.over()
	}
	i.source, i.write = source, write
	i.stored += out.Stored
	i.spared += len(out.Allowlisted)
	if out.Alert != 0 {
		i.alerts++
	}
}

// end writes the line, if there is one to write.
func (i *imports) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.over()
}

// over writes the line and begins anew. mu is held.
func (i *imports) over() {
	if i.write != nil {
		i.write(i.source, i.stored, i.alerts, i.spared)
	}
	i.source, i.stored, i.alerts, i.spared, i.write = "", 0, 0, 0, nil
}

// logImport counts a chunk that was stored, also in part.
func (h *Handler) logImport(ctx context.Context, of *chunk) {
	if remoteOf(ctx) != nil {
		h.logChange(ctx, "imported a piece of decisions", "source", of.head.Source, "decisions", of.out.Stored, "allowlisted", len(of.out.Allowlisted))
		return
	}
	c, ok := ctx.Value(callerKey{}).(*caller)
	if !ok {
		return
	}
	c.imports.add(of.head.Source, of.out, func(source string, stored, alerts, spared int) {
		h.log.Info("operator: imported decisions", append([]any{"source", source, "decisions", stored, "alerts", alerts, "allowlisted", spared}, c.name()...)...)
	})
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
