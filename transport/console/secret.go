package console

import (
	"net/http"

	"lapid/transport/admin"
	"lapid/transport/console/site"
)

// rotateSecret makes another secret that signs the tokens of machines. It is shown to nobody.
func (s *Server) rotateSecret(q *request) error {
	var n admin.SecretRotation
	if err := q.read(&n); err != nil {
		return err
	}
	out, err := q.admin.RotateSecret(q.Context(), &n)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, out)
}

// rotateSecretForm does so from a page.
func (s *Server) rotateSecretForm(q *request) error {
	f, err := q.posted()
	if err != nil {
		return err
	}
	var out admin.SecretRotated
	if err := s.call(q, "POST /admin/v1/secret/rotate", asked{body: &admin.SecretRotation{Now: f.Get("when") == "now"}, into: &out}); err != nil {
		return s.again(q, err, (*Server).healthPage)
	}
	n := site.Notice{Text: "Tokens are signed with another secret, and all that were given have ended: log processors log in again."}
	if out.GoodUntil != nil {
		n.Text = "Tokens are signed with another secret. Those that were given stay good until they end, " + out.GoodUntil.Format("2006-01-02 15:04:05 UTC") + " at the latest."
	}
	return s.done(q, "/health-page", n)
}
