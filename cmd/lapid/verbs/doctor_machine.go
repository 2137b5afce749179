package verbs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lapid/cmd/lapid/datadir"
)

// How much must be free on the disk of the store: what is left of less is soon gone.
const (
	fewBytes  = 64 << 20 // writes are refused any moment
	someBytes = 1 << 30
)

// disk looks at the file system of the store: what kind it is, and how much is free.
func (v *visit) disk() {
	const check = "disk"
	at := datadir.Absolute(v.setup.Store())
	for datadir.Missing(at) && at != filepath.Dir(at) {
		at = filepath.Dir(at)
	}
	d, err := diskOf(at)
	if err != nil {
		v.note(isUnknown, check, at+": "+err.Error(), "")
		return
	}
	store := sizeOfFolder(v.setup.Store())
	found := fmt.Sprintf("%s, %s free of %s; the store takes %s", d.kind, mebibytes(d.free), mebibytes(d.size), mebibytes(store))
	room := "make room, or move data_dir to a larger disk: a server whose disk is full refuses writes"
	switch {
	case d.kind == "tmpfs" || d.kind == "ramfs":
		v.advise(check, found, "this is memory: the store is gone with the machine or the container; put data_dir on a disk or a volume")
	case d.kind == "nfs" || d.kind == "cifs" || d.kind == "smb2" || d.kind == "fuse" || d.kind == "9p":
		v.advise(check, found, "a disk over the network answers each write late, and its locks may not hold: put data_dir on a disk of the machine")
	case d.kind == "overlayfs":
		v.advise(check, found, "this is the container's own layer, which goes with it: mount a volume at data_dir")
	case d.free < fewBytes || d.files == 0:
		v.broken(check, found, room)
	case d.free < someBytes || d.free < 2*store || d.free < d.size/20:
		v.advise(check, found, room)
	default:
		v.well(check, found)
	}
}

// disk is a file system as it is now.
type disk struct {
	kind       string
	free, size uint64 // bytes, free for this user
	files      uint64 // that can still be made; 1 where that has no bound
}

// sizeOfFolder is what the files in a folder take, in bytes. What goes meanwhile is not counted.
func sizeOfFolder(dir string) (n uint64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += uint64(info.Size())
		}
		return nil
	})
	return n
}

// mebibytes is a size as people read it.
func mebibytes(n uint64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// farAhead is how far ahead of the clock the store's files may be.
const farAhead = 5 * time.Minute

// clock looks whether it was set back, and whether somebody keeps it right. What the server says of it
// is among its troubles.
func (v *visit) clock() {
	const check = "clock"
	newest := time.Time{}
	_ = filepath.WalkDir(v.setup.Store(), func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
		return nil
	})
	if ahead := newest.Sub(v.now); ahead > farAhead {
		v.advise(check, fmt.Sprintf("it is %s, and the store was written at %s: the clock was set back", v.now.UTC().Format(time.RFC3339), newest.UTC().Format(time.RFC3339)),
			"set it right: durations count from it")
		return
	}
	switch kept, known := clockKept(); {
	case !known:
		v.note(isUnknown, check, v.now.UTC().Format(time.RFC3339)+"; whether somebody keeps it right cannot be told here", "")
	case !kept:
		v.advise(check, v.now.UTC().Format(time.RFC3339)+", and the kernel says that nothing keeps it right", "run chrony, systemd-timesyncd or another NTP client")
	default:
		v.well(check, v.now.UTC().Format(time.RFC3339)+", kept right")
	}
}

// fewFiles is how many open files are too few for a fleet: each connection is one.
const fewFiles = 16384

// limits looks at open files, and at memory against what the store needs.
func (v *visit) limits(ctx context.Context) {
	files, whose := filesAllowed(), "this shell"
	if v.status != nil {
		whose = "the server"
		files = filesOf(fmt.Sprintf("/proc/%d/limits", v.status.PID))
	}
	switch found := fmt.Sprintf("%s may have %d open files", whose, files); {
	case files == 0:
		v.note(isUnknown, "open files", "it cannot be told how many "+whose+" may have", "")
	case files < fewFiles:
		v.advise("open files", found, "LimitNOFILE=1048576 in the unit, or ulimit -n: each connection takes one")
	default:
		v.well("open files", found)
	}
	v.memory(ctx)
}

// What a decision takes at the most, and what the server takes besides, in bytes.
const (
	perDecision = 250
	perServer   = 200 << 20
)

// memory compares what the server may take with what its decisions need.
func (v *visit) memory(ctx context.Context) {
	const check = "memory"
	if v.server != nil && v.setup.Config.Metrics.Enabled {
		if samples, err := scrape(ctx, "http://"+v.setup.MetricsAddress()+"/metrics"); err == nil {
			for _, s := range pick(samples, "lapid_decisions_stored") {
				v.decisions = int(s.value)
			}
			for _, s := range pick(samples, "process_resident_memory_bytes") {
				v.resident = s.value
			}
		}
	}
	limit := uint64(max(v.prospect.Memory, 0))
	if limit == 0 || v.decisions < 0 {
		v.note(isUnknown, check, "how many decisions there are, or what the server may take, cannot be told here", "")
		return
	}
	need := uint64(v.decisions)*perDecision + perServer
	found := fmt.Sprintf("%d decisions want some %s, and there are %s (%s)", v.decisions, mebibytes(need), mebibytes(limit), v.prospect.MemorySource)
	if v.resident > 0 {
		found += fmt.Sprintf("; the server takes %s", mebibytes(uint64(v.resident)))
	}
	more := "give it more memory, or fewer lists: 250 bytes a decision and 200 MiB are enough"
	switch {
	case need > limit, v.resident > 0.9*float64(limit):
		v.advise(check, found, more)
	default:
		v.well(check, found)
	}
}

// filesOf is the soft limit of open files in a file of /proc; 0: it cannot be told.
func filesOf(path string) uint64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.ParseUint(f[0], 10, 64)
				return n
			}
		}
	}
	return 0
}

// ports looks at each address that is configured, and who has it.
func (v *visit) ports() {
	type place struct{ what, address string }
	var places []place
	if a := v.setup.Config.API.Server; a != nil && a.ListenURI != "" {
		places = append(places, place{"api.server.listen_uri", a.ListenURI})
	}
	if v.setup.Config.Metrics.Enabled {
		places = append(places, place{"prometheus", v.setup.MetricsAddress()})
	}
	if c := v.setup.Own.Console.Listen; c != "" {
		places = append(places, place{"console.listen", c})
	}
	for _, p := range places {
		l, err := net.Listen("tcp", p.address)
		if err == nil {
			_ = l.Close()
		}
		_, port, _ := net.SplitHostPort(p.address)
		pid, name := holderOf(port)
		switch found := p.what + " " + p.address; {
		case err == nil && v.server != nil:
			v.advise("ports", found+" is free, though a server runs", "it listens elsewhere: restart it, so that the configuration is in force")
		case err == nil:
			v.well("ports", found+" is free")
		case !errors.Is(err, syscall.EADDRINUSE):
			v.broken("ports", found+": "+err.Error(), "give another address")
		case v.status != nil && pid == v.status.PID:
			v.well("ports", found+" is held by the server")
		case pid == 0 && v.status != nil:
			v.note(isUnknown, "ports", found+" is taken, and it cannot be told by whom", "run this as root")
		default:
			v.broken("ports", found+" is held by "+holder(pid, name), "stop that, or give another address")
		}
	}
}

// holder names a process.
func holder(pid int, name string) string {
	if pid == 0 {
		return "another program (root sees which)"
	}
	return fmt.Sprintf("process %d (%s)", pid, name)
}

// holderOf finds the process that listens on a TCP port; 0 where that cannot be seen.
func holderOf(port string) (pid int, name string) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, ""
	}
	sockets := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(file, uint16(n), sockets)
	}
	if len(sockets) == 0 {
		return 0, ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is good
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && sockets[to] {
			folder := filepath.Dir(filepath.Dir(link))
			pid, _ = strconv.Atoi(filepath.Base(folder))
			text, _ := os.ReadFile(folder + "/comm")
			return pid, strings.TrimSpace(string(text))
		}
	}
	return 0, ""
}

// listening adds the sockets of a table of the kernel that listen on a port, as links to them are written.
func listening(file string, port uint16, sockets map[string]bool) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		const listens = "0A"
		if c := strings.Fields(lines.Text()); len(c) > 9 && c[3] == listens && strings.HasSuffix(c[1], fmt.Sprintf(":%04X", port)) {
			sockets["socket:["+c[9]+"]"] = true
		}
	}
}
