package engine

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// AddMachine adds a machine. A taken id is ErrExists, unless replace says that
// the new one takes its place (and the alerts of the old one lose their
// owner). ErrInvalid when a text of it is too long (bounds.go).
func (e *Engine) AddMachine(ctx context.Context, m *Machine, replace bool) error {
	if err := m.fits(nil); err != nil {
		return err
	}
	return e.propose(ctx, &proposal{key: "machine:" + m.ID, resolve: func(v *View) (op, error) {
		if v.machines.named(m.ID) != nil && !replace {
			return nil, &Error{Kind: ErrExists, Text: fmt.Sprintf("user '%s': user already exist", m.ID)}
		}
		return &putMachine{machine: *m, fresh: true}, nil
	}})
}

// ChangeMachine applies change to a copy of the machine and stores it. change
// runs on the committer: it must be quick and touch nothing else. ErrNotFound
// when there is no such machine, ErrInvalid when a text becomes too long.
func (e *Engine) ChangeMachine(ctx context.Context, id string, change func(*Machine)) error {
	return e.propose(ctx, &proposal{key: "machine:" + id, resolve: func(v *View) (op, error) {
		old := v.Machine(id)
		if old == nil {
			return nil, noMachine(id)
		}
		m := *old
		change(&m)
		m.ID = id
		if err := m.fits(old); err != nil {
			return nil, err
		}
		return &putMachine{machine: m}, nil
	}})
}

// DeleteMachine removes a machine; its alerts stay, without owner. ErrNotFound
// when there is none.
func (e *Engine) DeleteMachine(ctx context.Context, id string) error {
	return e.propose(ctx, &proposal{key: "machine:" + id, resolve: func(v *View) (op, error) {
		if v.machines.named(id) == nil {
			return nil, noMachine(id)
		}
		return &dropMachines{ids: []string{id}}, nil
	}})
}

func noMachine(id string) error { return notFound(fmt.Sprintf("'%s' does not exist", id)) }

// Heartbeat notes that a machine was heard of; it reaches disk later, in bulk.
// An unknown machine is ignored.
func (e *Engine) Heartbeat(id string, now int64) {
	if row := e.View().machines.named(id); row != nil {
		later(&row.heartbeat, now)
		e.state.heard.note(row)
	}
}

// AddBouncer adds a bouncer and returns its row. A taken name is ErrExists, a
// text that is too long ErrInvalid (bounds.go).
func (e *Engine) AddBouncer(ctx context.Context, b *Bouncer) (*BouncerRow, error) {
	if err := b.fits(nil); err != nil {
		return nil, err
	}
	o := &putBouncer{bouncer: *b}
	err := e.propose(ctx, &proposal{key: "bouncer:" + b.Name, resolve: func(v *View) (op, error) {
		if v.Bouncer(b.Name) != nil {
			return nil, &Error{Kind: ErrExists, Text: fmt.Sprintf("bouncer %s already exists", b.Name)}
		}
		return o, nil
	}})
	return o.row, err
}

// ChangeBouncer applies change to a copy of the bouncer, its Software included,
// and stores it; name, key and kind of proof stay. change runs on the committer:
// it must be quick and touch nothing else. ErrNotFound when there is no such
// bouncer, ErrInvalid when a text becomes too long.
func (e *Engine) ChangeBouncer(ctx context.Context, name string, change func(*Bouncer)) error {
	return e.propose(ctx, &proposal{key: "bouncer:" + name, resolve: func(v *View) (op, error) {
		row := v.Bouncer(name)
		if row == nil {
			return nil, noBouncer()
		}
		old := row.Load()
		b, software := *old, *old.Software
		b.Software = &software
		change(&b)
		b.Name, b.KeyHash, b.AuthType = old.Name, old.KeyHash, old.AuthType
		if err := b.fits(old); err != nil {
			return nil, err
		}
		return &putBouncer{bouncer: b}, nil
	}})
}

// DeleteBouncer removes a bouncer and the rows its key made from other
// addresses. ErrNotFound when there is none, ErrRefused for such a row itself.
func (e *Engine) DeleteBouncer(ctx context.Context, name string) error {
	return e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		row := v.Bouncer(name)
		if row == nil {
			return nil, noBouncer()
		}
		b := row.Load()
		if b.AutoCreated && b.AuthType == AuthAPIKey {
			return nil, &Error{Kind: ErrRefused, Text: fmt.Sprintf("bouncer '%s' was created by a key used from another address, delete '%s' instead", name, BaseName(name))}
		}
		return &dropBouncers{names: append(v.bouncers.children(b), name)}, nil
	}})
}

func noBouncer() error { return notFound("ent: bouncer not found") }

// PruneBouncers and PruneMachines remove the named ones, children excepted;
// names that are gone already do not matter.
func (e *Engine) PruneBouncers(ctx context.Context, names []string) error {
	return e.propose(ctx, &proposal{key: everything, op: &dropBouncers{names: names}})
}

// PruneMachines removes the named machines.
func (e *Engine) PruneMachines(ctx context.Context, ids []string) error {
	return e.propose(ctx, &proposal{key: everything, op: &dropMachines{ids: ids}})
}

// AddUsage stores a report of usage metrics and brings its sender's record up
// to date. Unknown senders are ErrNotFound, texts that are too long ErrInvalid.
//
// Metrics beyond what one report, or one sender on one day, may have are not
// kept, which is counted and said in the log, and no error: a sender could do
// nothing about it but report the same again, and they decide nothing.
func (e *Engine) AddUsage(ctx context.Context, u *Usage) error {
	if err := u.fits(); err != nil {
		return err
	}
	sender := Actor{ActorBouncer, u.Name}
	if u.Kind == UsageMachine {
		sender.Kind = ActorMachine
	}
	ctx = orElse(ctx, sender)
	if err := e.updateSender(ctx, u); err != nil {
		return err
	}
	if !e.usage.admit(u) {
		e.bounded.n[boundUsage].Add(1)
		e.bounded.say(e, "usage metrics are not kept: more than one sender may report in one go, or on one day", "sender", u.Name, "bytes", len(u.Payload))
		return nil
	}
	return e.propose(ctx, &proposal{op: &addUsage{usage: *u}})
}

func (e *Engine) updateSender(ctx context.Context, u *Usage) error {
	if u.Kind == UsageBouncer {
		row := e.View().Bouncer(u.Name)
		if row == nil {
			return noBouncer()
		}
		b := row.Load()
		if (!u.HasOS || b.OS == u.OS) && (u.Type == "" || b.Type == u.Type) &&
			b.Version == u.Version && slices.Equal(b.FeatureFlags, u.FeatureFlags) {
			return nil
		}
		return e.ChangeBouncer(ctx, u.Name, func(b *Bouncer) {
			if u.HasOS {
				b.OS = u.OS
			}
			if u.Type != "" {
				b.Type = u.Type
			}
			b.Version, b.FeatureFlags, b.UpdatedAt = u.Version, u.FeatureFlags, u.ReceivedAt
		})
	}
	return e.ChangeMachine(ctx, u.Name, func(m *Machine) {
		if u.HasOS {
			m.OS = u.OS
		}
		m.Version, m.FeatureFlags, m.DataSources, m.HubItems = u.Version, u.FeatureFlags, u.DataSources, u.HubItems
		m.UpdatedAt = u.ReceivedAt
	})
}

// Usage yields stored reports of one kind, oldest first, of one sender or,
// with an empty name, of all. A read error is yielded last.
func (e *Engine) Usage(ctx context.Context, kind UsageKind, name string) iter.Seq2[*Usage, error] {
	return func(yield func(*Usage, error) bool) {
		stopped := false
		err := e.store.ScanRows(rowUsage, nil, nil, false, func(key, value []byte) (bool, error) {
			if len(key) < 9 || UsageKind(key[8]) != kind || (name != "" && !bytes.Equal(key[9:], []byte(name))) {
				return ctx.Err() == nil, nil
			}
			u := &Usage{}
			d := decoder{rest: value}
			if u.decode(&d); d.err != nil {
				return false, d.err
			}
			stopped = !yield(u, nil)
			return !stopped && ctx.Err() == nil, nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && !stopped {
			yield(nil, fmt.Errorf("reading usage metrics: %w", err))
		}
	}
}

// CreateAllowlist makes an empty list. A taken name is ErrExists, a text that is
// too long ErrInvalid.
func (e *Engine) CreateAllowlist(ctx context.Context, name, description string, now int64) error {
	list := Allowlist{Name: name, Description: description, CreatedAt: now, UpdatedAt: now}
	if err := list.fits(); err != nil {
		return err
	}
	return e.propose(ctx, &proposal{key: "allowlist", resolve: func(v *View) (op, error) {
		if v.Allowlist(name) != nil {
			return nil, &Error{Kind: ErrExists, Text: fmt.Sprintf("allowlist '%s' already exists", name)}
		}
		return &putAllowlist{list: list}, nil
	}})
}

// DeleteAllowlist removes a list. ErrNotFound when there is none.
func (e *Engine) DeleteAllowlist(ctx context.Context, name string) error {
	return e.propose(ctx, &proposal{key: "allowlist", resolve: func(v *View) (op, error) {
		if v.Allowlist(name) == nil {
			return nil, noAllowlist(name)
		}
		return &dropAllowlist{name: name}, nil
	}})
}

func noAllowlist(name string) error {
	return notFound(fmt.Sprintf("allowlist '%s' not found", name))
}

// AddToAllowlist adds the items whose value the list does not have yet, and
// ends the running decisions that overlap what was added, in one commit. It
// says how many of each. ErrInvalid when a text is too long, an item has no prefix,
// or the lists would have too many items: then none is added.
func (e *Engine) AddToAllowlist(ctx context.Context, name string, items []AllowlistItem, now int64) (added, ended int, err error) {
	if err := itemsFit(items); err != nil {
		return 0, 0, err
	}
	o := &extendAllowlist{name: name, at: now}
	err = e.propose(ctx, &proposal{key: everything, resolve: func(v *View) (op, error) {
		if v.Allowlist(name) == nil {
			return nil, noAllowlist(name)
		}
		o.items = v.lacking(name, items, now)
		if added = len(o.items); added == 0 {
			return nil, nil
		}
		if v.allowlists.live+added > mostItems {
			return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("allowlists have %d items, and at most %d: these are %d more", v.allowlists.live, mostItems, added)}
		}
		o.ends.at, o.ends.ids = now, v.overlapped(o.items, now)
		return o, nil
	}})
	if err != nil {
		return 0, 0, err
	}
	return added, o.ends.ended, nil
}

// lacking returns the items, dated, whose value the list does not have.
func (v *View) lacking(list string, items []AllowlistItem, now int64) []AllowlistItem {
	seen := make(map[string]bool, len(items))
	fresh := make([]AllowlistItem, 0, len(items))
	for _, it := range items {
		if v.allowlists.find(list, it.Value, it.Prefix) == nil && !seen[it.Value] {
			seen[it.Value] = true
			it.CreatedAt = now
			fresh = append(fresh, it)
		}
	}
	return fresh
}

// overlapped lists the running decisions that contain an item or lie inside
// one, by ascending id.
func (v *View) overlapped(items []AllowlistItem, now int64) []uint64 {
	ids := map[uint64]struct{}{}
	var found []Decision
	for i := range items {
		if items[i].Expired(now) {
			continue
		}
		for _, inside := range [...]bool{false, true} {
			q := &Query{Now: now, Address: items[i].Prefix, Inside: inside, Simulated: true, Limit: -1}
			found = v.Find(found[:0], q)
			for _, d := range found {
				ids[uint64(d.ID())] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// RemoveFromAllowlist removes values from a list and says how many were there.
func (e *Engine) RemoveFromAllowlist(ctx context.Context, name string, values []string, now int64) (int, error) {
	removed, o := 0, &reduceAllowlist{name: name, at: now}
	err := e.propose(ctx, &proposal{key: "allowlist", resolve: func(v *View) (op, error) {
		if v.Allowlist(name) == nil {
			return nil, noAllowlist(name)
		}
		o.values = o.values[:0]
		for _, value := range values {
			if p, ok := parseTarget(value); ok && v.allowlists.find(name, value, p) != nil {
				o.values = append(o.values, value)
			}
		}
		slices.Sort(o.values)
		o.values = slices.Compact(o.values)
		if removed = len(o.values); removed == 0 {
			return nil, nil
		}
		return o, nil
	}})
	return removed, err
}
