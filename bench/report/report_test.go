package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	t.Parallel()
	least := Bound{Must: 0.85, Beyond: 0.95, Unit: "×"}
	most := Bound{AtMost: true, Must: 256, Beyond: 160, Unit: "bytes"}
	for _, c := range []struct {
		bound *Bound
		value float64
		want  string
	}{
		{&least, 0.96, "beyond"}, {&least, 0.95, "beyond"}, {&least, 0.85, "reached"}, {&least, 0.425, "missed, by 50 %"},
		{&most, 100, "beyond"}, {&most, 200, "reached"}, {&most, 512, "missed, by 100 %"},
		{&most, math.NaN(), "no figure"}, {&Bound{AtMost: true, Must: 0}, 2, "missed"}, {&Bound{AtMost: true, Must: 0}, 0, "reached"},
	} {
		if got := c.bound.Verdict(c.value); got != c.want {
			t.Errorf("%v of %s: %q, want %q", c.value, c.bound.must(), got, c.want)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{Key: "a", What: "first", Bound: Bound{Must: 2, Unit: "×"}},
		{Key: "b", What: "second", Bound: Bound{AtMost: true, Must: 10, Beyond: 3, Unit: "ms"}},
		{Key: "c", What: "third"},
	}
	r := New("Page", true, rows)
	r.Measured("a", 3, "%d of %d", 6, 2)
	r.Failed(errors.New("no | pipe"), "a", "b")
	r.Section("Figures", "1 2 3\n")
	r.Plot("bars", Bars("t", "", nil))
	r.Attach("Figures", []int{1, 2})
	dir := filepath.Join(t.TempDir(), "new")
	file, err := r.Save(dir, "now")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| first | ≥ 2.00× |  | 3.00× (6 of 2) | reached |\n",
		`| second | ≤ 10.0 ms | ≤ 3.00 ms | not measured: no \| pipe |  |`,
		"| third | ≥ 0.00 |  | not measured |  |\n",
		"![bars](now-bars.svg)", "```\n1 2 3\n```",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	var figures struct{ Rows []struct{ Value float64 } }
	if text, err := os.ReadFile(filepath.Join(dir, "now.json")); err != nil || json.Unmarshal(text, &figures) != nil || len(figures.Rows) != 1 || figures.Rows[0].Value != 3 {
		t.Errorf("JSON %s, %v", text, err)
	}
	r.Keep()
	r.Judged = false
	var b strings.Builder
	if err := r.WriteMarkdown(&b, ""); err != nil || strings.Contains(b.String(), "third") || strings.Contains(b.String(), "verdict") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

// A row says where it was measured and what others had; where they had too much its figure stands without
// a verdict, and what was measured beside it keeps its own.
func TestNoisy(t *testing.T) {
	t.Parallel()
	bound := Bound{Must: 1, Beyond: 2, Unit: "×"}
	r := New("Page", true, []Row{{Key: "calm", What: "calm", Bound: bound}, {Key: "edge", What: "edge", Bound: bound},
		{Key: "parts", What: "parts", Bound: bound}, {Key: "unknown", What: "unknown", Bound: bound}, {Key: "failed", What: "failed", Bound: bound}})
	for _, key := range []string{"calm", "edge", "parts", "unknown"} {
		r.Measured(key, 3, "as it is")
	}
	r.Failed(errors.New("broken"), "failed")
	r.Lost("server 0, generator 1", 0.003, "calm")
	r.Lost("server 0, generator 1", MostLost, "edge")
	r.Lost("server 0, generator 1", 0.021, "parts", "failed")
	r.Lost("server 0, generator 1", 0.001, "parts")
	r.Lost("server 0, generator 1", math.NaN(), "unknown")
	var b strings.Builder
	if err := r.WriteMarkdown(&b, ""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| calm | ≥ 1.00× | ≥ 2.00× | 3.00× (as it is) [server 0, generator 1, lost to others 0.3 %] | beyond |\n",
		"lost to others 2.0 %] | beyond |\n",
		"| parts | ≥ 1.00× | ≥ 2.00× | 3.00× (as it is) [server 0, generator 1, lost to others 2.1 %] | noisy |\n",
		"lost to others NaN %] | noisy |\n",
		"| failed | ≥ 1.00× | ≥ 2.00× | not measured: broken |  |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil || !strings.Contains(b.String(), `"Lost": 0.021`) || !strings.Contains(b.String(), `"CPUs": "server 0, generator 1"`) {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

func TestPlots(t *testing.T) {
	t.Parallel()
	for name, svg := range map[string][]byte{
		"bars": Bars("a < b & c", "requests/s", []Group{
			{"10 k", []Bar{{"lapid", 120_000}, {"ceiling", 140_000}}}, {"1 M", []Bar{{"lapid", 118_000}, {"ceiling", 0}}},
		}),
		"none":  Bars("nothing", "", nil),
		"lines": Lines("latency", "ms", []Line{{"lapid", []float64{1, 10, 100}, []float64{0.1, 0.3, 12}}}, map[float64]string{1: "0 %", 100: "99 %"}),
		"empty": Lines("latency", "ms", nil, nil),
	} {
		d := xml.NewDecoder(strings.NewReader(string(svg)))
		for {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v in\n%s", name, err, svg)
			}
		}
		if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
			t.Errorf("%s has numbers that are none:\n%s", name, svg)
		}
	}
}
