//go:build linux

package scenario

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
	"lapid/bench/report"
)

func rowsOf(t *testing.T) *report.Report {
	pace := FullPace()
	rows := Rows(&pace, 10_000_000)
	keys := map[string]bool{}
	for _, r := range rows {
		if keys[r.Key] || r.What == "" || r.Bound.Must == 0 && !r.Bound.AtMost {
			t.Errorf("row %+v", r)
		}
		keys[r.Key] = true
	}
	return report.New("Test", true, rows)
}

func page(t *testing.T, r *report.Report) string {
	var b strings.Builder
	if err := r.WriteMarkdown(&b, ""); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestFlatness(t *testing.T) {
	t.Parallel()
	r := rowsOf(t)
	of := func(size, ours, ceiling float64) flatPoint {
		return flatPoint{size, ours, ceiling, spanOf([]float64{ours / ceiling})}
	}
	f := &Flatness{points: []flatPoint{of(10_000, 100, 125), of(1_000_000, 95, 100), of(10_000_000, 90, 120)}}
	f.Enter(r)
	if got := page(t, r); !strings.Contains(got, "| 0.79× (10 k: 100/s") {
		t.Errorf("0.75 beside 0.95 is not in\n%s", got)
	}
}

func TestCarry(t *testing.T) {
	t.Parallel()
	b := &Bench{Yard: &peers.Yard{ServerCPUs: []int{0}}, LoadCPUs: []int{0}, Report: rowsOf(t), Log: io.Discard, Only: []string{"live", "seen"}}
	var done []string
	say := func(what string, err error) func() error {
		return func() error { done = append(done, what); return err }
	}
	broken := errors.New("broken")
	err := b.carry(t.Context(),
		step{nil, say("always", nil)},
		step{[]string{rowIngest}, say("not asked for", nil)},
		step{[]string{rowLive, rowLiveP99}, say("missing", peers.ErrMissing)},
		step{[]string{rowSeen}, say("broken", broken)},
		step{[]string{rowLiveP99}, say("good", nil)},
	)
	if !errors.Is(err, broken) || errors.Is(err, peers.ErrMissing) {
		t.Errorf("error %v", err)
	}
	if want := []string{"always", "missing", "broken", "good"}; !slices.Equal(done, want) {
		t.Errorf("did %v, want %v", done, want)
	}
	if got := page(t, b.Report); !strings.Contains(got, "not measured: broken") || !strings.Contains(got, "not measured: not installed") {
		t.Errorf("no failures in\n%s", got)
	}
}

func TestRight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind  corpus.Kind
		empty uint64
		good  bool
	}{{corpus.Hit, 0, true}, {corpus.Hit, 1, false}, {corpus.Miss, 9, false}, {corpus.Miss, 10, true}, {corpus.Inside, 10, false}} {
		if err := right(c.kind, &load.Result{Requests: 10, Empty: c.empty}); (err == nil) != c.good {
			t.Errorf("%s with %d empty answers of 10: %v", c.kind, c.empty, err)
		}
	}
}

func TestWorst(t *testing.T) {
	t.Parallel()
	result := func(name string, rate float64, p99 time.Duration) measured {
		r := &load.Result{Rate: rate, P99: p99}
		return measured{contender: contender{name: name}, Result: r, open: r, rounds: []*load.Result{r}, paced: []*load.Result{r}}
	}
	w := newLiveWorst()
	w.take([]measured{result("lapid", 90, 10), result("ceiling", 100, 10), result("nginx", 180, 0)})
	w.take([]measured{result("lapid", 80, 10), result("ceiling", 100, 5), result("nginx", 100, 0)})
	of := func(v float64) span { return span{v, v, v} }
	if want := (liveWorst{of(0.8), of(2), of(0.5)}); w != want {
		t.Errorf("worst %+v, want %+v", w, want)
	}
}

// Contenders are compared within each round, and the order of the rounds stays.
func TestRatio(t *testing.T) {
	t.Parallel()
	rounds := func(rates ...float64) (list []*load.Result) {
		for _, r := range rates {
			list = append(list, &load.Result{Rate: r})
		}
		return list
	}
	ours := rounds(50, 900, 70)
	if m := middle(ours); m.Rate != 70 || ours[1].Rate != 900 {
		t.Errorf("middle %v of %v", m.Rate, ours)
	}
	// A machine twice as fast in one of the rounds changes nothing.
	if got, want := ratio(ours, rounds(100, 1800, 70), rateOf), (span{0.5, 0.5, 1}); got != want {
		t.Errorf("ratio %+v, want %+v", got, want)
	}
	if got := (span{0.5, 0.456, 1.0349}).String(); got != "0.456–1.03" {
		t.Errorf("a span is written %q", got)
	}
}

func TestEndingTogether(t *testing.T) {
	t.Parallel()
	n := 0
	for e := range lasting(corpus.New(500, 1).All(), 7*time.Second) {
		n++
		if e.Duration != 7*time.Second {
			t.Fatalf("%v lasts %v", e.Prefix, e.Duration)
		}
	}
	if n != 500 {
		t.Errorf("%d entries", n)
	}
}

func TestNewestSnapshot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, young := time.Unix(1000, 0), time.Unix(2000, 0)
	for name, at := range map[string]time.Time{"a.snapshot": old, "b.snapshot": young, "c.sst": young.Add(time.Hour)} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := newest(dir); err != nil || !got.Equal(young) {
		t.Errorf("newest %v, %v", got, err)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1000", 10_000: "10 k", 123_456: "123456", 1_000_000: "1 M", 10_000_000: "10 M", 1_500_000: "1.5 M"} {
		if got := count(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// What is to be reached beside writes, over TLS and on one core. The figures are promises: to change one
// is to change this table too.
func TestBounds(t *testing.T) {
	t.Parallel()
	pace := FullPace()
	bounds := map[string]report.Bound{}
	for _, r := range Rows(&pace, 10_000_000) {
		bounds[r.Key] = r.Bound
	}
	for key, want := range map[string]report.Bound{
		rowImportP99:  {AtMost: true, Must: 5, Beyond: 2, Unit: "×"},
		rowImportLate: {AtMost: true, Must: 2, Beyond: 1, Unit: "ms"},
		rowPause:      {AtMost: true, Must: 5, Beyond: 2, Unit: "ms"},
		rowSeen:       {AtMost: true, Must: 3, Beyond: 1, Unit: "ms"},
		rowIngest:     {Must: 0.5, Beyond: 0.8, Unit: "×"},
		rowRefIngest:  {Must: 25, Beyond: 40, Unit: "×"},
		rowImport:     {AtMost: true, Must: 4, Beyond: 2.5, Unit: "s"},
		rowRestartTen: {AtMost: true, Must: 8, Beyond: 4, Unit: "s"},
		rowMemory:     {AtMost: true, Must: 160, Beyond: 120, Unit: "bytes"},
		rowRedis:      {Must: 1.1, Beyond: 1.3, Unit: "×"},
		rowHAProxy:    {Must: 1.1, Beyond: 1.3, Unit: "×"},
		rowTLS:        {Must: 1, Beyond: 1.15, Unit: "×"},
		rowTLSP99:     {AtMost: true, Must: 1, Unit: "×"},
		rowTLSStartup: {Must: 0.6, Beyond: 0.8, Unit: "×"},
		rowTLSDelta:   {Must: 0.6, Beyond: 0.8, Unit: "×"},
		rowShakes:     {Must: 0.8, Beyond: 1, Unit: "×"},
		rowShakesOwn:  {Must: 0.8, Beyond: 1, Unit: "×"},
		rowAccessLog:  {Must: 0.8, Beyond: 0.9, Unit: "×"},
		rowList:       {AtMost: true, Must: 200, Beyond: 50, Unit: "ms"},
		rowListMemory: {AtMost: true, Must: 50, Beyond: 20, Unit: "MB"},
	} {
		if got := bounds[key]; got != want {
			t.Errorf("%s: bound %+v, want %+v", key, got, want)
		}
	}
	// The pace is that of the table: a million, with so many queries meanwhile.
	if pace.Size != 1_000_000 || pace.Busy != 50_000 || 2*readers != 20_000 || ending != 100_000 || writers != 64 || pace.Rounds < 3 {
		t.Errorf("pace %+v", pace)
	}
}

// Where the generator is the limit, rates say nothing: what the servers spend counts.
func TestGeneratorIsTheLimit(t *testing.T) {
	t.Parallel()
	of := func(rate, idle float64, cpu time.Duration) measured {
		r := &load.Result{Rate: rate, Idle: idle, CPU: cpu, Requests: 1000}
		return measured{Result: r, rounds: []*load.Result{r}}
	}
	b := new(Bench)
	if got := b.besides(of(90, 0.5, 2*time.Millisecond), of(100, 0.5, time.Millisecond)); got.middle != 0.9 || strings.Contains(got.String(), "counts") {
		t.Errorf("rates count: %v %s", got.middle, got)
	}
	if got := b.besides(of(100, 0.5, 2*time.Millisecond), of(100, 0.01, time.Millisecond)); got.middle != 0.5 || !strings.Contains(got.String(), "the generator was the limit") {
		t.Errorf("costs count: %v %s", got.middle, got)
	}
}
