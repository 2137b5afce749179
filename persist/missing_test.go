package persist

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// killedStore is what a process leaves that was killed after revision 60: opened
// twice, with snapshots of 45 and 54 and records after them, over several logs.
func killedStore(t *testing.T, percent int) *CrashFS {
	t.Helper()
	disk := NewCrashFS()
	s := mustOpen(t, disk)
	for rev := uint64(1); rev <= 60; rev++ {
		if rev == 20 {
			mustClose(t, s)
			s = mustOpen(t, disk)
		}
		if _, err := step(s, rev); err != nil {
			t.Fatal(err)
		}
	}
	killed := disk.CrashKeeping(percent, rand.New(rand.NewPCG(1, 1)))
	mustClose(t, s)
	return killed
}

// files is the content of a folder, by path.
type files map[string]string

func readTree(t *testing.T, disk FS, dir string) files {
	t.Helper()
	all := files{}
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		at := path.Join(dir, name)
		info, err := disk.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			maps.Copy(all, readTree(t, disk, at))
		} else {
			all[at] = string(slurp(t, disk, at))
		}
	}
	return all
}

// put makes the folder hold exactly these files.
func (all files) put(t *testing.T, disk FS) {
	t.Helper()
	if err := disk.RemoveAll(testDir); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{storeDir, snapshotDir} {
		if err := disk.MkdirAll(path.Join(testDir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for at, content := range all {
		file, err := disk.Create(at, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = file.Write([]byte(content)); err == nil {
			err = file.Sync()
		}
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func (all files) below(dir string) (names []string) {
	for at := range all {
		if strings.HasPrefix(at, path.Join(testDir, dir)+"/") {
			names = append(names, at)
		}
	}
	slices.Sort(names)
	return names
}

// logs are the logs in order of age.
func (all files) logs() []string {
	return slices.DeleteFunc(all.below(storeDir), func(at string) bool { return !strings.HasSuffix(at, logSuffix) })
}

func (all files) newestLog() string { logs := all.logs(); return logs[len(logs)-1] }

// deleteLike takes away what has that in its name.
func (all files) deleteLike(part string) {
	for at := range all {
		if strings.Contains(at, part) {
			delete(all, at)
		}
	}
}

func (all files) snapshots() []string { return all.below(snapshotDir) }

// v1Snapshot is a snapshot as format 1 has it: it does not say which store it is from.
func v1Snapshot(t *testing.T, rev uint64) string {
	t.Helper()
	var b strings.Builder
	first := snapshotFile
	first.version = 1
	w := newFrameWriter(&b, first, rev)
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// What is missing from a killed store, or is another store's, is refused by name,
// at each attempt; nothing is lost by the attempt: when it is put
// back, all is there. Where an operator may accept the loss, that is the end of it.
func TestMissing(t *testing.T) {
	t.Parallel()
	other := readTree(t, killedStore(t, 100), testDir) // the same history, in another store
	for _, c := range []struct {
		name   string
		damage func(ours, other files)
		want   string
		accept bool
	}{
		{"newest log", func(ours, _ files) { delete(ours, ours.newestLog()) }, "logs of the journal are missing: ", true},
		{"all logs", func(ours, _ files) {
			for _, log := range ours.logs() {
				delete(ours, log)
			}
		}, "logs of the journal are missing: ", true},
		{"newest log emptied", func(ours, _ files) { ours[ours.newestLog()] = "" }, "it reached revision 60 and now ends at", true},
		{"newest log cut", func(ours, _ files) {
			log := ours.newestLog()
			ours[log] = ours[log][:strings.Index(ours[log], string(appendJournalKey(nil, 60)))]
		}, "it reached revision 60 and now ends at", true},
		{"log of another store", func(ours, other files) { ours[ours.newestLog()] = other[other.newestLog()] }, "is from another store", false},
		{"one more log, of another store", func(ours, other files) { ours[testDir+"/store/999999.log"] = other[other.newestLog()] }, "is from another store", false},
		{"store emptied", func(ours, _ files) {
			for _, at := range ours.below(storeDir) {
				delete(ours, at)
			}
		}, "there is no journal in", true},
		{"store of another store", func(ours, other files) {
			for _, at := range ours.below(storeDir) {
				delete(ours, at)
			}
			for _, at := range other.below(storeDir) {
				ours[at] = other[at]
			}
		}, "from another store, that with the id", false},
		{"all logs and snapshots of another store", func(ours, other files) {
			for _, at := range append(ours.logs(), ours.snapshots()...) {
				delete(ours, at)
			}
			for i, log := range other.logs() {
				ours[fmt.Sprintf("%s/store/%06d.log", testDir, 900+i)] = other[log]
			}
			for _, at := range other.snapshots() {
				ours[at] = other[at]
			}
		}, ".snapshot are from another store, that with the id", false},
		{"fifty logs of another store", func(ours, other files) {
			for i := range 50 {
				ours[fmt.Sprintf("%s/store/%06d.log", testDir, 900+i)] = other[other.newestLog()]
			}
		}, "and 40 more are from another store", false},
		{"marker of the manifest", func(ours, _ files) { ours.deleteLike("marker.manifest.") }, "touch " + testDir + "/store/marker.manifest.000001.MANIFEST-", false},
		{"marker of the version", func(ours, _ files) { ours.deleteLike("marker.format-version.") }, "touch " + testDir + "/store/marker.format-version.000001.021", false},
		{"markers and manifests", func(ours, _ files) { ours.deleteLike("marker."); ours.deleteLike("/MANIFEST-") }, "there is no journal in", false},
		{"manifests", func(ours, _ files) { ours.deleteLike("/MANIFEST-") }, "a part of the journal, is missing", false},
		{"tables", func(ours, _ files) { ours.deleteLike(".sst") }, ".sst, a part of the journal, is missing", false},
		{"a table cut", func(ours, _ files) {
			for at := range ours {
				if isTable(at) {
					ours[at] = ours[at][:len(ours[at])/2]
				}
			}
		}, ".sst, a part of the journal, is not as it was written, and has", false},
		{"settings", func(ours, _ files) {
			for at := range ours {
				if strings.Contains(at, optionsPrefix) {
					ours[at] = ours[at][:len(ours[at])/2]
				}
			}
		}, "; remove it: it holds nothing but settings", false},
		{"LATEST", func(ours, _ files) { delete(ours, testDir+"/LATEST") }, "LATEST, which tells how far", true},
		{"LATEST damaged", func(ours, _ files) { ours[testDir+"/LATEST"] = strings.Repeat("x", 2*markSize) }, "LATEST, which tells how far", true},
		{"LATEST of another store", func(ours, other files) { ours[testDir+"/LATEST"] = other[testDir+"/LATEST"] }, "LATEST is from another store", true},
		{"FORMAT of another store", func(ours, other files) { ours[testDir+"/FORMAT"] = other[testDir+"/FORMAT"] }, "FORMAT is from another store", false},
		{"snapshot of another store", func(ours, other files) {
			ours[testDir+"/snapshots/00000000000000000099.snapshot"] = strings.Replace(other[other.snapshots()[1]], "x", "x", 1)
		}, "", false}, // its header says 54: it is damaged, and passed over
		{"newer snapshot of another store", func(ours, other files) {
			delete(ours, ours.snapshots()[1])
			ours[other.snapshots()[1]] = other[other.snapshots()[1]]
		}, "is from another store, that with the id", false},
		{"snapshot of a store without an id", func(ours, _ files) {
			ours[testDir+"/snapshots/00000000000000000099.snapshot"] = v1Snapshot(t, 99)
		}, "is from another store, one without an id", false},
		{"NEW", func(ours, _ files) { ours[testDir+"/NEW"] = "" }, "NEW lies in a store that was used", false},
		{"NEW in a store that has only logs", func(ours, _ files) {
			ours[testDir+"/NEW"] = ""
			for _, at := range ours.snapshots() {
				delete(ours, at)
			}
			for _, at := range ours.below(storeDir) {
				if isTable(at) {
					delete(ours, at)
				}
			}
		}, "NEW lies in a store that was used", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disk := killedStore(t, 100)
			whole := readTree(t, disk, testDir)
			damaged := maps.Clone(whole)
			c.damage(damaged, other)
			damaged.put(t, disk)
			if c.want == "" {
				if _, err := verify(disk, 60, 60); err != nil {
					t.Fatal(err)
				}
				return
			}
			for i := range 4 { // a check, a start, and both again
				_, err := Open(&Options{Dir: testDir, FS: disk, MemTableSize: 64 << 10, ReadOnly: i%2 == 0})
				if given := new(advice); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) || !errors.As(err, &given) {
					t.Fatalf("attempt %d: %v", i, err)
				}
			}
			now := readTree(t, disk, testDir)
			if !maps.Equal(now, damaged) {
				t.Error("a start that refused has changed the store")
			}
			acceptLoss(t, now, c.accept)
			for at, content := range whole { // put back what was taken
				if is, there := damaged[at]; !there || is != content {
					now[at] = content
				}
			}
			for at := range damaged {
				if _, ours := whole[at]; !ours {
					delete(now, at)
				}
			}
			now.put(t, disk)
			if _, err := verify(disk, 60, 60); err != nil {
				t.Fatalf("put back: %v", err)
			}
		})
	}
}

// acceptLoss makes what is there the whole store, where that is possible: it opens,
// goes on, and is as careful as before.
func acceptLoss(t *testing.T, now files, possible bool) {
	t.Helper()
	disk := NewMemFS()
	now.put(t, disk)
	o := &Options{Dir: testDir, FS: disk, MemTableSize: 64 << 10}
	loss, err := AcceptLoss(o)
	if !possible {
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("the loss is accepted: %v", err)
		}
		return
	}
	if err != nil || len(loss.Missing) == 0 || loss.Last > 60 || loss.Last < 54 || loss.Known < loss.Last || loss.Known > 60 {
		t.Fatalf("accepting the loss: %+v, %v", loss, err)
	}
	if again, err := AcceptLoss(o); err != nil || len(again.Missing) != 0 {
		t.Errorf("accepting it once more: %+v, %v", again, err)
	}
	for round := range 3 {
		s := mustOpen(t, disk)
		if want := loss.Last + uint64(round); s.Last() != want {
			t.Fatalf("opened at %d, not %d", s.Last(), want)
		}
		if err := s.Append(s.Last()+1, []byte("more")); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
	}
	now = readTree(t, disk, testDir)
	delete(now, now.newestLog())
	now.put(t, disk)
	if _, err := Open(o); !errors.Is(err, ErrCorrupt) {
		t.Errorf("the next loss is not noticed: %v", err)
	}
}

// A start without the snapshots that the journal goes on from changes nothing, and
// a check names what is missing.
func TestMissingSnapshots(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(ours files){
		"removed": func(ours files) {
			for _, at := range ours.snapshots() {
				delete(ours, at)
			}
		},
		"cut": func(ours files) {
			for _, at := range ours.snapshots() {
				ours[at] = ours[at][:40]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := killedStore(t, 100)
			whole := readTree(t, disk, testDir)
			damaged := maps.Clone(whole)
			damage(damaged)
			damaged.put(t, disk)
			for range 2 {
				_, err := Open(&Options{Dir: testDir, FS: disk, MemTableSize: 64 << 10})
				if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "lapid restore --force") {
					t.Fatal(err)
				}
			}
			if now := readTree(t, disk, testDir); !maps.Equal(now, damaged) {
				t.Error("a start that refused has changed the store")
			}
			whole.put(t, disk)
			if _, err := verify(disk, 60, 60); err != nil {
				t.Fatalf("put back: %v", err)
			}
		})
	}
}

// After a power failure, which may take what was not synced, nothing is missing
// and what is removed then is missed all the same.
func TestMissingAfterPowerFailure(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 50} {
		disk := killedStore(t, percent)
		now := readTree(t, disk, testDir)
		delete(now, now.newestLog())
		now.put(t, disk)
		if _, err := Open(&Options{Dir: testDir, FS: disk, MemTableSize: 64 << 10}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d %%: the newest log is not missed: %v", percent, err)
		}
	}
}
