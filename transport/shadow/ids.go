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
	return id, id > 0 && id <= m.keptOf(kind)
}

// keptOf is the highest number that both servers have for the same.
func (m *ids) keptOf(kind string) int64 {
	if kind == "decision" {
		return m.kept.Decisions
	}
	return m.kept.Alerts
}

// Reasons for not asking the second server.
const (
	skipUnknownAlert    = "it names an alert by a number, and which one that is on the other side is not known: list alerts through the shadow first"
	skipUnknownDecision = "it names a decision by a number, and which one that is on the other side is not known: list alerts through the shadow first"
)

// targetFor is the exchange's target with the number that it has at the second server. A word that is no number, or one that
// the first server did not find, is passed on as it is: both shall refuse it.
func (m *ids) targetFor(x *exchange, side Side) (target, skip string) {
	id := idIn(x)
	if id <= 0 {
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
	return withID(x.target, other), ""
}

// idIn is the number that an exchange's target names, 0 without one.
func idIn(x *exchange) int64 {
	if x.route.ids == "" {
		return 0
	}
	path, _, _ := strings.Cut(x.target, "?")
	id, err := strconv.ParseInt(path[strings.LastIndexByte(path, '/')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return id
}

// withID is a target that ends in a number, with another.
func withID(target string, id int64) string {
	path, query, asked := strings.Cut(target, "?")
	target = path[:strings.LastIndexByte(path, '/')+1] + strconv.FormatInt(id, 10)
	if asked {
		target += "?" + query
	}
	return target
}
