//go:build linux

package load

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestUsage(t *testing.T) {
	t.Parallel()
	p := &Process{PID: os.Getpid()}
	before := p.Usage()
	if before.Resident < 1<<20 || before.Peak < before.Resident || before.CPU <= 0 {
		t.Errorf("usage %+v", before)
	}
	for p.Usage().CPU < before.CPU+20*time.Millisecond {
		runtime.Gosched()
	}
	if gone := (&Process{PID: 1 << 22}).Usage(); gone != (Usage{}) {
		t.Errorf("a process that is not there: %+v", gone)
	}
}

func TestHalves(t *testing.T) {
	t.Parallel()
	server, generator, err := Halves()
	if err != nil || len(server) == 0 || len(generator) == 0 || len(generator)-len(server) > 1 || List([]int{0, 3}) != "0,3" {
		t.Errorf("%v and %v, %v", server, generator, err)
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	server, generator, err := Halves()
	if err != nil {
		t.Fatal(err)
	}
	g := Lost(append(server, generator...), 20*time.Millisecond)
	if g.Share < 0 || g.Longest < 0 || g.Share == 0 != (g.Longest == 0) {
		t.Errorf("%+v", g)
	}
}
