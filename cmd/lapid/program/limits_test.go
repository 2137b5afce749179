package program

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
)

// system is the part of a machine's files that a start looks at.
func system(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

const (
	mountTwo    = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountOne    = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	mountOther  = "33 31 0:30 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
	mountDocker = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
	none        = "9223372036854771712\n"
)

// TestGroupMemory reads the limits of control groups, of both versions, from
// within and without, with limits on the way up.
func TestGroupMemory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"nothing": {system(), 0},
		"version 2, of a service": {system("proc/self/cgroup", "0::/system.slice/lapid.service\n", "proc/self/mountinfo", mountOther+mountTwo,
			"sys/fs/cgroup/system.slice/lapid.service/memory.max", "268435456\n"), 256 << 20},
		"version 2, in a container": {system("proc/self/cgroup", "0::/\n", "proc/self/mountinfo", mountTwo,
			"sys/fs/cgroup/memory.max", "524288000\n"), 500 << 20},
		"version 2, without a limit": {system("proc/self/cgroup", "0::/a\n", "proc/self/mountinfo", mountTwo,
			"sys/fs/cgroup/a/memory.max", "max\n"), 0},
		"version 2, the slice has less": {system("proc/self/cgroup", "0::/a/b/c\n", "proc/self/mountinfo", mountTwo,
			"sys/fs/cgroup/a/b/c/memory.max", "1073741824\n", "sys/fs/cgroup/a/memory.max", "104857600\n"), 100 << 20},
		"version 2, throttled before": {system("proc/self/cgroup", "0::/a\n", "proc/self/mountinfo", mountTwo,
			"sys/fs/cgroup/a/memory.max", "1073741824\n", "sys/fs/cgroup/a/memory.high", "536870912\n"), 512 << 20},
		"version 2, seen from outside": {system("proc/self/cgroup", "0::/../../x\n", "proc/self/mountinfo", mountTwo,
			"sys/fs/cgroup/memory.max", "1048576\n"), 1 << 20},
		"version 1": {system("proc/self/cgroup", "5:cpu:/y\n4:cpuset,memory:/a/b\n0::/\n", "proc/self/mountinfo", mountOther+mountOne+mountTwo,
			"sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "268435456\n", "sys/fs/cgroup/memory/memory.limit_in_bytes", none), 256 << 20},
		"version 1, without a limit": {system("proc/self/cgroup", "4:memory:/a\n", "proc/self/mountinfo", mountOne,
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes", none), 0},
		"version 1, a part of it mounted": {system("proc/self/cgroup", "4:memory:/docker/abc\n", "proc/self/mountinfo", mountDocker,
			"sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"), 256 << 20},
		"nonsense": {system("proc/self/cgroup", "x\n:\n0::/a\n", "proc/self/mountinfo", "1 2 3\n - cgroup2 x y\n"+mountTwo,
			"sys/fs/cgroup/a/memory.max", "many\n"), 0},
	} {
		if got := groupMemory(c.files); got != c.want {
			t.Errorf("%s: %d, not %d", name, got, c.want)
		}
	}
}

// TestLimits holds whose word counts, and what becomes of it.
func TestLimits(t *testing.T) {
	t.Parallel()
	files := system("proc/meminfo", "MemTotal:  1048576 kB\nMemFree: 1 kB\n", "proc/self/cgroup", "0::/\n", "proc/self/mountinfo", mountTwo,
		"sys/fs/cgroup/memory.max", "268435456\n")
	if l := findLimits(files, 0); l.memory != 256<<20 || l.source != "the limit of the control group" || !l.strict || l.files < 64 {
		t.Errorf("%+v", l)
	}
	if l := findLimits(files, 128<<20); l.memory != 128<<20 || l.source != "the setting memory" {
		t.Errorf("%+v", l)
	}
	if l := findLimits(files, 8<<30); l.memory != 256<<20 {
		t.Errorf("more than there is: %+v", l)
	}
	delete(files, "sys/fs/cgroup/memory.max")
	if l := findLimits(files, 0); l.memory != 1<<30 || l.strict {
		t.Errorf("%+v", l)
	}
	for _, size := range []int64{64 << 20, 256 << 20, 500 << 20, 2 << 30, 1 << 40} {
		for _, open := range []int{64, 256, 1024, 20_000, 1 << 20} {
			for listeners := 1; listeners <= 2; listeners++ {
				l := limits{memory: size, strict: true, files: open}
				b := l.bounds(listeners)
				if b.connections*listeners > max(open-filesKept, open/2) || b.connections < 1 || b.served < 1 || b.served > b.connections*listeners {
					t.Errorf("%d descriptors: %+v", open, b)
				}
				took := b.bodies + b.strangers + b.answers + b.shared + int64(b.queued) + int64(b.served)*perServed + int64(b.connections)*perConnection
				if size >= 128<<20 && took > size/6*5 {
					t.Errorf("of %s are taken %s", mib(size), mib(took))
				}
			}
		}
	}
	if b := (&limits{memory: 24 << 30, files: 1 << 20}).bounds(2); b.bodies != 512<<20 || b.connections != 20_000 || b.served != 20_000 || b.queued != 256<<20 {
		t.Errorf("a large machine: %+v", b)
	}
}

// TestLimitsAreSaid holds the words at a start.
func TestLimitsAreSaid(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := limits{memory: 256 << 20, source: "the limit of the control group", strict: true, files: 512}
	b := l.bounds(1)
	b.collect, b.heads = 224<<20, 64<<10 // whatever the variables of this process say
	l.log(slog.New(slog.NewTextHandler(&out, nil)), b)
	for _, part := range []string{
		"memory: 256 MiB (the limit of the control group): request bodies and long headers take 48 MiB at most, before a login 4 MiB, headers of one request 64 KiB (max_header_bytes), long answers 16 MiB, shared answers 16 MiB, waiting writes 32 MiB; garbage is collected harder above 224 MiB",
		"connections: at most 256 on each listener, 256 with a request at once; of 512 descriptors 256 are kept for the store and the operator",
		"only 512 file descriptors: raise the limit of open files",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is not said:\n%s", part, out.String())
		}
	}
}
