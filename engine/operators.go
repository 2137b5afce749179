package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
)

// Operator is a named person, or program, that may do over HTTP what the operator's socket lets its
// users do, as far as the role goes. A *Operator is a value: it is never changed after it was
// published, every change makes a new one. When it logged in last is kept beside it.
type Operator struct {
	Name         string // at most LongestOperator bytes
	Role         Role
	PasswordHash string // argon2id with its parameters and salt, in the usual form; "": no password is taken
	Disabled     bool   // nothing of it is taken
	Tokens       []OperatorToken
	Link         OperatorLink
	CreatedAt    int64 // Unix nanoseconds, as all times here
	UpdatedAt    int64

	lastToken uint32    // the number that a token of it got last
	login     *loginRow // shared by all values of one operator
}

// OperatorToken is an API token of an operator. The token itself is nowhere.
type OperatorToken struct {
	ID        uint32 // within its operator, ascending; given by apply and never again
	Hash      SecretHash
	Comment   string
	CreatedAt int64
	ExpiresAt int64 // 0: never
}

// Expired reports whether it is over at a time.
func (t *OperatorToken) Expired(now int64) bool { return t.ExpiresAt != 0 && t.ExpiresAt <= now }

// OperatorLink lets its holder in once, without a password.
type OperatorLink struct {
	Hash      SecretHash // zero: there is none
	ExpiresAt int64
}

// SecretHash is the SHA-256 of a token or link, which have 256 bits of chance: no salt and no
// slowness are needed.
type SecretHash [32]byte

// Role is what an operator may do. Roles are ordered: each may do all that the one before may. It
// is stored: numbers are never reused.
type Role uint8

// The roles.
const (
	RoleNone     Role = 0 // nothing at all; no operator has it
	RoleViewer   Role = 1 // reads
	RoleOperator Role = 2 // decisions, alerts, items of allowlists
	RoleAdmin    Role = 3 // everything
)

var roles = [...]string{"", "viewer", "operator", "admin"}

// String is the word for it, "" for none and for those of a newer program.
func (r Role) String() string {
	if int(r) < len(roles) {
		return roles[r]
	}
	return ""
}

// ParseRole is the mirror. The error is an ErrInvalid.
func ParseRole(word string) (Role, error) {
	if i := slices.Index(roles[:], word); i > 0 {
		return Role(i), nil
	}
	return RoleNone, invalid("a role is viewer, operator or admin, not %q", word)
}

const (
	// LongestOperator is for an operator's name, in bytes.
	LongestOperator = 128
	// mostOperators and mostTokens bound what is copied by each change of one.
	mostOperators = 256
	mostTokens    = 32 // of one operator; those that are over leave when one more comes
)

// LastLogin is when the operator logged in last, 0 is never. It goes on while the value is held.
func (o *Operator) LastLogin() int64 {
	if o.login == nil {
		return 0
	}
	return o.login.at.Load()
}

// fits checks an operator that is to be stored.
func (o *Operator) fits() error {
	var f fitting
	f.bytes("name", o.Name, "", LongestOperator)
	f.bytes("password", o.PasswordHash, "", longestHash)
	f.number("tokens", len(o.Tokens), mostTokens)
	if o.Name == "" {
		f.add("an operator needs a name")
	}
	if o.Role == RoleNone || o.Role.String() == "" {
		f.add("an operator needs a role: viewer, operator or admin")
	}
	return f.err()
}

// Operator returns the operator of that name, nil when there is none. It does not allocate.
func (v *View) Operator(name string) *Operator { return v.operators.byName[name] }

// EachOperator yields all operators in order of creation, until yield returns false.
func (v *View) EachOperator(yield func(*Operator) bool) {
	for _, o := range v.operators.order {
		if !yield(o) {
			return
		}
	}
}

// OperatorCount is how many there are.
func (v *View) OperatorCount() int { return len(v.operators.order) }

// TokenOwner returns the operator and the token of a hash, nils when there is none. Whether the
// token is over, or its operator disabled, is for the caller to look at. It does not allocate.
func (v *View) TokenOwner(h *SecretHash) (*Operator, *OperatorToken) {
	at, ok := v.operators.byToken[*h]
	if !ok {
		return nil, nil
	}
	return at.operator, &at.operator.Tokens[at.index]
}

// AddOperator adds an operator, without tokens and link. A taken name is ErrExists; ErrInvalid for
// a text that is too long, a missing role, and one operator too many.
func (e *Engine) AddOperator(ctx context.Context, o *Operator) error {
	added := *o
	added.Tokens, added.Link, added.lastToken = nil, OperatorLink{}, 0
	if err := added.fits(); err != nil {
		return err
	}
	return e.propose(ctx, &proposal{key: "operators", resolve: func(v *View) (op, error) {
		switch {
		case v.Operator(o.Name) != nil:
			return nil, exists(NounOperator, o.Name)
		case v.OperatorCount() >= mostOperators:
			return nil, invalid("there are %d operators, and no more are kept: delete one first", v.OperatorCount())
		}
		return &putOperator{operator: added}, nil
	}})
}

// ChangeOperator applies change to a copy of the operator and stores it; the name stays, and tokens
// may be taken away but not added (GrantToken). change runs on the committer: it must be quick and
// touch nothing else, and its error ends it without a change. ErrNotFound when there is no such operator,
// ErrInvalid when it does not fit, ErrRefused where an operator over HTTP would leave no admin.
func (e *Engine) ChangeOperator(ctx context.Context, name string, change func(*Operator) error) error {
	return e.propose(ctx, &proposal{key: "operators", resolve: func(v *View) (op, error) {
		old := v.Operator(name)
		if old == nil {
			return nil, notFound(NounOperator, name)
		}
		o := *old
		o.Tokens = slices.Clone(old.Tokens)
		if err := change(&o); err != nil {
			return nil, err
		}
		o.Name, o.lastToken = old.Name, old.lastToken
		if err := o.fits(); err != nil {
			return nil, err
		}
		if old.administers() && !o.administers() {
			if err := v.keepsAdmin(ctx, name); err != nil {
				return nil, err
			}
		}
		return &putOperator{operator: o}, nil
	}})
}

// DeleteOperator removes an operator with its tokens. ErrNotFound when there is none, ErrRefused where an operator
// over HTTP would leave no admin.
func (e *Engine) DeleteOperator(ctx context.Context, name string) error {
	return e.propose(ctx, &proposal{key: "operators", resolve: func(v *View) (op, error) {
		old := v.Operator(name)
		if old == nil {
			return nil, notFound(NounOperator, name)
		}
		if old.administers() {
			if err := v.keepsAdmin(ctx, name); err != nil {
				return nil, err
			}
		}
		return &dropOperator{name}, nil
	}})
}

// administers reports whether it may do everything.
func (o *Operator) administers() bool { return o.Role == RoleAdmin && !o.Disabled }

// keepsAdmin refuses to a named operator that nobody but the one of a name administers: who comes over HTTP would
// lock all of them out. A user of the machine, over its socket, may do so: there another is made.
func (v *View) keepsAdmin(ctx context.Context, but string) error {
	if actorOr(ctx, Actor{}).Kind != ActorNamedOperator {
		return nil
	}
	for o := range v.EachOperator {
		if o.Name != but && o.administers() {
			return nil
		}
	}
	return &Error{Kind: ErrRefused, Noun: NounOperator, Name: but, Text: fmt.Sprintf("operator '%s' is the last admin: give another operator the role admin first; "+
		"on the server's own machine 'lapid operators' can do it all the same", but)}
}

// GrantToken gives an operator one token more and returns its number; that of t is not looked at.
// Tokens that are over leave when it has as many as there may be. ErrNotFound when there is no such
// operator, ErrInvalid for one too many and for a hash that is taken.
func (e *Engine) GrantToken(ctx context.Context, name string, t *OperatorToken) (id uint32, err error) {
	o := &grantToken{name: name, token: *t}
	err = e.propose(ctx, &proposal{key: "operators", answer: o, resolve: func(v *View) (op, error) {
		who := v.Operator(name)
		if who == nil {
			return nil, notFound(NounOperator, name)
		}
		var f fitting
		if f.bytes("comment", t.Comment, "", LongestText); f.err() != nil {
			return nil, f.err()
		}
		if taken, _ := v.TokenOwner(&t.Hash); taken != nil {
			return nil, invalid("there is such a token already")
		}
		if lasting := who.lasting(t.CreatedAt); len(lasting) >= mostTokens {
			return nil, invalid("operator '%s' has %d tokens, and no more are kept: revoke one first", name, len(lasting))
		}
		return o, nil
	}})
	return o.id, err
}

// lasting are the tokens that are not over at a time.
func (o *Operator) lasting(now int64) []OperatorToken {
	return slices.DeleteFunc(slices.Clone(o.Tokens), func(t OperatorToken) bool { return t.Expired(now) })
}

// RevokeToken takes a token away. ErrNotFound when there is no such operator or token.
func (e *Engine) RevokeToken(ctx context.Context, name string, id uint32, now int64) error {
	return e.ChangeOperator(ctx, name, func(o *Operator) error {
		i := slices.IndexFunc(o.Tokens, func(t OperatorToken) bool { return t.ID == id })
		if i < 0 {
			return notFound(NounToken, fmt.Sprintf("%s/%d", name, id))
		}
		o.Tokens, o.UpdatedAt = slices.Delete(o.Tokens, i, i+1), now
		return nil
	})
}

// RedeemLink uses a link up, durably, and says whose it was. ErrRefused for a hash that is nobody's,
// one that was used already, one that is over, and one of an operator that is disabled: nothing
// tells which. What is nobody's costs no commit.
func (e *Engine) RedeemLink(ctx context.Context, h *SecretHash, now int64) (name string, err error) {
	refused := &Error{Kind: ErrRefused, Text: "this link is not, or no longer, good: links are for one use within a minute"}
	for o := range e.View().EachOperator {
		if *h != (SecretHash{}) && o.Link.Hash == *h {
			name = o.Name
		}
	}
	if name == "" {
		return "", refused
	}
	err = e.ChangeOperator(ctx, name, func(o *Operator) error {
		if o.Link.Hash != *h || o.Link.ExpiresAt <= now || o.Disabled {
			return refused
		}
		o.Link = OperatorLink{}
		return nil
	})
	return name, err
}

// NoteLogin notes that an operator has logged in; it reaches disk later, in bulk, as visits of
// bouncers do. An unknown one is ignored.
func (e *Engine) NoteLogin(name string, now int64) {
	if o := e.View().Operator(name); o != nil {
		advanceTime(&o.login.at, now)
		e.state.logins.note(o.login)
	}
}

// loginRow is when an operator logged in last.
type loginRow struct {
	name  string
	at    atomic.Int64 // Unix nanoseconds; noted here, written down in bulk
	noted atomic.Bool  // it is in the ledger
	gone  bool         // the operator was dropped; the committer's
	after *loginRow    // in the ledger
}

type loginLedger = ledger[loginRow, *loginRow]

func (r *loginRow) marked() *atomic.Bool { return &r.noted }
func (r *loginRow) next() **loginRow     { return &r.after }

// operatorSet is all operators. It never changes: each change makes a new one.
type operatorSet struct {
	byName  map[string]*Operator
	order   []*Operator // of creation
	byToken map[SecretHash]tokenPlace
}

type tokenPlace struct {
	operator *Operator
	index    int
}

// newOperatorSet makes the indexes of operators in order of creation.
func newOperatorSet(order []*Operator) *operatorSet {
	s := &operatorSet{byName: make(map[string]*Operator, len(order)), order: order, byToken: map[SecretHash]tokenPlace{}}
	for _, o := range order {
		s.byName[o.Name] = o
		for i := range o.Tokens {
			s.byToken[o.Tokens[i].Hash] = tokenPlace{o, i}
		}
	}
	return s
}

// with is the set with an operator in its place, or at the end.
func (s *operatorSet) with(o *Operator) *operatorSet {
	order := slices.Clone(s.order)
	if i := slices.Index(order, s.byName[o.Name]); i >= 0 {
		order[i] = o
	} else {
		order = append(order, o)
	}
	return newOperatorSet(order)
}

// without is the set without one of its operators.
func (s *operatorSet) without(gone *Operator) *operatorSet {
	return newOperatorSet(slices.DeleteFunc(slices.Clone(s.order), func(o *Operator) bool { return o == gone }))
}

// putOperator stores an operator as it is from now on.
type putOperator struct{ operator Operator }

func (*putOperator) number() byte { return numberPutOperator }
func (o *putOperator) append(dst []byte) []byte {
	return endRow(o.operator.append(dst), len(dst))
}
func (o *putOperator) decode(d *decoder) {
	behind := d.open()
	o.operator.decode(d)
	d.close(behind)
}
func (o *putOperator) apply(s *state, rev Revision) { s.putOperator(o.operator) }

func (s *state) putOperator(o Operator) {
	switch old := s.next.operators.byName[o.Name]; {
	case old != nil:
		o.login = old.login
	case len(s.next.operators.order) >= mostOperators:
		return // a record that no program of ours wrote
	default:
		o.login = &loginRow{name: o.Name}
	}
	s.next.operators = s.next.operators.with(&o)
}

// dropOperator removes an operator.
type dropOperator struct{ name string }

func (*dropOperator) number() byte               { return numberDropOperator }
func (o *dropOperator) append(dst []byte) []byte { return appendString(dst, o.name) }
func (o *dropOperator) decode(d *decoder)        { o.name = d.string() }
func (o *dropOperator) apply(s *state, rev Revision) {
	if old := s.next.operators.byName[o.name]; old != nil {
		old.login.gone = true
		s.next.operators = s.next.operators.without(old)
	}
}

// grantToken adds a token to an operator. Its number is given here.
type grantToken struct {
	name  string
	token OperatorToken

	id uint32 // the answer
}

func (*grantToken) number() byte { return numberGrantToken }
func (o *grantToken) append(dst []byte) []byte {
	dst = appendString(dst, o.name)
	return endRow(o.token.append(dst), len(dst))
}
func (o *grantToken) decode(d *decoder) {
	o.name = d.string()
	behind := d.open()
	o.token.decode(d)
	d.close(behind)
}
func (o *grantToken) apply(s *state, rev Revision) {
	old := s.next.operators.byName[o.name]
	if old == nil {
		return
	}
	who := *old
	if who.Tokens = slices.Clone(old.Tokens); len(who.Tokens) >= mostTokens {
		if who.Tokens = old.lasting(o.token.CreatedAt); len(who.Tokens) >= mostTokens {
			return // a record that no program of ours wrote
		}
	}
	who.lastToken++
	o.id = who.lastToken
	t := o.token
	t.ID = o.id
	who.Tokens, who.UpdatedAt = append(who.Tokens, t), t.CreatedAt
	s.putOperator(who)
}

func (o *Operator) append(dst []byte) []byte {
	dst = append(appendString(dst, o.Name), byte(o.Role))
	dst = appendBool(appendString(dst, o.PasswordHash), o.Disabled)
	dst = binary.AppendUvarint(dst, uint64(o.lastToken))
	dst = binary.AppendUvarint(dst, uint64(len(o.Tokens)))
	for i := range o.Tokens {
		dst = endRow(o.Tokens[i].append(dst), len(dst))
	}
	dst = append(dst, o.Link.Hash[:]...)
	for _, t := range [...]int64{o.Link.ExpiresAt, o.CreatedAt, o.UpdatedAt} {
		dst = binary.AppendVarint(dst, t)
	}
	return dst
}

func (o *Operator) decode(d *decoder) {
	o.Name, o.Role = d.string(), Role(d.byte())
	o.PasswordHash, o.Disabled = d.string(), d.bool()
	o.lastToken = uint32(d.uvarint())
	if n := d.count(36); n > 0 {
		o.Tokens = make([]OperatorToken, n)
	}
	for i := range o.Tokens {
		behind := d.open()
		o.Tokens[i].decode(d)
		d.close(behind)
	}
	d.fixed(o.Link.Hash[:])
	for _, t := range [...]*int64{&o.Link.ExpiresAt, &o.CreatedAt, &o.UpdatedAt} {
		*t = d.varint()
	}
}

func (t *OperatorToken) append(dst []byte) []byte {
	dst = append(binary.AppendUvarint(dst, uint64(t.ID)), t.Hash[:]...)
	return binary.AppendVarint(binary.AppendVarint(appendString(dst, t.Comment), t.CreatedAt), t.ExpiresAt)
}

func (t *OperatorToken) decode(d *decoder) {
	t.ID = uint32(d.uvarint())
	d.fixed(t.Hash[:])
	t.Comment, t.CreatedAt, t.ExpiresAt = d.string(), d.varint(), d.varint()
}

// writeOperators adds them to a snapshot.
func (v *View) writeOperators(w *sections) {
	for _, o := range v.operators.order {
		from := len(w.body)
		w.body = endRow(o.append(w.body), len(w.body))
		w.body = binary.AppendVarint(w.body, o.LastLogin())
		if w.row(from) {
			w.end(sectionOperators)
		}
	}
	w.end(sectionOperators)
}

// readOperators is the mirror.
func (l *loader) readOperators(d *decoder) {
	for n := d.count(40); n > 0 && d.err == nil; n-- {
		row := d.open()
		var o Operator
		behind := d.open()
		o.decode(d)
		d.close(behind)
		at := d.varint()
		d.close(row)
		set := l.state.next.operators
		if _, twice := set.byName[o.Name]; twice || len(set.order) >= mostOperators || d.err != nil {
			d.fail()
			return
		}
		l.state.putOperator(o)
		l.state.next.operators.byName[o.Name].login.at.Store(at)
	}
}

// operators finds each again by its name and its tokens, and no other.
func (c *checker) operators() {
	s, tokens := c.view.operators, 0
	for _, o := range s.order {
		if s.byName[o.Name] != o || o.login == nil || o.login.gone || o.login.name != o.Name {
			c.report("operator %q is not found by its name, or is gone", o.Name)
		}
		for i := range o.Tokens {
			tokens++
			if who, t := c.view.TokenOwner(&o.Tokens[i].Hash); who == nil || !bytes.Equal(t.Hash[:], o.Tokens[i].Hash[:]) {
				c.report("token %d of operator %q is not found by its hash", o.Tokens[i].ID, o.Name)
			}
		}
	}
	if len(s.byName) != len(s.order) || len(s.byToken) > tokens {
		c.report("%d operators with %d tokens are indexed as %d and %d", len(s.order), tokens, len(s.byName), len(s.byToken))
	}
}
