package verbs

import (
	"context"
	"fmt"
	"os"
	"strings"

	"lapid/transport/admin"
)

// dryImport goes the way of an import, of which nothing is stored.
func dryImport(ctx context.Context, t *Terminal, i *importing, input *os.File, total int) error {
	return t.withClient(ctx, func(client *admin.Client) error {
		if err := sendImport(ctx, t, client, i, input, total); err != nil {
			return i.endedEarly(err, total, t.program())
		}
		i.outlook.Overflows = overflowing(i.outlook.Overflows)
		if t.Output == jsonWords {
			return t.json(i.dryObject(), " ")
		}
		t.print("Would import %d decisions: %s\n", i.stored, outlookText(&i.outlook, len(i.allowlisted)))
		if text := i.leftOut("left out: ", ""); text != "" {
			t.log("info", "%s", text)
		}
		tellOverflows(t, i.outlook.Overflows)
		return nil
	})
}

// outlookText says what a dry run found, in words.
func outlookText(o *admin.Outlook, allowlisted int) string {
	parts := []string{fmt.Sprintf("%d new, %d known already", o.New, o.Known)}
	if o.Again > 0 {
		parts = append(parts, fmt.Sprintf("%d repeated in the input", o.Again))
	}
	if allowlisted > 0 {
		parts = append(parts, fmt.Sprintf("%d more allowlisted and left out", allowlisted))
	}
	return strings.Join(parts, ", ")
}

// tellOverflows names the bouncers that would be told of more than they may hold.
func tellOverflows(t *Terminal, list []admin.Overflow) {
	for _, o := range list {
		others := ""
		if o.Others > 0 {
			others = fmt.Sprintf(" (and %d more with the same view)", o.Others)
		}
		t.log("warning", "bouncer %s%s may hold %d decisions, and there would be up to %d for it (%d now): those of the lowest priority are kept from it",
			o.Bouncer, others, o.MaxEntries, o.Now+o.Fresh, o.Now)
	}
}

// addOverflows adds what a chunk says of bouncers to what was said before.
func addOverflows(list, more []admin.Overflow) []admin.Overflow {
next:
	for _, o := range more {
		for j := range list {
			if list[j].Bouncer == o.Bouncer {
				list[j].Fresh += o.Fresh
				list[j].Now, list[j].MaxEntries = o.Now, o.MaxEntries
				continue next
			}
		}
		list = append(list, o)
	}
	return list
}

// overflowing are those whose bound is passed.
func overflowing(list []admin.Overflow) []admin.Overflow {
	out := []admin.Overflow{}
	for _, o := range list {
		if o.Now+o.Fresh > o.MaxEntries {
			out = append(out, o)
		}
	}
	return out
}

// dryObject is what a dry run found, in JSON. Lists are never null.
type dryObject struct {
	DryRun      bool                `json:"dry_run"`
	Would       int                 `json:"would_import"`
	New         int                 `json:"new"`
	Known       int                 `json:"known"`
	Repeated    int                 `json:"repeated"`
	Allowlisted []allowlistedObject `json:"allowlisted"`
	Over        int                 `json:"over"`
	Simulated   int                 `json:"simulated"`
	Invalid     int                 `json:"invalid"`
	Ignored     []string            `json:"ignored_fields"`
	Overflows   []overflowObject    `json:"overflows"`
}

// overflowObject is a bouncer whose --max-entries would be passed.
type overflowObject struct {
	Bouncer    string `json:"bouncer"`
	Others     int    `json:"others"` // with the same view
	MaxEntries int    `json:"max_entries"`
	Now        int    `json:"now"`
	Would      int    `json:"would"`
}

func overflowObjects(list []admin.Overflow) []overflowObject {
	out := []overflowObject{}
	for _, o := range list {
		out = append(out, overflowObject{o.Bouncer, o.Others, o.MaxEntries, o.Now, o.Now + o.Fresh})
	}
	return out
}

func (i *importing) dryObject() dryObject {
	done := i.object()
	return dryObject{
		DryRun: true, Would: i.stored, New: i.outlook.New, Known: i.outlook.Known, Repeated: i.outlook.Again, Allowlisted: done.Allowlisted,
		Over: i.over, Simulated: i.simulated, Invalid: i.skipped, Ignored: done.Ignored, Overflows: overflowObjects(i.outlook.Overflows),
	}
}
