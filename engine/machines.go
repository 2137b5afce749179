package engine

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync/atomic"

	"lapid/index"
)

// AuthType says how a machine or bouncer proves its identity.
type AuthType string

// Kinds of proof (spelled as the operator's tables show them).
const (
	AuthPassword AuthType = "password"
	AuthTLS      AuthType = "tls"
	AuthAPIKey   AuthType = "api-key"
)

// Machine is a log processor that may push alerts. A *Machine is a value: it
// is never changed after it was published, every change makes a new one.
type Machine struct {
	ID            string
	PasswordHash  []byte // bcrypt; empty for AuthTLS
	AuthType      AuthType
	Validated     bool
	IP            string // last address it logged in from
	Version       string
	Scenarios     string // comma-joined, as at the last login
	OS            OS
	FeatureFlags  []string
	DataSources   []Count              // name and number, in the order they were reported
	HubItems      map[string][]HubItem // by kind: collections, parsers, scenarios …; lists are shared by machines
	CreatedAt     int64                // Unix nanoseconds, as all times here
	UpdatedAt     int64
	LastPush      int64 // when it pushed alerts last; 0: never
	LastHeartbeat int64 // 0: never; noted in memory, written down in bulk
}

// OS is the operating system that a machine or bouncer reported.
type OS struct{ Name, Version, Family string }

// Count is a name with a number.
type Count struct {
	Name string
	N    int64
}

// HubItem is one installed hub item of a machine.
type HubItem struct{ Name, Version, Status string }

// Machine returns the machine of that id, nil when there is none.
func (v *View) Machine(id string) *Machine {
	if r := v.machines.named(id); r != nil {
		return r.load()
	}
	return nil
}

// Machines returns all machines in order of creation. The slice is the caller's;
// a caller that only looks through them takes EachMachine.
func (v *View) Machines() []*Machine {
	all := make([]*Machine, 0, v.machines.bySerial.Len())
	v.EachMachine(func(m *Machine) bool { all = append(all, m); return true })
	return all
}

// EachMachine yields all machines in order of creation, until yield returns false.
func (v *View) EachMachine(yield func(*Machine) bool) {
	v.machines.bySerial.All(func(r *machineRow) bool { return yield(r.load()) })
}

// MachineCount is how many machines there are, and how many of them wait for an
// operator to validate them.
func (v *View) MachineCount() (all, waiting int) {
	return v.machines.bySerial.Len(), v.machines.waiting
}

// AddMachine adds a machine. A taken id is ErrExists, unless replace says that
// the new one takes its place (and the alerts of the old one lose their
// owner). ErrInvalid when a text of it is too long (bounds.go).
func (e *Engine) AddMachine(ctx context.Context, m *Machine, replace bool) error {
	if err := m.fits(nil); err != nil {
		return err
	}
	return e.propose(ctx, &proposal{key: "machine:" + m.ID, resolve: func(v *View) (op, error) {
		if v.machines.named(m.ID) != nil && !replace {
			return nil, exists(NounMachine, m.ID)
		}
		return &putMachine{machine: *m, fresh: true}, nil
	}})
}

// ChangeMachine applies change to a copy of the machine and stores it. change
// runs on the committer: it must be quick and touch nothing else. ErrNotFound
// when there is no such machine, ErrInvalid when a text becomes too long.
func (e *Engine) ChangeMachine(ctx context.Context, id string, change func(*Machine)) error {
	return e.propose(ctx, &proposal{key: "machine:" + id, resolve: func(v *View) (op, error) { return v.changedMachine(id, change) }})
}

// changedMachine makes the operation that changes a machine.
func (v *View) changedMachine(id string, change func(*Machine)) (op, error) {
	old := v.Machine(id)
	if old == nil {
		return nil, notFound(NounMachine, id)
	}
	m := *old
	change(&m)
	m.ID = id
	if err := m.fits(old); err != nil {
		return nil, err
	}
	return &putMachine{machine: m}, nil
}

// DeleteMachine removes a machine; its alerts stay, without owner. ErrNotFound
// when there is none.
func (e *Engine) DeleteMachine(ctx context.Context, id string) error {
	return e.propose(ctx, &proposal{key: "machine:" + id, resolve: func(v *View) (op, error) {
		if v.machines.named(id) == nil {
			return nil, notFound(NounMachine, id)
		}
		return &dropMachines{ids: []string{id}}, nil
	}})
}

// PruneMachines removes the named machines; a name that is gone already does not
// matter.
func (e *Engine) PruneMachines(ctx context.Context, ids []string) error {
	return e.propose(ctx, &proposal{key: everything, op: &dropMachines{ids: ids}})
}

// Heartbeat notes that a machine was heard of; it reaches disk later, in bulk.
// An unknown machine is ignored.
func (e *Engine) Heartbeat(id string, now int64) {
	if row := e.View().machines.named(id); row != nil {
		advanceTime(&row.heartbeat, now)
		e.state.heard.note(row)
	}
}

// machineRow is a machine's place in memory. The serial tells a machine from a
// later one of the same name: alerts belong to the serial.
type machineRow struct {
	value     atomic.Pointer[Machine]
	serial    uint32
	heartbeat atomic.Int64 // Unix nanoseconds; noted here, written down in bulk
	lastPush  atomic.Int64 // Unix nanoseconds; by apply alone
	noted     atomic.Bool  // it is in the ledger
	gone      bool         // dropped; the committer's
	after     *machineRow  // in the ledger
}

type machineLedger = ledger[machineRow, *machineRow]

func (r *machineRow) marked() *atomic.Bool { return &r.noted }
func (r *machineRow) next() **machineRow   { return &r.after }

// load returns the machine with its heartbeat and last push as they are now.
func (r *machineRow) load() *Machine {
	return r.value.Load().with(r.heartbeat.Load(), r.lastPush.Load())
}

// with returns the machine with later times, itself when it has them.
func (m *Machine) with(heartbeat, lastPush int64) *Machine {
	if heartbeat <= m.LastHeartbeat && lastPush <= m.LastPush {
		return m
	}
	c := *m
	c.LastHeartbeat, c.LastPush = max(m.LastHeartbeat, heartbeat), max(m.LastPush, lastPush)
	return &c
}

// machineSet is all machines. One that a view has never changes; see
// bouncerSet. Serials ascend in order of creation.
type machineSet struct {
	run      uint64
	shown    bool // a view has it: the next change begins a run. The committer's
	byID     index.Trie[machineRow]
	bySerial index.Sequence[machineRow]
	waiting  int // of them not validated

	loading *loading[machineRow] // as in bouncerSet
}

func machineHash(r *machineRow) uint64 { return nameHash(r.value.Load().ID) }

func (m *machineSet) named(id string) *machineRow {
	is := func(r *machineRow) bool { return r.value.Load().ID == id }
	if m.loading != nil {
		return m.loading.find(nameHash(id), is)
	}
	return m.byID.Find(nameHash(id), is)
}

// serial returns the machine of a serial, nil when it is gone.
func (m *machineSet) serial(n uint32) *machineRow { return m.bySerial.At(uint64(n)) }

// editMachines is the next view's set, which may be changed until it is shown.
func (s *state) editMachines() *machineSet {
	m := s.next.machines
	if m.shown {
		c := *m
		c.run, c.shown = c.run+1, false
		m = &c
		s.next.machines = m
	}
	return m
}

// putMachine stores a machine; with fresh it is a new one, whatever was there.
func (s *state) putMachine(m Machine, fresh bool) {
	s.inventories.acquire(&m)
	if row := s.next.machines.named(m.ID); row != nil {
		if !fresh {
			old := row.value.Load()
			if old.Validated != m.Validated {
				s.editMachines().count(&m, old.Validated)
			}
			row.value.Store(&m)
			s.inventories.release(old)
			return
		}
		s.dropMachine(m.ID)
	}
	s.next.serial++
	row := &machineRow{serial: s.next.serial}
	row.value.Store(&m)
	s.editMachines().add(row)
}

// count notes that a machine was validated, or is validated no longer.
func (m *machineSet) count(now *Machine, was bool) {
	if was {
		m.waiting++
	}
	if now.Validated {
		m.waiting--
	}
}

func (m *machineSet) add(row *machineRow) {
	v := row.value.Load()
	m.bySerial = m.bySerial.Set(m.run, uint64(row.serial), row)
	if m.loading != nil {
		m.loading.insert(nameHash(v.ID), row)
	} else {
		m.byID = m.byID.Insert(m.run, nameHash(v.ID), row, machineHash)
	}
	if !v.Validated {
		m.waiting++
	}
}

// build makes the index of a set that was loaded.
func (m *machineSet) build() {
	m.byID = m.loading.trie(m.run)
	m.loading = nil
}

// dropMachine removes the machine of that id, if there is one.
func (s *state) dropMachine(id string) {
	row := s.next.machines.named(id)
	if row == nil {
		return
	}
	m := s.editMachines()
	m.bySerial = m.bySerial.Delete(m.run, uint64(row.serial))
	if m.loading != nil {
		m.loading.remove(nameHash(id), row)
	} else {
		m.byID = m.byID.Remove(m.run, nameHash(id), row)
	}
	value := row.value.Load()
	if !value.Validated {
		m.waiting--
	}
	s.inventories.release(value)
	row.gone = true
}

// putMachine stores a machine as it is from now on. With fresh it is a new
// one, even if one of that name was there: alerts of the old one lose their
// owner.
type putMachine struct {
	machine Machine
	fresh   bool
}

func (*putMachine) number() byte { return numberPutMachine }
func (o *putMachine) append(dst []byte) []byte {
	dst = appendBool(dst, o.fresh)
	return endRow(o.machine.append(dst), len(dst))
}
func (o *putMachine) decode(d *decoder) {
	o.fresh = d.bool()
	behind := d.open()
	o.machine.decode(d)
	d.close(behind)
}
func (o *putMachine) apply(s *state, rev Revision) {
	s.putMachine(o.machine, o.fresh)
}

// dropMachines removes machines; their alerts lose their owner.
type dropMachines struct{ ids []string }

func (*dropMachines) number() byte               { return numberDropMachines }
func (o *dropMachines) append(dst []byte) []byte { return appendStrings(dst, o.ids) }
func (o *dropMachines) decode(d *decoder)        { o.ids = d.strings() }
func (o *dropMachines) apply(s *state, rev Revision) {
	for _, id := range o.ids {
		s.dropMachine(id)
	}
}

func (m *Machine) append(dst []byte) []byte {
	dst = appendString(dst, m.ID)
	dst = appendBytes(dst, m.PasswordHash)
	dst = appendString(dst, string(m.AuthType))
	dst = appendBool(dst, m.Validated)
	dst = appendString(appendString(appendString(dst, m.IP), m.Version), m.Scenarios)
	dst = m.OS.append(dst)
	dst = appendStrings(dst, m.FeatureFlags)
	dst = appendCounts(dst, m.DataSources)
	dst = appendHub(dst, m.HubItems)
	for _, t := range [...]int64{m.CreatedAt, m.UpdatedAt, m.LastPush, m.LastHeartbeat} {
		dst = binary.AppendVarint(dst, t)
	}
	return dst
}

func (m *Machine) decode(d *decoder) {
	m.ID = d.string()
	m.PasswordHash = slices.Clone(d.bytes())
	m.AuthType = d.authType()
	m.Validated = d.bool()
	m.IP, m.Version, m.Scenarios = d.string(), d.string(), d.string()
	m.OS.decode(d)
	m.FeatureFlags = d.strings()
	m.DataSources = decodeCounts(d)
	m.HubItems = decodeHub(d)
	for _, t := range [...]*int64{&m.CreatedAt, &m.UpdatedAt, &m.LastPush, &m.LastHeartbeat} {
		*t = d.varint()
	}
}

// authType reads a kind of proof. The known ones share their text.
func (d *decoder) authType() AuthType {
	text := d.bytes()
	for _, known := range [...]AuthType{AuthAPIKey, AuthPassword, AuthTLS} {
		if string(text) == string(known) {
			return known
		}
	}
	return AuthType(text)
}

func (o *OS) append(dst []byte) []byte {
	return appendString(appendString(appendString(dst, o.Name), o.Version), o.Family)
}

func (o *OS) decode(d *decoder) { o.Name, o.Version, o.Family = d.string(), d.string(), d.string() }

func appendCounts(dst []byte, list []Count) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, c := range list {
		dst = binary.AppendVarint(appendString(dst, c.Name), c.N)
	}
	return dst
}

func decodeCounts(d *decoder) []Count {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	list := make([]Count, n)
	for i := range list {
		list[i] = Count{Name: d.string(), N: d.varint()}
	}
	return list
}

func appendHub(dst []byte, hub map[string][]HubItem) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(hub)))
	for _, kind := range slices.Sorted(maps.Keys(hub)) {
		dst = appendString(dst, kind)
		dst = binary.AppendUvarint(dst, uint64(len(hub[kind])))
		for _, i := range hub[kind] {
			dst = appendString(appendString(appendString(dst, i.Name), i.Version), i.Status)
		}
	}
	return dst
}

func decodeHub(d *decoder) map[string][]HubItem {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	hub := make(map[string][]HubItem, n)
	for ; n > 0 && d.err == nil; n-- {
		kind := d.string()
		items := make([]HubItem, d.count(3))
		for i := range items {
			items[i] = HubItem{Name: d.string(), Version: d.string(), Status: d.string()}
		}
		hub[kind] = items
	}
	return hub
}
