package verbs

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"lapid/transport/admin"
)

// heldParts gives alerts as parts, in one each.
func heldParts(alerts []*admin.Alert) alertParts {
	return cutParts(alerts, func() int { return 1 << 30 })
}

// cutParts gives alerts as a server would that cuts their decisions at random.
func cutParts(alerts []*admin.Alert, size func() int) alertParts {
	return func(yield func(*admin.AlertPart, error) bool) {
		for _, a := range alerts {
			head, rest := *a, a.Decisions
			p := &admin.AlertPart{Alert: &head, Counts: map[string]int{}}
			for i := range rest {
				p.Counts[rest[i].CountedAs()]++
			}
			n := min(size(), len(rest))
			head.Decisions, rest = rest[:n:n], rest[n:]
			for yield(p, nil) && len(rest) > 0 {
				n := min(size(), len(rest))
				p, rest = &admin.AlertPart{More: rest[:n]}, rest[n:]
				if len(rest) == 0 {
					yield(p, nil)
					break
				}
			}
		}
	}
}

// randomAlerts repeat targets, have decisions or none, and hold signs that JSON and
// terminals escape.
func randomAlerts(chance *rand.Rand) []*admin.Alert {
	alerts := []*admin.Alert{}
	for n := range chance.IntN(6) {
		a := &admin.Alert{ID: uint64(n + 1), Simulated: chance.IntN(4) == 0, Scenario: "a\"b<\u202e" + fmt.Sprint(n), MachineID: "m"}
		a.Meta = []admin.Meta{{Key: `"decisions": null`, Value: "x"}}
		for range chance.IntN(3) * chance.IntN(400) {
			a.Decisions = append(a.Decisions, admin.Decision{
				ID: chance.Uint64N(1000), Type: []string{"ban", "captcha"}[chance.IntN(2)], Scope: "Ip",
				Value: fmt.Sprint("192.0.2.", chance.IntN(200), "\x1b"[:chance.IntN(2)]), Duration: "4h", Scenario: strings.Repeat("é", chance.IntN(40)),
			})
		}
		alerts = append(alerts, a)
	}
	return alerts
}

// wholeDecisions is how decisions are shown where all of the list is held: the oracle.
func wholeDecisions(t *Terminal, alerts []*admin.Alert) error {
	type target struct {
		simulated          bool
		kind, scope, value string
	}
	seen, skipped := map[target]bool{}, 0
	var rows [][]string
	for _, a := range alerts {
		kept := a.Decisions[:0:0]
		if a.Decisions != nil {
			kept = []admin.Decision{}
		}
		for _, d := range a.Decisions {
			k := target{a.Simulated, d.Type, d.Scope, d.Value}
			if seen[k] {
				skipped++
				continue
			}
			seen[k] = true
			kept = append(kept, d)
			rows = append(rows, []string{id(d.ID), d.Origin, d.Scope + ":" + d.Value, d.Scenario, d.Type, a.Source.Cn, as(a),
				fmt.Sprint(a.EventsCount), d.Duration, fmt.Sprint(a.Simulated), id(a.ID)})
		}
		a.Decisions = kept
	}
	switch t.Output {
	case jsonWords:
		return t.json(alerts, " ")
	case raw:
		w := csv.NewWriter(t.Out)
		return errors.Join(w.Write(decisionColumns), w.WriteAll(rows))
	}
	table := boxedTable()
	table.head(center, "ID", "Source", "Scope:Value", "Reason", "Action", "Country", "AS", "Events", "expiration", "Alert ID")
	table.body()
	for _, r := range rows {
		if r[9] == "true" {
			r[4] = "(simul)" + r[4]
		}
		table.row(append(r[:9:9], r[10])...)
	}
	if len(rows) == 0 {
		t.print("No active decisions\n")
	} else {
		t.show(table)
	}
	if skipped > 0 {
		t.print("%d duplicated entries skipped\n", skipped)
	}
	return nil
}

// TestListsAsTheyCome: a list that is shown while it comes has the bytes of one that is
// held, however its alerts are cut into parts.
func TestListsAsTheyCome(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(rand.Uint64(), 1))
	for range 60 {
		alerts := randomAlerts(chance)
		parts := cutParts(alerts, func() int { return 1 + chance.IntN(50) })
		got := map[string]string{}
		for _, output := range []string{jsonWords, raw, human} {
			got[output] = drawn(t, output, func(term *Terminal) error { return showDecisions(term, parts, false) })
		}
		all := drawn(t, jsonWords, func(term *Terminal) error { return showAlerts(term, parts, false) })
		if want, err := jsonIndented(alerts, " "); err != nil || all != want {
			t.Fatalf("alerts, %v: %s\nwant %s", err, all, want)
		}
		for _, output := range []string{raw, human, jsonWords} {
			held := make([]*admin.Alert, len(alerts)) // the oracle cuts them
			for i, a := range alerts {
				one := *a
				held[i] = &one
			}
			want := drawn(t, output, func(term *Terminal) error { return wholeDecisions(term, held) })
			if got[output] != want {
				t.Fatalf("%s: %s\nwant %s", output, got[output], want)
			}
		}
	}
}

// TestLongTable: a table is the same whether its rows are held or packed, in memory, in a
// file or, where there is no room for one, in memory again, and when it is narrowed.
func TestLongTable(t *testing.T) {
	for _, c := range []struct {
		rows, limit int
		tmp         string
	}{{0, 0, ""}, {3, 0, ""}, {3, 40, ""}, {6_000, 0, t.TempDir()}, {6_000, 0, t.TempDir() + "/none"}} {
		if c.tmp != "" {
			t.Setenv("TMPDIR", c.tmp)
		}
		plain, long := boxedTable(), boxedTable()
		for _, one := range []*table{plain, long} {
			one.head(center, "ID", "Some text", "")
			one.body()
		}
		long.rows.most = 1
		for i := range c.rows {
			row := []string{fmt.Sprint(i), strings.Repeat("wörter und 日本 ", i%41), "end\x1b"}
			plain.row(row...)
			if err := long.packed(row...); err != nil {
				t.Fatal(err)
			}
		}
		var want, got bytes.Buffer
		if err := errors.Join(plain.write(&want, c.limit), long.write(&got, c.limit)); err != nil || got.String() != want.String() {
			t.Errorf("%d rows: %v\n%.2000s\nwant\n%.2000s", c.rows, err, got.String(), want.String())
		}
		if inFile := len(long.rows.filed) > 0; inFile != (c.tmp != "" && !strings.HasSuffix(c.tmp, "none")) {
			t.Errorf("%d rows: in a file: %v", c.rows, inFile)
		}
		long.close()
		if left, _ := os.ReadDir(c.tmp); c.tmp != "" && len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	}
	if err := lightTable().packed(); err != nil {
		t.Error(err)
	}
	uneven := lightTable()
	if err := errors.Join(uneven.packed("a"), uneven.packed("a", "b")); err == nil {
		t.Error("rows of different lengths")
	}
}

// TestListThatBreaksOff: an error of the server's is the verb's, also after rows, and a table is
// not drawn then.
func TestListThatBreaksOff(t *testing.T) {
	t.Parallel()
	broken := errors.New("cut off")
	parts := func(yield func(*admin.AlertPart, error) bool) {
		if yield(&admin.AlertPart{Alert: &admin.Alert{Decisions: []admin.Decision{{ID: 1}}}}, nil) {
			yield(nil, broken)
		}
	}
	for _, output := range []string{jsonWords, raw, human} {
		for _, show := range []func(*Terminal, alertParts, bool) error{showAlerts, showDecisions} {
			var out bytes.Buffer
			if err := show(&Terminal{Out: &out, Output: output}, parts, false); !errors.Is(err, broken) {
				t.Errorf("%s: %v", output, err)
			}
			if output == human && out.Len() > 0 {
				t.Error(out.String())
			}
		}
	}
}
