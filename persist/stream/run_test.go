package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
)

// node is an engine on a log that takes part.
type node struct {
	*enginetest.Rig
	log    *Log
	leave  context.CancelFunc
	ended  chan struct{}
	result error
}

// join starts a node on a log.
func (r *rig) join(t *testing.T, l *Log) *node {
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{log: l, leave: cancel, ended: make(chan struct{})}
	n.Rig = enginetest.NewRig(t, func(o *engine.Options) { o.FS, o.Journal = persist.NewMemFS(), l })
	e := n.Engine
	go func() {
		defer close(n.ended)
		n.result = l.Run(ctx, e, func() Facts { return Facts{Applied: e.View().Revision(), Synced: e.View().Revision(), Level: 1} })
	}()
	t.Cleanup(n.part)
	return n
}

// part has it leave in good order.
func (n *node) part() {
	n.leave()
	<-n.ended
}

// until waits for a condition.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// writing waits until one of the nodes writes and returns it.
func writing(t *testing.T, nodes ...*node) (w *node) {
	t.Helper()
	until(t, "a writer", func() bool {
		for _, n := range nodes {
			if n.Writes() && n.log.Writes() {
				w = n
				return true
			}
		}
		return false
	})
	return w
}

func ban(e *engine.Engine, value string) error {
	a := &engine.Alert{Scenario: "load", StopAt: engine.StampOf(enginetest.Epoch), Decisions: []engine.NewDecision{
		{Scope: "Ip", Value: value, Type: "ban", Origin: "crowdsec", Scenario: "load", Duration: "4h"}}}
	_, err := e.AddAlerts(context.Background(), "", []*engine.Alert{a}, enginetest.Epoch.UnixNano())
	return err
}

func bans(n *node) map[string]bool {
	q := n.Ask()
	q.Now = enginetest.Epoch.UnixNano()
	all := map[string]bool{}
	running, _ := enginetest.FullState(n.View(), q)
	for _, d := range running {
		all[d.Value()] = true
	}
	return all
}

// Three engines on one history under load: one hands over, the next vanishes, a third is there and goes on; one leaves in good order.
// No write that was answered is lost, and all who are left have the same state.
func TestThreeEngines(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	nodes := []*node{r.join(t, r.begun(nil)), r.join(t, r.open(nil, nil)), r.join(t, r.open(nil, nil))}
	first := writing(t, nodes...)
	if first != nodes[0] {
		t.Errorf("who began the cluster does not write")
	}
	var mu sync.Mutex
	answered := map[string]bool{}
	var stop atomic.Bool
	var load sync.WaitGroup
	for w := range 4 {
		load.Go(func() {
			for i := 0; !stop.Load(); i++ {
				value := fmt.Sprintf("10.%d.%d.%d", w, i>>8, i&255)
				for !stop.Load() {
					err := errors.New("nobody writes")
					for _, n := range nodes {
						if n.Writes() {
							err = ban(n.Engine, value)
							break
						}
					}
					if err == nil {
						mu.Lock()
						answered[value] = true
						mu.Unlock()
						break
					}
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(answered) }
	more := func(what string) {
		had := count()
		until(t, what, func() bool { return count() > had+20 })
	}
	more("writes at the first")
	if err := nodes[0].log.Hand(context.Background(), "n2"); err != nil {
		until(t, "the others are known", func() bool { return len(nodes[0].log.nodes()) == 3 })
		if err = nodes[0].log.Hand(context.Background(), "n2"); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the second writes", func() bool { return nodes[1].log.Writes() && nodes[1].Writes() })
	more("writes at the second")
	_ = nodes[1].log.Close()
	<-nodes[1].ended
	if !errors.Is(nodes[1].result, errClosed) {
		t.Errorf("Run of a log that was closed: %v", nodes[1].result)
	}
	third := writing(t, nodes[0], nodes[2])
	more("writes at the third")
	third.part()
	last := nodes[0]
	if third == last {
		last = nodes[2]
	}
	writing(t, last)
	more("writes at the last")
	stop.Store(true)
	load.Wait()
	newest, err := last.log.Newest(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{last, third} {
		if err := n.Reach(context.Background(), newest); err != nil {
			t.Fatal(err)
		}
		got := bans(n)
		for value := range answered {
			if !got[value] {
				t.Errorf("%s lost the ban of %s", n.log.options.Node, value)
			}
		}
	}
	if last.Digest() != third.Digest() {
		t.Error("two nodes have different states")
	}
	status, err := last.log.Status(context.Background())
	if err != nil || status.Head.Revision < newest || len(status.Nodes) != 3 || len(status.Members) != 1 || !status.Members[0].Leader || status.Writer.Node != last.log.options.Node {
		t.Errorf("status: %+v, %v", status, err)
	}
}
