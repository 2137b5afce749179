//go:build unix && !aix && !solaris

package persist

import (
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A folder that was given back can be taken at once, though other goroutines
// start programs at that moment, which inherit what is open until they run.
func TestLockIsGivenBackBesideChildren(t *testing.T) {
	t.Parallel()
	disk, path := machineDisk{vfs.Default}, filepath.Join(t.TempDir(), lockFile)
	var all sync.WaitGroup
	var enough atomic.Bool
	for range 4 {
		all.Go(func() {
			for !enough.Load() {
				if err := exec.Command("true").Run(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		l, err := disk.Lock(path)
		if err != nil {
			t.Errorf("after %d times: %v", i, err)
			break
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	enough.Store(true)
	all.Wait()
}
