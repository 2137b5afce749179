package shadow

import (
	"strconv"
	"strings"
	"sync"
)

// ids pairs the numbers that the two servers gave one alert or one decision. What was moved in has the same
// number on both; the others are learnt from pushes, whose answers name the new alerts in one order, and
// from alerts and decisions that both have shown. The oldest pair is forgotten when one more comes.
type ids struct {
	kept IDs

	mu    sync.Mutex
	pairs map[numbered]int64
	most  int
	order []numbered // a ring, when it has grown to most
	next  int
}

// numbered is one number of one side.
type numbered struct {
	kind string
	side Side
	id   int64
}

func newIDs(most int, kept IDs) *ids {
	return &ids{kept: kept, pairs: map[numbered]int64{}, most: 2 * most}
}

// add pairs two numbers.
func (m *ids) add(kind string, theirs, ours int64) {
	if theirs <= 0 || ours <= 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(numbered{kind, Theirs, theirs}, ours)
	m.put(numbered{kind, Ours, ours}, theirs)
}

func (m *ids) put(n numbered, id int64) {
	if _, there := m.pairs[n]; !there {
		if len(m.order) < m.most {
			m.order = append(m.order, n)
			m.pairs[n] = id
			return
		}
		delete(m.pairs, m.order[m.next])
		m.order[m.next] = n
		m.next = (m.next + 1) % len(m.order)
	}
	m.pairs[n] = id
}

// other is the number on the other side.
func (m *ids) other(kind string, side Side, id int64) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other, there := m.pairs[numbered{kind, side, id}]; there {
		return other, true
	}
	kept := m.kept.Alerts
	if kind == "decision" {
		kept = m.kept.Decisions
	}
	return id, id > 0 && id <= kept
}

// Reasons for not asking the second server.
const (
	skipUnknownAlert    = "it names an alert by a number, and which one that is on the other side is not known: list alerts through the shadow first"
	skipUnknownDecision = "it names a decision by a number, and which one that is on the other side is not known: list alerts through the shadow first"
)

// targetFor is the exchange's target with the number that it has at the second server. A word that is no number, or one that
// the first server did not find, is passed on as it is: both shall refuse it.
func (m *ids) targetFor(x *exchange, side Side) (target, skip string) {
	if x.route.ids == "" {
		return x.target, ""
	}
	path, query, asked := strings.Cut(x.target, "?")
	at := strings.LastIndexByte(path, '/') + 1
	id, err := strconv.ParseInt(path[at:], 10, 64)
	if err != nil || id <= 0 {
		return x.target, ""
	}
	other, known := m.other(x.route.ids, x.first, id)
	switch {
	case known:
	case x.answers[x.first].status >= 400: // both shall not find it
		other = 1<<53 + id
	case x.route.ids == "alert":
		return "", skipUnknownAlert
	default:
		return "", skipUnknownDecision
	}
	target = path[:at] + strconv.FormatInt(other, 10)
	if asked {
		target += "?" + query
	}
	return target, ""
}
