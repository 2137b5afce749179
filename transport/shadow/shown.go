package shadow

import (
	"encoding/base64"
	"encoding/json"
	"hash/maphash"
	"net/http"
	"strings"
	"sync"
	"time"
)

// shown remembers which server has shown a machine a number of an alert or of a decision, where the two may count
// otherwise. A machine that has listed alerts before a change of who answers may name one of those numbers behind it:
// it means that server's alert, and the other's of the same number may be about somebody else. The oldest is forgotten when
// one more comes, and a number of which nothing is remembered is taken for one of the server that answers.
type shown struct {
	mu    sync.Mutex
	sides map[uint64]Side
	order []uint64 // a ring, when it has grown to most
	most  int
	next  int
	seed  maphash.Seed
}

func newShown(most int) *shown {
	return &shown{sides: map[uint64]Side{}, most: most, seed: maphash.MakeSeed()}
}

// note remembers that a server has shown a machine a number; of two servers the later counts.
func (m *shown) note(machine, kind string, side Side, id int64) {
	key := m.key(machine, kind, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.sides[key]; !there {
		if len(m.order) < m.most {
			m.order = append(m.order, key)
		} else {
			delete(m.sides, m.order[m.next])
			m.order[m.next] = key
			m.next = (m.next + 1) % len(m.order)
		}
	}
	m.sides[key] = side
}

// by is the server that has shown a machine a number.
func (m *shown) by(machine, kind string, id int64) (side Side, known bool) {
	key := m.key(machine, kind, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	side, known = m.sides[key]
	return side, known
}

func (m *shown) key(machine, kind string, id int64) uint64 {
	return maphash.Comparable(m.seed, struct {
		machine, kind string
		id            int64
	}{machine, kind, id})
}

// machineOf is the machine whose token a request has, "" without one. Nobody has checked the token: what is
// done with the name may not let anybody in.
func machineOf(h http.Header) string {
	token, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct{ ID string }
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.ID
}

// refusedNumber is said to a machine whose number the server that answers by now cannot have.
const refusedNumber = "nothing was done: this number was shown by the server that answered before, and which one it is at the one that answers now is not known: list alerts again"

// renumber puts the number in the place of a target's that the first server has for what the machine means. It gives
// false when that is not known.
func (s *Shadow) renumber(x *exchange) bool {
	id := idIn(x)
	if id <= 0 {
		return true
	}
	machine, kind := machineOf(x.header), x.route.ids
	if side, known := s.shown.by(machine, kind, id); !known || side == x.first {
		return true
	}
	// What this server has shown the machine since may still wait to be compared.
	if !s.waitPassed(s.queued.Load()) {
		return false
	}
	side, known := s.shown.by(machine, kind, id)
	if !known || side == x.first {
		return true
	}
	other, paired := s.ids.other(kind, side, id)
	if paired {
		x.target = withID(x.target, other)
	}
	return paired
}

// waitPassed waits until the second server has what was put into the queue so far; false after Options.Patience.
func (s *Shadow) waitPassed(n int64) bool {
	for end := time.Now().Add(s.options.Patience); s.passed.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
