package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"lapid/persist/stream"
	"lapid/transport/peer"
)

var (
	clusterKills = flag.Int("cluster.kills", 2, "how often TestClusterCrash strikes a node")
	clusterCut   = flag.Bool("cluster.cut", false, "each node is in a network of its own, and is cut off, too (root)")
)

// registers are the addresses that TestClusterCrash bans, lifts and asks for.
const registers = 16

// TestClusterCrash strikes one node after the other, those that write before all, with SIGKILL or SIGSTOP, each with the
// member of etcd that is in its process, while bans come and go at all of them. Each address is a register: what was
// answered about it, by whatever node, has to be an order in which it may have happened. Bouncers of all nodes, who go to
// another when theirs is gone, hold in the end what every node says.
func TestClusterCrash(t *testing.T) {
	t.Parallel()
	c := newCrashCluster(t)
	chance := rand.New(rand.NewPCG(seedOf(t), 17))
	var all sync.WaitGroup
	defer all.Wait()
	defer c.stop()
	for _, b := range c.bouncers {
		all.Go(func() { b.run(c.life) })
	}
	writing, quiet := context.WithCancel(c.life)
	defer quiet()
	var writers sync.WaitGroup
	for w := range 4 {
		by := rand.New(rand.NewPCG(chance.Uint64(), uint64(w)))
		writers.Go(func() { c.write(writing, w, by) })
	}
	for round := range *clusterKills {
		c.strike(round, chance)
	}
	c.goOn(8)
	quiet()
	writers.Wait()
	c.askAll()
	c.judge()
	c.compare()
	t.Logf("%d strikes; the longest until a write at another node was answered: %v; %d operations on %d addresses, of %d the outcome is not known; %d answers and events to %d bouncers",
		*clusterKills, c.longest.Round(time.Millisecond), c.done.Load()+c.unknown.Load(), registers, c.unknown.Load(), c.told.Load(), len(c.bouncers))
}

// crashCluster is three nodes, those who ask them, and what was answered.
type crashCluster struct {
	t        *testing.T
	life     context.Context
	stop     context.CancelFunc
	nodes    [3]*crashNode
	bouncers []*pushClient
	told     atomic.Int64
	next     atomic.Int64 // number of a ban that nobody has used
	done     atomic.Int64 // operations that were answered
	unknown  atomic.Int64
	longest  time.Duration // from a strike to a write that was answered at another node
	began    time.Time

	mu      sync.Mutex
	history [registers][]porcupine.Operation
}

// crashNode is a node's process.
type crashNode struct {
	*house
	name, address, settings string
	cable                   *cable // nil: it is on the loopback
	process                 *process
}

// newCrashCluster makes three nodes with keys and init, and starts them: beside each other on the loopback, or each behind a
// cable of its own.
func newCrashCluster(t *testing.T) *crashCluster {
	t.Helper()
	c := &crashCluster{t: t, began: time.Now()}
	c.life, c.stop = context.WithCancel(t.Context())
	dir := t.TempDir()
	words := []string{"cluster", "keys", dir}
	var network *cables
	if *clusterCut {
		network = newCables(t)
	}
	for i, name := range []string{"a", "b", "c"} {
		n := &crashNode{name: name, house: &house{site: &site{t: t, dir: filepath.Join(dir, name)}}}
		at, ports := "127.0.0.1", [5]int{}
		if network != nil {
			n.cable = network.lay(name)
			at, ports = n.cable.address, [5]int{8080, 6060, 7422, 2379, 2380}
		} else {
			for j := range ports {
				ports[j] = freePort(t)
			}
		}
		n.file, n.address = filepath.Join(n.dir, "config.yaml"), fmt.Sprintf("%s:%d", at, ports[0])
		n.settings = fmt.Sprintf(crashConfig, n.dir, n.address, at, ports[1])
		words = append(words, fmt.Sprintf("%s=%s:%d:%d:%d", name, at, ports[2], ports[3], ports[4]))
		n.web = &http.Client{Timeout: deadline, Transport: &http.Transport{MaxIdleConnsPerHost: 8, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", n.address)
		}}}
		c.nodes[i] = n
	}
	if r := c.nodes[0].do("", words...); r.exit != 0 {
		t.Fatalf("%v: %s%s", words, r.out, r.err)
	}
	for _, n := range c.nodes {
		write(t, n.dir, "config.yaml", n.settings)
	}
	c.nodes[0].steps([]step{{"cluster init", 0, "", "~the next start of the server does it"}})
	for _, n := range c.nodes {
		n.begin()
	}
	c.allReady()
	c.furnish()
	return c
}

// crashConfig: 1 the folder, 2 the address of the Local API, 3 and 4 that of the metrics.
const crashConfig = `config_paths: {data_dir: %[1]s/data}
api:
  server: {listen_uri: %[2]s}
  client: {credentials_path: %[1]s/credentials.yaml}
prometheus: {enabled: true, listen_addr: %[3]s, listen_port: %[4]d}
`

// begin starts a node, again.
func (n *crashNode) begin() {
	args := []string{"-c", n.file, "serve"}
	if n.cable == nil {
		n.process = start(n.t, nil, args...)
		return
	}
	words := append([]string{"netns", "exec", n.cable.room, os.Args[0]}, args...)
	n.process = startCommand(n.t, exec.Command("ip", words...), nil, args)
}

// furnish adds who asks.
func (c *crashCluster) furnish() {
	c.nodes[1].steps([]step{
		{"machines add m -p secret -f " + filepath.Join(c.nodes[1].dir, "m.yaml"), 0, "", "~successfully added"},
		{"bouncers add b -k key -o raw", 0, "key", ""},
	})
	c.nodes[2].login()
	for _, n := range c.nodes {
		n.token = c.nodes[2].token
	}
	var addresses []string
	for _, n := range c.nodes {
		addresses = append(addresses, n.address)
	}
	for i := range 24 {
		b := &pushClient{t: c.t, told: &c.told, address: addresses[i%3], elsewhere: addresses, key: "key", question: pushQuestions[i/3%2], streams: i >= 9 && i < 18,
			chance: rand.New(rand.NewPCG(rand.Uint64(), 0)), holds: map[string]bool{}}
		if i >= 18 { // the nodes keep its place, wherever it asks
			b.placeless, b.leaves, b.key = true, i%2 == 0, fmt.Sprintf("key-%d", i)
			c.nodes[i%3].steps([]step{{fmt.Sprintf("bouncers add %s -k %s -o raw", b.key, b.key), 0, b.key, ""}})
		}
		b.web = &http.Client{Transport: &http.Transport{DialContext: dialSmall}}
		c.bouncers = append(c.bouncers, b)
	}
}

// allReady waits until every node says so: no node is struck before the last victim is back, for two that are away are a
// majority.
func (c *crashCluster) allReady() {
	c.t.Helper()
	for _, n := range c.nodes {
		await(c.t, "node "+n.name+" is ready", func() bool {
			select {
			case <-n.process.ended:
				c.t.Fatalf("node %s has ended: %v\n%s", n.name, n.process.err, n.process.out)
			default:
			}
			return n.do("", "ready").exit == 0
		})
	}
	await(c.t, "all members of etcd have caught up", func() bool {
		s, exit := c.status()
		return exit == 0 && len(s.Nodes) == 3
	})
}

// status is what the first node says of all.
func (c *crashCluster) status() (s stream.Status, exit int) {
	r := c.nodes[0].do("", "-o", "json", "cluster", "status")
	if err := json.Unmarshal([]byte(r.out), &s); err != nil {
		return s, max(r.exit, 2)
	}
	return s, r.exit
}

// strike has a node go away in some way, sees that another takes writes, and waits until it is back.
func (c *crashCluster) strike(round int, chance *rand.Rand) {
	c.t.Helper()
	c.goOn(4)
	victim := c.nodes[chance.IntN(3)]
	if s, _ := c.status(); round%5 < 4 { // mostly the one that writes
		for _, n := range c.nodes {
			if n.name == s.Writer.Node {
				victim = n
			}
		}
	}
	other := c.nodes[0]
	if other == victim {
		other = c.nodes[1+chance.IntN(2)]
	}
	struck := time.Now()
	how, mend := c.strikeBy(round, victim)
	await(c.t, "another node takes a write", func() bool {
		n := c.next.Add(1)
		code, _, err := other.ask("POST", "/v1/alerts", alertText(fmt.Sprintf("probe-%d", n), int(n)<<8, 1))
		return err == nil && code == http.StatusCreated
	})
	gap := time.Since(struck)
	c.longest = max(c.longest, gap)
	c.t.Logf("strike %d: node %s is %s; a write at node %s is answered after %v", round+1, victim.name, how, other.name, gap.Round(time.Millisecond))
	mend()
	c.allReady()
}

// strikeBy has a node go away, and gives how and what brings it back.
func (c *crashCluster) strikeBy(round int, victim *crashNode) (how string, mend func()) {
	c.t.Helper()
	ways := 2
	if victim.cable != nil {
		ways = 3
	}
	signal := func(s os.Signal) {
		if err := victim.process.cmd.Process.Signal(s); err != nil {
			c.t.Fatal(err)
		}
	}
	switch round % ways {
	case 0:
		kill(c.t, victim.process)
		return "killed", victim.begin
	case 1:
		signal(syscall.SIGSTOP)
		return "frozen", func() { signal(syscall.SIGCONT) }
	}
	victim.cable.pull()
	return "cut off", victim.cable.plug
}

// goOn waits until so many operations of each writer have been answered.
func (c *crashCluster) goOn(each int64) {
	c.t.Helper()
	want := c.done.Load() + 4*each
	await(c.t, "operations are answered", func() bool { return c.done.Load() >= want })
}

// What may be done to a register, and what is told of it.
type (
	registerDoes  struct{ ban, lift bool } // neither: it is asked for
	registerHears struct {
		known   bool
		running int // decisions that were there: for who lifts, before that
	}
)

// banRegister is how many decisions run on an address. A ban of which it is not known whether it was stored may be done at
// any time later, or never: its operation does not end.
var banRegister = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		running, does, hears := state.(int), input.(registerDoes), output.(registerHears)
		switch {
		case does.ban:
			return true, running + 1
		case does.lift:
			return !hears.known || hears.running == running, 0
		}
		return hears.running == running, running
	},
}

// write does one thing after the other to any address at any node, until ctx ends.
func (c *crashCluster) write(ctx context.Context, writer int, chance *rand.Rand) {
	for ctx.Err() == nil {
		c.operate(writer, chance.IntN(registers), c.nodes[chance.IntN(3)], registerDoes{ban: chance.IntN(3) == 0, lift: chance.IntN(3) == 0})
	}
}

// operate does something to an address and writes down what came of it. What certainly was not done is not.
func (c *crashCluster) operate(client, register int, n *crashNode, does registerDoes) {
	does.lift = does.lift && !does.ban
	began := time.Since(c.began)
	hears, not := c.ask(register, n, does)
	took := time.Since(c.began) - began
	if not || !does.ban && !does.lift && (!hears.known || took >= askedWithin) {
		time.Sleep(time.Millisecond) // nobody is there
		return
	}
	op := porcupine.Operation{ClientId: client, Input: does, Output: hears, Call: int64(began), Return: int64(began + took)}
	if hears.known {
		c.done.Add(1)
	} else {
		op.Return = math.MaxInt64
		c.unknown.Add(1)
	}
	c.mu.Lock()
	c.history[register] = append(c.history[register], op)
	c.mu.Unlock()
}

// ask does it; not: it was not done.
func (c *crashCluster) ask(register int, n *crashNode, does registerDoes) (hears registerHears, not bool) {
	address := fmt.Sprintf("10.255.0.%d", register)
	method, path, body, good := "GET", "/v1/alerts?has_active_decision=true&limit=0&ip="+address, "", http.StatusOK
	switch {
	case does.ban:
		method, path, body, good = "POST", "/v1/alerts", alertText(fmt.Sprintf("ban-%d", c.next.Add(1)), 255<<16|register, 1), http.StatusCreated
	case does.lift:
		method, path = "DELETE", "/v1/decisions?ip="+address
	}
	code, text, err := n.ask(method, path, body)
	var dial *net.OpError
	switch hears.known = err == nil && code == good; {
	case err != nil:
		return hears, errors.As(err, &dial) && dial.Op == "dial"
	case code == http.StatusServiceUnavailable:
		return hears, strings.Contains(text, "another server writes") || strings.Contains(text, peer.ErrNoWriter.Error())
	case code != good:
		c.t.Errorf("%s %s at node %s is answered with %d: %s", method, path, n.name, code, text)
	case does.lift:
		if _, err := fmt.Sscanf(text, `{"nbDeleted":"%d"}`, &hears.running); err != nil {
			c.t.Errorf("a deletion is answered with %s", text)
		}
	case !does.ban:
		hears.running = strings.Count(text, `"scenario":"ban-`) / 2 // of the alert, and of its decision
	}
	return hears, false
}

// askedWithin is how long an answer took at most that counts: who cannot learn within a second what is known elsewhere
// answers with what he has.
const askedWithin = 900 * time.Millisecond

// askAll asks every node for every address, when nobody writes any more.
func (c *crashCluster) askAll() {
	for i, n := range c.nodes {
		for register := range registers {
			before := c.done.Load()
			await(c.t, "node "+n.name+" answers", func() bool {
				c.operate(10+i, register, n, registerDoes{})
				return c.done.Load() > before
			})
		}
	}
}

// judge looks for an order in which all that was answered may have happened.
func (c *crashCluster) judge() {
	c.t.Helper()
	for register, history := range c.history {
		if got := porcupine.CheckOperationsTimeout(banRegister, history, deadline); got != porcupine.Ok {
			file := filepath.Join(os.TempDir(), fmt.Sprintf("lapid-register-%d.json", register))
			text, _ := json.MarshalIndent(history, "", " ")
			_ = os.WriteFile(file, text, 0o600)
			c.t.Errorf("what was answered about 10.255.0.%d is in no order that may have happened (%v; %d operations are in %s)", register, got, len(history), file)
		}
	}
}

// compare waits until every node says the same, and every bouncer holds it.
func (c *crashCluster) compare() {
	c.t.Helper()
	for _, question := range pushQuestions[:2] {
		var want map[string]bool
		await(c.t, "all nodes say the same", func() bool {
			var all [3]map[string]bool
			for i, n := range c.nodes {
				all[i] = c.full(n, question)
			}
			want = all[0]
			return maps.Equal(all[0], all[1]) && maps.Equal(all[1], all[2])
		})
		for i, b := range c.bouncers {
			if b.question == question {
				await(c.t, fmt.Sprintf("bouncer %d (%q, streams %v) holds the %d that there are", i, question, b.streams, len(want)), func() bool { return maps.Equal(b.now(), want) })
			}
		}
	}
}

// full is what a node tells a bouncer that knows nothing.
func (c *crashCluster) full(n *crashNode, question string) map[string]bool {
	code, text, err := n.ask("GET", "/v1/decisions/stream?startup=true&"+question, "")
	var news pushNews
	if err != nil || code != http.StatusOK || json.Unmarshal([]byte(text), &news) != nil {
		c.t.Fatalf("full state: %d %v", code, err)
	}
	all := map[string]bool{}
	news.put(all)
	return all
}
