package admin

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"lapid/engine"
)

// Status asks the server what it is.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return ask[Status](ctx, c, "/status", struct{}{})
}

// Ready asks whether the server is ready, and why not.
func (c *Client) Ready(ctx context.Context) (*Readiness, error) {
	return ask[Readiness](ctx, c, "/ready", struct{}{})
}

// Central asks what the connection to the Central API says of itself, into into.
func (c *Client) Central(ctx context.Context, into any) error {
	r, err := ask[json.RawMessage](ctx, c, "/central/report", struct{}{})
	if err != nil {
		return err
	}
	return json.Unmarshal(*r, into)
}

// Machines lists all machines in order of creation.
func (c *Client) Machines(ctx context.Context) (*Machines, error) {
	return c.machines(ctx, "/machines/list", struct{}{})
}

// Machine gives one machine; engine.ErrNotFound.
func (c *Client) Machine(ctx context.Context, id string) (*Machine, error) {
	return ask[Machine](ctx, c, "/machines/get", Name{id})
}

// AddMachine makes a machine; engine.ErrExists unless it replaces.
func (c *Client) AddMachine(ctx context.Context, m *NewMachine) error {
	if err := NewName("the machine's name", m.ID); err != nil {
		return err // before JSON turns it into something else
	}
	_, err := ask[Done](ctx, c, "/machines/add", m)
	return err
}

// ValidateMachine lets a machine that registered itself log in;
// engine.ErrNotFound.
func (c *Client) ValidateMachine(ctx context.Context, id string) error {
	_, err := ask[Done](ctx, c, "/machines/validate", Name{id})
	return err
}

// DeleteMachine removes a machine; its alerts stay. engine.ErrNotFound.
func (c *Client) DeleteMachine(ctx context.Context, id string) error {
	_, err := ask[Done](ctx, c, "/machines/delete", Name{id})
	return err
}

// StaleMachines lists the machines that Prune describes.
func (c *Client) StaleMachines(ctx context.Context, p *Prune) (*Machines, error) {
	return c.machines(ctx, "/machines/stale", p)
}

// PruneMachines removes those of the named machines that are still stale.
func (c *Client) PruneMachines(ctx context.Context, p *PruneNamed) (int, error) {
	return count(ask[Done](ctx, c, "/machines/prune", p))
}

// machines collects a list of them: a caller that asks for all holds all.
func (c *Client) machines(ctx context.Context, verb string, q any) (*Machines, error) {
	var all []Machine
	list := &Machines{}
	err := askList(ctx, c, verb, q, list, func(m *Machine) error { all = append(all, *m); return nil })
	list.Machines = all
	return list, err
}

// bouncers does the same with rows of bouncers; EachBouncer is for a caller that need not
// hold them.
func (c *Client) bouncers(ctx context.Context, verb string, q any) (*Bouncers, error) {
	var all []Bouncer
	list := &Bouncers{}
	err := askList(ctx, c, verb, q, list, func(b *Bouncer) error { all = append(all, *b); return nil })
	list.Bouncers = all
	return list, err
}

// EachBouncer hands all rows of bouncers to yield, in order of creation, one at a
// time, until yield returns an error, which ends it.
func (c *Client) EachBouncer(ctx context.Context, yield func(*Bouncer) error) error {
	return askList(ctx, c, "/bouncers/list", struct{}{}, &Bouncers{}, yield)
}

// Bouncers lists all rows of bouncers in order of creation.
func (c *Client) Bouncers(ctx context.Context) (*Bouncers, error) {
	return c.bouncers(ctx, "/bouncers/list", struct{}{})
}

// Bouncer gives one row; engine.ErrNotFound.
func (c *Client) Bouncer(ctx context.Context, name string) (*Bouncer, error) {
	return ask[Bouncer](ctx, c, "/bouncers/get", Name{name})
}

// AddBouncer makes a bouncer; engine.ErrExists when the name is taken.
func (c *Client) AddBouncer(ctx context.Context, b *NewBouncer) error {
	if err := NewName("the bouncer's name", b.Name); err != nil {
		return err // before JSON turns it into something else
	}
	_, err := c.AddEdited(ctx, b)
	return err
}

// AddEdited is AddBouncer that gives what there is to be said about the sight.
func (c *Client) AddEdited(ctx context.Context, b *NewBouncer) (*Edited, error) {
	return ask[Edited](ctx, c, "/bouncers/add", b)
}

// EditBouncer changes what a bouncer may see, and for how long its polls are put off;
// engine.ErrNotFound, and engine.ErrRefused for a row that was made from another's key.
func (c *Client) EditBouncer(ctx context.Context, b *EditedBouncer) (*Edited, error) {
	return ask[Edited](ctx, c, "/bouncers/edit", b)
}

// DeleteBouncer removes a bouncer and the rows that were made from its key, and
// gives their names, its own first; engine.ErrNotFound, and engine.ErrRefused for
// such a row itself.
func (c *Client) DeleteBouncer(ctx context.Context, name string) ([]string, error) {
	r, err := ask[Removed](ctx, c, "/bouncers/delete", Name{name})
	if err != nil {
		return nil, err
	}
	return r.Names, nil
}

// StaleBouncers lists the bouncers that Prune describes.
func (c *Client) StaleBouncers(ctx context.Context, p *Prune) (*Bouncers, error) {
	return c.bouncers(ctx, "/bouncers/stale", p)
}

// PruneBouncers removes those of the named bouncers that are still silent.
func (c *Client) PruneBouncers(ctx context.Context, p *PruneNamed) (int, error) {
	return count(ask[Done](ctx, c, "/bouncers/prune", p))
}

// Allowlists lists all allowlists with their items, in order of creation.
func (c *Client) Allowlists(ctx context.Context) (*Allowlists, error) {
	return ask[Allowlists](ctx, c, "/allowlists/list", struct{}{})
}

// Allowlist gives one allowlist; engine.ErrNotFound.
func (c *Client) Allowlist(ctx context.Context, name string) (*Allowlist, error) {
	return ask[Allowlist](ctx, c, "/allowlists/get", Name{name})
}

// CreateAllowlist makes an empty allowlist, and warns of bouncers and exports that name it already; engine.ErrExists.
func (c *Client) CreateAllowlist(ctx context.Context, l *NewAllowlist) (*Edited, error) {
	if err := UsableListName(l.Name); err != nil {
		return nil, err // before JSON turns it into something else
	}
	return ask[Edited](ctx, c, "/allowlists/create", l)
}

// DeleteAllowlist removes an allowlist; engine.ErrNotFound, and, unless it is forced, engine.ErrRefused for one
// that bouncers or exports name, of which it warns otherwise.
func (c *Client) DeleteAllowlist(ctx context.Context, q *AllowlistDeletion) (*Edited, error) {
	return ask[Edited](ctx, c, "/allowlists/delete", q)
}

// AddToAllowlist adds items and ends the running decisions they cover;
// engine.ErrNotFound.
func (c *Client) AddToAllowlist(ctx context.Context, a *AllowlistAddition) (*AllowlistAdded, error) {
	return ask[AllowlistAdded](ctx, c, "/allowlists/add", a)
}

// RemoveFromAllowlist takes values out and says how many were there;
// engine.ErrNotFound.
func (c *Client) RemoveFromAllowlist(ctx context.Context, r *AllowlistRemoval) (int, error) {
	return count(ask[Done](ctx, c, "/allowlists/remove", r))
}

// CheckAllowlists says why an address or range is allowlisted, "" when it is
// not; engine.ErrInvalid.
func (c *Client) CheckAllowlists(ctx context.Context, value string) (string, error) {
	a, err := ask[Checked](ctx, c, "/allowlists/check", Check{value})
	if err != nil {
		return "", err
	}
	return a.Reason, nil
}

// Alerts lists the alerts that answer f, newest first. An error ends it.
func (c *Client) Alerts(ctx context.Context, f *AlertFilter) iter.Seq2[*Alert, error] {
	return each[Alert](ctx, c, "/alerts/list", f)
}

// AlertParts lists the same in parts, for a caller that does not hold it, and has
// decisions counted where f asks for that. A server that does not know parts yet gives
// whole alerts, which are counted here. An error ends it.
func (c *Client) AlertParts(ctx context.Context, f *AlertFilter) iter.Seq2[*AlertPart, error] {
	return func(yield func(*AlertPart, error) bool) {
		for p, err := range each[AlertPart](ctx, c, "/alerts/parts", f) {
			if errors.Is(err, engine.ErrNotFound) {
				c.wholeAlerts(ctx, f, yield)
				return
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// wholeAlerts yields parts of which each is an alert.
func (c *Client) wholeAlerts(ctx context.Context, f *AlertFilter, yield func(*AlertPart, error) bool) {
	known := *f
	known.Counted = false
	for a, err := range c.Alerts(ctx, &known) {
		if err != nil {
			yield(nil, err)
			return
		}
		p := &AlertPart{Alert: a}
		if f.Counted {
			p.Counts = map[string]int{}
			for i := range a.Decisions {
				p.Counts[a.Decisions[i].CountedAs()]++
			}
			a.Decisions = nil
		}
		if !yield(p, nil) {
			return
		}
	}
}

// Alert gives one alert; engine.ErrNotFound.
func (c *Client) Alert(ctx context.Context, id uint64) (*AlertShown, error) {
	return ask[AlertShown](ctx, c, "/alerts/get", AlertRequest{id})
}

// DeleteAlerts deletes alerts with their decisions and says which;
// engine.ErrNotFound for an id.
func (c *Client) DeleteAlerts(ctx context.Context, d *AlertDeletion) (*DeletedAlerts, error) {
	return ask[DeletedAlerts](ctx, c, "/alerts/delete", d)
}

// FlushAlerts removes what is too old or too many and says how many went.
func (c *Client) FlushAlerts(ctx context.Context, f *Flush) (int, error) {
	return count(ask[Done](ctx, c, "/alerts/flush", f))
}

// AddDecision adds one decision. engine.ErrRefused when an allowlist protects
// the value, engine.ErrInvalid when the value or duration makes no sense. It may be warned
// of what was added.
func (c *Client) AddDecision(ctx context.Context, d *NewDecision) (warning string, err error) {
	if err := usableWords(d.Scope, d.Type, d.Value); err != nil {
		return "", err // before JSON turns it into something else
	}
	done, err := ask[Imported](ctx, c, "/decisions/add", d)
	if err != nil {
		return "", err
	}
	return done.Warning, nil
}

// WouldAddDecision says what would come of AddDecision, and stores nothing. Errors are its.
func (c *Client) WouldAddDecision(ctx context.Context, d *NewDecision) (*Outlook, error) {
	if err := usableWords(d.Scope, d.Type, d.Value); err != nil {
		return nil, err
	}
	dry := *d
	dry.Dry = true
	a, err := ask[Imported](ctx, c, "/decisions/add", &dry)
	if err != nil {
		return nil, err
	}
	return a.Outlook, nil
}

// DeleteDecisions ends running decisions, or counts them (Dry), and says which;
// engine.ErrNotFound for an id.
func (c *Client) DeleteDecisions(ctx context.Context, f *DecisionFilter) (*Ended, error) {
	return ask[Ended](ctx, c, "/decisions/delete", f)
}

// Usage lists reports of usage metrics, oldest first. An error ends it.
func (c *Client) Usage(ctx context.Context, q *UsageRequest) iter.Seq2[*UsageReport, error] {
	return each[UsageReport](ctx, c, "/usage/list", q)
}

// count is the number of an answer.
func count(d *Done, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return d.N, nil
}
