package engine_test

import (
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// TestSharedName: clients know places of a history that begins in the place of another by another name, and those of the
// same by the same, also after a restart and at a node that follows.
func TestSharedName(t *testing.T) {
	t.Parallel()
	called := "one"
	agreed := enginetest.NewAgreed(0)
	ends := [2]*enginetest.AgreedNode{agreed.Node(), agreed.Node()}
	var rigs [2]*enginetest.Rig
	for i := range rigs {
		rigs[i] = enginetest.NewRig(t, func(o *engine.Options) { o.Journal, o.Shared = ends[i], func() string { return called } })
	}
	ends[0].Claim()
	if err := rigs[0].Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, err := rigs[0].NameHistory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := rigs[1].Reach(t.Context(), rigs[0].View().Revision()); err != nil {
		t.Fatal(err)
	}
	if follows, err := rigs[1].NameHistory(t.Context()); err != nil || follows != first {
		t.Errorf("at a follower %s, and not %s: %v", follows, first, err)
	}
	if again, err := rigs[0].NameHistory(t.Context()); err != nil || again != first {
		t.Errorf("asked again %s, and not %s: %v", again, first, err)
	}
	called = "two"
	if other, err := rigs[0].NameHistory(t.Context()); err != nil || other == first {
		t.Errorf("another history is called %s, too: %v", other, err)
	}
}
