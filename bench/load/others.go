//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Loss is what CPUs gave to somebody else.
type Loss struct {
	Share float64       // of the time of all these CPUs
	Time  time.Duration // of the CPUs
}

// Watch counts, from its beginning on, how much of some CPUs' time goes to others: to processes that
// neither are this one nor descend from it, and to other machines on the same hardware. What the kernel
// does for whoever asks it, interrupts and threads of its own, is nobody's loss.
type Watch struct {
	cpus   []int
	before ledger
}

// NewWatch begins. The CPUs are to be those that this process and what it started run on; it must not
// have left children to others.
func NewWatch(cpus []int) (*Watch, error) {
	w := &Watch{cpus: cpus}
	return w, w.before.read(cpus)
}

// Lost tells what was lost since the beginning. It may be asked again and again.
func (w *Watch) Lost() (Loss, error) {
	var now ledger
	if err := now.read(w.cpus); err != nil {
		return Loss{}, err
	}
	return now.since(&w.before), nil
}

// ledger is who had how much time until a moment, since the machine started.
type ledger struct {
	at                      time.Time
	cpus                    int
	idle, interrupts, stole time.Duration // of the CPUs asked for
	ours, theirs, kernel    time.Duration // of processes, wherever they ran
}

// since subtracts an earlier ledger. Three accounts are at hand, none of them whole: processes that are
// seen here say exactly what they had, but maybe on other CPUs; what CPUs had left beyond idleness and us
// is a limit above, for on some systems it has the kernel's work in it; and what is left of that without
// the kernel's is a limit below, which counts also who is not seen from here.
func (l *ledger) since(before *ledger) Loss {
	elapsed := l.at.Sub(before.at) * time.Duration(l.cpus)
	if elapsed <= 0 {
		return Loss{}
	}
	seen := l.theirs - before.theirs + l.stole - before.stole
	most := elapsed - (l.idle - before.idle) - (l.ours - before.ours)
	least := most - (l.interrupts - before.interrupts) - (l.kernel - before.kernel)
	// Each account is read in hundredths of a second.
	lost := max(min(seen, most+rounding), least-rounding, 0)
	return Loss{Share: lost.Seconds() / elapsed.Seconds(), Time: lost}
}

// rounding is by how much two accounts of the same may differ: CPUs and processes are told in ticks.
const rounding = 2 * tick

func (l *ledger) read(cpus []int) error {
	*l = ledger{at: time.Now(), cpus: len(cpus)}
	if err := l.readCPUs(cpus); err != nil {
		return err
	}
	return l.readProcesses()
}

// Fields of a CPU's line in /proc/stat, behind its name.
const (
	statIdle, statWait, statIRQ, statSoft, statSteal = 3, 4, 5, 6, 7
)

func (l *ledger) readCPUs(cpus []int) error {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return fmt.Errorf("what CPUs did: %w", err)
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		field := strings.Fields(line)
		name, ok := strings.CutPrefix(line, "cpu")
		if !ok || len(field) <= statSteal+1 {
			continue
		}
		number, _, _ := strings.Cut(name, " ")
		if cpu, err := strconv.Atoi(number); err != nil || !slices.Contains(cpus, cpu) {
			continue // the sum of all, or somebody else's
		}
		found++
		of := func(i int) time.Duration {
			n, _ := strconv.ParseInt(field[i+1], 10, 64)
			return time.Duration(n) * tick
		}
		l.idle += of(statIdle) + of(statWait)
		l.interrupts += of(statIRQ) + of(statSoft)
		l.stole += of(statSteal)
	}
	if found != len(cpus) {
		return fmt.Errorf("what CPUs did: /proc/stat has %d of CPUs %s", found, List(cpus))
	}
	return nil
}

// readProcesses adds up what all processes have had, with those that they have waited for: a process
// that ends hands its time to its parent, so nothing is lost between two ledgers.
func (l *ledger) readProcesses() error {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(folders) == 0 {
		return errors.Join(err, errors.New("no processes are to be seen below /proc"))
	}
	all := make(map[int]process, len(folders))
	for _, folder := range folders {
		if pid, err := strconv.Atoi(filepath.Base(folder)); err == nil {
			if p, ok := processOf(pid); ok {
				all[pid] = p
			}
		}
	}
	self := os.Getpid()
	for pid, p := range all {
		switch {
		case p.kernel:
			l.kernel += p.spent
		case descends(all, pid, self):
			l.ours += p.spent
		default:
			l.theirs += p.spent
		}
	}
	return nil
}

// process is one as /proc shows it.
type process struct {
	parent int
	kernel bool // a thread of the kernel's own
	spent  time.Duration
}

// kernelThread is the flag of the kernel's threads, the same on every Linux.
const kernelThread = 0x00200000

// processOf reads a process: false when it has gone.
func processOf(pid int) (p process, ok bool) {
	text, err := os.ReadFile(procFile(pid, "stat"))
	if err != nil {
		return p, false
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // behind the name, which may hold blanks
	field := strings.Fields(string(rest))
	if len(field) < 15 {
		return p, false
	}
	of := func(i int) int64 {
		n, _ := strconv.ParseInt(field[i], 10, 64)
		return n
	}
	p.parent, p.kernel = int(of(1)), of(6)&kernelThread != 0
	p.spent = time.Duration(of(11)+of(12)+of(13)+of(14)) * tick
	return p, true
}

// descends tells whether a process is another one or one of its descendants.
func descends(all map[int]process, pid, from int) bool {
	for range len(all) {
		if pid == from {
			return true
		}
		p, ok := all[pid]
		if !ok || p.parent == 0 {
			return false
		}
		pid = p.parent
	}
	return false
}
