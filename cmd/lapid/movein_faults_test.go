package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestMoveInOnAFullDisk has the store's disk filled in the middle, without a server and beside
// one: nothing is taken over, and with room all is. It needs root, for a small disk of its own.
func TestMoveInOnAFullDisk(t *testing.T) {
	t.Parallel()
	db := largeDatabase(t, 30_000)
	for _, c := range []struct {
		beside bool
		free   int64 // bytes
	}{{false, 3 << 20}, {true, 1 << 20}, {true, 20 << 20}} {
		room, h := newMountRoom(t), emptyHouse(t)
		folder := filepath.Dir(h.store())
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		room.do(t, "a disk", func() error { return syscall.Mount("lapid-test", folder, "tmpfs", 0, "mode=0700,size=96m") })
		run := func(args ...string) (p *process) {
			room.do(t, "a process", func() error { p = start(t, nil, append([]string{"-c", h.file}, args...)...); return nil })
			return p
		}
		var server *process
		if c.beside {
			server = run("serve")
			h.awaitHealth(server)
		}
		filler := filepath.Join(folder, "filler")
		room.do(t, "filling it", func() error {
			var s syscall.Statfs_t
			if err := syscall.Statfs(folder, &s); err != nil {
				return err
			}
			return os.WriteFile(filler, make([]byte, int64(s.Bavail)*s.Bsize-c.free), 0o600)
		})
		p := run("movein", "--from", "sqlite:"+db)
		if code := p.wait(t); code != exitFails || !strings.Contains(p.out.String(), "nothing was taken over") || !strings.Contains(p.out.String(), "no space left") {
			t.Errorf("%+v: it ends with %d: %s", c, code, p.out)
		}
		room.do(t, "a look", func() error {
			entries, err := os.ReadDir(folder)
			for _, e := range entries {
				if strings.Contains(e.Name(), "movin") || strings.Contains(e.Name(), "movein") {
					t.Errorf("%+v: it leaves %s", c, e.Name())
				}
			}
			return err
		})
		room.do(t, "making room", func() error { return os.Remove(filler) })
		if c.beside {
			await(t, "the server is well", func() bool { code, _ := h.condition("/ready"); return code == 200 })
		}
		p = run("movein", "--from", "sqlite:"+db)
		if code := p.wait(t); code != exitGood || !strings.Contains(p.out.String(), "30020 new decisions") {
			t.Errorf("%+v: with room it ends with %d", c, code)
		}
		if server != nil {
			kill(t, server)
		}
	}
}

// TestMoveInAgainIsWholeOrNot kills the second taking over, at many moments, without a server
// and beside one: what the store has is what was there before, or all of it.
func TestMoveInAgainIsWholeOrNot(t *testing.T) {
	t.Parallel()
	const many, more = 8_000, 6_000
	db := largeDatabase(t, many)
	h := newHouse(t)
	h.expect(h.do("", "movein", "--from", "sqlite:"+db), exitGood, "~| decisions", "~taken over into")
	sqlite(t, db, fmt.Sprintf(`UPDATE decisions SET until = '2026-07-03 10:00:00+00:00' WHERE id BETWEEN 2001 AND 3000;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO alerts (id, created_at, updated_at, scenario, simulated, machine_alerts) SELECT 50000 + i, '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', 's', 0, 1 FROM n;
		INSERT INTO decisions (id, created_at, updated_at, until, scenario, type, scope, value, origin, simulated, alert_decisions)
		SELECT id, created_at, created_at, '2036-01-01 00:00:00+00:00', 's', 'ban', 'Ip', printf('172.%%d.%%d.%%d', 28, (id >> 8) & 255, id & 255), 'crowdsec', 0, id FROM alerts WHERE id > 50000`, more))
	before, after := many, many-1000+more
	holds := func() int {
		p := start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		n := holding{}.poll(h, "?startup=true", "172.")
		kill(t, p)
		return n
	}
	// Each moment is a size that the copy, or what has arrived, has reached.
	for i, size := range []int64{1, 100_000, 400_000, 900_000} {
		for _, beside := range []bool{false, true} {
			var server *process
			file := h.store() + ".movingin"
			if beside {
				server = start(t, nil, "-c", h.file, "serve")
				h.awaitHealth(server)
				file = filepath.Join(filepath.Dir(h.store()), []string{"movein.arriving", "movein.arrived"}[i%2])
			}
			p := start(t, nil, "-c", h.file, "movein", "--from", "sqlite:"+db)
			await(t, "it is so far, or through", func() bool { return sizeBelow(file) >= size || !running(p) })
			victim := p
			if beside {
				victim = server
			}
			kill(t, victim)
			p.wait(t)
			if n := holds(); n != before && n != after {
				t.Fatalf("size %d, beside %v: %d are there, which is neither %d nor %d", size, beside, n, before, after)
			} else if n == after {
				before = after // it came through
			}
			h.expect(h.do("", "check"), exitGood, "~no damage found", "")
		}
	}
	if r := h.do("", "movein", "--from", "sqlite:"+db); r.exit != exitGood {
		t.Fatal(r)
	}
	if n := holds(); n != after {
		t.Errorf("in the end %d are there, want %d", n, after)
	}
}

// sizeBelow is how many bytes are in a file, or in the files of a folder; 0 where nothing is.
func sizeBelow(path string) (n int64) {
	_ = filepath.WalkDir(path, func(_ string, d os.DirEntry, err error) error {
		if err == nil {
			if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}
