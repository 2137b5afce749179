package engine_test

import (
	"fmt"
	"slices"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// Readings are there after a crash, once a commit was made behind them; they make none, and old ones go.
func TestReadings(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
	has := func(want ...string) {
		t.Helper()
		var got []string
		if err := r.Readings('m', func(f engine.Reading) bool {
			got = append(got, fmt.Sprintf("%d %s", f.At, f.Value))
			return true
		}); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	has()
	rev := r.View().Revision()
	list := []engine.Reading{{'m', 120, []byte("b")}, {'m', 60, []byte("a")}, {'h', 0, []byte("x")}, {'m', 180, nil}}
	wants(t, r.KeepReadings(t.Context(), list, nil), nil)
	has("60 a", "120 b", "180 ")
	if now := r.View().Revision(); now != rev {
		t.Errorf("revision %d, and it was %d", now, rev)
	}
	wants(t, r.AddMachine(t.Context(), &engine.Machine{ID: "web1"}, false), nil)
	r.Crash()
	has("60 a", "120 b", "180 ")
	wants(t, r.KeepReadings(t.Context(), []engine.Reading{{'m', 180, []byte("c")}}, map[byte]int64{'m': 120}), nil)
	has("120 b", "180 c")
	r.Restart()
	has("120 b", "180 c")
	wants(t, r.KeepReadings(t.Context(), []engine.Reading{{'m', 240, make([]byte, engine.LongestReading+1)}}, nil), engine.ErrInvalid)
	n := 0
	wants(t, r.Readings('h', func(f engine.Reading) bool { n++; return false }), nil)
	if n != 1 {
		t.Errorf("%d of another series", n)
	}
}
