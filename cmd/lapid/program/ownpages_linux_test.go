package program

import (
	"os"
	"testing"
)

// TestOwnMapping: code is dropped always, constants where nothing was filled in, and nothing
// else of the process.
func TestOwnMapping(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line  string
		fixed bool
		want  bool
	}{
		{"00400000-01a2b000 r-xp 00000000 fe:00 131 /opt/lapid\n", false, true},
		{"01a2b000-03000000 r--p 0162b000 fe:00 131 /opt/lapid\n", true, true},
		{"01a2b000-03000000 r--p 0162b000 fe:00 131 /opt/lapid\n", false, false},
		{"03000000-03100000 rw-p 02c00000 fe:00 131 /opt/lapid\n", true, false},
		{"00400000-01a2b000 r-xp 00000000 fe:00 131 /opt/other/lapid\n", true, false},
		{"7f0000000000-7f0000001000 r-xp 00000000 00:00 0 [vdso]\n", true, false},
		{"01a2b000-00400000 r-xp 00000000 fe:00 131 /opt/lapid\n", true, false},
		{"", true, false},
	} {
		if _, _, ok := ownMapping(c.line, "/opt/lapid", c.fixed); ok != c.want {
			t.Errorf("%q, fixed %t: %t", c.line, c.fixed, ok)
		}
	}
}

// TestDropOwnPages: the program goes on as before, its constants are what they were.
func TestDropOwnPages(t *testing.T) {
	t.Parallel()
	before, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	dropOwnPages()
	after, err := os.ReadFile("/proc/self/maps")
	if err != nil || len(before) == 0 || len(after) == 0 {
		t.Fatal(len(before), len(after), err)
	}
	dropOwnPages()
}
