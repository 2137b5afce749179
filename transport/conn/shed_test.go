package conn

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestWhoMakesRoom holds whose connections are closed first: those of addresses
// that the store does not know, of those whoever has most, of his the oldest.
func TestWhoMakesRoom(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil) // 127.0.0.1 is known
	var list []unproven
	var cut []string
	add := func(last byte, ages ...int) {
		for _, age := range ages {
			name := fmt.Sprint(last, ".", age)
			list = append(list, unproven{peer: netip.AddrFrom4([4]byte{127, 0, 0, last}), age: shedAge + time.Duration(age)*time.Second, cut: func() bool { cut = append(cut, name); return true }})
		}
	}
	add(1, 9, 8, 7, 6, 5, 4)
	add(2, 1, 2, 3)
	add(3, 5)
	add(4, 4, 6)
	add(5, -1)
	if n := h.shed(list, 9, CutConnection); n != 9 || len(h.refused) != 9 {
		t.Errorf("%d were closed, %d told", n, len(h.refused))
	}
	if got, want := strings.Join(cut, " "), "2.3 4.6 2.2 3.5 4.4 2.1 1.9 1.8 1.7"; got != want {
		t.Errorf("closed were %s, not %s", got, want)
	}
}
