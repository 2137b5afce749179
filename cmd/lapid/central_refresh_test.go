package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	refreshOf      = flag.Int("refresh", 50_000, "how many entries the list of TestListRefresh has")
	refreshMeasure = flag.Duration("refresh.measure", 0, "how long TestListRefresh measures live queries in calm, and 0 not at all")
)

// bigList has n addresses, the first of which is at from.
func bigList(from, n int) []byte {
	var out bytes.Buffer
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&out, "%d.%d.%d.%d\n", 20+i>>24, i>>16&255, i>>8&255, i&255)
	}
	return out.Bytes()
}

// memory is a line of the status of a process, in KiB.
func memory(t *testing.T, pid int, name string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

// queries asks live, one query after the other with a pause of two milliseconds, until stop
// is closed, and tells how long the answers took.
func (h *house) queries(stop <-chan struct{}) (took []time.Duration) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return took
		case <-tick.C:
		}
		began := time.Now()
		if code, text, err := h.ask("GET", fmt.Sprintf("/v1/decisions?ip=20.0.%d.%d", i>>8&255, i&255), ""); err != nil || code != 200 {
			h.t.Errorf("%d %s %v", code, text, err)
			return took
		}
		took = append(took, time.Since(began))
	}
}

// beside has live queries be asked while work is done.
func (h *house) beside(called string, work func()) {
	h.t.Helper()
	stop := make(chan struct{})
	var took []time.Duration
	var asking sync.WaitGroup
	asking.Go(func() { took = h.queries(stop) })
	work()
	close(stop)
	asking.Wait()
	slices.Sort(took)
	if len(took) > 0 {
		h.t.Logf("%s: %d live queries, median %v, p99 %v, worst %v", called, len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	}
}

// TestListRefresh: a refresh of a large list of which a hundred entries have changed tells a
// bouncer of a hundred changes. With -refresh 1000000 -refresh.measure 20s -v it measures time,
// memory, and live queries beside and in calm; the figures are of the machine.
func TestListRefresh(t *testing.T) {
	t.Parallel()
	h, f, p := central(t, "", func(h *house, f *fakeCentral) {
		write(t, f.dir, "lists/big", string(bigList(0, *refreshOf)))
		write(t, f.dir, "stream.json", `{"links":{"blocklists":[{"name":"big","url":"`+f.base+`lists/big","remediation":"ban","scope":"ip","duration":"168h"}]}}`)
	})
	began := time.Now()
	pulled := func(n int) func() bool {
		return func() bool { return strings.Count(p.out.String(), `the list \"big\" was pulled`) >= n }
	}
	awaitLong(t, "the list is pulled", pulled(1))
	t.Logf("the first pull of %d entries: %v, peak RSS %d MiB", *refreshOf, time.Since(began).Round(time.Millisecond), memory(t, p.cmd.Process.Pid, "VmHWM")>>10)
	h.reads("?startup=true", *refreshOf)
	if *refreshMeasure > 0 {
		h.beside("calm", func() { time.Sleep(*refreshMeasure) })
	}
	write(t, f.dir, "lists/big", string(bigList(50, *refreshOf)))
	if err := os.Chtimes(filepath.Join(f.dir, "lists/big"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0o600) // the peak begins anew
	before := memory(t, p.cmd.Process.Pid, "VmRSS") >> 10
	write(t, h.dir, "config.yaml.local", strings.Replace(read(t, filepath.Join(h.dir, "config.yaml.local")), "online_client: {", "online_client: {pull: {community: false}, ", 1))
	h.beside("beside a refresh", func() {
		began = time.Now()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		awaitLong(t, "the list is pulled again", pulled(2))
	})
	t.Logf("the refresh of %d entries, 100 changes: %v, RSS before %d MiB, peak %d MiB", *refreshOf, time.Since(began).Round(time.Millisecond), before, memory(t, p.cmd.Process.Pid, "VmHWM")>>10)
	begun, ended := h.news("")
	if len(begun) != 50 || len(ended) != 50 {
		t.Errorf("a bouncer is told of %d new and %d ended decisions, and 50 of each changed", len(begun), len(ended))
	}
}

// awaitLong is await for what takes minutes on a machine that is busy.
func awaitLong(t *testing.T, what string, so func() bool) {
	t.Helper()
	end, again := time.After(5*deadline), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for !so() {
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("it never happened that %s", what)
		}
	}
}

// reads polls and counts the decisions that begin, without keeping the answer.
func (h *house) reads(query string, want int) {
	h.t.Helper()
	r, err := http.NewRequest("GET", "http://lapid/v1/decisions/stream"+query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", "key")
	w, err := h.web.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer w.Body.Close()
	n, in := 0, bufio.NewScanner(w.Body)
	in.Split(func(data []byte, end bool) (int, []byte, error) { // up to the next brace
		if i := bytes.IndexByte(data, '{'); i >= 0 {
			return i + 1, data[i : i+1], nil
		}
		return len(data), nil, nil
	})
	for in.Scan() {
		n++
	}
	if n-1 != want || in.Err() != nil {
		h.t.Errorf("a bouncer is told of %d decisions, not %d: %v", n-1, want, in.Err())
	}
}
