package verbs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/audit"
	"lapid/transport/visible"
)

// auditCommand is the noun audit: who did what.
func auditCommand(t *Terminal) *cobra.Command {
	return group("audit", "Who did what: changes, orders, logins, and who was refused", auditList(t), auditExport(t), auditVerify(t))
}

// auditFlags are the filters of list and export.
type auditFlags struct {
	since, until, actor string
	query               engine.AuditQuery
	limit               int
}

func (f *auditFlags) flags(c *cobra.Command, limit int) {
	s := c.Flags()
	s.StringVar(&f.since, "since", "", "not before: RFC 3339, or how long ago (4h, 30d)")
	s.StringVar(&f.until, "until", "", "before: RFC 3339, or how long ago")
	s.StringVar(&f.actor, "actor", "", "who: a name, a kind: (operator:), or kind:name (machine:edge-1)")
	s.StringVar(&f.query.Action, "action", "", "what: a noun (bouncer), or noun and verb (bouncer.delete)")
	s.StringVar(&f.query.Target, "target", "", "to what: the whole, or a beginning and * (Ip:192.0.2.*)")
	s.BoolVar(&f.query.Deeds, "deeds", false, "without what is counted by the minute: pushes, reports, refused callers")
	s.IntVarP(&f.limit, "limit", "l", limit, "number of rows (0: no limit)")
	s.Uint64Var(&f.query.Before, "before", 0, "the next page: only rows behind this number")
}

// request is what the flags ask for.
func (f *auditFlags) request() (*admin.AuditRequest, error) {
	now := time.Now().UnixNano()
	for _, moment := range []struct {
		flag, text string
		at         *int64
	}{{"--since", f.since, &f.query.Since}, {"--until", f.until, &f.query.Until}} {
		if moment.text == "" {
			continue
		}
		at, err := engine.ParseMoment(moment.text, now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", moment.flag, err)
		}
		*moment.at = at
	}
	f.query.Kind, f.query.Actor = audit.Who(f.actor)
	if f.limit < 0 {
		return nil, fmt.Errorf("--limit %d: it must be 1 or more, or 0 for all", f.limit)
	}
	return &admin.AuditRequest{Query: f.query, Limit: f.limit}, nil
}

// auditList is audit list, the newest first.
func auditList(t *Terminal) *cobra.Command {
	f := &auditFlags{}
	c := &cobra.Command{
		Use: "list", Short: "List who did what, the newest first", Args: NoArgs,
		Long: `Lists who did what, the newest first: changes by operators, by the console and the Central API, of machines,
bouncers, keys and allowlists, each with its revision; and, one row for each name or address and minute with how often,
what machines pushed and who was refused. A minute's counts come when it is over.

Secrets are never shown: a key or a password is a # and the beginning of a hash, so that one can see that it changed.
The number in the first column is for the next page (--before) and for audit verify --expect.`,
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := f.request()
			if err != nil {
				return err
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				var rows []*engine.AuditRow
				for r, err := range client.Audit(c.Context(), q) {
					if err != nil {
						return apiError(err)
					}
					rows = append(rows, r)
				}
				return showAudit(t, rows, q.Limit)
			})
		},
	}
	f.flags(c, 100)
	return c
}

func showAudit(t *Terminal, rows []*engine.AuditRow, limit int) error {
	switch t.Output {
	case jsonWords:
		list := make([]*audit.Object, 0, len(rows))
		for _, r := range rows {
			list = append(list, audit.ObjectOf(r))
		}
		return t.json(list, " ")
	case raw:
		lines := make([][]string, 0, len(rows))
		for _, r := range rows {
			lines = append(lines, []string{strconv.FormatUint(r.Number, 10), audit.Moment(r.At), strconv.FormatUint(uint64(r.Revision), 10),
				engine.AuditActorKind(r.By.Kind), r.By.Name, r.Address, r.Action, r.Target, r.Before, r.After, r.Outcome})
		}
		return t.csv([]string{"number", "time", "revision", "actor_kind", "actor", "address", "action", "target", "before", "after", "outcome"}, lines)
	}
	if len(rows) == 0 {
		t.print("Nothing in the audit fits\n")
		return nil
	}
	table := lightTable()
	table.head(left, "Number", "Time", "Rev", "Actor", "Address", "Action", "Target", "What", "Outcome")
	table.body()
	for _, r := range rows {
		rev := ""
		if r.Revision != 0 {
			rev = fmt.Sprint(r.Revision)
		}
		table.row(fmt.Sprint(r.Number), second(r.At), rev, strings.TrimSpace(engine.AuditActorKind(r.By.Kind)+" "+r.By.Name), r.Address, r.Action, r.Target, auditChange(r), r.Outcome)
	}
	t.show(table)
	if limit > 0 && len(rows) == limit {
		t.success("there may be more: --before %d", rows[len(rows)-1].Number)
	}
	return nil
}

// auditChange is before and after in one cell.
func auditChange(r *engine.AuditRow) string {
	before, after := auditPairs(r.Before), auditPairs(r.After)
	switch {
	case before == "":
		return after
	case after == "":
		return "was " + before
	}
	return before + " → " + after
}

// auditPairs are an object's fields in a line, without braces and quotes.
func auditPairs(text string) string {
	var fields map[string]any
	if json.Unmarshal([]byte(text), &fields) != nil {
		return text
	}
	var parts []string
	for _, k := range sortedKeys(fields) {
		value := fmt.Sprint(fields[k])
		if n, ok := fields[k].(float64); ok {
			value = strconv.FormatFloat(n, 'f', -1, 64)
		}
		parts = append(parts, k+"="+value)
	}
	return strings.Join(parts, " ")
}

// auditExport is audit export, the oldest first, for programs.
func auditExport(t *Terminal) *cobra.Command {
	f := &auditFlags{}
	var format string
	c := &cobra.Command{
		Use: "export", Short: "Write the audit as NDJSON or CEF, the oldest first", Args: NoArgs,
		Long: `Writes rows for programs that collect them, one a line, the oldest first: ndjson has the objects of audit list -o json,
cef is ArcSight's Common Event Format. Nothing that a stranger chose can end a line or a field. To go on where an export
ended, give the last number as --before: oldest first, it means rows behind it.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if t.Output == jsonWords { // lines are no one value
				return t.unsupported()
			}
			if format != "ndjson" && format != "cef" {
				return fmt.Errorf("--format %s is unknown: choose ndjson or cef", format)
			}
			q, err := f.request()
			if err != nil {
				return err
			}
			q.Query.Oldest = true
			return t.withClient(c.Context(), func(client *admin.Client) error {
				out := bufio.NewWriterSize(t.Out, listBuffer)
				if format == "ndjson" && t.Output != raw { // what is not seen is escaped as JSON has it
					shown := visible.NewWriter(t.Out, visible.As(visible.ForJSON))
					defer func() { _ = shown.Flush() }()
					out = bufio.NewWriterSize(shown, listBuffer)
				}
				var line []byte
				for r, err := range client.Audit(c.Context(), q) {
					if err == nil {
						if line = line[:0]; format == "cef" {
							line = audit.AppendCEF(line, r, t.Build.Version)
						} else {
							line, err = audit.AppendNDJSON(line, r)
						}
					}
					if err != nil {
						return errors.Join(apiError(err), out.Flush())
					}
					if _, err := out.Write(line); err != nil {
						return err
					}
				}
				return out.Flush()
			})
		},
	}
	f.flags(c, 0)
	c.Flags().StringVar(&format, "format", "ndjson", "ndjson or cef")
	return c
}

// errAudit is how a verification ends that has found something.
var errAudit = errors.New("the audit is not as it was written")

// auditVerify is audit verify.
func auditVerify(t *Terminal) *cobra.Command {
	var expect []string
	c := &cobra.Command{
		Use: "verify", Short: "Look whether a row of the audit was changed or removed", Args: NoArgs,
		Long: `Reads every row and looks whether it is as it was written and behind the one that was before it. What is not is named,
with its number, and the exit code is 1.

Who can write to the store can make the whole chain anew. So keep what this verb prints (number and hash of the last rows)
in another place, and give it later as --expect NUMBER:HASH: rows up to there are then those, or it shows.`,
		RunE: func(c *cobra.Command, _ []string) error {
			hashes, err := audit.Expected(expect)
			if err != nil {
				return fmt.Errorf("--expect %w", err)
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				v, err := client.VerifyAudit(c.Context(), &admin.AuditExpected{Hashes: hashes})
				if err != nil {
					return apiError(err)
				}
				if err := showVerdict(t, v); err != nil {
					return err
				}
				if n := len(v.Faults) + v.More; n > 0 {
					return fmt.Errorf("%w (findings: %d): compare with a backup, and with what was exported", errAudit, n)
				}
				return nil
			})
		},
	}
	c.Flags().StringArrayVar(&expect, "expect", nil, "NUMBER:HASH of a row, as this verb printed it earlier (may be repeated)")
	return c
}

func showVerdict(t *Terminal, v *engine.AuditVerdict) error {
	if t.Output == jsonWords {
		return t.json(audit.VerdictOf(v), " ")
	}
	for _, f := range v.Faults {
		t.print("%s: %s\n", audit.SeriesName(f.Series), f.Text)
	}
	for _, s := range v.Seals {
		t.print("%s: %d rows", audit.SeriesName(s.Series), s.Rows)
		if s.Gone != 0 {
			t.print(", those up to %d forgotten by age or number (%s)", s.Gone, second(s.GoneAt))
		}
		if s.Last != 0 {
			t.print(", the last is %d:%s", s.Last, s.Hash)
		}
		t.print("\n")
	}
	if len(v.Faults) == 0 {
		t.success("every row is as it was written, up to revision %d", uint64(v.Told))
	}
	return nil
}
