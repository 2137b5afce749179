package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var soak = flag.Duration("soak", 3*time.Second, "how long TestSoak keeps a server busy")

// TestSoak keeps a real server busy with mixed traffic: alerts of one and of ten
// thousand decisions, many of which expire within seconds, deletions, live
// queries, streams, and a snapshot every second. Now and then everybody stops,
// and every answer is compared with the oracle. At the end memory, goroutines
// and file descriptors are where they were, the server ends in good order, and a
// second start right after it finds the same.
func TestSoak(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	chance := rand.New(rand.NewPCG(seed, 2<<32))
	o := newOracle(newHouse(t), seed, 4, 3, 60)
	o.short = 2
	env := []string{"LAPID_SNAPSHOT_EVERY=1s", "GOMEMLIMIT=off"}
	p := start(t, env, "-c", o.file, "serve")
	o.awaitHealth(p)
	o.up()

	spell := min(max(*soak/8, time.Second), 10*time.Second)
	o.busy(spell)
	before, answers := o.rest(t), o.answers.Load()
	for began := time.Now(); time.Since(began) < *soak-spell; {
		o.busy(time.Duration(chance.IntN(int(spell))) + spell/4)
		o.compare()
		o.compareFollowers()
		if t.Failed() {
			t.FailNow()
		}
	}
	// What ended stays known for a while: a bouncer may have to hear of it, and
	// alerts are counted once a minute. That is a few hundred bytes a decision, a
	// quarter of a million at most.
	grown := float64(o.answers.Load() - answers)
	o.settles(t, before, 96<<20+400*min(grown*60, 1<<18))
	t.Logf("before %+v, after %.0f answers more %+v", before, grown, o.gauges(t))

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t); code != exitGood {
		t.Fatalf("SIGTERM ends with %d", code)
	}
	p = start(t, env, "-c", o.file, "serve")
	o.awaitHealth(p)
	o.up()
	o.compare()
	o.compareFollowers()
}

// busy lets everybody loose for a while.
func (o *oracle) busy(length time.Duration) {
	ctx, stop := context.WithTimeout(o.t.Context(), length)
	defer stop()
	var all sync.WaitGroup
	o.loose(ctx, &all)
	for range 2 {
		all.Go(func() { o.askForNobody(ctx) })
	}
	all.Wait()
}

// askForNobody asks for addresses that nobody ever banned.
func (o *oracle) askForNobody(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		code, text, err := o.ask("GET", fmt.Sprintf("/v1/decisions?ip=172.16.%d.%d", i>>8&255, i&255), "")
		if err != nil || code != http.StatusOK || strings.TrimSpace(text) != "null" {
			o.t.Errorf("an address that nobody banned: %d %s %v", code, text, err)
			return
		}
	}
}

// gauges is what a process takes.
type gauges struct {
	memory, heap, goroutines, files, snapshots float64
}

// rest is the least a process takes while nobody is there: what a snapshot or
// the garbage collector takes for a moment is not in it.
func (o *oracle) rest(t *testing.T) gauges {
	t.Helper()
	o.web.CloseIdleConnections()
	least := o.gauges(t)
	for range 100 {
		now := o.gauges(t)
		least.memory, least.heap = min(least.memory, now.memory), min(least.heap, now.heap)
		least.goroutines = min(least.goroutines, now.goroutines)
		least.files = min(least.files, now.files)
	}
	return least
}

// settles waits until a process takes no more than it did before, but for some
// memory, in bytes, and has taken snapshots meanwhile. Of a process under the race
// detector, which keeps books of its own on all memory, only the heap counts.
func (o *oracle) settles(t *testing.T, before gauges, more float64) {
	t.Helper()
	o.web.CloseIdleConnections()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("from %+v it was to settle within %.0f MiB, 8 goroutines and 8 files more, it is at %+v", before, more/(1<<20), o.gauges(t))
		}
	})
	await(t, "goroutines and files are as before", func() bool {
		now := o.gauges(t)
		return now.goroutines <= before.goroutines+8 && now.files <= before.files+8
	})
	await(t, "memory is as before", func() bool {
		now := o.gauges(t)
		return now.heap <= before.heap+more && (underRace || now.memory <= before.memory+more)
	})
	if o.gauges(t).snapshots <= before.snapshots {
		t.Error("no snapshot was taken")
	}
}

// gauges reads them off the metrics.
func (o *oracle) gauges(t *testing.T) gauges {
	t.Helper()
	w, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", o.metrics))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	samples, err := readFigures(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	var g gauges
	for _, one := range samples {
		switch one.family {
		case "process_resident_memory_bytes":
			g.memory = one.value
		case "go_memstats_heap_inuse_bytes":
			g.heap = one.value
		case "go_goroutines":
			g.goroutines = one.value
		case "process_open_fds":
			g.files = one.value
		case "lapid_snapshots_total":
			g.snapshots = one.value
		}
	}
	return g
}

// reading is one figure of the metrics.
type reading struct {
	family string
	labels string
	value  float64
}

// readFigures reads all of them that are one number.
func readFigures(in io.Reader) (list []reading, err error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(in)
	for name, family := range families {
		for _, m := range family.GetMetric() {
			one := reading{family: name, labels: fmt.Sprint(m.GetLabel())}
			switch {
			case m.Counter != nil:
				one.value = m.Counter.GetValue()
			case m.Gauge != nil:
				one.value = m.Gauge.GetValue()
			case m.Untyped != nil:
				one.value = m.Untyped.GetValue()
			default:
				continue
			}
			list = append(list, one)
		}
	}
	return list, err
}
