package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
)

var fleetSize = flag.Int("fleet", 20, "log processors in TestFleet; a hundred times as many bouncers and items of an allowlist")

// A fleet of log processors with 300 hub items each, a hundred bouncers and a
// hundred items of one allowlist for each of them, is snapshotted, backed up,
// started again and restored. For figures, with the processor time of the whole
// process, on a real disk:
//
//	go test ./engine -run TestFleet -fleet 10000 -v -timeout 1h
func TestFleet(t *testing.T) {
	t.Parallel()
	ctx, many := context.Background(), *fleetSize
	dir := t.TempDir()
	r := enginetest.NewRig(t, func(o *engine.Options) {
		o.Dir, o.FS, o.SnapshotBytes, o.SnapshotEvery = filepath.Join(dir, "store"), nil, 1<<50, 1<<62
	})
	stage := newStopwatch(t)
	inParallel(many, func(i int) {
		wants(t, r.AddMachine(ctx, fleetMachine(i), false), nil)
	})
	stage("%d log processors", many)
	inParallel(100*many, func(i int) {
		b := &engine.Bouncer{Name: fmt.Sprint("bouncer-", i), AuthType: engine.AuthAPIKey, Software: &engine.Software{Type: "crowdsec-firewall-bouncer", Version: "v0.0.31"}}
		binary.LittleEndian.PutUint64(b.KeyHash[:], uint64(i)+1)
		_, err := r.AddBouncer(ctx, b)
		wants(t, err, nil)
	})
	stage("%d bouncers", 100*many)
	wants(t, r.CreateAllowlist(ctx, "all", "", 1), nil)
	for from := 0; from < 100*many; from += 10_000 {
		items := make([]engine.AllowlistItem, min(10_000, 100*many-from))
		for i := range items {
			a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+uint32(from+i))))
			items[i] = engine.AllowlistItem{Value: a.String(), Prefix: netip.PrefixFrom(a, 32), Comment: "one of the fleet"}
		}
		n, _, err := r.AddToAllowlist(ctx, "all", items, 1)
		if wants(t, err, nil); n != len(items) {
			t.Fatalf("%d of %d items were added", n, len(items))
		}
	}
	stage("%d items of an allowlist", 100*many)
	one := []engine.AllowlistItem{{Value: "2001:db8::1", Prefix: netip.MustParsePrefix("2001:db8::1/128")}}
	for range 100 {
		_, _, err := r.AddToAllowlist(ctx, "all", one, 1)
		wants(t, err, nil)
		_, err = r.RemoveFromAllowlist(ctx, "all", []string{"2001:db8::1"}, 1)
		wants(t, err, nil)
	}
	stage("100 items added and removed, one by one")
	for range 2 {
		wants(t, r.AddMachine(ctx, &engine.Machine{ID: "one more"}, true), nil)
		wants(t, r.Snapshot(ctx), nil)
		infos, err := r.Store().Snapshots()
		wants(t, err, nil)
		stage("a snapshot of %d bytes", infos[0].Size)
	}
	path := filepath.Join(dir, "backup")
	file, err := os.Create(path)
	wants(t, err, nil)
	_, size, err := r.Backup(ctx, file)
	wants(t, err, nil)
	wants(t, file.Close(), nil)
	stage("a backup of %d bytes", size)
	digest := r.Digest()
	r.Stop()
	stage("an orderly end, with a check of all")
	e, err := engine.Open(&r.Options)
	wants(t, err, nil)
	stage("a start")
	if e.Digest() != digest || len(e.View().Machines()) != many+1 || len(e.View().Bouncers()) != 100*many || len(e.View().Allowlist("all").Items) != 100*many {
		t.Error("a restart has lost something")
	}
	stage("a digest")
	wants(t, e.Close(), nil)
	b, err := os.ReadFile(path)
	wants(t, err, nil)
	_, err = engine.Restore(&engine.Options{Dir: filepath.Join(dir, "restored")}, engine.Actor{}, bytes.NewReader(b)) // compares digests
	wants(t, err, nil)
	stage("restored and verified")
}

// fleetMachine has what a machine with 300 hub items reports, some 18 KB.
func fleetMachine(i int) *engine.Machine {
	m := &engine.Machine{
		ID: fmt.Sprintf("lp-%08d", i), PasswordHash: bytes.Repeat([]byte("h"), 60), AuthType: engine.AuthPassword, Validated: true, IP: "10.0.0.1",
		Version: "v1.7.0-debian-pragmatic-amd64", OS: engine.OS{Name: "debian", Version: "12", Family: "linux"}, HubItems: map[string][]engine.HubItem{},
	}
	var scenarios []string
	for kind, n := range map[string]int{"parsers": 100, "scenarios": 150, "collections": 50} {
		for item := range n {
			name := fmt.Sprintf("crowdsecurity/%s-%03d-of-the-fleet", kind, item)
			m.HubItems[kind] = append(m.HubItems[kind], engine.HubItem{Name: name, Version: "0.1", Status: "official"})
			if kind == "scenarios" {
				scenarios = append(scenarios, name)
			}
		}
	}
	m.Scenarios = strings.Join(scenarios, ",")
	return m
}

// inParallel calls do for 0 to n-1, so many at once that writes share commits.
func inParallel(n int, do func(i int)) {
	var all sync.WaitGroup
	const workers = 512
	for w := range workers {
		all.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	all.Wait()
}

// newStopwatch logs what a stage took, and what memory is held after it.
func newStopwatch(t *testing.T) func(format string, args ...any) {
	began, used := time.Now(), processorTime()
	return func(format string, args ...any) {
		took, spent := time.Since(began), processorTime()-used
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		t.Logf("%-45s %8.2f s, %8.2f s of processor, %5d MiB of heap afterwards", fmt.Sprintf(format, args...), took.Seconds(), spent.Seconds(), m.HeapAlloc>>20)
		began, used = time.Now(), processorTime()
	}
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
