package wire

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// TestRandomAlerts compares ParseAlerts with its slow twin on alerts that are
// mostly right: their fields in any order and spelling, some twice, some null,
// some of the wrong type, texts with all that JSON can do to them.
func TestRandomAlerts(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	count := map[Kind]int{}
	for range 800 {
		body := []byte(g.list(g.IntN(3), g.alert))
		got, err := ParseAlerts(body, testNow)
		want, slowErr := slowParseAlerts(body, testNow)
		count[kindOf(err)]++
		if kindOf(err) != kindOf(slowErr) || kindOf(err) == KindMissing && err.Error() != slowErr.Error() {
			t.Fatalf("error %v, want %v\n%s", err, slowErr, body)
		}
		if !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			t.Fatalf("got  %s\nwant %s\n%s", g, w, body)
		}
	}
	for _, kind := range []Kind{0, KindSyntax, KindMissing} {
		if count[kind] < 40 {
			t.Errorf("only %d bodies of kind %d: the generator has lost its balance", count[kind], kind)
		}
	}
}

// generator writes random JSON.
type generator struct{ *rand.Rand }

func (g generator) one(n int) bool { return g.IntN(n) == 0 }

func (g generator) list(n int, element func() string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = element()
	}
	return g.blank() + "[" + strings.Join(parts, g.blank()+",") + "]"
}

func (g generator) blank() string {
	if g.one(10) {
		return " \n\t\r"[:g.IntN(5)]
	}
	return ""
}

func (g generator) alert() string {
	if g.one(300) {
		return "null"
	}
	decisions := func() string { return g.list(g.IntN(4), g.decision) }
	return g.object(
		"capacity", g.number, "decisions", decisions, "events", func() string { return g.list(g.IntN(3), g.event) },
		"events_count", g.number, "leakspeed", g.text, "message", g.text, "scenario", g.text, "scenario_hash", g.text,
		"scenario_version", g.text, "simulated", g.boolean, "source", g.source, "start_at", g.time, "stop_at", g.time,
		"kind", g.text, "labels", func() string { return g.list(g.IntN(3), g.text) }, "meta", g.meta,
		"remediation", g.boolean, "id", g.number, "uuid", g.text, "extra", g.alertish)
}

func (g generator) alertish() string { return g.object("meta", g.meta, "a", g.number) }

func (g generator) decision() string {
	return g.object("duration", g.text, "origin", g.text, "scenario", g.text, "scope", g.scope, "type", g.text,
		"value", g.text, "until", g.text)
}

func (g generator) source() string {
	degrees := func() string { return fmt.Sprint((g.Float64() - 0.5) * 360) }
	return g.object("scope", g.scope, "value", g.text, "ip", g.text, "latitude", degrees, "longitude", degrees)
}

func (g generator) event() string {
	return g.object("meta", g.meta, "timestamp", g.time)
}

func (g generator) meta() string {
	n := g.IntN(4)
	if g.one(30) {
		n = g.IntN(900)
	}
	return g.list(n, func() string { return g.object("key", g.text, "value", g.longText) })
}

// object writes the fields given as names and values, nearly always all of
// them and right.
func (g generator) object(fields ...any) string {
	var parts []string
	for i := 0; i < len(fields); i += 2 {
		name, value := fields[i].(string), fields[i+1].(func() string)
		for more := !g.one(250); more; more = g.one(60) {
			if g.one(40) {
				name = strings.ToUpper(name)
			}
			text := value()
			switch {
			case g.one(250):
				text = "null"
			case g.one(700):
				text = []string{"{}", "[]", `""`, "1.5", "true", "x"}[g.IntN(6)]
			}
			parts = append(parts, `"`+name+`"`+g.blank()+":"+g.blank()+text)
		}
	}
	if g.one(5) {
		g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	}
	return "{" + strings.Join(parts, ",") + g.blank() + "}"
}

func (g generator) boolean() string { return []string{"true", "false"}[g.IntN(2)] }

func (g generator) number() string { return fmt.Sprint(g.IntN(1 << 20)) }

func (g generator) scope() string {
	return []string{`"ip"`, `"Ip"`, `"RANGE"`, `"as"`, `"country"`, `"session"`, `""`}[g.IntN(7)]
}

func (g generator) time() string {
	return []string{
		`"2026-07-01T09:00:00Z"`, `"2026-07-01T09:00:00.123456789+05:30"`, `"yesterday"`, `""`,
		`"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59-11:00"`, `"2026-07-01t09:00:00z"`,
	}[g.IntN(7)]
}

func (g generator) text() string { return g.textOf(g.IntN(12)) }

// longText is sometimes beyond what metadata may have.
func (g generator) longText() string {
	if g.one(20) {
		return g.textOf(g.IntN(6000))
	}
	return g.text()
}

func (g generator) textOf(n int) string {
	pieces := []string{
		"a", "b", "192.0.2.1", "é", "日", "\U0001F600", "\xff", "\xe2\x82", `\"`, `\\`, `\/`, `\n`, `\b`,
		`\u00e9`, `\ud83d\ude00`, `\ud83d`, `\u0000`, `\u2028`, "<", "&",
	}
	var b strings.Builder
	b.WriteByte('"')
	plain := g.one(2)
	for b.Len() < n {
		if plain {
			b.WriteByte(byte('a' + g.IntN(26)))
		} else {
			b.WriteString(pieces[g.IntN(len(pieces))])
		}
	}
	b.WriteByte('"')
	return b.String()
}
