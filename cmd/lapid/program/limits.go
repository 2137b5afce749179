package program

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	// memoryUnknown is how much memory there is taken to be where nothing says so.
	memoryUnknown = 4 << 30
	// filesKept is how many descriptors are kept from connections: for the tables of
	// the store, 256 at most, the journal, snapshots, logs, metrics and the
	// operator. Without them the journal would find none, which is a failed disk.
	filesKept = 384
	// perServed and perConnection are what a connection takes with a goroutine, and
	// without one, in the process and in the kernel.
	perServed, perConnection = 48 << 10, 5 << 10
)

// limits are what the server may use, as a start finds it. Where several
// speak, the one that allows least counts, and its name is what the log
// says.
type limits struct {
	memory int64  // bytes
	source string // what says so
	strict bool   // a process that takes more is killed
	files  int    // descriptors
}

// bounds is what the server makes of it. All are in bytes or numbers. Together they
// are about seven tenths of what there is; the decisions themselves are not among
// them, for it cannot be said beforehand how many there will be: they grow until the
// operator's limits on alerts hold.
type bounds struct {
	collect     int64 // from where on garbage is collected harder; 0: as the runtime has it
	bodies      int64 // request bodies
	strangers   int64 // the same before a login
	answers     int64 // long answers, each for one reader
	shared      int64 // answers of the stream that several get
	heads       int   // request line and headers of one request; beyond 8 KiB they count as bodies
	queued      int   // writes that wait
	connections int   // on each listener
	listed      int   // entries of all lists of the Central API
	served      int   // requests that are not for a loop, at once
}

// findLimits looks at the system. An operator's word counts more than what
// is found, unless it is more than there is. A system that says nothing is
// taken to have memoryUnknown: enough to serve, and little enough for a
// small machine.
func findLimits(system fs.FS, own int64) limits {
	l := limits{memory: memoryUnknown, source: "nobody says how much there is", files: openFiles()}
	for _, one := range []limits{
		{memory: totalMemory(system), source: "what the machine has"},
		{memory: groupMemory(system), source: "the limit of the control group", strict: true},
		{memory: runtimeLimit(), source: "GOMEMLIMIT", strict: true},
		{memory: own, source: "the setting memory", strict: true},
	} {
		if one.memory > 0 && (one.memory < l.memory || l.source == "nobody says how much there is") {
			l.memory, l.source, l.strict = one.memory, one.source, one.strict
		}
	}
	return l
}

// bounds shares out what there is: an eighth is left to the kernel, whose
// part of connections counts too. Each part has a least, with which
// everything still works, and a most, beyond which more would only hide a
// fault.
func (l *limits) bounds(listeners int) bounds {
	m := l.memory
	b := bounds{
		bodies:      between(m*3/16, 8<<20, 512<<20),
		strangers:   between(m/64, 1<<20, 16<<20),
		answers:     between(m/16, 8<<20, 256<<20),
		shared:      between(m/16, 8<<20, 512<<20),
		queued:      between(int(m/8), 8<<20, 256<<20),
		served:      between(int(m/8/perServed), 64, 20_000),
		listed:      between(int(m/2/perListed), 50_000, 16<<20),
		connections: between(int(m/8/perConnection), 128, 20_000),
	}
	// The runtime's own setting is the operator's and is left alone.
	if l.strict && os.Getenv("GOMEMLIMIT") == "" {
		b.collect = m / 8 * 7
	}
	room := max(l.files-filesKept, l.files/2)
	b.connections = min(b.connections, max(room/listeners, 1))
	b.served = min(b.served, b.connections*listeners)
	return b
}

// perListed is what an entry of a list takes, in bytes, with what its pull takes for a while.
const perListed = 256

// between is n within two bounds.
func between[N int | int64](n, least, most N) N { return min(max(n, least), most) }

// apply puts in force what is the process's, until what it returns is called.
func (b *bounds) apply() (end func()) {
	if b.collect == 0 {
		return func() {}
	}
	old := debug.SetMemoryLimit(b.collect)
	return func() { debug.SetMemoryLimit(old) }
}

// log tells the operator, in words.
func (l *limits) log(log *slog.Logger, b bounds) {
	collect := ""
	if b.collect > 0 {
		collect = fmt.Sprintf("; garbage is collected harder above %s", mib(b.collect))
	}
	log.Info(fmt.Sprintf("memory: %s (%s): request bodies and long headers take %s at most, before a login %s, headers of one request %d KiB (max_header_bytes), long answers %s, shared answers %s, waiting writes %s%s",
		mib(l.memory), l.source, mib(b.bodies), mib(b.strangers), b.heads>>10, mib(b.answers), mib(b.shared), mib(int64(b.queued)), collect))
	log.Info(fmt.Sprintf("connections: at most %d on each listener, %d with a request at once; of %d descriptors %d are kept for the store and the operator",
		b.connections, b.served, l.files, min(filesKept, l.files-l.files/2)))
	if l.files < 2*filesKept {
		log.Warn(fmt.Sprintf("only %d file descriptors: raise the limit of open files (LimitNOFILE= of a systemd unit, ulimit -n) to 4096 or more", l.files))
	}
}

// mib is a number of bytes in MiB, with a decimal where it is small and not whole.
func mib(n int64) string {
	if n < 10<<20 && n%(1<<20) != 0 {
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// openFiles is how many descriptors the process may have. The runtime has
// raised the limit as far as it goes. At most 1 Mi, which is what it is
// taken for where there is no limit.
func openFiles() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || r.Cur > 1<<20 {
		return 1 << 20
	}
	return int(r.Cur)
}

// runtimeLimit is what an operator told the runtime, 0 for nothing.
func runtimeLimit() int64 {
	if n := debug.SetMemoryLimit(-1); n < math.MaxInt64 {
		return n
	}
	return 0
}

// totalMemory is what the machine has, 0 when that cannot be told. From
// /proc/meminfo, in bytes.
func totalMemory(system fs.FS) int64 {
	text, _ := fs.ReadFile(system, "proc/meminfo")
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) == 3 && string(f[0]) == "MemTotal:" {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64)
			return n << 10
		}
	}
	return 0
}

// groupMemory is the least limit of the process's control group and those
// above it, of both versions of control groups, 0 without any. The limits
// above a group hold for it too, so each folder up to the root of the mount
// is looked at. memory.high counts like memory.max: beyond it the kernel
// slows the process down so far that it could as well be dead.
func groupMemory(system fs.FS) (least int64) {
	text, _ := fs.ReadFile(system, "proc/self/cgroup")
	mounts, _ := fs.ReadFile(system, "proc/self/mountinfo")
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		kind, files := "cgroup", []string{"memory.limit_in_bytes"}
		if f[0] == "0" && f[1] == "" {
			kind, files = "cgroup2", []string{"memory.max", "memory.high"}
		} else if !slices.Contains(strings.Split(f[1], ","), "memory") {
			continue
		}
		root, at := groupMount(mounts, kind)
		if at == "" {
			continue
		}
		below, inside := strings.CutPrefix(path.Clean(f[2]), strings.TrimSuffix(root, "/"))
		if !inside || strings.HasPrefix(below, "/..") {
			below = "/" // seen from a namespace of its own
		}
		for {
			for _, file := range files {
				if n := limitIn(system, path.Join(at, below, file)); n > 0 && (least == 0 || n < least) {
					least = n
				}
			}
			if below == "/" || below == "" || below == "." {
				break
			}
			below = path.Dir(below)
		}
	}
	return least
}

// groupMount is which group is mounted where; "" when none is.
func groupMount(mounts []byte, kind string) (root, at string) {
	lines := bufio.NewScanner(bytes.NewReader(mounts))
	for lines.Scan() {
		front, back, ok := strings.Cut(lines.Text(), " - ")
		f, b := strings.Fields(front), strings.Fields(back)
		if !ok || len(f) < 5 || len(b) < 3 || b[0] != kind {
			continue
		}
		if kind == "cgroup" && !slices.Contains(strings.Split(b[2], ","), "memory") {
			continue
		}
		return f[3], f[4]
	}
	return "", ""
}

// limitIn reads one limit, 0 for none: version 2 says max, version 1 a
// number beyond all memory. A file that is not there is no limit: the root
// of all groups has none.
func limitIn(system fs.FS, name string) int64 {
	text, err := fs.ReadFile(system, strings.TrimPrefix(name, "/"))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= 1<<60 {
		return 0
	}
	return n
}
