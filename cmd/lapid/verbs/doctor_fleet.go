package verbs

import (
	"context"
	"fmt"
	"time"

	"lapid/transport/admin"
	"lapid/transport/capi"
)

// From when on silence is worth a word. The longest interval of a client that is in use is a minute.
const (
	silentBouncer = 10 * time.Minute
	silentMachine = 10 * time.Minute
	lateBouncer   = time.Minute // the age of a change that it has not acknowledged
	freshReport   = time.Hour   // of usage: what is older says nothing of what it holds now
)

// noServer notes that something can only be asked of a running server.
func (v *visit) noServer(check string) bool {
	if v.server == nil {
		v.note(isUnknown, check, "no server was asked", "")
	}
	return v.server == nil
}

// bouncers looks for those that do not come, or do not have what they should.
func (v *visit) bouncers(ctx context.Context) {
	const check = "bouncers"
	if v.noServer(check) {
		return
	}
	n, never, silent, late, few := 0, []string(nil), []string(nil), []string(nil), []string(nil)
	err := v.server.EachBouncer(ctx, func(b *admin.Bouncer) error {
		n++
		since := v.since(b.LastPull)
		switch {
		case b.LastPull == 0:
			if v.since(b.CreatedAt) > silentBouncer {
				never = append(never, b.Name)
			}
		case since > silentBouncer:
			silent = append(silent, fmt.Sprintf("%s (%s)", b.Name, spanOf(since)))
		case b.Streams && time.Duration(b.Lag) > lateBouncer:
			late = append(late, fmt.Sprintf("%s (%s, %d revisions)", b.Name, spanOf(time.Duration(b.Lag)), b.LagRevisions))
		case b.HasReported && v.since(b.ReportedAt) < freshReport && b.Reported*100 < int64(b.Expected)*95:
			few = append(few, fmt.Sprintf("%s (%d of %d)", b.Name, b.Reported, b.Expected))
		}
		return nil
	})
	if err != nil {
		v.note(isUnknown, check, err.Error(), "")
		return
	}
	if n == 0 {
		v.advise(check, "there are none: nobody enforces what is decided", "lapid bouncers add NAME makes a key")
		return
	}
	sound := len(v.found)
	if len(never) > 0 {
		v.advise(check, "never came: "+fewOf(never), "give them their key and this server's address, or take them away: lapid bouncers delete NAME")
	}
	if len(silent) > 0 {
		v.advise(check, "silent: "+fewOf(silent), "look at their logs; what has moved or gone is taken away by: lapid bouncers prune --duration 24h")
	}
	if len(late) > 0 {
		v.advise(check, "behind: "+fewOf(late), "lapid bouncers inspect NAME shows how its last polls ended")
	}
	if len(few) > 0 {
		v.advise(check, "hold less than they should: "+fewOf(few), "their tables may be full: lapid bouncers edit NAME --max-entries says how much they take")
	}
	if len(v.found) == sound {
		v.well(check, fmt.Sprintf("%d, and none is silent or behind", n))
	}
}

// since is how long ago a moment of the server's clock is.
func (v *visit) since(ns int64) time.Duration { return time.Duration(v.status.Now - ns) }

// spanOf is a span in the largest unit that is whole.
func spanOf(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Truncate(time.Second).String()
}

// machines looks for those that wait, and those that were heard of and are not any more.
func (v *visit) machines(ctx context.Context) {
	const check = "machines"
	if v.noServer(check) {
		return
	}
	list, err := v.server.Machines(ctx)
	if err != nil {
		v.note(isUnknown, check, err.Error(), "")
		return
	}
	var pending, silent []string
	for i := range list.Machines {
		switch m := &list.Machines[i]; {
		case !m.Validated:
			pending = append(pending, m.ID)
		case m.LastHeartbeat != 0 && v.since(m.LastHeartbeat) > silentMachine:
			silent = append(silent, fmt.Sprintf("%s (%s)", m.ID, spanOf(v.since(m.LastHeartbeat))))
		}
	}
	if len(list.Machines) == 0 {
		v.advise(check, "there are none: nobody reports", "lapid machines add NAME --auto makes credentials")
		return
	}
	if len(pending) > 0 {
		v.advise(check, "wait to be validated: "+fewOf(pending), "lapid machines validate NAME, or delete NAME if it is nobody of yours")
	}
	if len(silent) > 0 {
		v.advise(check, "without a heartbeat: "+fewOf(silent), "look at their log processors; those that are gone: lapid machines prune --duration 24h")
	}
	if len(pending)+len(silent) == 0 {
		v.well(check, fmt.Sprintf("%d, and none has fallen silent", len(list.Machines)))
	}
}

// central asks how the connection to the Central API fares.
func (v *visit) central(ctx context.Context) {
	const check = "central API"
	o, err := v.setup.Central()
	switch {
	case err != nil:
		v.advise(check, "it is configured, and cannot be used: "+err.Error(), "lapid capi register makes an account")
		return
	case o == nil:
		v.well(check, "not configured: no list comes from there, and nothing goes there")
		return
	case v.noServer(check):
		return
	}
	var r capi.Report
	if err := v.server.Central(ctx, &r); err != nil {
		v.note(isUnknown, check, err.Error(), "")
		return
	}
	sound := len(v.found)
	for _, j := range r.Jobs {
		if !j.Since.IsZero() {
			v.advise(check, fmt.Sprintf("%s fails since %s: %s", j.Name, j.Since.Format(time.RFC3339), j.Why), "lapid capi status tries a login")
		}
	}
	if len(r.Held) > 0 {
		v.advise(check, "held back: "+fewOf(r.Held), "see the log, and capi_shrunken_lists in lapid.yaml")
	}
	if len(r.Failing) > 0 {
		v.advise(check, "not fetched: "+fewOf(r.Failing), "see the log")
	}
	if len(v.found) == sound {
		v.well(check, fmt.Sprintf("no job fails; %d signals sent since the start", r.SignalsSent))
	}
}
