package engine

import "encoding/binary"

// A Notice is one notification that the profiles named when an alert was taken in. It
// stands in the history with the alert and nowhere else: what sends it reads the history
// (Commits) from a Bookmark.
type Notice struct {
	Name string
	// Undecided: the profile that named it matched before one decided, so it is told of
	// the alert without decisions.
	Undecided bool
}

// PlannedDecision is a decision as an alert was stored with it.
type PlannedDecision struct {
	UUID     UUID  // zero where an older program stored the alert
	Until    int64 // Unix nanoseconds
	Scope    Scope
	Value    string
	Type     string
	Origin   string
	Scenario string
}

// Planned returns what the alert of a change was stored with: all of its decisions, those
// too that were over when they came. nil for other kinds, and for alerts of another server.
func (c *Change) Planned() []PlannedDecision {
	if c.in == nil || len(c.in.plans) == 0 {
		return nil
	}
	list := make([]PlannedDecision, len(c.in.plans))
	for i := range c.in.plans {
		p := &c.in.plans[i]
		list[i] = PlannedDecision{Until: p.until, Scope: p.scope, Value: p.spelling(), Type: p.kind, Origin: p.origin, Scenario: p.scenario}
		if c.firstDecision != 0 {
			hi, lo := c.state.decisionUUID(c.firstDecision + uint64(i))
			binary.BigEndian.PutUint64(list[i].UUID[:8], hi)
			binary.BigEndian.PutUint64(list[i].UUID[8:], lo)
		}
	}
	return list
}

// spelling is the value of a plan as it was written.
func (p *plan) spelling() string {
	switch {
	case !p.usual:
		return p.value
	case p.slash:
		return p.target.String()
	}
	return p.target.Addr().String()
}

// notices puts the names of a verdict in their form.
func (v *Verdict) notices() []Notice {
	if len(v.Notify) == 0 {
		return nil
	}
	list := make([]Notice, len(v.Notify))
	for i, name := range v.Notify {
		list[i] = Notice{Name: name, Undecided: i < v.Undecided}
	}
	return list
}

// appendNotices writes the tail of an alert's row.
func appendNotices(dst []byte, list []Notice) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		dst = appendBool(appendString(dst, list[i].Name), list[i].Undecided)
	}
	return dst
}

// notices reads that tail, which older programs did not write.
func (d *decoder) notices() []Notice {
	if d.version <= firstVersion || len(d.rest) == 0 {
		return nil
	}
	n := d.count(2)
	if n == 0 {
		return nil
	}
	list := make([]Notice, n)
	for i := range list {
		list[i] = Notice{Name: d.string(), Undecided: d.bool()}
	}
	return list
}

// Bytes is about how much the alert of a change takes, 0 for other kinds.
func (c *Change) Bytes() int { return perStoredByte * len(c.body) }
