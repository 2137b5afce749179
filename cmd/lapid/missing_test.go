package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// killedHouse is one whose server was killed after some alerts, with no snapshot.
func killedHouse(t *testing.T) (*house, *ledger) {
	t.Helper()
	h := newHouse(t)
	answered := &ledger{alerts: map[string]int{}, asked: map[string]int{}}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	for i := range 20 {
		scenario := fmt.Sprint("s", i)
		if code, text, err := h.ask("POST", "/v1/alerts", alertText(scenario, answered.begin(scenario, 3), 3)); code != 201 {
			t.Fatal(code, text, err)
		}
		answered.alerts[scenario] = 3
	}
	kill(t, p)
	return h, answered
}

// What is missing from the store of a server that was killed, or was put there from
// another, is named by a check and by a start, and neither changes anything: when
// it is put back, all that was answered is there.
func TestMissingIsMissed(t *testing.T) {
	t.Parallel()
	h, answered := killedHouse(t)
	other, _ := killedHouse(t)
	logs := func(h *house) []string { logs := h.files("store/*.log"); slices.Sort(logs); return logs }
	newest := logs(h)[len(logs(h))-1]
	foreign := logs(other)[len(logs(other))-1]
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	aside := filepath.Join(h.dir, "aside")
	away := func(path string) (back func()) {
		must(os.Rename(path, aside))
		return func() { must(os.RemoveAll(path)); must(os.Rename(aside, path)) }
	}
	instead := func(path, with string) (back func()) {
		put := away(path)
		text, err := os.ReadFile(with)
		must(err)
		must(os.WriteFile(path, text, 0o600))
		return put
	}
	add := func(name string) (back func()) {
		must(os.WriteFile(filepath.Join(h.store(), name), nil, 0o600))
		return func() { must(os.Remove(filepath.Join(h.store(), name))) }
	}
	in := func(name string) string { return filepath.Join(h.store(), name) }
	for _, c := range []struct {
		damage func() (back func())
		want   string
	}{
		{func() func() { return away(newest) }, "logs of the journal are missing: " + newest},
		{func() func() { return instead(newest, "/dev/null") }, "and now ends at"},
		{func() func() { return instead(newest, foreign) }, newest + " is from another store"},
		{func() func() { return away(in("store")) }, "there is no journal in " + in("store")},
		{func() func() { back := away(in("store")); must(os.Mkdir(in("store"), 0o700)); return back }, "there is no journal in " + in("store")},
		{func() func() { return away(in("LATEST")) }, in("LATEST")},
		{func() func() { return instead(in("FORMAT"), other.store()+"/FORMAT") }, in("FORMAT") + " is from another store"},
		{func() func() { return add("NEW") }, in("NEW") + " lies in a store that was used"},
	} {
		back := c.damage()
		for range 2 {
			h.expect(h.do("", "check"), exitFails, "~"+c.want, "~the store is damaged")
			p := start(t, nil, "-c", h.file, "serve")
			if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), c.want) {
				t.Errorf("a start ends with %d, not with %q:\n%s", code, c.want, p.out)
			}
		}
		back()
		h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.compare(answered)
}

// A loss is accepted in words, and by nobody else; then the server starts, and
// what comes later is as safe as ever.
func TestAcceptLoss(t *testing.T) {
	t.Parallel()
	h, _ := killedHouse(t)
	h.steps([]step{
		{"check --accept-loss", exitGood, "~no damage found", "~nothing is missing"},
		{"check --accept-loss x.backup", exitFails, "", "~not for a backup"},
	})
	for _, log := range h.files("store/*.log") {
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
	h.steps([]step{
		{"check", exitFails, "~lapid check --accept-loss", "~the store is damaged"},
		{"machines list -o raw", exitFails, "", "~are missing: "},
		{"check --accept-loss", exitGood, "~no damage found", "~given up: "},
		{"check --accept-loss", exitGood, "~no damage found", "~nothing is missing"},
		{"machines add again -p secret -f @DIR@/again.yaml", 0, "", "~successfully added"},
	})
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	kill(t, p)
	h.steps([]step{{"machines list -o raw", exitGood, "~again,", ""}})
}

// A second server is not admitted when the file LOCK is taken away beside the first.
func TestLockTakenAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	if err := os.Remove(filepath.Join(h.store(), "LOCK")); err != nil {
		t.Fatal(err)
	}
	second := start(t, nil, "-c", h.file, "serve")
	if code := second.wait(t); code != exitFails || !strings.Contains(second.out.String(), "another server is running") {
		t.Errorf("a second server ends with %d:\n%s", code, second.out)
	}
	if code, text, err := h.ask("GET", "/v1/decisions", ""); code != 200 {
		t.Errorf("the first one: %d %s %v", code, text, err)
	}
}
