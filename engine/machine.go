package engine

import "sync/atomic"

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
	HubItems      map[string][]HubItem // by kind: collections, parsers, scenarios …
	CreatedAt     int64                // Unix nanoseconds, as all times here
	UpdatedAt     int64
	LastPush      int64 // 0: never
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
	noted     atomic.Bool
}

// load returns the machine with the heartbeat as it is now.
func (r *machineRow) load() *Machine {
	m := r.value.Load()
	if beat := r.heartbeat.Load(); beat > m.LastHeartbeat {
		c := *m
		c.LastHeartbeat = beat
		return &c
	}
	return m
}

// machineSet is who the machines are, never changed in place.
type machineSet struct {
	byID     map[string]*machineRow
	bySerial map[uint32]*machineRow
	order    []*machineRow
}

// Machine returns the machine of that id, nil when there is none.
func (v *View) Machine(id string) *Machine {
	if r := v.machines.byID[id]; r != nil {
		return r.load()
	}
	return nil
}

// Machines returns all machines in order of creation.
func (v *View) Machines() []*Machine {
	all := make([]*Machine, len(v.machines.order))
	for i, r := range v.machines.order {
		all[i] = r.load()
	}
	return all
}

func newMachineSet(rows []*machineRow) *machineSet {
	m := &machineSet{byID: make(map[string]*machineRow, len(rows)), bySerial: make(map[uint32]*machineRow, len(rows)), order: rows}
	for _, r := range rows {
		m.byID[r.value.Load().ID] = r
		m.bySerial[r.serial] = r
	}
	return m
}

func (m *machineSet) with(row *machineRow) *machineSet {
	return newMachineSet(append(m.order[:len(m.order):len(m.order)], row))
}

func (m *machineSet) without(id string) *machineSet {
	kept := make([]*machineRow, 0, len(m.order))
	for _, r := range m.order {
		if r.value.Load().ID != id {
			kept = append(kept, r)
		}
	}
	return newMachineSet(kept)
}
