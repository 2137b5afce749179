package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapid/cmd/lapid/datadir"
)

// TestStoreGoneUnderServer: whatever is taken away of the store of a running server,
// no write is answered from the moment that is noticed, everybody is told what to do,
// reads go on, and when it is put back writes are taken again. All that was answered
// by then is there.
func TestStoreGoneUnderServer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	answered := &ledger{alerts: map[string]int{}, asked: map[string]int{}}
	n := 0
	add := func() int {
		n++
		scenario := fmt.Sprint("s", n)
		code, text, err := h.ask("POST", "/v1/alerts", alertText(scenario, answered.begin(scenario, 2), 2))
		switch {
		case err != nil || code != 201 && code != 500:
			t.Fatal(code, text, err)
		case code == 201:
			answered.alerts[scenario] = 2
		default:
			delete(answered.asked, scenario)
		}
		return code
	}
	add()
	logs := h.files("store/*.log")
	slices.Sort(logs)
	aside := filepath.Join(h.dir, "aside")
	for _, path := range []string{logs[len(logs)-1], h.store() + "/store", h.store() + "/FORMAT", h.store()} {
		if err := os.Rename(path, aside); err != nil {
			t.Fatal(err)
		}
		await(t, "writes are refused without "+path, func() bool { return add() == 500 })
		await(t, "that is told", func() bool {
			code, text := h.condition("/ready")
			return code == 503 && strings.Contains(text, "removed or exchanged") && strings.Contains(text, h.store()) && strings.Contains(text, "lapid backup DIR")
		})
		if !strings.Contains(p.out.String(), "the store was removed or exchanged under the running server") {
			t.Errorf("the log does not say it:\n%s", p.out)
		}
		h.compare(answered)
		h.expect(h.do("", "--init", "bouncers", "add", "second"), exitFails, "", "~put the store back where it was\nNothing was stored. 'lapid ready' says what else can be done.")
		if err := os.Rename(aside, path); err != nil {
			t.Fatal(err)
		}
		await(t, "writes are taken again with "+path, func() bool { return add() == 201 })
		await(t, "it is ready", func() bool { code, _ := h.condition("/ready"); return code == 200 })
	}
	if err := os.Remove(h.store() + "/LATEST"); err != nil {
		t.Fatal(err)
	}
	await(t, "LATEST is made again", func() bool { return !datadir.Missing(h.store() + "/LATEST") })
	if err := os.Truncate(h.store()+"/LATEST", 0); err != nil {
		t.Fatal(err)
	}
	await(t, "LATEST is made again once it was cut", func() bool {
		info, err := os.Stat(h.store() + "/LATEST")
		return err == nil && info.Size() > 0
	})
	await(t, "writes are taken", func() bool { return add() == 201 })
	kill(t, p)
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.compare(answered)

	// What is in memory can be saved, and restored.
	if err := os.RemoveAll(h.store()); err != nil {
		t.Fatal(err)
	}
	await(t, "writes are refused", func() bool { return add() == 500 })
	backups := filepath.Join(h.dir, "backups")
	h.expect(h.do("", "backup", backups), exitGood, "", "~wrote ")
	kill(t, p)
	h.expect(h.do("", "restore", newest(t, backups)), exitGood, "", "~restored")
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.compare(answered)
}

// TestStoreGoneAtStart: where a store was and is none any more, or another, nobody
// begins anew unasked, and it is said how to go on.
func TestStoreGoneAtStart(t *testing.T) {
	t.Parallel()
	h, answered := killedHouse(t)
	other, _ := killedHouse(t)
	backups := filepath.Join(h.dir, "backups")
	h.expect(h.do("", "backup", backups), exitGood, "", "~wrote ")
	aside := filepath.Join(h.dir, "aside")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Rename(h.store(), aside))
	refused := func(what string) {
		t.Helper()
		for _, verb := range []string{"check", "decisions list", "--init bouncers add x", "serve -t", "backup " + backups, "check --accept-loss"} {
			h.expect(h.do("", words(verb)...), exitFails, "", "~the store that was made here is not there")
		}
		p := start(t, nil, "-c", h.file, "serve")
		if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), what) || !strings.Contains(p.out.String(), "lapid restore --force FILE") {
			t.Errorf("a start ends with %d, not with %q:\n%s", code, what, p.out)
		}
	}
	refused("is missing or empty")
	must(os.Mkdir(h.store(), 0o700))
	refused("is missing or empty")
	must(os.WriteFile(h.store()+"/LOCK", nil, 0o600))
	refused("is missing or empty")
	must(os.RemoveAll(h.store()))
	must(os.CopyFS(h.store(), os.DirFS(other.store())))
	refused("is another one")
	must(os.RemoveAll(h.store()))
	must(os.Rename(aside, h.store()))
	h.expect(h.do("", "check"), exitGood, "~no damage found", "")

	// A copy of the whole folder is as good as the folder, and so is what is restored.
	must(errors.Join(os.Remove(filepath.Join(h.dir, "lapid/admin.sock")), os.Rename(filepath.Join(h.dir, "lapid"), aside)))
	must(os.CopyFS(filepath.Join(h.dir, "lapid"), os.DirFS(aside)))
	h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	must(os.RemoveAll(h.store()))
	h.expect(h.do("", "restore", newest(t, backups)), exitGood, "", "~restored")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.compare(answered)
	kill(t, p)

	// Without the mark it is a folder of an earlier version, or one without a store.
	must(os.Remove(filepath.Join(h.dir, "lapid", madeFileName)))
	h.expect(h.do("", "check"), exitGood, "~no damage found", "")
	h.expect(h.do("", "bouncers", "list"), exitGood, "", "")
	if datadir.Missing(filepath.Join(h.dir, "lapid", madeFileName)) {
		t.Error("an opened store is not noted")
	}
	must(errors.Join(os.Remove(filepath.Join(h.dir, "lapid", madeFileName)), os.RemoveAll(h.store())))
	h.expect(h.do("", "--init", "bouncers", "add", "new"), exitGood, "", "")
}
