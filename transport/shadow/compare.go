package shadow

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// heldRoute is where comparisons of what bouncers hold are counted.
var heldRoute = &route{name: "GET /v1/decisions/stream: what bouncers hold", kind: statusKind}

// compare judges the two answers and counts what came of it.
func (s *Shadow) compare(x *exchange) {
	list, err := s.differences(x)
	if err != nil {
		list = append(list, difference{kind: "an answer that cannot be compared", what: err.Error()})
	}
	if open(list) && s.written.raced(x) {
		for i := range list {
			if list[i].reason == "" {
				list[i].reason = whyRaced
			}
		}
	}
	s.settle(x, list)
}

// open tells whether something is unexplained.
func open(list []difference) bool {
	for i := range list {
		if list[i].reason == "" {
			return true
		}
	}
	return false
}

// differences are what the two answers do not have in common, by the rules of the route.
func (s *Shadow) differences(x *exchange) ([]difference, error) {
	theirs, ours := &x.answers[Theirs], &x.answers[Ours]
	list, over := compareHeads(x)
	switch {
	case over, x.route.kind == statusKind, x.method == "HEAD":
		return list, nil
	case theirs.status >= 400:
		return append(list, compareErrors(theirs.body.start(longestError), ours.body.start(longestError))...), nil
	case theirs.status >= 300:
		return list, nil // a redirect's page
	}
	more, err := s.compareBodies(x, theirs, ours)
	return append(list, more...), err
}

// longestError is what of an error is looked at, in bytes.
const longestError = 64 << 10

func (s *Shadow) compareBodies(x *exchange, theirs, ours *answer) ([]difference, error) {
	_, query, _ := strings.Cut(x.target, "?")
	q, _ := url.ParseQuery(query)
	switch x.route.kind {
	case streamKind:
		return s.compareStream(x, q)
	case liveKind:
		s.states.asksLive(x)
		return s.compareLive(x, q)
	case alertsKind, alertKind:
		if theirs.body.n > longestAlerts || ours.body.n > longestAlerts {
			s.skip(x, fmt.Sprintf("not compared: a list of alerts of more than %d MiB", longestAlerts>>20))
			return nil, nil
		}
		return compareAlerts(theirs.body.start(longestAlerts), ours.body.start(longestAlerts), x.lag(), q, s.knowing(x))
	case pushKind:
		return comparePush(theirs.body.start(longestAlerts), ours.body.start(longestAlerts), s.knowing(x))
	case deletionKind:
		counts := compareCounts(theirs.body.start(longestError), ours.body.start(longestError))
		if len(counts) > 0 && s.written.halved(cmp.Or(q.Get("ip"), q.Get("value"))) {
			counts[0].reason = whyHalf
		}
		return counts, nil
	case accountKind:
		return nil, nil // status, and the token is each server's own
	}
	if a, b := theirs.body.start(1<<20), ours.body.start(1<<20); !bytes.Equal(a, b) {
		return []difference{{kind: "body", what: fmt.Sprintf("%.200q and %.200q", a, b)}}, nil
	}
	return nil, nil
}

// knowing is what was written, the pairs of numbers, and what this request's machine gets to see.
type knowing struct {
	*written
	ids     *ids
	shown   *shown
	machine string
	first   Side
}

func (s *Shadow) knowing(x *exchange) knowing {
	return knowing{s.written, s.ids, s.shown, machineOf(x.header), x.first}
}

func (k knowing) pair(kind string, theirs, ours int64) { k.ids.add(kind, theirs, ours) }

// show remembers the numbers that the machine has seen: those of the first server's answer.
func (k knowing) show(side Side, list []alert) {
	if side != k.first {
		return
	}
	for _, a := range list {
		k.saw("alert", a.id())
		of, _ := a["decisions"].([]any)
		for _, d := range of {
			if d, is := d.(map[string]any); is {
				k.saw("decision", alert(d).id())
			}
		}
	}
}

func (k knowing) saw(kind string, id int64) {
	if id > k.ids.keptOf(kind) { // the two count alike up to there
		k.shown.note(k.machine, kind, k.first, id)
	}
}

// questionOf is what a query of decisions says of its answer.
func questionOf(q url.Values, stream bool) question {
	one := question{cut: q.Has("limit") || q.Has("offset") || q.Has("id_gt"), stream: stream}
	for _, name := range []string{"origins", "scenarios_containing", "scenarios_not_containing", "type", "simulated", "scenario"} {
		one.filter = one.filter || q.Has(name)
	}
	return one
}

// compareLive compares two answers to a live query.
func (s *Shadow) compareLive(x *exchange, q url.Values) ([]difference, error) {
	theirs, ours := x.answers[Theirs].body, x.answers[Ours].body
	list, err := compareSets(listOf(theirs.reader), listOf(ours.reader), x.lag(), s.options.Entries, questionOf(q, false), s.written)
	if err == nil && len(list) == 0 && nothing(theirs) != nothing(ours) {
		list = append(list, difference{kind: "null for an empty list"})
	}
	return list, err
}

// compareStream compares two full answers as sets; of deltas it keeps what the bouncer holds.
func (s *Shadow) compareStream(x *exchange, q url.Values) (list []difference, err error) {
	form := [2]func() io.Reader{x.answers[Theirs].body.reader, x.answers[Ours].body.reader}
	var fresh, ended [2]source
	for side := range form {
		fresh[side], ended[side] = streamOf(form[side], "new"), streamOf(form[side], "deleted")
	}
	if bytes.Contains(x.answers[Theirs].body.start(64), []byte("null")) {
		list = append(list, difference{kind: "form", reason: whyOlderForm})
	}
	key, now := stateKey(x), x.answers[x.first].ended
	if q.Get("startup") == "true" {
		more, err := compareSets(fresh[Theirs], fresh[Ours], x.lag(), s.options.Entries, questionOf(q, true), s.written)
		if err == nil {
			err = s.states.begin(key, fresh, now)
		}
		return append(list, more...), err
	}
	st, err := s.states.apply(key, ended, fresh, now, span{x.answers[Theirs].began, x.answers[Theirs].ended})
	if err != nil {
		s.states.unsure(key)
		return list, err
	}
	s.compareHeld(x, st)
	return list, nil
}

// compareHeld compares what a bouncer holds, when nothing was written for a while before it asked.
func (s *Shadow) compareHeld(x *exchange, st *state) {
	asked := x.answers[x.first].began
	if asked.Sub(s.written.quietSince()) < s.options.Quiet || s.written.raced(x) {
		return
	}
	held := *x // without its answers' times: those are the stream's own
	held.route, held.body = heldRoute, nil
	held.answers = [2]answer{{status: x.answers[0].status}, {status: x.answers[1].status}}
	s.route(heldRoute).requests.Add(1)
	if st.many {
		s.skip(&held, fmt.Sprintf("not compared: bouncers hold more than %d decisions together", s.options.States))
		return
	}
	s.settle(&held, s.states.judge(st, asked, s.written))
}

// comparePush compares the numbers of new alerts, and pairs them: both name them in the order of the request.
func comparePush(theirs, ours []byte, k knowing) ([]difference, error) {
	var sides [2][]json.Number
	for side, body := range [][]byte{theirs, ours} {
		if err := json.Unmarshal(body, &sides[side]); err != nil {
			return nil, fmt.Errorf("the answer of the server that is %s: %w", Side(side), err)
		}
	}
	if len(sides[Theirs]) != len(sides[Ours]) {
		return []difference{{kind: "number of alerts that were stored", what: fmt.Sprintf("%d and %d", len(sides[Theirs]), len(sides[Ours]))}}, nil
	}
	for i := range sides[Theirs] {
		a, _ := sides[Theirs][i].Int64()
		b, _ := sides[Ours][i].Int64()
		k.pair("alert", a, b)
		k.saw("alert", [2]int64{Theirs: a, Ours: b}[k.first])
	}
	return nil, nil
}

// compareCounts compares how many were deleted.
func compareCounts(theirs, ours []byte) []difference {
	var sides [2]struct {
		N string `json:"nbDeleted"`
	}
	for side, body := range [][]byte{theirs, ours} {
		_ = json.Unmarshal(body, &sides[side]) // then it is ""
	}
	if sides[Theirs].N == sides[Ours].N {
		return nil
	}
	return []difference{{kind: "number of those that were deleted", what: fmt.Sprintf("%q and %q", sides[Theirs].N, sides[Ours].N)}}
}

// learn takes from two answers what later requests need: pairs of tokens. Pairs of ids are learnt while comparing.
func (s *Shadow) learn(x *exchange) {
	if x.route.kind == accountKind {
		if theirs, ours := tokenIn(&x.answers[Theirs]), tokenIn(&x.answers[Ours]); theirs != "" && ours != "" {
			s.tokens.add(theirs, ours)
		}
	}
}
