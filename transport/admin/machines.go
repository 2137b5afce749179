package admin

import (
	"context"

	"lapid/engine"
)

// listMachines yields all machines out of one view, without hub items.
func (h *Handler) listMachines(context.Context, *struct{}) *listing[Machine] {
	return h.machines(func(*engine.Machine) bool { return true })
}

// machines is those of one view that are wanted.
func (h *Handler) machines(want func(*engine.Machine) bool) *listing[Machine] {
	view := h.engine.View()
	return &listing[Machine]{&Machines{Now: h.engine.Now()}, func(yield func(*Machine) bool) {
		view.EachMachine(func(m *engine.Machine) bool {
			if !want(m) {
				return true
			}
			shown := machineOf(m)
			return yield(&shown)
		})
	}}
}

// machineOf is a machine as lists show it, its texts shortened (shown.go).
func machineOf(m *engine.Machine) Machine {
	out := Machine{
		ID: m.ID, AuthType: string(m.AuthType), Validated: m.Validated, IP: m.IP, Version: shown(m.Version),
		OS: shownOS(m.OS), FeatureFlags: shownFlags(m.FeatureFlags), CreatedAt: m.CreatedAt,
		UpdatedAt: max(m.UpdatedAt, m.LastPush, m.LastHeartbeat), LastPush: m.LastPush, LastHeartbeat: m.LastHeartbeat,
	}
	for _, c := range m.DataSources {
		out.DataSources = append(out.DataSources, Count{Name: shown(c.Name), N: c.N})
	}
	return out
}

// detailed is a machine with what a list leaves out: hundreds of hub items for each of
// thousands of machines would be a long list.
func detailed(m *engine.Machine) Machine {
	out := machineOf(m)
	out.Scenarios = m.Scenarios
	for kind, items := range m.HubItems {
		if out.HubItems == nil {
			out.HubItems = map[string][]HubItem{}
		}
		for _, i := range items {
			out.HubItems[kind] = append(out.HubItems[kind], HubItem(i))
		}
	}
	return out
}

// getMachine gives one machine; engine.ErrNotFound when there is none.
func (h *Handler) getMachine(_ context.Context, q *Name) (*Machine, error) {
	m := h.engine.View().Machine(q.Name)
	if m == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounMachine, Name: q.Name}
	}
	out := detailed(m)
	return &out, nil
}

// addMachine stores a machine that may log in at once. The password comes as a hash.
func (h *Handler) addMachine(ctx context.Context, q *NewMachine) (*Done, error) {
	if err := NewName("the machine's name", q.ID); err != nil {
		return nil, err
	}
	now := h.engine.Now()
	m := &engine.Machine{
		ID: q.ID, PasswordHash: q.PasswordHash, AuthType: engine.AuthPassword, Validated: true,
		CreatedAt: now, UpdatedAt: now,
	}
	if err := h.engine.AddMachine(ctx, m, q.Replace); err != nil {
		return nil, err
	}
	h.logChange(ctx, "added a machine", "machine", q.ID, "replaces", q.Replace)
	return &Done{N: 1}, nil
}

// validateMachine lets a machine in that has registered itself; one that is validated
// already stays so.
func (h *Handler) validateMachine(ctx context.Context, q *Name) (*Done, error) {
	now := h.engine.Now()
	err := h.engine.ChangeMachine(ctx, q.Name, func(m *engine.Machine) { m.Validated, m.UpdatedAt = true, now })
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "validated a machine", "machine", q.Name)
	return &Done{N: 1}, nil
}

// deleteMachine removes a machine; its token is refused from then on.
func (h *Handler) deleteMachine(ctx context.Context, q *Name) (*Done, error) {
	if err := h.engine.DeleteMachine(ctx, q.Name); err != nil {
		return nil, err
	}
	h.logChange(ctx, "deleted a machine", "machine", q.Name)
	return &Done{N: 1}, nil
}

// machine reports whether a machine is stale: not validated, at any age; or silent for
// too long, where one that was never heard of counts from its creation.
func (q *Prune) machine(m *engine.Machine, now int64) bool {
	switch {
	case !m.Validated:
		return true
	case q.NotValidatedOnly:
		return false
	case m.LastHeartbeat == 0:
		return m.CreatedAt < now-q.Silence
	}
	return m.LastHeartbeat < now-q.Silence
}

// staleMachines lists what a prune would take now.
func (h *Handler) staleMachines(_ context.Context, q *Prune) *listing[Machine] {
	now := h.engine.Now()
	return h.machines(func(m *engine.Machine) bool { return q.machine(m, now) })
}

// PruneNamed removes those of the names that are still stale.
type PruneNamed struct {
	Prune
	Names []string
}

// pruneMachines looks once more at each of the names; all that are left go in one
// commit.
func (h *Handler) pruneMachines(ctx context.Context, q *PruneNamed) (*Done, error) {
	var ids []string
	view, now := h.engine.View(), h.engine.Now()
	for _, id := range q.Names {
		if m := view.Machine(id); m != nil && q.machine(m, now) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return &Done{}, nil
	}
	if err := h.engine.PruneMachines(ctx, ids); err != nil {
		return nil, err
	}
	h.logChange(ctx, "pruned machines", "machines", len(ids), "names", some(ids))
	return &Done{N: len(ids)}, nil
}
