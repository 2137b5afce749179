package movein

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"lapid/engine"
)

// Machine is a machine with its password hash and times.
type Machine struct {
	engine.Machine
	Number int64 // of its row
}

// Bouncer is a bouncer with its key hash and times.
type Bouncer struct {
	engine.Bouncer
	Number   int64
	LastPull int64 // Unix nanoseconds; 0: never
}

// Columns of machines.
const (
	machineID = iota
	machineCreated
	machineUpdated
	machinePush
	machineHeartbeat
	machineName
	machinePassword
	machineAddress
	machineScenarios
	machineVersion
	machineValidated
	machineAuth
	machineOS
	machineOSFamily
	machineOSVersion
	machineFlags
	machineHub
	machineSources
)

// machines hands all machines over and remembers their names for the alerts.
func (r *reader) machines(ctx context.Context) error {
	tally := r.tally.table(machinesTable)
	return r.source.all(ctx, machinesTable, "id", func(row *row) error {
		tally.Read++
		m := readMachine(row)
		spoiled := row.bad != ""
		m.HubItems, m.DataSources = row.hub(machineHub), row.counts(machineSources)
		if row.bad != "" && !spoiled { // it says this anew with its next usage metrics
			tally.remark(m.Number, row.bad+", and is left out")
			row.bad = ""
		}
		switch {
		case row.bad != "":
		case m.ID == "":
			row.bad = "machine_id is empty"
		case m.AuthType == engine.AuthPassword && !isBcrypt(m.PasswordHash):
			row.bad = "password is no bcrypt hash, so nobody could log in by it"
		}
		if row.bad != "" {
			tally.damage(m.Number, row.bad)
			r.tally.spare(machinesTable, m.ID)
			return nil
		}
		if r.names[sender{engine.UsageMachine, m.ID}] {
			tally.damage(m.Number, twice)
			return nil
		}
		r.names[sender{engine.UsageMachine, m.ID}] = true
		return r.hand(tally, m.Number, r.spare(machinesTable, m.ID, r.to.Machine(ctx, m)), func() { r.machine[m.Number], r.senders[sender{engine.UsageMachine, m.ID}] = m.ID, true })
	})
}

func readMachine(row *row) *Machine {
	m := &Machine{Number: row.id(machineID)}
	m.ID, m.PasswordHash = row.text(machineName), slices.Clone([]byte(row.raw[machinePassword]))
	m.AuthType = engine.AuthPassword
	if row.text(machineAuth) == "tls" {
		m.AuthType, m.PasswordHash = engine.AuthTLS, nil // the stored one is of nothing that anybody knows
	}
	m.Validated, m.IP, m.Version = row.flag(machineValidated), row.text(machineAddress), row.text(machineVersion)
	m.Scenarios = row.text(machineScenarios)
	m.OS = engine.OS{Name: row.text(machineOS), Version: row.text(machineOSVersion), Family: row.text(machineOSFamily)}
	m.FeatureFlags = row.list(machineFlags)
	m.CreatedAt, m.UpdatedAt = row.moment(machineCreated), row.moment(machineUpdated)
	m.LastPush, m.LastHeartbeat = row.moment(machinePush), row.moment(machineHeartbeat)
	return m
}

// hub reads the state of hub items; empty members are left out there.
func (r *row) hub(i int) map[string][]engine.HubItem {
	var kinds map[string][]struct{ Name, Version, Status string }
	r.decode(i, &kinds)
	if len(kinds) == 0 {
		return nil
	}
	out := make(map[string][]engine.HubItem, len(kinds))
	for kind, items := range kinds {
		list := make([]engine.HubItem, len(items))
		for i, item := range items {
			list[i] = engine.HubItem{Name: item.Name, Version: item.Version, Status: item.Status}
		}
		out[kind] = list
	}
	return out
}

// counts reads a JSON object of numbers, in the order of its names.
func (r *row) counts(i int) []engine.Count {
	var sources map[string]int64
	r.decode(i, &sources)
	var out []engine.Count
	for name, n := range sources {
		out = append(out, engine.Count{Name: name, N: n})
	}
	slices.SortFunc(out, func(a, b engine.Count) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// twice is why the second of a name is left out: of two, one would be counted and not be there.
const twice = "there is another of that name"

// spare notes one that a Taker refuses.
func (r *reader) spare(of *relation, name string, err error) error {
	var refused Refusal
	if errors.As(err, &refused) {
		r.tally.spare(of, name)
	}
	return err
}

// isBcrypt tells whether a text has the form of a bcrypt hash.
func isBcrypt(hash []byte) bool { return len(hash) == 60 && hash[0] == '$' && hash[1] == '2' }

// Columns of bouncers.
const (
	bouncerID = iota
	bouncerCreated
	bouncerUpdated
	bouncerName
	bouncerKey
	bouncerRevoked
	bouncerAddress
	bouncerType
	bouncerVersion
	bouncerPull
	bouncerAuth
	bouncerOS
	bouncerOSFamily
	bouncerOSVersion
	bouncerFlags
	bouncerAuto
)

func (r *reader) bouncers(ctx context.Context) error {
	tally := r.tally.table(bouncersTable)
	owners := map[engine.KeyHash]string{} // who has a key, by the name without address
	return r.source.all(ctx, bouncersTable, "id", func(row *row) error {
		tally.Read++
		b := r.readBouncer(row)
		revoked := row.flag(bouncerRevoked)
		if text := strings.TrimSpace(row.text(bouncerAddress)); text != "" && !b.IP.IsValid() {
			tally.remark(b.Number, "ip_address is no address: the next that comes with the key gets the row")
		}
		if b.Name == "" && row.bad == "" {
			row.bad = "name is empty"
		}
		if row.bad != "" {
			tally.damage(b.Number, row.bad)
			r.tally.spare(bouncersTable, b.Name)
			return nil
		}
		if r.names[sender{engine.UsageBouncer, b.Name}] {
			tally.damage(b.Number, twice)
			return nil
		}
		r.names[sender{engine.UsageBouncer, b.Name}] = true
		return r.hand(tally, b.Number, r.spare(bouncersTable, b.Name, r.to.Bouncer(ctx, b)), func() {
			if r.senders[sender{engine.UsageBouncer, b.Name}] = true; revoked {
				tally.remark(b.Number, "marked as revoked, which never had an effect: its key goes on working")
			}
			if b.AuthType != engine.AuthAPIKey {
				return
			}
			base := engine.BaseName(b.Name)
			if first, known := owners[b.KeyHash]; !known {
				owners[b.KeyHash] = base
			} else if !b.AutoCreated && first != base {
				tally.remark(b.Number, "has the key of another bouncer: both go on, and a request with the key is taken for that of the older one; delete one and add it again with a key of its own")
			}
		})
	})
}

func (r *reader) readBouncer(row *row) *Bouncer {
	b := &Bouncer{Number: row.id(bouncerID)}
	b.Name, b.AuthType = row.text(bouncerName), engine.AuthAPIKey
	if row.text(bouncerAuth) == "tls" {
		b.AuthType = engine.AuthTLS // its key is of something random
	} else if n, err := hex.Decode(b.KeyHash[:], trimTo(row.raw[bouncerKey], 2*len(b.KeyHash))); err != nil || n != len(b.KeyHash) || len(row.raw[bouncerKey]) != 2*n {
		row.fault(bouncerKey, "is no SHA-512 in hexadecimal, so no key could be recognised by it")
	}
	if address, err := netip.ParseAddr(strings.TrimSpace(row.text(bouncerAddress))); err == nil {
		b.IP = address.Unmap().WithZone("")
	}
	b.Software = &engine.Software{Type: row.text(bouncerType), Version: row.text(bouncerVersion), FeatureFlags: row.list(bouncerFlags),
		OS: engine.OS{Name: row.text(bouncerOS), Version: row.text(bouncerOSVersion), Family: row.text(bouncerOSFamily)}}
	b.AutoCreated = row.flag(bouncerAuto)
	b.CreatedAt, b.UpdatedAt = row.moment(bouncerCreated), row.moment(bouncerUpdated)
	b.LastPull = row.moment(bouncerPull)
	if b.LastPull != 0 && r.source.Place.Kind == MySQL {
		b.LastPull -= int64(time.Second) // whole seconds there: what came in that second may not have been told
	}
	return b
}

func trimTo(b []byte, n int) []byte { return b[:min(len(b), n)] }
