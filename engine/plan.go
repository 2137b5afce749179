package engine

import (
	"encoding/binary"
	"net/netip"
)

// plan is a decision ready to be stored: everything but its number.
type plan struct {
	until    int64
	target   netip.Prefix // masked; invalid for scopes that hold no address
	slash    bool         // spelled with a prefix length
	usual    bool         // target spells the value
	value    string       // "" when usual
	scope    string
	kind     string
	origin   string
	scenario string
}

// makePlan fills in target and value.
func makePlan(scope, value string, target netip.Prefix) plan {
	p := plan{scope: scope, target: target, value: value}
	if target.IsValid() {
		p.slash, p.usual = usualSpelling(target, value)
		if p.usual {
			p.value = ""
		}
	}
	return p
}

// Layout of a plan: one byte of flags, the target if any, the value unless it
// is usual, the end, and four words of the record's dictionary.
const (
	planSlash = 1 << iota
	planUsual
	planTarget
)

func (p *plan) append(dst []byte, words *[4]dictionary, base int64) []byte {
	flags := byte(0)
	if p.slash {
		flags |= planSlash
	}
	if p.usual {
		flags |= planUsual
	}
	if p.target.IsValid() {
		flags |= planTarget
	}
	dst = append(dst, flags)
	if p.target.IsValid() {
		dst = appendPrefix(dst, p.target)
	}
	if !p.usual {
		dst = appendString(dst, p.value)
	}
	dst = binary.AppendVarint(dst, p.until-base)
	dst = words[0].append(dst, p.scope)
	dst = words[1].append(dst, p.kind)
	dst = words[2].append(dst, p.origin)
	return words[3].append(dst, p.scenario)
}

func (p *plan) decode(d *decoder, words *[4]dictionary, base int64) {
	flags := d.byte()
	p.slash, p.usual = flags&planSlash != 0, flags&planUsual != 0
	if flags&planTarget != 0 {
		if p.target = d.prefix(); !p.target.IsValid() {
			d.fail()
		}
	}
	if !p.usual {
		p.value = d.string()
	} else if !p.target.IsValid() || (!p.slash && !p.target.IsSingleIP()) {
		d.fail()
	}
	p.until = base + d.varint()
	p.scope = words[0].decode(d)
	p.kind = words[1].decode(d)
	p.origin = words[2].decode(d)
	p.scenario = words[3].decode(d)
}

// appendBody writes what is kept of an alert on disk: everything but its
// number and its decisions.
func (a *Alert) appendBody(dst []byte) []byte {
	dst = append(dst, 1) // version of this layout
	dst = append(dst, a.UUID[:]...)
	dst = binary.AppendVarint(dst, a.CreatedAt)
	for _, s := range [...]string{a.MachineID, a.Scenario, a.ScenarioHash, a.ScenarioVersion, a.Message, a.Kind, a.Leakspeed} {
		dst = appendString(dst, s)
	}
	dst = binary.AppendVarint(dst, int64(a.Capacity))
	dst = binary.AppendVarint(dst, int64(a.EventsCount))
	dst = appendBool(dst, a.Simulated)
	dst = appendBool(dst, a.Remediation)
	dst = appendStamp(dst, a.StartAt)
	dst = appendStamp(dst, a.StopAt)
	dst = a.Source.append(dst)
	dst = appendMeta(dst, a.Meta)
	dst = binary.AppendUvarint(dst, uint64(len(a.Events)))
	for i := range a.Events {
		e := &a.Events[i]
		dst = appendStamp(dst, e.Timestamp)
		dst = appendBool(dst, e.NoMeta)
		dst = appendMeta(dst, e.Meta)
	}
	return dst
}

func (a *Alert) decodeBody(d *decoder) {
	if d.byte() != 1 {
		d.fail()
		return
	}
	d.fixed(a.UUID[:])
	a.CreatedAt = d.varint()
	for _, s := range [...]*string{&a.MachineID, &a.Scenario, &a.ScenarioHash, &a.ScenarioVersion, &a.Message, &a.Kind, &a.Leakspeed} {
		*s = d.string()
	}
	a.Capacity = int32(d.varint())
	a.EventsCount = int32(d.varint())
	a.Simulated = d.bool()
	a.Remediation = d.bool()
	a.StartAt = d.stamp()
	a.StopAt = d.stamp()
	a.Source.decode(d)
	a.Meta = decodeMeta(d)
	if n := d.count(4); n > 0 {
		a.Events = make([]Event, n)
		for i := range a.Events {
			a.Events[i] = Event{Timestamp: d.stamp(), NoMeta: d.bool(), Meta: decodeMeta(d)}
		}
	}
}

func (s *Source) append(dst []byte) []byte {
	for _, t := range [...]string{s.Scope, s.Value, s.IP, s.Range, s.AsName, s.AsNumber, s.Cn} {
		dst = appendString(dst, t)
	}
	return appendFloat(appendFloat(dst, s.Latitude), s.Longitude)
}

func (s *Source) decode(d *decoder) {
	for _, t := range [...]*string{&s.Scope, &s.Value, &s.IP, &s.Range, &s.AsName, &s.AsNumber, &s.Cn} {
		*t = d.string()
	}
	s.Latitude, s.Longitude = degrees(d.float()), degrees(d.float())
}

// degrees is a number that JSON can say. Earlier programs stored others.
func degrees(f float32) float32 {
	if f-f != 0 { // infinite, or none
		return 0
	}
	return f
}

func appendMeta(dst []byte, list []Meta) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, m := range list {
		dst = appendString(appendString(dst, m.Key), m.Value)
	}
	return dst
}

func decodeMeta(d *decoder) []Meta {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	list := make([]Meta, n)
	for i := range list {
		list[i] = Meta{Key: d.string(), Value: d.string()}
	}
	return list
}
