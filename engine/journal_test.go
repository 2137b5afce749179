package engine_test

import (
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// The store's journal is one.
func TestStoreJournal(t *testing.T) {
	t.Parallel()
	enginetest.Journals(t, func(t *testing.T) enginetest.Shared {
		disk := persist.NewCrashFS()
		var store *persist.Store
		open := func() engine.Journal {
			var err error
			if store, err = persist.Open(&persist.Options{Dir: "store", FS: disk}); err != nil {
				t.Fatal(err)
			}
			return engine.NewStoreJournal(store)
		}
		t.Cleanup(func() { _ = store.Close() })
		release := func(to engine.Revision) {
			for _, rev := range []uint64{uint64(to), store.Last()} { // what the older of two needs is kept
				err := store.WriteSnapshot(rev, func(w *persist.SnapshotWriter) error { return w.Section(1, nil) })
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		return enginetest.Shared{Writer: open(), Release: release, Again: func() engine.Journal {
			crashed := disk.Crash()
			_ = store.Close()
			disk = crashed
			return open()
		}}
	})
}

// So is the simulated one.
func TestAgreed(t *testing.T) {
	t.Parallel()
	enginetest.Journals(t, func(*testing.T) enginetest.Shared {
		a := enginetest.NewAgreed(0)
		next := func() engine.Journal {
			n := a.Node()
			n.Claim()
			return n
		}
		return enginetest.Shared{Writer: next(), Again: next, Another: next}
	})
}
