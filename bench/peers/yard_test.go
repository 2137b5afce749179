//go:build linux

package peers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lapid/bench/load"
)

func yard(t *testing.T) *Yard {
	cpus, _, err := load.Halves()
	if err != nil {
		t.Fatal(err)
	}
	y := &Yard{Dir: t.TempDir(), ServerCPUs: cpus}
	t.Cleanup(y.Close)
	return y
}

func TestMissing(t *testing.T) {
	t.Parallel()
	if _, err := yard(t).start("none", "", nil, "no-such-program-as-this"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
	if _, err := new(Yard).run(t.Context(), "no-such-program-as-this"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v", err)
	}
}

func TestEndsAtStart(t *testing.T) {
	t.Parallel()
	s, err := yard(t).start("short", "127.0.0.1:1", nil, "sh", "-c", "echo cannot start; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = s.await(t.Context(), func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "cannot start") {
		t.Errorf("got %v", err)
	}
	s.Stop() // it has gone: nothing to wait for
}

func TestStops(t *testing.T) {
	t.Parallel()
	y := yard(t)
	s, err := y.start("long", "", nil, "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.await(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	select {
	case <-s.ended:
	default:
		t.Error("still runs")
	}
}

func TestPebbleAlone(t *testing.T) {
	t.Parallel()
	done, err := (&PebbleWork{Dir: t.TempDir(), Writers: 4, Size: 100, Length: 1e7}).Run()
	if err != nil || done.Rate <= 0 || done.P99 < done.P50 {
		t.Errorf("%+v, %v", done, err)
	}
}
