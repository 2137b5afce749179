package verbs

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
)

// The nodes of a cluster quickstart, and how far apart their Local APIs are.
var quickNodes = [...]string{"a", "b", "c"}

const quickNodesApart = 100

// quickNodePatience is how long a start of all nodes may take; etcd elects meanwhile.
const quickNodePatience = 2 * time.Minute

// clusterQuickstart is cluster quickstart: three nodes on this machine, for trying things.
func clusterQuickstart(t *Terminal) *cobra.Command {
	var q quickCluster
	c := &cobra.Command{
		Use: "quickstart", Short: "Try it: three nodes on this machine, and lines to paste", Args: NoArgs,
		Long: `Runs three servers with one history on this machine, each with a member of etcd in its process. Everything is in
one folder; the first start makes it (certificates, the seal, a folder for each node with config.yaml, lapid.yaml and
etcd.yaml), later ones use it again. The Local APIs are on --port, and 100 and 200 above it; other ports are free ones
that stay as they were chosen. DIR/NAME/pid has the process of a node that this began (of one
that came back it does not), DIR/NAME/log what it says.

A node that ends, or is killed, ends no other. It comes back with: lapid serve -c DIR/NAME/config.yaml
Ctrl-C or SIGTERM ends all of them. Nothing leaves this machine.`,
		RunE: func(c *cobra.Command, _ []string) error { return q.run(c.Context(), t) },
	}
	c.Flags().StringVar(&q.dir, "dir", "lapid-cluster", "folder for everything")
	c.Flags().IntVar(&q.port, "port", 8080, "port of the first node's Local API, at the first start")
	return c
}

// quickCluster is what the flags say, and the nodes.
type quickCluster struct {
	dir   string
	port  int
	nodes []*quickNode
	ends  atomic.Bool // all are to end
}

// quickNode is one of its processes.
type quickNode struct {
	name, file string
	setup      *config.Setup
	process    *os.Process
	over       chan struct{} // closed when the process has ended
}

// run makes what is missing, starts the nodes, tells how to try them, and ends them.
func (q *quickCluster) run(ctx context.Context, t *Terminal) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if q.dir, err = filepath.Abs(q.dir); err != nil {
		return err
	}
	if err := q.furnish(t); err != nil {
		return err
	}
	if err := q.look(ctx, t); err != nil {
		return err
	}
	runtime.LockOSThread() // until the end: the nodes end with the thread that starts them
	defer q.end(t)
	for _, n := range q.nodes {
		if err := n.start(t, &q.ends); err != nil {
			return err
		}
	}
	lines, err := q.tell(ctx, t)
	if ctx.Err() != nil {
		return nil // it was told to end
	}
	if err != nil {
		return err
	}
	t.write(lines)
	q.watch(ctx, t)
	return nil
}

// furnish makes the folders, once.
func (q *quickCluster) furnish(t *Terminal) error {
	first := datadir.Missing(filepath.Join(q.dir, quickNodes[len(quickNodes)-1], config.QuickConfig))
	for _, name := range quickNodes {
		q.nodes = append(q.nodes, &quickNode{name: name, file: filepath.Join(q.dir, name, config.QuickConfig)})
	}
	if !first {
		return nil
	}
	if q.port < 1 || q.port+(len(quickNodes)-1)*quickNodesApart > 65535 {
		return fmt.Errorf("--port %d: it and those %d above must be ports", q.port, (len(quickNodes)-1)*quickNodesApart)
	}
	for i := range quickNodes { // before anything is written
		if err := free(q.address(i)); err != nil {
			return err
		}
	}
	ports, err := freePorts(4 * len(quickNodes))
	if err != nil {
		return err
	}
	var words []string
	for i, name := range quickNodes {
		words = append(words, fmt.Sprintf("%s=127.0.0.1:%d:%d:%d", name, ports[4*i], ports[4*i+1], ports[4*i+2]))
	}
	k := keysFlags{prefix: "/lapid/main"}
	if err := k.make(t, q.dir, words); err != nil {
		return err
	}
	for i, n := range q.nodes { // the last file tells that all are there
		dir := filepath.Dir(n.file)
		text := fmt.Appendf(nil, quickText, config.Scalar(filepath.Join(dir, "data")), config.Scalar(filepath.Join(dir, quickCredentials)),
			config.Scalar(q.address(i)), config.Scalar("127.0.0.1"), strconv.Itoa(ports[4*i+3]))
		if err := datadir.WriteSecret(n.file, text); err != nil {
			return err
		}
	}
	return nil
}

// address is where the Local API of a node is to be at the first start.
func (q *quickCluster) address(i int) string {
	return "127.0.0.1:" + strconv.Itoa(q.port+i*quickNodesApart)
}

// free complains about an address that another program has.
func free(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s is taken by another program: stop it, or choose another port with --port, in another folder (--dir) if there are nodes in this one: %w", address, err)
	}
	return l.Close()
}

// freePorts finds ports of this machine that nobody listens on, all different.
func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // held until all are found
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// look reads each node's configuration, and sees that none of them runs and that the first one begins the history.
func (q *quickCluster) look(ctx context.Context, t *Terminal) (err error) {
	for _, n := range q.nodes {
		if n.setup, err = config.Load(n.file, t.Env); err != nil {
			return err
		}
		if c, err := admin.Dial(ctx, n.setup.Socket()); err == nil {
			c.Close()
			return fmt.Errorf("node %s runs already in %s: use it, stop it, or choose another folder with --dir", n.name, filepath.Dir(n.file))
		}
		if err := free(n.setup.Config.API.Server.ListenURI); err != nil {
			return err
		}
	}
	if at := q.nodes[0].setup.Config.API.Server.ListenURI; at != q.address(0) {
		t.log("warning", "--port %d has no effect: the nodes in %s were made before, and the first one is at %s; choose another folder with --dir", q.port, q.dir, at)
	}
	return wishBegin(q.nodes[0].setup)
}

// start starts a node, whose words go to the file log in its folder. Its end is told unless all are to end.
func (n *quickNode) start(t *Terminal, ends *atomic.Bool) error {
	dir := filepath.Dir(n.file)
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	program, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(program, "serve", "-c", n.file)
	c.Dir, c.Stdout, c.Stderr = dir, log, log
	c.SysProcAttr = tied()
	if err := c.Start(); err != nil {
		return fmt.Errorf("starting node %s: %w", n.name, err)
	}
	n.process, n.over = c.Process, make(chan struct{})
	go func() {
		_ = c.Wait()
		if !ends.Load() {
			t.log("warning", "node %s has ended (%s); the others go on. It comes back with: %s serve -c %s", n.name, c.ProcessState, os.Args[0], n.file)
		}
		close(n.over)
	}()
	return datadir.WriteSecret(filepath.Join(dir, "pid"), fmt.Appendf(nil, "%d\n", c.Process.Pid))
}

// tell waits until all nodes are ready and gives what is to be pasted.
func (q *quickCluster) tell(ctx context.Context, t *Terminal) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, quickNodePatience)
	defer cancel()
	for _, n := range q.nodes {
		if err := n.await(ctx); err != nil {
			return "", err
		}
	}
	first := q.nodes[0]
	dir := filepath.Dir(first.file)
	t.File, t.loaded, t.alone = first.file, first.setup, true
	if err := quickPeople(ctx, t, first.setup, dir); err != nil {
		return "", err
	}
	c, key, err := quickSecrets(first.setup, dir)
	if err != nil {
		return "", err
	}
	status, err := clusterNow(ctx, t)
	if err != nil {
		return "", err
	}
	urls := make([]string, len(q.nodes))
	for i, n := range q.nodes {
		urls[i] = strings.TrimSuffix(n.setup.URL(), "/")
	}
	return fmt.Sprintf(quickClusterWords, urls[0], c.Login, c.Password, strings.Join(urls, ", "), clusterLine(status), urls[1], urls[2], key, os.Args[0], q.nodes[1].file, q.dir), nil
}

// await waits until a node answers as ready.
func (n *quickNode) await(ctx context.Context) error {
	for {
		r, err := askReady(ctx, n.setup)
		if err == nil && r.Ready {
			return nil
		}
		select {
		case <-time.After(retryAfter):
		case <-n.over:
			return fmt.Errorf("node %s ended before it was ready: %s says why", n.name, filepath.Join(filepath.Dir(n.file), "log"))
		case <-ctx.Done():
			return fmt.Errorf("node %s is not ready: %s says why", n.name, filepath.Join(filepath.Dir(n.file), "log"))
		}
	}
}

// watch waits until it is told to end, or nothing is left to wait for.
func (q *quickCluster) watch(ctx context.Context, t *Terminal) {
	all := make(chan struct{})
	go func() {
		defer close(all)
		for _, n := range q.nodes {
			<-n.over
		}
	}()
	select {
	case <-ctx.Done():
		t.success("ending all nodes")
	case <-all: // a node may have been started again by hand
		t.log("warning", "all nodes that were started here have ended; Ctrl-C ends this, and those that were started again by hand")
		<-ctx.Done()
	}
}

// end ends all nodes, also those that were started again by hand.
func (q *quickCluster) end(t *Terminal) {
	q.ends.Store(true)
	var all sync.WaitGroup
	for _, n := range q.nodes {
		all.Go(func() { n.end() })
	}
	all.Wait()
	t.success("all nodes have ended")
}

func (n *quickNode) end() {
	if n.process != nil {
		_ = n.process.Signal(syscall.SIGTERM)
		<-n.over
	}
	if n.setup == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askPatience)
	defer cancel()
	c, err := admin.Dial(ctx, n.setup.Socket())
	if err != nil {
		return
	}
	defer c.Close()
	if s, err := c.Status(ctx); err == nil && s.PID > 1 {
		_ = syscall.Kill(s.PID, syscall.SIGTERM)
	}
}

// quickClusterWords: 1 to 3 those of quickBan, 4 all URLs, 5 the line of status, 6 and 7 the URLs of the second and the third
// node, 8 API key, 9 the program as it was called, 10 the second node's configuration, 11 the folder.
const quickClusterWords = `
Three nodes with one history: %[4]s
%[5]s
Paste, in another terminal:

# ban 192.0.2.7 at node a, as a log processor would
` + quickBan + `

# ask node b for it, as a live bouncer does
curl -s '%[6]s/v1/decisions?ip=192.0.2.7' -H 'X-Api-Key: %[8]s'

# poll the stream of node c
curl -s '%[7]s/v1/decisions/stream?startup=true' -H 'X-Api-Key: %[8]s'

# who writes, who follows, how far each is
%[9]s -c %[10]s cluster status

# kill one; writes go on within seconds at the others, and it comes back
kill -9 $(cat %[11]s/a/pid)
%[9]s serve -c %[11]s/a/config.yaml

Ctrl-C ends all of them; nothing is lost.

`
