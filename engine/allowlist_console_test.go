package engine_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// A list of the console follows its id: what it holds, how it is called and described is
// replaced in one commit, what is as it was costs none, and nobody else may change it.
func TestConsoleAllowlist(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	ctx, now := context.Background(), r.Now().UnixNano()
	item := func(value, comment string) engine.AllowlistItem {
		p, err := engine.ParseTarget(value)
		wants(t, err, nil)
		return engine.AllowlistItem{Value: value, Prefix: p, Comment: comment}
	}
	put := func(l engine.Allowlist, want engine.AllowlistChange) {
		t.Helper()
		if change, err := r.PutConsoleAllowlist(ctx, &l, now); err != nil || change != want {
			t.Fatalf("%+v, %v; wanted %+v", change, err, want)
		}
	}
	values := func(l *engine.Allowlist) (list []string) {
		for _, it := range l.Items {
			list = append(list, it.Value+" "+it.Comment)
		}
		return list
	}
	wants(t, r.CreateAllowlist(ctx, "mine", "", now), nil)
	list := engine.Allowlist{Name: "ours", Description: "d", ConsoleID: "7", Items: []engine.AllowlistItem{
		item("192.0.2.1", ""), item("2001:db8::/32", "six"), item("192.0.2.1", "twice"), {Value: "192.0.2.9", Prefix: item("192.0.2.9", "").Prefix, ExpiresAt: now - 1}}}
	put(list, engine.AllowlistChange{Made: true, Added: 2})
	before := r.View().Revision()
	put(list, engine.AllowlistChange{})
	if rev := r.View().Revision(); rev != before {
		t.Errorf("the same again made revision %d of %d", rev, before)
	}
	held := r.View().ConsoleAllowlist("7")
	if !held.FromConsole || held.Name != "ours" || !slices.Equal(values(held), []string{"192.0.2.1 ", "2001:db8::/32 six"}) {
		t.Errorf("%+v", held)
	}

	list.Name, list.Description = "theirs", "other"
	list.Items = []engine.AllowlistItem{item("2001:db8::/32", "6"), item("192.0.2.0/24", "")}
	put(list, engine.AllowlistChange{Added: 2, Removed: 2})
	if held.Name != "ours" || len(held.Items) != 2 {
		t.Errorf("a list that was held changed: %+v", held)
	}
	v := r.View()
	if l := v.Allowlist("theirs"); v.Allowlist("ours") != nil || l != v.ConsoleAllowlist("7") || l.CreatedAt != held.CreatedAt || l.Description != "other" ||
		!slices.Equal(values(l), []string{"2001:db8::/32 6", "192.0.2.0/24 "}) {
		t.Errorf("%+v", l)
	}
	wants(t, r.Check(), nil)

	for verb, err := range map[string]error{
		"delete": r.DeleteAllowlist(ctx, "theirs", false),
		"add": func() error {
			_, _, err := r.AddToAllowlist(ctx, "theirs", []engine.AllowlistItem{item("::1", "")}, now)
			return err
		}(),
		"remove": func() error {
			_, err := r.RemoveFromAllowlist(ctx, "theirs", []string{"192.0.2.0/24"}, now)
			return err
		}(),
	} {
		if !errors.Is(err, engine.ErrRefused) || !strings.Contains(err.Error(), "managed by the console") {
			t.Errorf("%s: %v", verb, err)
		}
	}
	wants(t, r.CreateAllowlist(ctx, "theirs", "", now), engine.ErrExists)
	list.Name = "mine"
	_, err := r.PutConsoleAllowlist(ctx, &list, now)
	wants(t, err, engine.ErrExists)
	list.ConsoleID = "8"
	_, err = r.PutConsoleAllowlist(ctx, &list, now)
	wants(t, err, engine.ErrExists)
	put(engine.Allowlist{Name: "without-id"}, engine.AllowlistChange{Made: true})
	put(engine.Allowlist{Name: "without-id", Items: list.Items[:1]}, engine.AllowlistChange{Added: 1})
	_, err = r.DropConsoleAllowlist(ctx, "8")
	wants(t, err, engine.ErrNotFound)
	_, err = r.DropConsoleAllowlist(ctx, "")
	wants(t, err, engine.ErrNotFound)

	// A snapshot, a start and a backup keep it.
	wants(t, r.Snapshot(ctx), nil)
	var b bytes.Buffer
	_, _, err = r.Backup(ctx, &b)
	wants(t, err, nil)
	r.Restart()
	if l := r.View().ConsoleAllowlist("7"); l == nil || !l.FromConsole || len(l.Items) != 2 {
		t.Errorf("after a start: %+v", l)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	_, err = engine.Restore(&engine.Options{Dir: dir}, engine.Actor{}, &b)
	wants(t, err, nil)
	restored, err := engine.Open(&engine.Options{Dir: dir})
	wants(t, err, nil)
	if l := restored.View().ConsoleAllowlist("7"); l == nil || len(l.Items) != 2 || restored.View().Allowlist("without-id") == nil || restored.View().Allowlist("mine").FromConsole {
		t.Errorf("in a restored store: %+v", l)
	}
	wants(t, restored.Close(), nil)

	name, err := r.DropConsoleAllowlist(ctx, "7")
	if wants(t, err, nil); name != "theirs" || r.View().ConsoleAllowlist("7") != nil {
		t.Error(name)
	}
}

// What a list of the console newly holds ends in the same commit, and readers of the history
// are told of both.
func TestConsoleAllowlistEnds(t *testing.T) {
	t.Parallel()
	r := enginetest.NewRig(t, nil)
	p := populated{r, t}
	p.add("192.0.2.1", "4h")
	p.add("192.0.2.0/26", "4h")
	p.add("198.51.100.1", "4h")
	from := r.View().Revision()
	target, err := engine.ParseTarget("192.0.2.0/24")
	wants(t, err, nil)
	list := engine.Allowlist{Name: "ours", ConsoleID: "7", Items: []engine.AllowlistItem{{Value: "192.0.2.0/24", Prefix: target}}}
	change, err := r.PutConsoleAllowlist(context.Background(), &list, r.Now().UnixNano())
	if err != nil || change.Ended != 2 {
		t.Errorf("%+v, %v", change, err)
	}
	list.Description = "d"
	_, err = r.PutConsoleAllowlist(context.Background(), &list, r.Now().UnixNano())
	wants(t, err, nil)
	var told []string
	commits, _ := r.Commits(from)
	for _, c := range commits {
		for change := range c.Changes() {
			text := change.Kind.String() + " " + change.Name + strings.Join(change.Items, ",")
			if change.Kind == engine.DecisionEnded {
				text += change.Decision.Value() + " by " + change.By.Name
			}
			told = append(told, text)
		}
	}
	want := []string{"allowlist put ours192.0.2.0/24", "decision ended 192.0.2.1 by ours", "decision ended 192.0.2.0/26 by ours", "allowlist put ours"}
	if !slices.Equal(told, want) {
		t.Errorf("told of %q", told)
	}
}
