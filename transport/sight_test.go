package transport

import (
	"log/slog"
	"testing"

	"lapid/engine"
)

// A bouncer whose client goes away from three polls in a row is not held; an answer between
// them begins the count anew.
func TestGiveUps(t *testing.T) {
	t.Parallel()
	var g giveUps
	row := engine.NewGuest(&engine.Bouncer{Name: "fw", Hold: 25_000})
	for _, gone := range []bool{true, true, false, true, true} {
		if g.ended(row, gone, slog.New(slog.DiscardHandler)); g.resting(row) {
			t.Fatal("it rests too early")
		}
	}
	g.ended(row, true, slog.New(slog.DiscardHandler))
	if !g.resting(row) {
		t.Error("it is held though it gives up")
	}
}
