package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestShadowSwitches changes who answers again and again under pushes, deletions and polls that overlap them: however the
// answers of the two were mixed, every bouncer holds the right set in the end. The server behind the shadow is lapid itself,
// which loses nothing on its own.
func TestShadowSwitches(t *testing.T) {
	t.Parallel()
	old, s := emptyHouse(t), &shadowed{house: emptyHouse(t)}
	furnish := []step{{"machines add edge -p secret -f @DIR@/credentials.yaml", 0, "", "~successfully added"}}
	names := []string{"b1", "b2", "b3", "b4", "both"}
	for _, name := range names {
		furnish = append(furnish, step{fmt.Sprintf("bouncers add %s -k key-%s -o raw", name, name), 0, "key-" + name, ""})
	}
	old.steps(furnish)
	s.steps(furnish)
	p := start(t, nil, "-c", old.file, "serve")
	old.awaitHealth(p)
	s.at = fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	s.old = &reference{port: old.port}
	s.begin()

	over := make(chan struct{})
	var all sync.WaitGroup
	run := func(every time.Duration, round func(i int)) {
		all.Go(func() {
			pace := time.NewTicker(every)
			defer pace.Stop()
			for i := 0; ; i++ {
				select {
				case <-over:
					return
				case <-pace.C:
					round(i)
				}
			}
		})
	}
	var pollers []*holds
	for _, name := range names[:4] {
		h := &holds{c: s.client("key-" + name)}
		h.poll(s.at, "/v1/decisions/stream?startup=true")
		pollers = append(pollers, h)
		run(7*time.Millisecond, func(int) { h.poll(s.at, "/v1/decisions/stream") })
	}
	var next atomic.Int64
	for range 2 {
		c := s.client("")
		var mine []string
		run(5*time.Millisecond, func(i int) {
			n := next.Add(1)
			value := fmt.Sprintf("203.%d.%d.%d", n>>16&255, n>>8&255, n&255)
			own := fmt.Sprintf(`{"duration":"4h","origin":"test","scenario":"s","scope":"Ip","type":"ban","value":%q}`, value)
			if code, text := c.as("POST", "/v1/alerts", oldAlert(value, own)); code != 201 {
				t.Errorf("a push: %d %s", code, text)
			}
			if mine = append(mine, value); i%3 == 2 {
				c.as("DELETE", "/v1/decisions?ip="+mine[0], "")
				mine = mine[1:]
			}
		})
	}
	for i := range 16 {
		who := []string{"ours", "theirs", "ours --bouncers b1,b3", "ours", "theirs"}[i%5]
		await(t, "the one who answers changes", func() bool {
			r := s.do("", append([]string{"shadow", "answer"}, strings.Fields(who)...)...)
			return r.exit == exitGood || !strings.Contains(r.err, "try again") && fail(t, r)
		})
	}
	close(over)
	all.Wait()
	s.level()
	fresh := &holds{c: s.client("key-both")}
	fresh.poll(fmt.Sprintf("http://127.0.0.1:%d", old.port), "/v1/decisions/stream?startup=true")
	for i, h := range pollers {
		h.poll(s.at, "/v1/decisions/stream")
		for name := range fresh.set {
			if !h.set[name] {
				t.Errorf("bouncer %d has not got %s", i, name)
			}
		}
		for name := range h.set {
			if !fresh.set[name] {
				t.Errorf("bouncer %d still has %s", i, name)
			}
		}
	}
	if r := s.report(); r.Void != "" || r.LostCount != 0 || r.Unexplained() != 0 {
		t.Errorf("void %q, lost %d, unexplained %d: %+v", r.Void, r.LostCount, r.Unexplained(), r.Routes)
	}
	s.expect(s.do("", "shadow", "answer", "ours", "--bouncers", ""), exitFails, "", "~--bouncers names nobody")
}
