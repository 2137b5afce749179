package engine

import (
	"sync/atomic"

	"lapid/index"
)

// AuthType says how a machine or bouncer proves who it is.
type AuthType string

// How somebody proves who they are (spelled as the operator's tables show it).
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

// OS is the operating system somebody reported.
type OS struct{ Name, Version, Family string }

// Count is a name with a number.
type Count struct {
	Name string
	N    int64
}

// HubItem is one installed hub item of a machine.
type HubItem struct{ Name, Version, Status string }

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

// machineSet is who the machines are. One that a view has never changes; see
// bouncerSet. Serials ascend in order of creation.
type machineSet struct {
	run      uint64
	shown    bool // a view has it: the next change begins a run. The committer's
	byID     index.Trie[machineRow]
	bySerial index.Sequence[machineRow]
	waiting  int // of them not validated

	loading *loading[machineRow] // as in bouncerSet
}

// Machine returns the machine of that id, nil when there is none.
func (v *View) Machine(id string) *Machine {
	if r := v.machines.named(id); r != nil {
		return r.load()
	}
	return nil
}

// Machines returns all machines in order of creation. The slice is the caller's;
// who only looks through them takes EachMachine.
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

// count notes that a machine's validation is not what it was.
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
