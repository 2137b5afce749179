package verbs

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/audit"
)

// activityCommand is the noun activity: what happened.
func activityCommand(t *Terminal) *cobra.Command {
	return group("activity", "What happened: alerts, decisions begun and ended, by whom; and what the audit tells", activityList(t))
}

// activityFlags are what activity list is narrowed by.
type activityFlags struct {
	since, until, address, actor string
	revision                     uint64
	request                      admin.ActivityRequest
}

func (f *activityFlags) flags(c *cobra.Command) {
	s := c.Flags()
	s.StringSliceVar(&f.request.Kinds, "kind", nil, "some of "+strings.Join(admin.ActivityKinds, ", "))
	s.StringVar(&f.address, "address", "", "what concerns this address or range")
	s.StringVar(&f.actor, "actor", "", "by whom: a name, a kind: (expiry:), or kind:name (machine:edge-1)")
	s.StringVar(&f.since, "since", "", "not before: RFC 3339, or how long ago (4h, 30d)")
	s.StringVar(&f.until, "until", "", "before: RFC 3339, or how long ago")
	s.Uint64Var(&f.revision, "revision", 0, "from this revision back (0: from now)")
	s.StringVar(&f.request.Cursor, "cursor", "", "the next page, as the one before says")
	s.IntVarP(&f.request.Limit, "limit", "l", 100, fmt.Sprintf("number of entries, %d at most", admin.LongestActivity))
}

// ask is what the flags ask for.
func (f *activityFlags) ask() (*admin.ActivityRequest, error) {
	now := time.Now().UnixNano()
	q := &f.request.Query
	for _, moment := range []struct {
		flag, text string
		at         *int64
	}{{"--since", f.since, &q.Since}, {"--until", f.until, &q.Until}} {
		if moment.text == "" {
			continue
		}
		at, err := engine.ParseMoment(moment.text, now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", moment.flag, err)
		}
		*moment.at = at
	}
	if f.address != "" {
		p, err := engine.ParseTarget(f.address)
		if err != nil {
			return nil, fmt.Errorf("--address: %w", err)
		}
		q.About = p
	}
	q.Kind, q.Actor = audit.Who(f.actor)
	f.request.Revision = engine.Revision(f.revision)
	return &f.request, nil
}

// activityList is activity list, the newest first.
func activityList(t *Terminal) *cobra.Command {
	f := &activityFlags{}
	c := &cobra.Command{
		Use: "list", Short: "List what happened, the newest first", Args: NoArgs,
		Long: `Lists what happened, the newest first: alerts that came, decisions that began or ended and by whom (expiry, operator,
allowlist, console, …), and from the audit what people and the server did else, logins and failures among it. Decisions that
began for one alert, or that one actor ended at once, are one entry with their number.

Of decisions it reaches back as far as the history that is kept for bouncers in memory; the audit and alerts reach further.
The JSON is that of /admin/v1/activity.`,
		RunE: func(c *cobra.Command, _ []string) error {
			q, err := f.ask()
			if err != nil {
				return err
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				page, err := client.Activity(c.Context(), q)
				if err != nil {
					return apiError(err)
				}
				return showActivity(t, page)
			})
		},
	}
	f.flags(c)
	return c
}

func showActivity(t *Terminal, page *admin.ActivityPage) error {
	switch t.Output {
	case jsonWords:
		list := make([]*admin.ActivityObject, 0, len(page.Entries))
		for _, e := range page.Entries {
			list = append(list, e.Object())
		}
		return t.json(list, " ")
	case raw:
		lines := make([][]string, 0, len(page.Entries))
		for _, e := range page.Entries {
			at := ""
			if e.At != 0 {
				at = audit.Moment(e.At)
			}
			lines = append(lines, []string{at, strconv.FormatUint(uint64(e.Revision), 10), e.Kind, e.What, engine.AuditActorKind(e.By.Kind), e.By.Name, e.Address, e.Target,
				strconv.Itoa(e.Count), e.Scenario, e.Outcome})
		}
		return t.csv([]string{"time", "revision", "kind", "what", "actor_kind", "actor", "address", "target", "count", "scenario", "outcome"}, lines)
	}
	if len(page.Entries) == 0 {
		t.print("Nothing that happened fits\n")
	} else {
		table := lightTable()
		table.head(left, "Time", "Rev", "What", "Target", "Actor", "Why", "Outcome")
		table.body()
		for _, e := range page.Entries {
			at, rev, target := "", "", e.Target
			if e.At != 0 {
				at = second(e.At)
			}
			if e.Revision != 0 {
				rev = fmt.Sprint(uint64(e.Revision))
			}
			if e.Count > 1 && e.Kind == "decision" {
				target += fmt.Sprintf(" and %d more", e.Count-1)
			}
			table.row(at, rev, e.What, target, strings.TrimSpace(engine.AuditActorKind(e.By.Kind)+" "+e.By.Name), e.Scenario, e.Outcome)
		}
		t.show(table)
	}
	if page.Next != "" {
		t.success("there is more: --cursor %s", page.Next)
	}
	return nil
}
