package engine_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// Exports are kept over a restart, changed by whom they belong to alone, and declared ones
// follow their file.
func TestExports(t *testing.T) {
	t.Parallel()
	r, ctx := enginetest.NewRig(t, nil), context.Background()
	one := &engine.Export{Name: "edge.txt", Path: "/lists/edge", Format: "plain_text", Auth: engine.ExportToken, Secrets: []engine.ExportSecret{{Hash: engine.KeyHash{1}, At: 1}}}
	declared := []engine.Export{{Name: "core", Format: "ipset", Auth: engine.ExportAddress, AllowFrom: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	for _, err := range []error{r.AddExport(ctx, one), r.DeclareExports(ctx, declared)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := r.View().Revision()
	if err := r.DeclareExports(ctx, declared); err != nil || r.View().Revision() != before {
		t.Errorf("declared again: %v, revision %d after %d", err, r.View().Revision(), before)
	}
	refused := func(what string, err, kind error, word string) {
		t.Helper()
		if !errors.Is(err, kind) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", what, err)
		}
	}
	change := func(*engine.Export) error { return nil }
	refused("taken", r.AddExport(ctx, one), engine.ErrExists, "edge.txt")
	refused("path taken", r.AddExport(ctx, &engine.Export{Name: "b", Path: one.Path, Format: "f5"}), engine.ErrInvalid, "edge.txt")
	refused("name", r.AddExport(ctx, &engine.Export{Name: "a/b", Format: "f5"}), engine.ErrInvalid, "letters")
	refused("dots", r.AddExport(ctx, &engine.Export{Name: "..", Format: "f5"}), engine.ErrInvalid, "letters")
	refused("path", r.AddExport(ctx, &engine.Export{Name: "b", Path: "/v1/decisions", Format: "f5"}), engine.ErrInvalid, "below")
	refused("by address", r.AddExport(ctx, &engine.Export{Name: "b", Auth: engine.ExportAddress, Format: "f5"}), engine.ErrInvalid, "allow-from")
	refused("declared changed", r.ChangeExport(ctx, "core", change), engine.ErrRefused, "lapid.yaml")
	refused("declared deleted", r.DeleteExport(ctx, "core"), engine.ErrRefused, "lapid.yaml")
	refused("declared over another", r.DeclareExports(ctx, []engine.Export{*one}), engine.ErrExists, "edge.txt")
	refused("nothing", r.DeleteExport(ctx, "b"), engine.ErrNotFound, "b")

	if err := r.ChangeExport(ctx, one.Name, func(x *engine.Export) error { x.Limit, x.Name = 7, "other"; return nil }); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	v := r.View()
	if x := v.Export(one.Name); x == nil || x.Limit != 7 || x.Secrets[0].Hash[0] != 1 || v.ExportAt("/lists/edge") != x || len(v.Exports()) != 2 {
		t.Fatalf("after a restart: %+v", v.Exports())
	}
	if err := r.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	if got := r.View().Exports(); len(got) != 2 || !got[0].Declared || got[1].Limit != 7 {
		t.Fatalf("out of a snapshot: %+v", got)
	}
	if err := r.DeclareExports(ctx, nil); err != nil || len(r.View().Exports()) != 1 {
		t.Fatalf("declared no more: %v, %+v", err, r.View().Exports())
	}
}
