package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// heldItem is an item of the obvious twin.
type heldItem struct {
	list string
	engine.AllowlistItem
}

// heldLists is a view with what it must answer for ever.
type heldLists struct {
	view  *engine.View
	items []heldItem
	now   int64
}

var askedOfLists = []string{"10.0.0.1", "10.0.0.0/30", "10.0.0.0/24", "0.0.0.0/0", "10.0.1.0/24", "2001:db8::1", "::/0", "192.0.2.1"}

// check compares what a view says is allowlisted with a loop over all items.
func (h *heldLists) check(t *testing.T, what string) {
	t.Helper()
	for _, asked := range askedOfLists {
		p, err := engine.ParseTarget(asked)
		wants(t, err, nil)
		var got, want []string
		for _, m := range h.view.Allowlisted(nil, p, h.now) {
			got = append(got, m.List+" "+m.Item.Value+" "+m.Item.Comment)
		}
		for _, it := range h.items {
			if it.Prefix.Overlaps(p) && !it.Expired(h.now) {
				want = append(want, it.list+" "+it.Value+" "+it.Comment)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s, %s: %q, want %q", what, asked, got, want)
		}
	}
	for _, it := range h.items {
		if held, ok := h.view.AllowlistHolds(it.list, it.Value, it.Prefix); !ok || *held != it.AllowlistItem {
			t.Fatalf("%s: %s of %s is %+v", what, it.Value, it.list, held)
		}
	}
	if _, ok := h.view.AllowlistHolds("a", "no such value", netip.MustParsePrefix("10.0.0.1/32")); ok {
		t.Fatalf("%s: what was never there is there", what)
	}
}

// Lists that grow and shrink at random share one index: every view goes on
// answering what it did, however much has changed since, and restarts, from
// snapshots or the journal, change nothing.
func TestAllowlistsAtRandom(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, random := context.Background(), rand.New(rand.NewPCG(1, 2))
	values := []string{"10.0.0.1", "10.0.0.1/32", "10.0.0.0/30", "10.0.0.2", "10.0.0.0/24", "10.0.1.7", "2001:db8::1", "2001:db8::/32", "0.0.0.0/0"}
	var items []heldItem
	var views []heldLists
	lists := map[string]bool{}
	for step := range 600 {
		name, now := string(rune('a'+random.IntN(4))), r.Now().UnixNano()
		if !lists[name] {
			wants(t, r.CreateAllowlist(ctx, name, "", now), nil)
			lists[name] = true
		}
		switch random.IntN(8) {
		case 0:
			wants(t, r.DeleteAllowlist(ctx, name, false), nil)
			delete(lists, name)
			items = slices.DeleteFunc(slices.Clone(items), func(it heldItem) bool { return it.list == name })
		case 1, 2, 3:
			gone := []string{values[random.IntN(len(values))], values[random.IntN(len(values))], "198.51.100.1"}
			before := len(items)
			items = slices.DeleteFunc(slices.Clone(items), func(it heldItem) bool { return it.list == name && slices.Contains(gone, it.Value) })
			if n, err := r.RemoveFromAllowlist(ctx, name, gone, now); err != nil || n != before-len(items) {
				t.Fatal(n, before-len(items), err)
			}
		default:
			var more []engine.AllowlistItem
			fresh := 0
			for range 1 + random.IntN(3) {
				it := engine.AllowlistItem{Value: values[random.IntN(len(values))], Comment: fmt.Sprint(step), CreatedAt: now}
				it.Prefix, _ = engine.ParseTarget(it.Value)
				if random.IntN(3) == 0 {
					it.ExpiresAt = now + int64(1+random.IntN(300))*1e9
				}
				more = append(more, it)
				if !slices.ContainsFunc(items, func(h heldItem) bool { return h.list == name && h.Value == it.Value }) {
					items = append(slices.Clone(items), heldItem{name, it})
					fresh++
				}
			}
			if n, _, err := r.AddToAllowlist(ctx, name, more, now); err != nil || n != fresh {
				t.Fatal(n, fresh, err)
			}
		}
		switch random.IntN(20) {
		case 0:
			r.Advance(61e9) // the retention takes what has expired
			now := r.Now().UnixNano()
			items = slices.DeleteFunc(slices.Clone(items), func(it heldItem) bool { return it.Expired(now) })
		case 1:
			wants(t, r.Snapshot(ctx), nil)
		case 2:
			r.Restart()
			views = nil // of an engine that is closed
		}
		views = append(views, heldLists{r.View(), items, r.Now().UnixNano()})
		views[len(views)-1].check(t, fmt.Sprint("after step ", step))
		old := random.IntN(len(views))
		views[old].check(t, fmt.Sprintf("the view of %d steps ago, at step %d", len(views)-1-old, step))
	}
}

// A change of a long list costs the journal what changes.
func TestLongAllowlistChangesCostLittle(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, now := context.Background(), r.Now().UnixNano()
	wants(t, r.CreateAllowlist(ctx, "long", "", now), nil)
	items := make([]engine.AllowlistItem, 5_000)
	for i := range items {
		items[i].Value = fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		items[i].Prefix, _ = engine.ParseTarget(items[i].Value)
	}
	_, _, err := r.AddToAllowlist(ctx, "long", items, now)
	wants(t, err, nil)
	before := r.Store().Metrics().AppendBytes
	for i := range 100 {
		it := engine.AllowlistItem{Value: fmt.Sprint("192.0.2.", i)}
		it.Prefix, _ = engine.ParseTarget(it.Value)
		it.ExpiresAt = now + 1e9
		_, _, err := r.AddToAllowlist(ctx, "long", []engine.AllowlistItem{it}, now)
		wants(t, err, nil)
		if n, err := r.RemoveFromAllowlist(ctx, "long", []string{items[i].Value}, now); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	r.Advance(61e9)
	if written := r.Store().Metrics().AppendBytes - before; written > 32<<10 {
		t.Errorf("201 changes wrote %d bytes", written)
	}
	if n := len(r.View().Allowlist("long").Items); n != 4_900 {
		t.Errorf("%d items", n)
	}
	r.Restart()
}
