//go:build linux

package load

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Halves shares the CPUs this process may use: one half for a server, the other
// for the generator. With an odd number the generator has one more; with one CPU
// both have it.
func Halves() (server, generator []int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, nil, fmt.Errorf("reading which CPUs may be used: %w", err)
	}
	var all []int
	for i := range 64 * len(set) {
		if set.IsSet(i) {
			all = append(all, i)
		}
	}
	if len(all) == 1 {
		return all, all, nil
	}
	return all[:len(all)/2], all[len(all)/2:], nil
}

// Pin keeps this whole process on the given CPUs, with threads to come.
func Pin(cpus []int) error {
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		id, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return fmt.Errorf("thread %q: %w", task, err)
		}
		if err := pin(id, cpus); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	// Threads that spin must not keep the others from running.
	runtime.GOMAXPROCS(2*len(cpus) + 2)
	return nil
}

// pin keeps one thread on CPUs; 0 is the calling one.
func pin(thread int, cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(thread, &set); err != nil && err != unix.ESRCH {
		return fmt.Errorf("keeping a thread on CPUs %s: %w", List(cpus), err)
	}
	return nil
}

// StartPinned starts a command on the given CPUs: it inherits them from the
// thread that starts it.
func StartPinned(c *exec.Cmd, cpus []int) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its place on the CPUs
		if err := pin(0, cpus); err != nil {
			started <- err
			return
		}
		started <- c.Start()
	}()
	return <-started
}

// List spells CPUs as taskset does.
func List(cpus []int) string {
	words := make([]string, len(cpus))
	for i, cpu := range cpus {
		words[i] = strconv.Itoa(cpu)
	}
	return strings.Join(words, ",")
}
