package movein

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"

	"lapid/engine"
)

// Bringer is a Taker that brings what it gets into a store: a new one, or one that has
// something. Alerts and decisions keep their numbers where those are free. What it took
// before is made equal to what it gets (again.go). For one goroutine, beside which the
// engine runs.
type Bringer struct {
	Changes Changes

	e    *engine.Engine
	now  int64
	last *record // what was taken over the last time; nil: nothing

	known                     map[engine.UUID]engine.AlertID // alerts that were here at the beginning
	seen                      map[engine.AlertID]bool        // alerts of the source
	uuids                     map[engine.UUID]int64          // of the source's alerts, and which it was
	machines, bouncers, lists []string                       // that the source has
	own                       map[string][]string            // items of its lists that are not the source's

	ends       []engine.DecisionID // what has ended there, and is to end here
	superseded int                 // of them, in whose place something was brought

	marks    map[string]mark   // how what was taken over is left, by letter and name
	refusals map[string]bool   // what could not be stored, alike
	items    map[string][]byte // the marks of each list's items
}

// NewBringer makes one. The engine must run, and its time is the moment of the taking over.
// It reads all alerts that are there.
func NewBringer(ctx context.Context, e *engine.Engine) (*Bringer, error) {
	b := &Bringer{e: e, now: e.Now(), seen: map[engine.AlertID]bool{}, uuids: map[engine.UUID]int64{}, own: map[string][]string{},
		marks: map[string]mark{}, refusals: map[string]bool{}, items: map[string][]byte{}}
	return b, b.remember(ctx)
}

// refusal makes a Refusal of an error that says that the row cannot be stored; other
// errors stay what they are.
func refusal(err error) error {
	if errors.Is(err, engine.ErrInvalid) || errors.Is(err, engine.ErrNotFound) || errors.Is(err, engine.ErrExists) || errors.Is(err, engine.ErrRefused) {
		return Refusal(err.Error())
	}
	return err
}

// Machine brings a machine. One that is here with the same password says more of itself
// here.
func (b *Bringer) Machine(ctx context.Context, m *Machine) error {
	b.machines = append(b.machines, m.ID)
	ours := b.e.View().Machine(m.ID)
	if ours != nil && bytes.Equal(ours.PasswordHash, m.PasswordHash) && ours.Validated == m.Validated && ours.AuthType == m.AuthType {
		return b.brought(markMachine, m.ID, nil)
	}
	if b.changedHere(markMachine, m.ID) {
		return orRemoved(ours != nil)
	}
	err := b.brought(markMachine, m.ID, refusal(b.e.BringMachine(ctx, &m.Machine)))
	if err == nil && ours != nil {
		b.replaced(markMachine, m.ID)
	}
	return err
}

// Bouncer brings a bouncer. One that is here with the same key stays where it is in the
// stream, and with it the keys that it was rotated to here.
func (b *Bringer) Bouncer(ctx context.Context, x *Bouncer) error {
	b.bouncers = append(b.bouncers, x.Name)
	view := b.e.View()
	row := view.Bouncer(x.Name)
	if row != nil {
		ours := row.Load()
		switch current := view.CurrentKey(ours.KeyHash); {
		case ours.AuthType != x.AuthType:
		case current == x.KeyHash:
			return b.brought(markBouncer, x.Name, nil)
		case ours.KeyHash == x.KeyHash: // it was rotated here
			if b.changedHere(markBouncer, x.Name) {
				return nil
			}
			return b.brought(markBouncer, x.Name, nil)
		}
	}
	if b.changedHere(markBouncer, x.Name) {
		return orRemoved(row != nil)
	}
	err := b.brought(markBouncer, x.Name, refusal(b.e.BringBouncer(ctx, &x.Bouncer, x.LastPull)))
	if err == nil && row != nil {
		b.replaced(markBouncer, x.Name)
	}
	return err
}

// orRemoved is nil for what is here.
func orRemoved(here bool) error {
	if here {
		return nil
	}
	return removedHere
}

// Allowlist brings a list with its items, which keep the seconds in which they were added.
func (b *Bringer) Allowlist(ctx context.Context, l *Allowlist) error {
	if err := b.sameSource(); err != nil {
		return err
	}
	b.lists = append(b.lists, l.Name)
	ours := b.e.View().Allowlist(l.Name)
	if took, _ := b.tookBefore(markList, l.Name); ours == nil && took {
		b.changedHere(markList, l.Name)
		return removedHere
	}
	if ours != nil && l.CreatedAt != 0 && ours.CreatedAt != l.CreatedAt && !l.FromConsole {
		b.refusals[string(markList)+l.Name] = true // made here: it is not removed with theirs
	}
	if l.FromConsole && ours != nil && (l.Unread || b.changedHere(markList, l.Name)) {
		return nil
	}
	if l.FromConsole {
		return b.brought(markList, l.Name, b.consoleList(ctx, l))
	}
	return b.brought(markList, l.Name, b.ownList(ctx, l, ours))
}

// ownList brings one that the console has nothing to do with.
func (b *Bringer) ownList(ctx context.Context, l *Allowlist, ours *engine.Allowlist) error {
	l = b.itemsOf(l, ours)
	if ours == nil {
		if err := b.e.CreateAllowlist(ctx, l.Name, l.Description, orElse(l.CreatedAt, b.now)); err != nil {
			return refusal(err)
		}
	} else if err := b.removeItems(ctx, l, ours); err != nil {
		return err
	}
	for from := 0; from < len(l.Items); {
		at, to := l.Items[from].CreatedAt, from
		var items []engine.AllowlistItem
		for ; to < len(l.Items) && l.Items[to].CreatedAt/second == at/second; to++ {
			items = append(items, l.Items[to].AllowlistItem)
		}
		if len(b.known) > 0 {
			at = b.now // what runs here may end by it
		}
		if _, _, err := b.e.AddToAllowlist(ctx, l.Name, items, orElse(at, b.now)); err != nil {
			return refusal(err)
		}
		from = to
	}
	return nil
}

// consoleList brings a list that the console manages: the connection to the Central API goes
// on with it.
func (b *Bringer) consoleList(ctx context.Context, l *Allowlist) error {
	whole := l.Allowlist
	whole.Items = make([]engine.AllowlistItem, len(l.Items))
	for i := range l.Items {
		whole.Items[i] = l.Items[i].AllowlistItem
	}
	_, err := b.e.PutConsoleAllowlist(ctx, &whole, b.now)
	return refusal(err)
}

// removeItems takes from a list what it had when it was taken over the last time and has
// not any more. What was added here since, or before and was ours then, stays.
func (b *Bringer) removeItems(ctx context.Context, l *Allowlist, ours *engine.Allowlist) error {
	there := make(map[string]bool, len(l.Items))
	var before map[[6]byte]bool
	if b.last != nil && b.last.Items != nil {
		before = itemsMarked(b.last.Items[l.Name])
	}
	for i := range l.Items {
		there[l.Items[i].Value] = true
	}
	var gone []string
	for i := range ours.Items {
		item := &ours.Items[i]
		switch {
		case there[item.Value]:
		case l.Unread && b.last != nil && !slices.Contains(b.last.Own[l.Name], item.Value):
		case before != nil && !before[itemMark(item.Value)]:
			b.own[l.Name] = append(b.own[l.Name], item.Value)
		case b.last != nil && item.CreatedAt <= b.last.At && !slices.Contains(b.last.Own[l.Name], item.Value):
			gone = append(gone, item.Value)
		default:
			b.own[l.Name] = append(b.own[l.Name], item.Value)
		}
	}
	n, err := b.e.RemoveFromAllowlist(ctx, l.Name, gone, b.now)
	b.Changes.Removed += int64(n)
	return err
}

const second = 1_000_000_000

func orElse(at, other int64) int64 {
	if at == 0 {
		return other
	}
	return at
}

// mostDecisions is how many decisions of one alert are brought at once. One with more is
// followed by further ones that are like it.
const mostDecisions = 100_000

// mostAlerts is how many alerts are brought at once.
const mostAlerts = 10_000

// Alerts brings alerts in as few commits as their sizes allow.
func (b *Bringer) Alerts(ctx context.Context, alerts []*Alert) error {
	if err := b.sameSource(); err != nil {
		return err
	}
	var list []portion
	for _, a := range alerts {
		list = append(list, portionsOf(a)...)
	}
	return b.portions(ctx, list)
}

// portion is an alert with decisions of it: all, or as many as are brought at once.
type portion struct {
	*Alert
	Part int // counts from 0
}

// portionsOf cuts an alert, which stays as it is.
func portionsOf(a *Alert) []portion {
	if len(a.Taken) <= mostDecisions {
		return []portion{{a, 0}}
	}
	var list []portion
	for part := 0; part*mostDecisions < len(a.Taken); part++ {
		piece := *a
		piece.Taken = a.Taken[part*mostDecisions : min((part+1)*mostDecisions, len(a.Taken))]
		list = append(list, portion{&piece, part})
	}
	return list
}

// portions brings them in as few commits as the engine takes.
func (b *Bringer) portions(ctx context.Context, list []portion) error {
	var batch []engine.Brought
	decisions := 0
	give := func() error {
		err := b.bring(ctx, batch)
		batch, decisions = batch[:0], 0
		return err
	}
	for _, p := range list {
		if decisions+len(p.Taken) > mostDecisions || len(batch) >= mostAlerts {
			if err := give(); err != nil {
				return err
			}
		}
		decisions += len(p.Taken)
		b.alone(p.Alert)
		brought := broughtOf(p.Alert, p.Taken, p.Part)
		id, there := b.known[brought.Alert.UUID]
		if !there {
			if !b.goneHere(&p) && !b.hereAlready(&p) {
				batch = append(batch, brought)
			}
			continue
		}
		more, err := b.again(ctx, p.Alert, id, p.Taken)
		if err != nil {
			return err
		}
		batch = append(batch, more...)
	}
	return give()
}

// alone takes from an alert a UUID that one before it has: else the two would be taken for
// each other the next time.
func (b *Bringer) alone(a *Alert) {
	if a.UUID == (engine.UUID{}) {
		return
	}
	if of, there := b.uuids[a.UUID]; there && of != a.Number {
		a.UUID = engine.UUID{}
		return
	}
	b.uuids[a.UUID] = a.Number
}

func (b *Bringer) bring(ctx context.Context, batch []engine.Brought) error {
	if len(batch) == 0 {
		return nil
	}
	as, err := b.e.Bring(ctx, batch)
	if err != nil {
		return err
	}
	for i := range as {
		b.seen[as[i].Alert] = true
		b.Changes.NewAlerts++
		if want := batch[i].ID; want != 0 && as[i].Alert != want {
			b.Changes.Renumbered++
		}
		for j, id := range as[i].Decisions {
			b.Changes.NewDecisions++
			if id != 0 && id != batch[i].Decisions[j].ID {
				b.Changes.Renumbered++
			}
		}
	}
	return nil
}

// broughtOf is an alert as the engine takes it. One without a UUID gets one that follows
// from what it is, so that it is known again the next time.
func broughtOf(a *Alert, taken []Decision, part int) engine.Brought {
	brought := engine.Brought{ID: a.ID, Alert: a.Alert, Decisions: make([]engine.BroughtDecision, len(taken))}
	if part > 0 {
		brought.ID, brought.Alert.UUID = 0, engine.UUID{}
	}
	if brought.Alert.UUID == (engine.UUID{}) {
		brought.Alert.UUID = derivedUUID(a, part)
	}
	for i := range taken {
		d := &taken[i]
		brought.Decisions[i] = engine.BroughtDecision{ID: engine.DecisionID(d.Number), UUID: d.UUID, Scope: d.Scope, Value: d.Value,
			Type: d.Type, Origin: d.Origin, Scenario: d.Scenario, Until: d.Until}
	}
	return brought
}

// derivedUUID is the same for the same alert at each taking over, and for the same decision
// where the alert is made up for it.
func derivedUUID(a *Alert, part int) engine.UUID {
	text := binary.BigEndian.AppendUint64([]byte("alert"), uint64(a.Number))
	text = binary.BigEndian.AppendUint64(text, uint64(part))
	if a.Number == 0 && len(a.Taken) > 0 {
		text = append(binary.BigEndian.AppendUint64(text, uint64(a.Taken[0].Number)), a.Taken[0].Value...)
	} else {
		text = binary.BigEndian.AppendUint64(text, uint64(a.StartAt.At))
	}
	return uuidOf(append(text, a.Scenario...))
}

func uuidOf(text []byte) (u engine.UUID) {
	sum := sha256.Sum256(text)
	copy(u[:], sum[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// Usage brings one report of usage metrics. What its sender is, it is by its own row.
func (b *Bringer) Usage(ctx context.Context, u *engine.Usage) error {
	if u.Kind == engine.UsageBouncer {
		if row := b.e.View().Bouncer(u.Name); row != nil {
			x := row.Load()
			u.Version, u.FeatureFlags = x.Version, x.FeatureFlags
		}
	} else if m := b.e.View().Machine(u.Name); m != nil {
		u.Version, u.FeatureFlags, u.DataSources, u.HubItems = m.Version, m.FeatureFlags, m.DataSources, m.HubItems
	}
	err := b.e.BringUsage(ctx, u)
	if errors.Is(err, engine.ErrNotFound) {
		return Leave("who sent it is not here")
	}
	return refusal(err)
}

// Counters lets new numbers begin behind those that were given there. A counter that is
// beyond what can be counted to here does not count.
func (b *Bringer) Counters(ctx context.Context, c Counters) error {
	next := func(n int64) uint64 {
		if n > mostNumber {
			return 0
		}
		return uint64(n + 1)
	}
	return b.e.RaiseIDs(ctx, engine.AlertID(next(c.Alert)), engine.DecisionID(next(c.Decision)))
}

// centralName is the secret under which a store keeps what the source knew of the Central
// API (Central), for the connection to it that begins here. Without that it is never read.
const centralName = "movein.central"

// Central keeps it, in place of what was kept before.
func (b *Bringer) Central(ctx context.Context, items map[string]string) error {
	text, err := json.Marshal(items)
	if err != nil {
		return err
	}
	return b.e.KeepSecret(ctx, centralName, text)
}
