package persist

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// verifier checks disks after a crash on a few goroutines.
type verifier struct {
	work chan func() error
	wg   sync.WaitGroup
	t    *testing.T
	n    atomic.Int64
}

func newVerifier(t *testing.T) *verifier {
	v := &verifier{work: make(chan func() error, 4), t: t}
	for range 2 {
		v.wg.Go(func() {
			for check := range v.work {
				v.n.Add(1)
				if err := check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	return v
}

func (v *verifier) wait() {
	close(v.work)
	v.wg.Wait()
	v.t.Logf("%d disks", v.n.Load())
}

// The power fails before every single operation that changes the disk, on a disk
// that keeps nothing unsynced and on one that keeps some of it.
func TestCrashEverywhere(t *testing.T) {
	t.Parallel()
	const revisions = 40
	for _, percent := range []int{0, 50} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t)
			var accepted, operations atomic.Uint64
			disk := NewCrashFS()
			faulty := NewFaultyFS(disk, func(op Op) error {
				if !op.Kind.Writes() {
					return nil
				}
				n := operations.Add(1)
				low := accepted.Load()
				after := disk.CrashKeeping(percent, rand.New(rand.NewPCG(n, 2)))
				high := accepted.Load() + 1
				v.work <- func() error {
					if _, err := verify(after, low, high); err != nil {
						return fmt.Errorf("power fails at operation %d (%s %s), %d accepted: %w", n, op.Kind, op.Path, low, err)
					}
					return nil
				}
				return nil
			})
			s := mustOpen(t, faulty)
			for rev := uint64(1); rev <= revisions; rev++ {
				if err := s.Append(rev, recordOf(rev)); err != nil {
					t.Fatal(err)
				}
				accepted.Store(rev)
				if err := afterStep(s, rev); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, s)
			v.wait()
			if _, err := verify(disk.Crash(), revisions, revisions); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Crash, recover, go on, crash again: many lives on one disk.
func TestCrashAndGoOn(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	disk := NewCrashFS()
	var last uint64
	for life := range 30 {
		crashAt := int64(rng.IntN(200))
		var operations atomic.Int64
		var crashed atomic.Pointer[CrashFS]
		var low atomic.Uint64
		low.Store(last)
		var atCrash uint64
		var once sync.Once
		current := disk
		keep := rng.IntN(3) * 50
		keepSeed := rng.Uint64()
		s, err := Open(&Options{Dir: testDir, MemTableSize: 64 << 10, FS: NewFaultyFS(disk, func(op Op) error {
			if op.Kind.Writes() && operations.Add(1) > crashAt {
				once.Do(func() {
					atCrash = low.Load()
					crashed.Store(current.CrashKeeping(keep, rand.New(rand.NewPCG(keepSeed, 0))))
				})
				return syscall.EIO
			}
			return nil
		})})
		if err == nil {
			if _, err = verifyOpen(s, last, last+1); err == nil {
				for rev := s.Last() + 1; err == nil; rev++ {
					var accepted bool
					if accepted, err = step(s, rev); accepted {
						low.Store(rev)
					}
				}
			}
			_ = s.Close() // the disk has failed
		}
		after := crashed.Load()
		if after == nil {
			t.Fatalf("life %d ended with %v before the crash", life, err)
		}
		disk = after
		if last, err = verify(disk, atCrash, atCrash+1); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
	}
	t.Logf("%d revisions", last)
}

// Without syncs a crash may take the latest records, but never one in the middle,
// and never a row's record without the row.
func TestCrashNoSync(t *testing.T) {
	t.Parallel()
	disk := NewCrashFS()
	s := mustOpen(t, disk, func(o *Options) { o.NoSync = true })
	for rev := uint64(1); rev <= 60; rev++ {
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
		for _, percent := range []int{0, 30} {
			after := disk.CrashKeeping(percent, rand.New(rand.NewPCG(rev, 3)))
			if _, err := verify(after, rev/9*9, rev); err != nil {
				t.Fatalf("after %d: %v", rev, err)
			}
		}
	}
	mustClose(t, s)
	if _, err := verify(disk.Crash(), 60, 60); err != nil {
		t.Fatalf("an orderly Close syncs: %v", err)
	}
}
