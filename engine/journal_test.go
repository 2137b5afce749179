package engine_test

import (
	"context"
	"errors"
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

// Of a store's commits those with an alert may be packed, those that bring a machine's password may not, nor what is no
// commit of this version.
func TestHoldsSecrets(t *testing.T) {
	t.Parallel()
	rig := enginetest.NewRig(t, nil)
	begun := rig.View().Revision()
	if err := rig.AddMachine(context.Background(), &engine.Machine{ID: "m", PasswordHash: []byte("hash")}, false); err != nil {
		t.Fatal(err)
	}
	machine := rig.View().Revision()
	a := &engine.Alert{Scenario: "s", StopAt: engine.StampOf(enginetest.Epoch), Decisions: []engine.NewDecision{
		{Scope: "Ip", Value: "192.0.2.1", Type: "ban", Origin: "crowdsec", Scenario: "s", Duration: "4h"}}}
	if _, err := rig.AddAlerts(context.Background(), "", []*engine.Alert{a}, enginetest.Epoch.UnixNano()); err != nil {
		t.Fatal(err)
	}
	alert := rig.View().Revision()
	over := errors.New("over")
	err := engine.NewStoreJournal(rig.Store()).Follow(context.Background(), 0, func(rev engine.Revision, commit []byte) error {
		if got, want := engine.HoldsSecrets(commit), rev <= begun || rev == machine; got != want && (rev == 1 || rev == machine || rev == alert) {
			t.Errorf("revision %d holds secrets: %v", rev, got)
		}
		if rev == alert {
			for n := range commit {
				_ = engine.HoldsSecrets(commit[:n]) // whatever it is, it does not panic
			}
			if !engine.HoldsSecrets(append([]byte{255}, commit[1:]...)) || !engine.HoldsSecrets(nil) {
				t.Error("a commit that nobody reads holds no secrets")
			}
			return over
		}
		return nil
	})
	if !errors.Is(err, over) {
		t.Error(err)
	}
}
