package engine

import (
	"context"
	"encoding/binary"
	"strings"
)

// Actor is the cause of a change: what an audit, a page of activity and the end of a
// decision name. The zero Actor means "not known": what older programs wrote has none.
type Actor struct {
	Kind ActorKind
	// Name tells actors of one kind apart: the machine's id, the bouncer's name, the
	// operator's user name (or number), the list's name. Often "". At most longestActor
	// bytes, the rest is cut.
	Name string
}

// ActorKind says what an actor is. It is stored: numbers are never reused.
type ActorKind uint8

// Kinds of actors.
const (
	ActorUnknown    ActorKind = 0
	ActorServer     ActorKind = 1  // the server itself: the first commit, places of bouncers
	ActorMachine    ActorKind = 2  // a log processor; Name: its id
	ActorBouncer    ActorKind = 3  // a remediation component; Name: of its row
	ActorOperator   ActorKind = 4  // over the operator's socket; Name: the peer's user
	ActorExpiry     ActorKind = 5  // the time of a decision was over
	ActorRetention  ActorKind = 6  // what is old, or idle, goes
	ActorAllowlist  ActorKind = 7  // a decision on what must not be banned; Name: of the list
	ActorCentralAPI ActorKind = 8  // the Central API's lists
	ActorConsole    ActorKind = 9  // an order of the console
	ActorImport     ActorKind = 10 // a list, or another server's store; Name: of its importer
	ActorNode       ActorKind = 11 // another node; Name: its name

	// ActorNamedOperator is an Operator of the store, over HTTP; Name: its name. It is not ActorOperator:
	// a user of the machine and an operator may have the same name and be two people.
	ActorNamedOperator ActorKind = 12
)

var actorKinds = [...]string{"", "server", "machine", "bouncer", "operator", "expiry", "retention", "allowlist", "central-api", "console", "import", "node", "named-operator"}

// String names the kind, "" for ActorUnknown and for kinds of a newer program.
func (k ActorKind) String() string {
	if int(k) < len(actorKinds) {
		return actorKinds[k]
	}
	return ""
}

// String is the kind, and the name behind a space when there is one.
func (a Actor) String() string { return strings.TrimSpace(a.Kind.String() + " " + a.Name) }

// byHand reports whether a person asked for it, here.
func (a Actor) byHand() bool { return a.Kind == ActorOperator || a.Kind == ActorNamedOperator }

// longestActor bounds a stored name, in bytes.
const longestActor = 256

func (a Actor) append(dst []byte) []byte {
	return appendString(binary.AppendUvarint(dst, uint64(a.Kind)), a.Name)
}

func (a *Actor) decode(d *decoder) {
	kind := d.uvarint()
	if a.Name = d.string(); kind > 255 || len(a.Name) > longestActor {
		d.fail()
	}
	a.Kind = ActorKind(kind)
}

// bounded is the actor as it is stored.
func (a Actor) bounded() Actor {
	if len(a.Name) > longestActor {
		a.Name = strings.ToValidUTF8(a.Name[:longestActor], "")
	}
	return a
}

type actorKey struct{}

// As returns a context whose writes are the actor's. Methods of Engine that write take
// the actor from their context; where it has none it is the machine or bouncer that
// they are about, if they are about what it reports itself, and else ActorServer.
func As(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a.bounded())
}

// actorOr is the context's actor, or another when it has none.
func actorOr(ctx context.Context, other Actor) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return other.bounded()
}

// orElse returns a context that has an actor: its own, or this one.
func orElse(ctx context.Context, other Actor) context.Context {
	if _, ok := ctx.Value(actorKey{}).(Actor); ok {
		return ctx
	}
	return As(ctx, other)
}

// mostActors is how many different actors the stored ends of decisions may name at
// once: a record has two bytes for it. Of one beyond that the kind is kept alone.
const mostActors = 1 << 16

// acquireActor returns the number under which a record names an actor. It is 0 for an
// actor that is not known, and for ActorExpiry, which needs no number: such a record ended
// when it was decided to.
func (s *state) acquireActor(a Actor) uint16 {
	if a.Kind == ActorUnknown || a.Kind == ActorExpiry {
		return 0
	}
	return s.acquireActorText(actorText(a))
}

// acquireActorText is acquireActor for what actorText spelled; "" is no actor.
func (s *state) acquireActorText(text string) uint16 {
	for _, t := range [...]string{text, text[:min(1, len(text))]} {
		n := s.actors.Acquire(t)
		if n < mostActors {
			return uint16(n)
		}
		s.actors.Release(n)
	}
	return 0 // a kind of a newer program, which has no number of its own
}

// nameKinds gives the kinds the first numbers, which they keep.
func (s *state) nameKinds() {
	for kind := ActorServer; kind <= ActorNamedOperator; kind++ {
		s.actors.Acquire(actorText(Actor{Kind: kind}))
	}
}

func actorText(a Actor) string { return string([]byte{byte(a.Kind)}) + a.Name }

// actorAt is the mirror of acquireActor.
func (s *state) actorAt(n uint16) Actor {
	if n == 0 {
		return Actor{}
	}
	text := s.actors.At(uint32(n))
	return Actor{ActorKind(text[0]), text[1:]}
}
