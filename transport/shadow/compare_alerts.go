package shadow

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// alert is one of a list. Fields are the contract's, whatever the version has.
type alert map[string]any

// longestAlerts is a list of alerts that is compared, in bytes; it takes some ten times that to read.
const longestAlerts = 32 << 20

// text is a field that is text.
func (a alert) text(name string) string {
	t, _ := a[name].(string)
	return t
}

// source is a field of the source.
func (a alert) source(name string) string {
	s, _ := a["source"].(map[string]any)
	t, _ := s[name].(string)
	return t
}

// id is the number of an alert or a decision, 0 without one.
func (a alert) id() int64 {
	n, _ := a["id"].(json.Number)
	id, _ := strconv.ParseInt(string(n), 10, 64)
	return id
}

// key names an alert on both sides: uuids are each server's own.
func (a alert) key() string {
	return strings.Join([]string{a.text("scenario"), a.source("scope"), a.source("value"), instant(a.text("start_at")), instant(a.text("stop_at"))}, " ")
}

// instant is a time in the one spelling: whole seconds, UTC. Older servers write it as Go does. What is no time stays.
func instant(text string) string {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -0700 MST", "2006-01-02 15:04:05.999999999 -0700 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Second).Format(time.RFC3339)
		}
	}
	return text
}

// apart is how far apart two times are; a long time for what is none.
func apart(a, b string) time.Duration {
	x, err1 := time.Parse(time.RFC3339, instant(a))
	y, err2 := time.Parse(time.RFC3339, instant(b))
	if err1 != nil || err2 != nil {
		if a == b {
			return 0
		}
		return time.Duration(1<<63 - 1)
	}
	return y.Sub(x)
}

// readAlerts reads a list of alerts, or one.
func readAlerts(body []byte) (list []alert, err error) {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	if len(body) > 0 && body[0] == '{' {
		var one alert
		err = d.Decode(&one)
		return []alert{one}, err
	}
	return list, d.Decode(&list)
}

// alertKnower knows what was written about alerts.
type alertKnower interface {
	knower
	// ownAlert tells whether an alert that only the old server has was made there.
	ownAlert(key string) bool
	// alertEndedThere tells whether one that only lapid has was deleted at the old server.
	alertEndedThere(key string) bool
	pair(kind string, theirs, ours int64)
	// show notes that a server has these alerts in its answer.
	show(side Side, list []alert)
}

// compareAlerts compares two lists of alerts, each by its key, and pairs their numbers. one tells that it is about a single alert, whose number the
// client gave.
func compareAlerts(theirs, ours []byte, lag time.Duration, query url.Values, k alertKnower) ([]difference, error) {
	var sides [2]map[string][]alert
	var n [2]int
	for side, body := range [][]byte{theirs, ours} {
		list, err := readAlerts(body)
		if err != nil {
			return nil, fmt.Errorf("the answer of the server that is %s: %w", Side(side), err)
		}
		sides[side], n[side] = map[string][]alert{}, len(list)
		k.show(Side(side), list)
		for _, a := range list {
			sides[side][a.key()] = append(sides[side][a.key()], a)
		}
	}
	keys := maps.Clone(sides[Theirs])
	maps.Copy(keys, sides[Ours])
	var list []difference
	most := limitOf(query)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, b := sides[Theirs][key], sides[Ours][key]
		byID(a)
		byID(b)
		for i := range min(len(a), len(b)) {
			list = append(list, comparePair(a[i], b[i], lag, k)...)
		}
		for _, side := range []Side{Theirs, Ours} {
			more := len(sides[side][key]) - min(len(a), len(b))
			for range more {
				full := n[side.other()] > 0 && n[side.other()] == most // then what is not there may have been cut off
				list = append(list, judgeAlert(side, key, sides, query, full, k))
			}
		}
	}
	return list, nil
}

// byID puts alerts of one key in the order in which they came. One that has lost its decisions comes last.
func byID(list []alert) {
	many := func(a alert) int { of, _ := a["decisions"].([]any); return len(of) }
	slices.SortFunc(list, func(a, b alert) int { return cmp.Or(many(b)-many(a), cmp.Compare(a.id(), b.id())) })
}

// limitOf is how many alerts were asked for at most; -1: all.
func limitOf(query url.Values) int {
	if !query.Has("limit") {
		return 100
	}
	n, err := strconv.Atoi(query.Get("limit"))
	if err != nil || n == 0 {
		return -1
	}
	return n
}

// judgeAlert says why one side alone may have an alert.
func judgeAlert(side Side, key string, sides [2]map[string][]alert, query url.Values, cut bool, k alertKnower) difference {
	d := difference{kind: "an alert that only " + holder(side), what: key}
	switch other := sides[side.other()]; {
	case cut:
		d.reason = whyLimit
	case side == Ours && len(other[key]) > 0:
		d.reason = whyAgain
	case side == Theirs && (query.Has("ip") || query.Has("range")):
		d.reason = whySpread
	case side == Theirs && k.halved(sides[side][key][0].source("value")):
		d.reason = whyHalf
	case side == Theirs && k.ownAlert(key):
		d.reason = whyOwn
	case side == Ours && k.alertEndedThere(key):
		d.reason = whyEndedThere
	case older(sides[side][key][0], other):
		d.reason = whyFlushed
	}
	return d
}

// older tells whether an alert is older than all that the other side has.
func older(a alert, others map[string][]alert) bool {
	if len(others) == 0 {
		return false
	}
	for _, list := range others {
		for _, b := range list {
			if apart(a.text("created_at"), b.text("created_at")) <= 0 {
				return false
			}
		}
	}
	return true
}

// comparePair compares two alerts of one key, field by field.
func comparePair(a, b alert, lag time.Duration, k alertKnower) (list []difference) {
	k.pair("alert", a.id(), b.id())
	fields := maps.Clone(a)
	maps.Copy(fields, b)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		list = append(list, compareField(name, a, b, lag, k)...)
	}
	return list
}

func compareField(name string, a, b alert, lag time.Duration, k alertKnower) []difference {
	x, y := a[name], b[name]
	d := difference{kind: "field " + name + " of an alert", what: fmt.Sprintf("%s: %v and %v", a.key(), x, y)}
	_, there := a[name]
	switch name {
	case "id", "uuid", "start_at", "stop_at": // the server's own, or in the key
		return nil
	case "decisions":
		return compareDecisionsOf(a, b, lag, k)
	case "created_at":
		late := apart(a.text(name), b.text(name))
		if late >= -2*time.Second && late <= 2*time.Second {
			return nil
		}
		if !k.ownAlert(a.key()) { // it came through the shadow
			d.reason = whyLater
		}
		return []difference{d}
	case "events", "meta":
		if slices.Equal(canonicalSet(x), canonicalSet(y)) {
			return nil
		}
	default:
		if canonical(x) == canonical(y) {
			return nil
		}
		if !there && (name == "remediation" || name == "kind") {
			d.reason = whyOlderField
		}
	}
	return []difference{d}
}

// canonicalSet is a list without its order; null is an empty one.
func canonicalSet(v any) []string {
	list, _ := v.([]any)
	out := make([]string, 0, len(list))
	for _, one := range list {
		out = append(out, canonical(one))
	}
	slices.Sort(out)
	return out
}

// canonical is a value in one spelling: times in whole seconds and UTC, numbers by value, meta data without
// an order.
func canonical(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(instant(v))
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return string(v)
		}
		return strconv.FormatFloat(float64(float32(f)), 'g', -1, 32)
	case []any:
		return "[" + strings.Join(canonicalSet(v), ",") + "]"
	case map[string]any:
		var b strings.Builder
		for _, name := range slices.Sorted(maps.Keys(v)) {
			fmt.Fprintf(&b, "%q:%s;", name, canonical(v[name]))
		}
		return "{" + b.String() + "}"
	}
	return fmt.Sprint(v)
}

// compareDecisionsOf compares the decisions of one alert, and pairs their numbers.
func compareDecisionsOf(a, b alert, lag time.Duration, k alertKnower) (list []difference) {
	theirs, ours := decisionsOf(a), decisionsOf(b)
	for len(theirs) > 0 || len(ours) > 0 {
		switch {
		case len(ours) == 0 || len(theirs) > 0 && theirs[0].words() < ours[0].words():
			list = append(list, judgeWithin(Theirs, a, theirs[0], k))
			theirs = theirs[1:]
		case len(theirs) == 0 || ours[0].words() < theirs[0].words():
			list = append(list, judgeWithin(Ours, a, ours[0], k))
			ours = ours[1:]
		default:
			k.pair("decision", theirs[0].ID, ours[0].ID)
			x, y := theirs[0].left(), ours[0].left()
			slack := int32(lag/time.Second) + 3
			if (x > 0 || y > 0) && (x-y > slack || y-x > slack) {
				d := difference{kind: "a decision of an alert runs for another time", what: a.key() + ": " + theirs[0].String() + "; " + ours[0].String()}
				if x <= 0 && k.endedThere(&theirs[0]) {
					d.reason = whyEndedThere
				}
				list = append(list, d)
			}
			theirs, ours = theirs[1:], ours[1:]
		}
	}
	return list
}

func judgeWithin(side Side, a alert, d decision, k alertKnower) difference {
	one := difference{kind: "a decision of an alert that only " + holder(side), what: a.key() + ": " + d.String()}
	switch {
	case k.zoned(d.Value):
		one.reason = whyZone
	case k.halved(d.Value):
		one.reason = whyHalf
	}
	return one
}

// words name a decision within its alert.
func (d *decision) words() string {
	return strings.Join([]string{d.Scope, d.Type, d.Value, d.Origin, d.Scenario, strconv.FormatBool(d.Simulated)}, "\x00")
}

// decisionsOf are those of an alert, in order of their words, and of their numbers.
func decisionsOf(a alert) (list []decision) {
	raw, _ := json.Marshal(a["decisions"])
	_ = json.Unmarshal(raw, &list) // what is none stays none
	slices.SortFunc(list, func(x, y decision) int {
		if n := strings.Compare(x.words(), y.words()); n != 0 {
			return n
		}
		return int(x.ID - y.ID)
	})
	return list
}
