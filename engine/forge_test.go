package engine_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lapid/engine"
	"lapid/persist"
)

// Sizes and marks of a backup's frames, as persist/FORMAT.md draws them.
const (
	forgeHeader = 32
	forgeHead   = 16
	forgeBodies = 1 << 20 // a forged backup is no longer, in bytes

)

var forgeTable = crc32.MakeTable(crc32.Castagnoli)

// sealed makes every checksum and number of a backup right, whatever is in its
// frames: what only a forger can write, for damage is noticed before it is read.
// What does not fit into a frame is cut off, and the end is put behind.
func sealed(backup []byte) []byte {
	if len(backup) < forgeHeader {
		return backup
	}
	out := bytes.Clone(backup[:forgeHeader])
	seed := crc32.Checksum(out[:28], forgeTable)
	binary.LittleEndian.PutUint32(out[28:], seed)
	rest := backup[forgeHeader:]
	number := uint32(0)
	frame := func(head, body []byte) {
		at := len(out)
		out = append(out, head[:8]...)
		out = binary.LittleEndian.AppendUint32(out, number)
		sum := crc32.Update(seed, forgeTable, out[at:])
		out = binary.LittleEndian.AppendUint32(out, crc32.Update(sum, forgeTable, body))
		out = append(out, body...)
	}
	for ; len(rest) >= forgeHead && rest[3] != 'E'; number++ {
		length := int(min(binary.LittleEndian.Uint32(rest[4:]), uint32(len(rest)-forgeHead)))
		binary.LittleEndian.PutUint32(rest[4:], uint32(length))
		frame(rest, rest[forgeHead:forgeHead+length])
		rest = rest[forgeHead+length:]
	}
	frame([]byte{0, 0, 0, 'E', 0, 0, 0, 0}, nil)
	return out
}

// FuzzForgedBackup restores backups whose checksums are right and whose content
// is chosen at will. Each is refused, or becomes a store that agrees with itself, takes
// writes and snapshots, and gives a backup that is restored to the same.
func FuzzForgedBackup(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*/*.backup")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no backup to begin with: %v", err)
	}
	for _, path := range seeds {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, backup []byte) {
		if len(backup) > forgeBodies || claimsTooMuch(backup) {
			return
		}
		disk := &engine.Options{Dir: "forged", FS: persist.NewMemFS(), Logger: slog.New(slog.DiscardHandler)}
		_, err := persist.Restore(&persist.Options{Dir: disk.Dir, FS: disk.FS}, bytes.NewReader(sealed(bytes.Clone(backup))), func(uint16, []byte) error { return nil })
		if err != nil {
			return
		}
		e, err := engine.Open(disk)
		if err != nil {
			return
		}
		lives(t, e)
	})
}

// lives has a store do what every store does.
func lives(t *testing.T, e *engine.Engine) {
	t.Helper()
	defer e.Close()
	if err := e.Check(); err != nil {
		t.Fatalf("it was opened and does not agree with itself: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for range e.Usage(ctx, engine.UsageBouncer, "") {
		break // may be nonsense: an error is an answer
	}
	if err := e.Snapshot(ctx); err != nil {
		t.Fatalf("it cannot be written down: %v", err)
	}
	var again bytes.Buffer
	if _, _, err := e.Backup(ctx, &again); err != nil {
		t.Fatalf("it cannot be backed up: %v", err)
	}
	if _, err := engine.Restore(&engine.Options{Dir: "again", FS: persist.NewMemFS(), Logger: slog.New(slog.DiscardHandler)}, engine.Actor{}, &again); err != nil {
		t.Fatalf("its backup is not restored: %v", err)
	}
}

// claimsTooMuch reports whether a header claims more ids than a test has memory
// for: it is had in proportion to their range, which a checksum vouches for.
func claimsTooMuch(backup []byte) bool {
	var list []engine.Section
	for at := forgeHeader; at+forgeHead <= len(backup); {
		length := int(min(binary.LittleEndian.Uint32(backup[at+4:]), uint32(len(backup)-at-forgeHead)))
		list = append(list, engine.Section{Kind: binary.LittleEndian.Uint16(backup[at:]), Body: backup[at+forgeHead : at+forgeHead+length]})
		at += forgeHead + length
	}
	return headerClaimsTooMuch(list)
}

// headerClaimsTooMuch is claimsTooMuch of sections; a header may come in parts.
func headerClaimsTooMuch(list []engine.Section) bool {
	const oldHeader, part, header = 1, 9, 10
	var whole []byte
	for _, s := range list {
		whole = append(whole, s.Body...)
		if s.Kind == oldHeader && !engine.Plausible(whole, mostIDs) || s.Kind == header && len(whole) > 0 && !engine.Plausible(whole[1:], mostIDs) {
			return true
		}
		if s.Kind != part {
			whole = nil
		}
	}
	return false
}

// Numbers that a forger has put far ahead cost no time and no memory where nothing
// lives, and are refused where something would have to live that far apart. The
// same goes for a second header, which would move them behind the checks.
func TestNumbersFarAhead(t *testing.T) {
	t.Parallel()
	w := lifeOnDisk(t)
	header := func(next uint64) engine.Section {
		was := w.sections[0].Body
		body := binary.AppendUvarint(binary.AppendUvarint(bytes.Clone(was[:1]), next), next)
		_, n := binary.Uvarint(was[1:])
		_, m := binary.Uvarint(was[1+n:])
		return engine.Section{Kind: 10, Body: append(body, was[1+n+m:]...)}
	}
	for _, next := range []uint64{1 << 35, 1 << 50, 1 << 61} {
		out, err := engine.RecodeSections(w.rev, []engine.Section{header(next)})
		if err != nil || !bytes.Equal(out[0].Body, header(next).Body) {
			t.Errorf("nothing but %d as the next id: %v", next, err)
		}
	}
	for name, list := range map[string][]engine.Section{
		"far from the first one": append([]engine.Section{header(1 << 50)}, w.sections[1:]...),
		"beyond all numbers":     {header(1 << 63)},
		"two headers":            append(slices.Clone(w.sections), header(1<<35)),
	} {
		if _, err := engine.RecodeSections(w.rev, list); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
