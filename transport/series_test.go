package transport

import (
	"fmt"
	"strings"
	"testing"

	"lapid/engine"
)

// TestSeriesAreBounded: rows that keys make from ever new addresses are counted
// together beyond a thousand, by the name of the bouncer; nothing is lost, and
// counting does not allocate.
func TestSeriesAreBounded(t *testing.T) {
	var v visitors[*engine.BouncerRow]
	v.lines = 1
	stranger := func(base string, i int) *engine.BouncerRow {
		return engine.NewGuest(&engine.Bouncer{Name: fmt.Sprintf("%s@10.0.%d.%d", base, i/256, i%256), AutoCreated: true})
	}
	for i := range 3000 {
		row := stranger([]string{"fw", "web"}[i%2], i)
		v.of(row, aboutRow).requests[0].Add(1)
		v.of(row, aboutRow).requests[0].Add(1)
	}
	for i := range ownSeries + 1000 - ownStrangers {
		v.of(engine.NewGuest(&engine.Bouncer{Name: fmt.Sprintf("b%d", i)}), aboutRow).requests[0].Add(2)
	}
	series, sum, crowds := 0, uint64(0), map[string]uint64{}
	v.each(rowName, func(name string, one *visitor) {
		series++
		sum += one.requests[0].Load()
		if strings.HasSuffix(name, crowdSuffix) {
			crowds[name] = one.requests[0].Load()
		}
	})
	if want := uint64(2 * (3000 + ownSeries + 1000 - ownStrangers)); sum != want {
		t.Errorf("%d requests are counted, there were %d", sum, want)
	}
	if series > ownSeries+mostCrowds+1 || crowds["fw@*"] != 2000 || crowds["web@*"] != 2000 {
		t.Errorf("%d series, crowds fw %d and web %d", series, crowds["fw@*"], crowds["web@*"])
	}
	for i := range mostCrowds + 500 { // of ever new names too
		v.of(stranger(fmt.Sprintf("n%d", i), i), aboutRow).requests[0].Add(1)
	}
	if n := len(*v.crowds.Load()); n > mostCrowds+1 {
		t.Errorf("%d crowds", n)
	}
	row := stranger("fw", 9999)
	if n := testing.AllocsPerRun(100, func() { v.of(row, aboutRow).requests[0].Add(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	v.prune(func(*engine.BouncerRow) bool { return false })
	if v.own.Load() != 0 {
		t.Errorf("%d are still counted by themselves", v.own.Load())
	}
}
