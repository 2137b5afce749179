package engine

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
)

// Operations on those who ask and report: machines, bouncers, and what their
// visits leave behind.

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

// putBouncer stores a bouncer as it is from now on.
type putBouncer struct {
	bouncer Bouncer

	row *BouncerRow // the answer
}

func (*putBouncer) number() byte { return numberPutBouncer }
func (o *putBouncer) append(dst []byte) []byte {
	return endRow(o.bouncer.append(dst), len(dst))
}
func (o *putBouncer) decode(d *decoder) {
	behind := d.open()
	o.bouncer.decode(d)
	d.close(behind)
}
func (o *putBouncer) apply(s *state, rev Revision) {
	o.row = s.putBouncer(o.bouncer)
}

func (b *Bouncer) append(dst []byte) []byte {
	dst = appendString(dst, b.Name)
	dst = append(dst, b.KeyHash[:]...)
	dst = appendString(dst, string(b.AuthType))
	dst = appendPrefix(dst, hostPrefix(b.IP))
	software := b.Software
	if software == nil {
		software = &Software{}
	}
	dst = software.append(dst)
	dst = appendBool(appendBool(dst, b.AutoCreated), b.Shared)
	return binary.AppendVarint(binary.AppendVarint(dst, b.CreatedAt), b.UpdatedAt)
}

func (b *Bouncer) decode(d *decoder) {
	b.Name = d.string()
	d.fixed(b.KeyHash[:])
	b.AuthType = d.authType()
	b.IP = d.prefix().Addr()
	b.Software = &Software{}
	b.Software.decode(d)
	b.AutoCreated, b.Shared = d.bool(), d.bool()
	b.CreatedAt, b.UpdatedAt = d.varint(), d.varint()
}

// authType reads a kind of proof; those that there are share their text.
func (d *decoder) authType() AuthType {
	text := d.bytes()
	for _, known := range [...]AuthType{AuthAPIKey, AuthPassword, AuthTLS} {
		if string(text) == string(known) {
			return known
		}
	}
	return AuthType(text)
}

func hostPrefix(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	return netip.PrefixFrom(a, a.BitLen())
}

// dropBouncers removes bouncers by name.
type dropBouncers struct{ names []string }

func (*dropBouncers) number() byte               { return numberDropBouncers }
func (o *dropBouncers) append(dst []byte) []byte { return appendStrings(dst, o.names) }
func (o *dropBouncers) decode(d *decoder)        { o.names = d.strings() }
func (o *dropBouncers) apply(s *state, rev Revision) {
	for _, name := range o.names {
		s.dropBouncer(name)
	}
}

// visits writes down what visitors left in memory: how far bouncers got, when
// machines were heard of.
type visits struct {
	bouncers []visit
	machines []visit

	live bool // made here and now: the rows know more already
}

type visit struct {
	name   string
	at     int64
	cursor uint64 // as in BouncerRow; 0 for machines
}

func (*visits) number() byte { return numberVisits }
func (o *visits) append(dst []byte) []byte {
	for _, list := range [...][]visit{o.bouncers, o.machines} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, v := range list {
			from := len(dst)
			dst = endRow(binary.AppendUvarint(binary.AppendVarint(appendString(dst, v.name), v.at), v.cursor), from)
		}
	}
	return dst
}
func (o *visits) decode(d *decoder) {
	for _, list := range [...]*[]visit{&o.bouncers, &o.machines} {
		*list = make([]visit, d.count(3))
		for i := range *list {
			behind := d.open()
			(*list)[i] = visit{name: d.string(), at: d.varint(), cursor: d.uvarint()}
			d.close(behind)
		}
	}
}
func (o *visits) apply(s *state, rev Revision) {
	if o.live {
		return
	}
	// What was written last counts, though it may be less than before: a cursor
	// goes back when an answer did not arrive.
	for _, v := range o.bouncers {
		if row := s.next.bouncers.named(v.name); row != nil {
			row.lastPull.Store(v.at)
			row.putCursor(v.cursor)
		}
	}
	for _, v := range o.machines {
		if row := s.next.machines.named(v.name); row != nil {
			row.heartbeat.Store(v.at)
		}
	}
}
