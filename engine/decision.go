package engine

import (
	"encoding/binary"
	"net/netip"
)

// DecisionID numbers decisions: ascending from 1, never reused, given out by
// apply. Clients read it as a JSON number, some of them into 32 bits.
type DecisionID uint64

// Revision is a place in the one history of commits, from 1.
type Revision uint64

// Origins the engine itself gives or asks about.
const (
	OriginCrowdsec = "crowdsec"     // decided by a profile
	OriginCAPI     = "CAPI"         // community list
	OriginLists    = "lists"        // third-party list
	OriginImport   = "cscli-import" // imported by an operator
	OriginManual   = "cscli"        // added by an operator
)

// Text is an interned word of a decision. S stays valid and unchanged for as
// long as the caller holds the Decision it came from.
type Text struct {
	S     string
	Plain bool // printable ASCII that needs no escaping in JSON
}

// Decision is one decision inside a View: a handle of two words, copied
// freely, valid while held. It is never modified; what ended later than the
// view is still running in it. All methods may be called from any goroutine
// and, unless they say so, do not allocate.
//
// Pooled slices of decisions must be cleared before they are put away, for a
// handle keeps its view, and so the memory of ended decisions, alive.
type Decision struct {
	view *View
	rec  *record
}

// ID is the decision's number.
func (d Decision) ID() DecisionID { return DecisionID(d.rec.id) }

// AlertID names the alert the decision belongs to.
func (d Decision) AlertID() AlertID { return AlertID(d.rec.alert) }

// UUID is derived from the id and a key of this store, so it costs no memory.
func (d Decision) UUID() UUID {
	var u UUID
	hi, lo := d.UUIDHalves()
	binary.BigEndian.PutUint64(u[:8], hi)
	binary.BigEndian.PutUint64(u[8:], lo)
	return u
}

// UUIDHalves gives the UUID as two numbers, its first byte the highest of hi.
func (d Decision) UUIDHalves() (hi, lo uint64) {
	s := d.view.state
	if d.rec.flags()&flagUUID != 0 {
		if own := s.uuids.At(d.rec.id); own != nil {
			return own[0], own[1]
		}
	}
	return s.decisionUUID(d.rec.id)
}

// halves is the mirror of Decision.UUID's spelling.
func (u UUID) halves() [2]uint64 {
	return [2]uint64{binary.BigEndian.Uint64(u[:8]), binary.BigEndian.Uint64(u[8:])}
}

// Scope, Type, Origin and Scenario are the decision's words.
func (d Decision) Scope() Text    { return d.view.state.text(d.Wording().Scope) }
func (d Decision) Type() Text     { return d.view.state.text(d.Wording().Type) }
func (d Decision) Origin() Text   { return d.view.state.text(d.Wording().Origin) }
func (d Decision) Scenario() Text { return d.view.state.text(d.Wording().Scenario) }

// Wording tells the words of a decision by numbers: within one view, equal
// numbers are equal words and the other way round.
type Wording struct{ Scope, Type, Origin, Scenario uint32 }

// Wording gives the numbers of the decision's words.
func (d Decision) Wording() Wording {
	return d.view.state.wordsOf(d.rec)
}

// Simulated is the alert's flag.
func (d Decision) Simulated() bool { return d.rec.flags()&flagSimulated != 0 }

// Until is the moment the decision ends or ended, as this view knows it. Far
// away it does not count nanoseconds: Left gives what is left until it.
func (d Decision) Until() int64 {
	if rev := d.rec.endedRev.Load(); rev != 0 && rev <= uint64(d.view.revision) {
		return d.rec.endedAt
	}
	return d.rec.until
}

// Decided is the moment at which the decision ends, or would have ended, by itself.
func (d Decision) Decided() int64 { return d.rec.until }

// EndedBy is the actor that ended the decision before its time. It is ActorExpiry where
// the time was over, and the zero Actor for a decision that runs, or that a program ended
// which did not write it down.
func (d Decision) EndedBy() Actor {
	switch {
	case !d.Ended():
		return Actor{}
	case d.rec.by() == 0 && d.rec.endedAt == d.rec.until:
		return Actor{Kind: ActorExpiry}
	}
	return d.view.state.actorAt(d.rec.by())
}

// Ended reports whether this view has seen the decision end. A decision whose
// time is over but whose end is not committed yet has not ended.
func (d Decision) Ended() bool {
	rev := d.rec.endedRev.Load()
	return rev != 0 && rev <= uint64(d.view.revision)
}

// Running reports whether the decision is in force at now.
func (d Decision) Running(now int64) bool { return !d.Ended() && d.rec.until > now }

// Began is the revision that brought it.
func (d Decision) Began() Revision { return Revision(d.rec.begun) }

// Target is the address or range of the decision; invalid for scopes that hold
// no address.
func (d Decision) Target() netip.Prefix { return d.view.state.targetOf(d.rec) }

// CreatedAt is when its alert was received, Unix nanoseconds.
func (d Decision) CreatedAt() int64 {
	if a := d.view.state.alerts.At(d.rec.alert); a != nil {
		return a.createdAt
	}
	return 0
}

// PlainValue reports that AppendValue writes nothing that needs escaping.
func (d Decision) PlainValue() bool {
	return d.view.state.strings.Plain(d.view.state.textOf(d.rec))
}

// AppendValue appends the value exactly as it was sent.
func (d Decision) AppendValue(dst []byte) []byte {
	k := d.view.state.onOf(d.rec)
	if k.text != 0 || k.flags&flagAddress == 0 {
		return append(dst, d.view.state.strings.At(k.text)...)
	}
	return k.appendAddress(dst)
}

// Value is AppendValue as a new string.
func (d Decision) Value() string { return string(d.AppendValue(nil)) }
