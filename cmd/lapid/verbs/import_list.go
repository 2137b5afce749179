package verbs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// importList is which named list an import sets; replace is false for a plain import.
type importList struct {
	name            string
	replace, shrink bool
}

// replaceList makes the input, of which total entries were good, the whole content of the
// named list. Until the server has all of it nothing has changed.
func replaceList(ctx context.Context, t *Terminal, i *importing, input *os.File, total int) error {
	until, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(until, stop)
	common := i.common()
	head := &admin.ListHead{
		Name: i.list.name, Source: i.head.Source, Scope: common.Scope, Type: common.Type, Duration: common.Duration,
		Shrink: i.list.shrink, Dry: i.dry,
	}
	return t.withClient(ctx, func(client *admin.Client) error {
		bar := newProgress(t, total)
		done, err := client.ReplaceList(until, head, func(to *admin.Values) error {
			return i.sendList(input, total, to, bar)
		})
		bar.clear()
		switch {
		case err != nil && until.Err() != nil && ctx.Err() == nil:
			return &earlyEnd{ErrInterrupted, fmt.Sprintf("interrupted: list %s is as it was, unless the server had all of it already: "+
				"\"%s decisions list --name %s\" shows it", i.list.name, t.program(), quoted(i.list.name))}
		case errors.Is(err, engine.ErrUnsure):
			return fmt.Errorf("unable to replace the list: %w: \"%s decisions list --name %s\" shows what it has, and doing the same again is harmless", apiError(err), t.program(), quoted(i.list.name))
		case err != nil:
			return fmt.Errorf("unable to replace the list: %w", apiError(err))
		}
		return i.showReplaced(t, done)
	})
}

// errChanged: the second reading has found another number than the first.
var errChanged = errors.New("the input has changed while it was read, and nothing was imported: try again")

// shownEach is after how many entries of a list that were sent the bar moves.
const shownEach = 5000

// sendList hands the entries over.
func (i *importing) sendList(input *os.File, total int, to *admin.Values, bar *progress) error {
	sent, over, common := 0, 0, i.common()
	again := &inputs.Repeats{}
	err := i.each(input, &inputs.Sink{
		Entry: func(_ inputs.Place, e *inputs.Entry) error {
			take, err := i.judge.Prepare(e)
			if !take || err != nil {
				if err == nil && !e.Simulated {
					over++
				}
				return i.judged(err)
			}
			if i.dry {
				e.Again = again.Has(e, i.head.Scope, i.head.Type)
			}
			item := i.brief(e, &common)
			item.Reason = "" // the list's name stands there
			if sent++; sent%shownEach == 0 {
				bar.at(min(sent, total))
			}
			return to.Add(&item)
		},
		Complain: func(inputs.Place, error) {}, // the input was good a moment ago
	})
	// What was good a moment ago may be over by now, and nothing else.
	if err == nil && sent+over != total+i.over {
		err = errChanged
	}
	return err
}

// replacedObject is what came of a list, in JSON. Lists are never null.
type replacedObject struct {
	Name        string           `json:"name"`
	DryRun      bool             `json:"dry_run"`
	Before      int              `json:"before"`
	Entries     int              `json:"entries"`
	New         int              `json:"new"`
	Renewed     int              `json:"renewed"`
	Unchanged   int              `json:"unchanged"`
	Ended       int              `json:"ended"`
	Repeated    int              `json:"repeated"`
	Allowlisted int              `json:"allowlisted"`
	Over        int              `json:"over"`
	Simulated   int              `json:"simulated"`
	Invalid     int              `json:"invalid"`
	Ignored     []string         `json:"ignored_fields"`
	Overflows   []overflowObject `json:"overflows"`
}

// showReplaced says what came of the list, or would.
func (i *importing) showReplaced(t *Terminal, r *admin.ReplacedList) error {
	r.Overflows = overflowing(r.Overflows)
	if t.Output == jsonWords {
		return t.json(replacedObject{
			Name: r.Name, DryRun: i.dry, Before: r.Before, Entries: r.Entries, New: r.New, Renewed: r.Renewed, Unchanged: r.Unchanged, Ended: r.Ended,
			Repeated: r.Again, Allowlisted: r.Allowlisted, Over: i.over, Simulated: i.simulated, Invalid: i.skipped,
			Ignored: append([]string{}, i.strange...), Overflows: overflowObjects(r.Overflows),
		}, " ")
	}
	for _, a := range r.First {
		t.words("Value %s is allowlisted by %s\n", a.Value, a.Reasons)
	}
	if more := r.Allowlisted - len(r.First); more > 0 && len(r.First) > 0 {
		t.words("... and %d more that are allowlisted\n", more)
	}
	has := "has "
	if i.dry {
		has = "would have "
	}
	t.print("List %s %s%d entries: %d new, %d renewed, %d unchanged, %d ended, %d allowlisted\n", r.Name, has, r.Entries-r.Allowlisted,
		r.New, r.Renewed, r.Unchanged, r.Ended, r.Allowlisted)
	if r.Again > 0 {
		t.log("info", "%d entries were there more than once", r.Again)
	}
	if text := i.leftOut("left out: ", ""); text != "" {
		t.log("info", "%s", text)
	}
	tellOverflows(t, r.Overflows)
	return nil
}
