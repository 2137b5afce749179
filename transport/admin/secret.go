package admin

import (
	"context"
	"crypto/rand"
	"time"

	"lapid/engine"
)

// SecretRotation asks for another secret that signs the tokens of machines.
type SecretRotation struct {
	Now bool `json:"now"` // tokens that were given end at once, and every log processor logs in again
}

// SecretRotated says what became of the tokens that were given before. It is what every interface shows.
type SecretRotated struct {
	GoodUntil *time.Time `json:"earlier_tokens_until"` // those that do not end sooner by themselves; nil: they have ended
}

// tokenSecretSize is how long a secret that is made up is, in bytes.
const tokenSecretSize = 64

// rotateSecret makes another secret of the store. The one before stays good for as long as a token lives, so that each
// token ends when it would and log processors do not all log in at once.
func (h *Handler) rotateSecret(ctx context.Context, q *SecretRotation) (*SecretRotated, error) {
	if h.FixedSecret != "" {
		return nil, &engine.Error{Kind: engine.ErrRefused, Text: "the secret that signs tokens cannot be rotated here: " + h.FixedSecret}
	}
	secret, grace := make([]byte, tokenSecretSize), engine.TokenLife
	_, _ = rand.Read(secret) // never fails, see its documentation
	if q.Now {
		grace = 0
	}
	until, err := h.engine.RotateSecret(ctx, engine.TokenSecret, secret, grace)
	if err != nil {
		return nil, err
	}
	h.logChange(ctx, "rotated the secret that signs the tokens of machines", "earlier_good_for", grace)
	out := &SecretRotated{}
	if !q.Now {
		at := time.Unix(0, until).UTC()
		out.GoodUntil = &at
	}
	return out, nil
}

// RotateSecret makes another secret that signs tokens; engine.ErrRefused where it is not the store's, or is rotated too often.
func (c *Client) RotateSecret(ctx context.Context, q *SecretRotation) (*SecretRotated, error) {
	return ask[SecretRotated](ctx, c, "/secret/rotate", q)
}
