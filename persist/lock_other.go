//go:build !unix || aix || solaris

package persist

import "github.com/cockroachdb/pebble/v2/vfs"

// machineDisk is the machine's own disk.
type machineDisk struct{ vfs.FS }
