package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"lapid/engine"
)

// Operator is an operator as others see it: nothing of it is secret. Times are Unix nanoseconds, 0
// is never.
type Operator struct {
	Name      string
	Role      string
	Password  bool // it has one
	Disabled  bool
	Tokens    []OperatorToken
	CreatedAt int64
	UpdatedAt int64
	LastLogin int64
	Tag       string // of what an edit changes, for OperatorEdit.If
}

// OperatorToken is an API token of an operator, without the token.
type OperatorToken struct {
	ID        uint32
	Comment   string
	CreatedAt int64
	ExpiresAt int64 // 0: never
}

// Operators is a list of operators in order of creation.
type Operators struct {
	Now       int64
	Operators []Operator
}

// NewOperator asks for an operator. The password comes as HashPassword made it; "": none is taken,
// and a token, a link or a certificate is needed.
type NewOperator struct {
	Name         string
	Role         string
	PasswordHash string `json:",omitempty"`
}

// OperatorEdit changes an operator; what is nil stays.
type OperatorEdit struct {
	Name         string
	Role         *string `json:",omitempty"`
	PasswordHash *string `json:",omitempty"`
	Disabled     *bool   `json:",omitempty"`

	If []string `json:",omitempty"` // tags: nothing is done to an operator that has none of them; none: whatever it has
}

// IsNothing reports whether nothing is to be changed.
func (e *OperatorEdit) IsNothing() bool {
	return e.Role == nil && e.PasswordHash == nil && e.Disabled == nil
}

// NewToken asks for a token of an operator, of which the hash comes here.
type NewToken struct {
	Name    string
	Hash    []byte // SHA-256
	Comment string `json:",omitempty"`
	Expires int64  `json:",omitempty"` // nanoseconds from now; 0: never
}

// GrantedToken says under which number it is kept, and until when.
type GrantedToken struct {
	ID        uint32
	ExpiresAt int64
}

// RevokedToken names a token that is to go.
type RevokedToken struct {
	Name string
	ID   uint32
}

// NewLink asks for a link of an operator, of whose secret the hash comes here. One that was there is
// not good any more.
type NewLink struct {
	Name string
	Hash []byte // SHA-256
}

// LinkLasts is for how long a link is good.
const LinkLasts = time.Minute

// GrantedLink says where the link leads: the address of the console, with its scheme and base path;
// "" where there is no console here.
type GrantedLink struct {
	Console   string
	ExpiresAt int64
}

// UsableOperatorName is UsableName for an operator, whose name is a part of a path in a URL and of
// lines of the log.
func UsableOperatorName(name string) error {
	if i := strings.IndexAny(name, `/\?#%`); i >= 0 {
		return invalid("the operator's name %q holds %q, which has a meaning in URLs: use another", name, name[i:i+1])
	}
	if name == "." || name == ".." {
		return invalid("the operator's name %q has a meaning in URLs: use another", name)
	}
	if strings.TrimSpace(name) != name && strings.TrimSpace(name) != "" {
		return invalid("the operator's name %q begins or ends with a blank", name)
	}
	return NewName("the operator's name", name)
}

func operatorOfStore(o *engine.Operator) Operator {
	out := Operator{
		Name: o.Name, Role: o.Role.String(), Password: o.PasswordHash != "", Disabled: o.Disabled,
		CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt, LastLogin: o.LastLogin(), Tag: operatorTag(o),
	}
	for i := range o.Tokens {
		t := &o.Tokens[i]
		out.Tokens = append(out.Tokens, OperatorToken{t.ID, t.Comment, t.CreatedAt, t.ExpiresAt})
	}
	return out
}

// operatorTag is the tag of what an edit of an operator changes. Of its password's hash, which has a salt, it tells nothing.
func operatorTag(o *engine.Operator) string { return tagOf(o.Role, o.PasswordHash, o.Disabled) }

// listOperators gives all operators out of one view.
func (h *Handler) listOperators(context.Context, *struct{}) (*Operators, error) {
	out := &Operators{Now: h.engine.Now()}
	for o := range h.engine.View().EachOperator {
		out.Operators = append(out.Operators, operatorOfStore(o))
	}
	return out, nil
}

// getOperator gives one; engine.ErrNotFound when there is none.
func (h *Handler) getOperator(_ context.Context, q *Name) (*Operator, error) {
	o := h.engine.View().Operator(q.Name)
	if o == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Noun: engine.NounOperator, Name: q.Name}
	}
	out := operatorOfStore(o)
	return &out, nil
}

// addOperator stores an operator that may log in at once.
func (h *Handler) addOperator(ctx context.Context, q *NewOperator) (*Done, error) {
	if err := UsableOperatorName(q.Name); err != nil {
		return nil, err
	}
	role, err := engine.ParseRole(q.Role)
	if err != nil {
		return nil, err
	}
	if err := usablePasswordHash(q.PasswordHash); err != nil {
		return nil, err
	}
	now := h.engine.Now()
	o := &engine.Operator{Name: q.Name, Role: role, PasswordHash: q.PasswordHash, CreatedAt: now, UpdatedAt: now}
	if err := h.engine.AddOperator(ctx, o); err != nil {
		return nil, err
	}
	h.logChange(ctx, "added an operator", "operator", q.Name, "role", q.Role)
	return &Done{N: 1}, nil
}

// editOperator changes what is given. Whoever is disabled, or gets another role or password, has
// no session any more; tokens stay, and are refused while the operator is disabled.
func (h *Handler) editOperator(ctx context.Context, q *OperatorEdit) (*Edited, error) {
	role := engine.RoleNone
	if q.Role != nil {
		var err error
		if role, err = engine.ParseRole(*q.Role); err != nil {
			return nil, err
		}
	}
	if q.PasswordHash != nil {
		if err := usablePasswordHash(*q.PasswordHash); err != nil {
			return nil, err
		}
	}
	now := h.engine.Now()
	args := []any{"operator", q.Name}
	err := h.engine.ChangeOperator(ctx, q.Name, func(o *engine.Operator) error {
		if err := holds(q.If, operatorTag(o)); err != nil {
			return err
		}
		o.UpdatedAt = now
		if q.Role != nil {
			o.Role = role
		}
		if q.PasswordHash != nil {
			o.PasswordHash = *q.PasswordHash
		}
		if q.Disabled != nil {
			o.Disabled = *q.Disabled
		}
		return nil
	})
	switch {
	case errors.Is(err, errStale):
		return &Edited{Stale: true}, nil
	case err != nil:
		return nil, err
	}
	if q.Role != nil {
		args = append(args, "role", *q.Role)
	}
	if q.Disabled != nil {
		args = append(args, "disabled", *q.Disabled)
	}
	h.logChange(ctx, "edited an operator", append(args, "password_changed", q.PasswordHash != nil)...)
	return &Edited{}, nil
}

// deleteOperator removes an operator; its tokens are refused from then on.
func (h *Handler) deleteOperator(ctx context.Context, q *Name) (*Done, error) {
	if err := h.engine.DeleteOperator(ctx, q.Name); err != nil {
		return nil, err
	}
	h.logChange(ctx, "deleted an operator", "operator", q.Name)
	return &Done{N: 1}, nil
}

// grantToken stores the hash of a token; the token itself never comes here.
func (h *Handler) grantToken(ctx context.Context, q *NewToken) (*GrantedToken, error) {
	t := engine.OperatorToken{Comment: q.Comment, CreatedAt: h.engine.Now()}
	if err := usableText("the comment", q.Comment); err != nil {
		return nil, err
	}
	if err := copyHash(&t.Hash, q.Hash); err != nil {
		return nil, err
	}
	if q.Expires < 0 {
		return nil, invalid("a token cannot have expired before it is made")
	}
	if q.Expires > 0 {
		t.ExpiresAt = engine.Later(t.CreatedAt, time.Duration(q.Expires))
	}
	id, err := h.engine.GrantToken(ctx, q.Name, &t)
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "made a token of an operator", "operator", q.Name, "token", id)
	return &GrantedToken{ID: id, ExpiresAt: t.ExpiresAt}, nil
}

func copyHash(to *engine.SecretHash, from []byte) error {
	if len(from) != len(to) {
		return invalid("the hash of a secret has %d bytes", len(to))
	}
	copy(to[:], from)
	return nil
}

// revokeToken has a token refused from now on.
func (h *Handler) revokeToken(ctx context.Context, q *RevokedToken) (*Done, error) {
	if err := h.engine.RevokeToken(ctx, q.Name, q.ID, h.engine.Now()); err != nil {
		return nil, err
	}
	h.logChange(ctx, "revoked a token of an operator", "operator", q.Name, "token", q.ID)
	return &Done{N: 1}, nil
}

// linkOperator stores the hash of a link's secret. Without a console there is nowhere to use it.
func (h *Handler) linkOperator(ctx context.Context, q *NewLink) (*GrantedLink, error) {
	where := ""
	if h.Console != nil {
		where = h.Console()
	}
	if where == "" {
		return nil, refused("there is no console to log in to: set console.listen in lapid.yaml, or LAPID_CONSOLE_LISTEN, and start the server with it")
	}
	link := engine.OperatorLink{ExpiresAt: engine.Later(h.engine.Now(), LinkLasts)}
	if err := copyHash(&link.Hash, q.Hash); err != nil {
		return nil, err
	}
	err := h.engine.ChangeOperator(ctx, q.Name, func(o *engine.Operator) error {
		if o.Disabled {
			return refused("operator '%s' is disabled: enable it first, with operators edit", q.Name)
		}
		o.Link = link
		return nil
	})
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "made a link for an operator", "operator", q.Name)
	return &GrantedLink{Console: where, ExpiresAt: link.ExpiresAt}, nil
}

// Operators lists all operators.
func (c *Client) Operators(ctx context.Context) (*Operators, error) {
	return ask[Operators](ctx, c, "/operators/list", struct{}{})
}

// Operator gives one operator; engine.ErrNotFound.
func (c *Client) Operator(ctx context.Context, name string) (*Operator, error) {
	return ask[Operator](ctx, c, "/operators/get", Name{name})
}

// AddOperator adds an operator; engine.ErrExists, engine.ErrInvalid.
func (c *Client) AddOperator(ctx context.Context, o *NewOperator) error {
	if err := UsableOperatorName(o.Name); err != nil {
		return err // before JSON turns it into something else
	}
	_, err := ask[Done](ctx, c, "/operators/add", o)
	return err
}

// EditOperator changes an operator; engine.ErrNotFound, engine.ErrInvalid.
func (c *Client) EditOperator(ctx context.Context, e *OperatorEdit) (*Edited, error) {
	return ask[Edited](ctx, c, "/operators/edit", e)
}

// DeleteOperator removes an operator; engine.ErrNotFound.
func (c *Client) DeleteOperator(ctx context.Context, name string) error {
	_, err := ask[Done](ctx, c, "/operators/delete", Name{name})
	return err
}

// GrantToken stores the hash of a token; engine.ErrNotFound, engine.ErrInvalid.
func (c *Client) GrantToken(ctx context.Context, t *NewToken) (*GrantedToken, error) {
	if err := usableText("the comment", t.Comment); err != nil {
		return nil, err
	}
	return ask[GrantedToken](ctx, c, "/operators/token", t)
}

// RevokeToken has a token refused from now on; engine.ErrNotFound.
func (c *Client) RevokeToken(ctx context.Context, name string, id uint32) error {
	_, err := ask[Done](ctx, c, "/operators/revoke", RevokedToken{name, id})
	return err
}

// LinkOperator stores the hash of a link's secret and says where it can be used, once and within
// LinkLasts; engine.ErrNotFound, engine.ErrRefused where there is no console.
func (c *Client) LinkOperator(ctx context.Context, l *NewLink) (*GrantedLink, error) {
	return ask[GrantedLink](ctx, c, "/operators/link", l)
}
