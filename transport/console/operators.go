package console

import (
	"fmt"
	"net/http"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

func (s *Server) listOperators(q *request) error {
	w := q.words()
	if err := w.err(); err != nil {
		return err
	}
	list, err := q.admin.Operators(q.Context())
	if err != nil {
		return err
	}
	out := page[admin.OperatorObject]{Items: []admin.OperatorObject{}}
	for i := range list.Operators {
		out.Items = append(out.Items, list.Operators[i].Object())
	}
	return q.answer(http.StatusOK, out)
}

func (s *Server) getOperator(q *request) error {
	o, err := q.admin.Operator(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	q.tagged(o.Tag)
	return q.answer(http.StatusOK, o.Object())
}

// addOperator adds one. A password that is left away is made up and shown, this once.
func (s *Server) addOperator(q *request) error {
	var n struct {
		Name     string `json:"name"`
		Role     string `json:"role"`
		Password string `json:"password"`
	}
	if err := q.read(&n); err != nil {
		return err
	}
	out := map[string]string{"name": n.Name, "role": n.Role}
	if n.Password == "" {
		n.Password = admin.NewSecret()[len(admin.TokenMark):]
		out["password"] = n.Password
	}
	hash, err := s.hash(q, n.Password)
	if err != nil {
		return err
	}
	if err := q.admin.AddOperator(q.Context(), &admin.NewOperator{Name: n.Name, Role: n.Role, PasswordHash: hash}); err != nil {
		return err
	}
	return q.answer(http.StatusCreated, out)
}

// hash takes a place for the work.
func (s *Server) hash(q *request, password string) (string, error) {
	select {
	case hashing <- struct{}{}:
		defer func() { <-hashing }()
	case <-q.Context().Done():
		return "", q.Context().Err()
	}
	return admin.HashPassword(password)
}

// editOperator changes what is given.
func (s *Server) editOperator(q *request) error {
	var n struct {
		Role     *string `json:"role"`
		Password *string `json:"password"`
		Disabled *bool   `json:"disabled"`
	}
	if err := q.read(&n); err != nil {
		return err
	}
	e := admin.OperatorEdit{Name: q.PathValue("name"), Role: n.Role, Disabled: n.Disabled}
	if n.Role == nil && n.Password == nil && n.Disabled == nil {
		return bad("nothing is to be changed: give role, password or disabled")
	}
	if n.Password != nil {
		hash, err := s.hash(q, *n.Password)
		if err != nil {
			return err
		}
		e.PasswordHash = &hash
	}
	var err error
	if e.If, err = q.ifMatch(); err != nil {
		return err
	}
	edited, err := q.admin.EditOperator(q.Context(), &e)
	switch {
	case err != nil:
		return err
	case edited.Stale:
		return errStale
	}
	return q.answer(http.StatusOK, done{Count: 1})
}

func (s *Server) deleteOperator(q *request) error {
	if err := q.admin.DeleteOperator(q.Context(), q.PathValue("name")); err != nil {
		return err
	}
	return q.answer(http.StatusOK, done{Count: 1})
}

// grantToken makes a token and shows it, this once.
func (s *Server) grantToken(q *request) error {
	var n struct {
		Comment string `json:"comment"`
		Expires string `json:"expires"` // a duration, or never; "": 90d
	}
	if err := q.read(&n); err != nil {
		return err
	}
	secret := admin.NewSecret()
	t := admin.NewToken{Name: q.PathValue("name"), Hash: admin.HashSecret(secret), Comment: n.Comment, Expires: int64(90 * 24 * time.Hour)}
	if n.Expires == "never" {
		t.Expires = 0
	} else if n.Expires != "" {
		d, err := engine.ParseDuration(n.Expires)
		if err != nil || d <= 0 {
			return bad(fmt.Sprintf("expires is a duration such as 90d, or never, not %.100q", n.Expires))
		}
		t.Expires = int64(d)
	}
	got, err := q.admin.GrantToken(q.Context(), &t)
	if err != nil {
		return err
	}
	return q.answer(http.StatusCreated, map[string]any{"id": got.ID, "token": secret, "expires_at": moment(got.ExpiresAt)})
}

func (s *Server) revokeToken(q *request) error {
	id, err := q.id()
	if err != nil {
		return err
	}
	if err := q.admin.RevokeToken(q.Context(), q.PathValue("name"), uint32(min(id, 1<<32-1))); err != nil {
		return err
	}
	return q.answer(http.StatusOK, done{Count: 1})
}
