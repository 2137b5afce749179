package shadow

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// tokens pairs the tokens that the two servers gave one machine for one login. The oldest pair is forgotten
// when one more comes: that machine is refused by the second server until it logs in again. Any goroutine.
type tokens struct {
	mu    sync.Mutex
	pairs map[[sha256.Size]byte]*pair // by either token
	order []*pair                     // a ring
	next  int
}

type pair [2]string // by side

func newTokens(most int) *tokens {
	return &tokens{pairs: map[[sha256.Size]byte]*pair{}, order: make([]*pair, most)}
}

// add keeps a pair.
func (t *tokens) add(theirs, ours string) {
	p := &pair{Theirs: theirs, Ours: ours}
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.order[t.next]; old != nil {
		for _, token := range old {
			if key := sha256.Sum256([]byte(token)); t.pairs[key] == old {
				delete(t.pairs, key)
			}
		}
	}
	t.order[t.next] = p
	t.next = (t.next + 1) % len(t.order)
	for _, token := range p {
		t.pairs[sha256.Sum256([]byte(token))] = p
	}
}

// known tells whether a server has given a token for the one in the headers.
func (t *tokens) known(h http.Header) bool {
	token, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pairs[sha256.Sum256([]byte(token))] != nil
}

// translate puts the token of one side in the place of the other's. One that has no pair stays: with one
// CS_LAPI_SECRET on both sides it is good on both.
func (t *tokens) translate(h http.Header, side Side) {
	token, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return
	}
	t.mu.Lock()
	p := t.pairs[sha256.Sum256([]byte(token))]
	t.mu.Unlock()
	if p != nil {
		h.Set("Authorization", "Bearer "+p[side])
	}
}

// vouch gets a token of lapid's for a machine that had logged in at the old server before the shadow was there. It goes by
// the old server's word: it has let that token in where nobody but a machine gets in.
func (s *Shadow) vouch(x *exchange) {
	if x.first != Theirs || !x.route.machine() || x.answers[Theirs].status >= 300 || s.tokens.known(x.header) {
		return
	}
	token, ok := strings.CutPrefix(x.header.Get("Authorization"), "Bearer ")
	if !ok {
		return
	}
	machine := machineOf(x.header)
	if machine == "" {
		return
	}
	if ours := s.options.Vouch(machine); ours != "" {
		s.tokens.add(token, ours)
	}
}

// longestToken is of an answer to a login, in bytes; the rest of a longer one is not looked at.
const longestToken = 64 << 10

// tokenIn is the token in an answer to a login.
func tokenIn(a *answer) string {
	var login struct{ Token string }
	if a.status != http.StatusOK || json.Unmarshal(a.body.start(longestToken), &login) != nil {
		return ""
	}
	return login.Token
}
