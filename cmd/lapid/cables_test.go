package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// cables are networks of their own for processes, each at the end of a cable that can be pulled. They lead to a switch in this
// process's network.
type cables struct {
	t     *testing.T
	name  string
	first string // of the addresses, without the last number
	many  int
}

// cable is one of them.
type cable struct {
	t         *testing.T
	room, end string // the network at its end, and this side's end
	address   string
}

// newCables makes the switch. It needs root and ip.
func newCables(t *testing.T) *cables {
	t.Helper()
	c := &cables{t: t, name: fmt.Sprintf("lp%d", os.Getpid()), first: fmt.Sprintf("10.%d.%d.", 64+os.Getpid()>>8&63, os.Getpid()&255)}
	c.ip("link", "add", "name", c.name, "type", "bridge")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", c.name).Run() })
	c.ip("addr", "add", c.first+"254/24", "dev", c.name)
	c.ip("link", "set", c.name, "up")
	return c
}

// lay makes a network at the end of a new cable.
func (c *cables) lay(name string) *cable {
	c.t.Helper()
	c.many++
	l := &cable{t: c.t, room: c.name + name, end: c.name + name, address: fmt.Sprint(c.first, c.many)}
	c.ip("netns", "add", l.room)
	c.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.room).Run() })
	c.ip("link", "add", l.end, "type", "veth", "peer", "name", "eth0", "netns", l.room)
	c.ip("link", "set", l.end, "master", c.name, "up")
	c.ip("-n", l.room, "addr", "add", l.address+"/24", "dev", "eth0")
	c.ip("-n", l.room, "link", "set", "eth0", "up")
	c.ip("-n", l.room, "link", "set", "lo", "up")
	return l
}

func (c *cables) ip(words ...string) { c.t.Helper(); ip(c.t, words...) }

func ip(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(words, " "), err, out)
	}
}

// pull has nothing go through.
func (l *cable) pull() { l.t.Helper(); ip(l.t, "link", "set", l.end, "down") }

// plug is the end of that.
func (l *cable) plug() { l.t.Helper(); ip(l.t, "link", "set", l.end, "up") }
