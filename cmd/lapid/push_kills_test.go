package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/transport/admin"
)

var (
	pushKills   = flag.Int("push.kills", 3, "how often TestPushKills kills the server")
	pushHeld    = flag.Int("push.held", 300, "how many polls are held meanwhile")
	pushStreams = flag.Int("push.streams", 60, "and how many event streams")
)

// pushQuestions are what the clients ask, as parameters.
var pushQuestions = []string{"", "origins=cscli", "scopes=ip,range&types=ban", "scenarios_containing=odd", "ip=10.0.0.7", "scenarios_not_containing=odd&origins=test"}

// pushViews are what the bouncers of the test may see, by the number of their key: everything; the
// best of what is banned here; clean addresses; and what an allowlist does not hide.
var pushViews = func() []admin.BouncerEdit {
	most, clean := 50, true
	return []admin.BouncerEdit{
		{},
		{Words: map[string][]string{"origins": {"test", "cscli"}}, MaxEntries: &most},
		{Canonical: &clean},
		{Words: map[string][]string{"allowlist": {pushAllowed}}},
	}
}()

// pushAllowed is the allowlist that is there, and wins.
const pushAllowed = "office"

// TestPushKills kills a real server again and again while polls are held, event streams are
// open and bans come and go. Some clients go through a proxy that holds bytes back and loses
// them in the end, some hang up at any point, some stop reading. When all is quiet each
// holds what a full state says to a new bouncer that may see the same. Ranges are banned around
// what is allowlisted, before and after.
func TestPushKills(t *testing.T) {
	t.Parallel()
	held, streams := *pushHeld, *pushStreams
	if underRace {
		held, streams = held/5, streams/5
	}
	f := newPushFleet(t, held, streams)
	var all sync.WaitGroup
	defer all.Wait()
	defer f.stop()
	for _, c := range f.clients {
		all.Go(func() { c.run(f.life) })
	}
	for round := range *pushKills {
		before, written, walled := f.told.Load(), f.writes.Load(), f.ranges.Load()
		writing, stop := context.WithCancel(f.life)
		var writers sync.WaitGroup
		for w := range 2 {
			writers.Go(func() { f.write(writing, round, w) })
		}
		writers.Go(func() { f.writeRanges(writing, round) })
		await(t, "writes are answered and told", func() bool {
			return f.told.Load() >= before+3*int64(len(f.clients)) && f.writes.Load() >= written+60 && f.ranges.Load() >= walled+20
		})
		kill(t, f.server)
		stop()
		writers.Wait()
		f.begin()
	}
	f.compare()
	t.Logf("%d kills, %d answers and events to %d clients, %d writes, %d of ranges and allowlists", *pushKills, f.told.Load(), len(f.clients), f.writes.Load(), f.ranges.Load())
}

// pushFleet is a server and those who are told by it.
type pushFleet struct {
	*house
	server  *process
	life    context.Context
	stop    context.CancelFunc
	clients []*pushClient
	told    atomic.Int64
	writes  atomic.Int64
	ranges  atomic.Int64
}

func newPushFleet(t *testing.T, held, streams int) *pushFleet {
	f := &pushFleet{house: newHouse(t)}
	f.life, f.stop = context.WithCancel(t.Context())
	write(t, f.dir, "lapid.yaml", "allowlist_wins: true\n")
	f.begin()
	f.operator(f.life, func(c *admin.Client) error {
		_, err := c.CreateAllowlist(f.life, &admin.NewAllowlist{Name: pushAllowed})
		return err
	})
	direct := fmt.Sprintf("127.0.0.1:%d", f.port)
	far := newHoldingProxy(t, direct)
	keys := f.addKeys("push-key", len(pushViews)+held/4)
	for i := range held + streams {
		c := &pushClient{
			t: t, told: &f.told, address: direct, question: pushQuestions[i%len(pushQuestions)], view: i % len(pushViews),
			streams: i >= held, chance: rand.New(rand.NewPCG(rand.Uint64(), 0)), holds: map[string]bool{},
		}
		c.key = keys[c.view]
		switch {
		case i < held/4: // the server keeps its place: it needs a key of its own
			c.placeless, c.key = true, keys[len(pushViews)+i]
		case i%5 == 0:
			c.address = far
		case i%7 == 0:
			c.leaves = true
		case i%11 == 0:
			c.sleeps = true
		}
		c.web = &http.Client{Transport: &http.Transport{DialContext: dialSmall}}
		f.clients = append(f.clients, c)
	}
	return f
}

// dialSmall has the system take in little for a client that does not read.
func dialSmall(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Control: smallWindow}).DialContext(ctx, network, address)
}

// smallWindow has the system take in little for a client that does not read.
func smallWindow(_, _ string, raw syscall.RawConn) (err error) {
	if failed := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10) }); failed != nil {
		return failed
	}
	return err
}

// begin starts the server, again.
func (f *pushFleet) begin() {
	f.t.Helper()
	f.server = start(f.t, []string{"LAPID_SNAPSHOT_EVERY=1s"}, "-c", f.file, "serve")
	f.awaitHealth(f.server)
	f.login()
}

// addKeys adds bouncers, of each view in turn.
func (f *pushFleet) addKeys(name string, n int) (keys []string) {
	f.t.Helper()
	f.operator(f.life, func(c *admin.Client) error {
		for i := range n {
			keys = append(keys, fmt.Sprintf("%s-%d", name, i))
			b := &admin.NewBouncer{Name: keys[i], KeyHash: hashOf(keys[i]), Shared: true, Edit: pushViews[i%len(pushViews)]}
			if _, err := c.AddEdited(f.life, b); err != nil {
				return err
			}
		}
		return nil
	})
	return keys
}

// operator does something over the operator's socket, which has to succeed unless ctx is over.
func (f *pushFleet) operator(ctx context.Context, do func(*admin.Client) error) {
	f.t.Helper()
	c, err := admin.Dial(ctx, filepath.Join(f.dir, "lapid", "admin.sock"))
	if err == nil {
		err = do(c)
		c.Close()
	}
	if err != nil && ctx.Err() == nil {
		f.t.Error(err)
	}
}

// writeRanges bans ranges past the allowlist and puts addresses in them on it and takes them
// off, until ctx ends or the server is killed.
func (f *pushFleet) writeRanges(ctx context.Context, round int) {
	c, err := admin.Dial(ctx, filepath.Join(f.dir, "lapid", "admin.sock"))
	if err != nil {
		return
	}
	defer c.Close()
	for i := 0; err == nil && ctx.Err() == nil; i++ {
		inside := fmt.Sprintf("10.0.%d.%d", round&255, 8*(i%25)+i%3)
		switch i % 4 {
		case 0:
			_, err = c.AddDecision(ctx, &admin.NewDecision{Scope: "Range", Value: fmt.Sprintf("%s/%d", inside, 25+i/4%5), Type: "ban", Duration: "4h", Reason: "odd/range", Bypass: true})
		case 1, 2:
			_, err = c.AddToAllowlist(ctx, &admin.AllowlistAddition{Name: pushAllowed, Items: []admin.NewAllowlistItem{{Value: inside}}})
		case 3:
			_, err = c.RemoveFromAllowlist(ctx, &admin.AllowlistRemoval{Name: pushAllowed, Values: []string{fmt.Sprintf("10.0.%d.%d", round&255, 8*((i-1)%25)+(i-1)%3)}})
		}
		if err == nil {
			f.ranges.Add(1)
		}
	}
}

// write has bans come and go until ctx ends. What is not answered may have happened or not.
func (f *pushFleet) write(ctx context.Context, round, writer int) {
	for i := 0; ctx.Err() == nil; i++ {
		n := round<<8 | writer<<7 | i%100
		var err error
		if i%3 == 2 {
			_, _, err = f.ask("DELETE", fmt.Sprintf("/v1/decisions?ip=10.%d.%d.%d", n>>16&255, n>>8&255, (n-1)&255), "")
		} else {
			_, _, err = f.ask("POST", "/v1/alerts", alertText([]string{"odd/one", "even/one"}[i%2], n, 1+i%5))
		}
		if err == nil {
			f.writes.Add(1)
		}
	}
}

// compare waits until every client holds what a full state says.
func (f *pushFleet) compare() {
	f.t.Helper()
	want := make([]map[string]map[string]bool, len(pushViews))
	for view, key := range f.addKeys("fresh", len(pushViews)) {
		want[view] = map[string]map[string]bool{}
		f.header = http.Header{"X-Api-Key": {key}}
		for _, q := range pushQuestions {
			code, text, err := f.ask("GET", "/v1/decisions/stream?startup=true&"+q, "")
			if err != nil || code != 200 {
				f.t.Fatalf("full state: %d %v", code, err)
			}
			var news pushNews
			if err := json.Unmarshal([]byte(text), &news); err != nil {
				f.t.Fatal(err)
			}
			want[view][q] = map[string]bool{}
			news.put(want[view][q])
		}
		if len(want[view][""]) == 0 {
			f.t.Errorf("nothing is banned in the end, in view %d", view)
		}
	}
	if n := len(want[1][""]); n > *pushViews[1].MaxEntries {
		f.t.Errorf("a bouncer holds %d, and its bound is %d", n, *pushViews[1].MaxEntries)
	}
	for end := time.Now().Add(deadline); ; time.Sleep(50 * time.Millisecond) {
		wrong := slices.IndexFunc(f.clients, func(c *pushClient) bool { return !maps.Equal(c.now(), want[c.view][c.question]) })
		if wrong < 0 {
			return
		}
		if time.Now().After(end) || f.t.Failed() {
			c := f.clients[wrong]
			want := want[c.view][c.question]
			f.t.Fatalf("client %d (%q, view %d, streams %v, placeless %v, leaves %v, sleeps %v) holds %d, and a full state has %d; it lacks %v and has too much %v", wrong, c.question, c.view, c.streams,
				c.placeless, c.leaves, c.sleeps, len(c.now()), len(want), missing(want, c.now()), missing(c.now(), want))
		}
	}
}

func missing(from, in map[string]bool) (list []string) {
	for target := range from {
		if !in[target] {
			list = append(list, target)
		}
	}
	slices.Sort(list)
	return list[:min(len(list), 10)]
}

// pushNews is an answer or an event.
type pushNews struct {
	New, Deleted []struct{ Scope, Value, Type string }
	First, Last  bool
}

func (n *pushNews) put(set map[string]bool) {
	for _, d := range n.Deleted {
		delete(set, d.Scope+" "+d.Value+" "+d.Type)
	}
	for _, d := range n.New {
		set[d.Scope+" "+d.Value+" "+d.Type] = true
	}
}

// pushClient is one that is told. It polls and is held, or reads events.
type pushClient struct {
	t                             *testing.T
	web                           *http.Client
	told                          *atomic.Int64
	address, question, key, place string
	elsewhere                     []string // who else may be asked where nobody answers
	view                          int      // of pushViews
	streams, placeless            bool
	leaves, sleeps                bool // it hangs up at any point; it stops reading now and then
	chance                        *rand.Rand

	mu    sync.Mutex
	holds map[string]bool
}

func (c *pushClient) now() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.holds)
}

// change replaces, or changes, what the client holds, and where that is.
func (c *pushClient) change(n *pushNews, full bool, place string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if full {
		n.Deleted = nil
		clear(c.holds)
	}
	n.put(c.holds)
	c.place = place
	c.told.Add(1)
}

// run asks again and again, until life ends.
func (c *pushClient) run(life context.Context) {
	defer c.web.CloseIdleConnections()
	for first := true; life.Err() == nil; {
		ctx, hangUp := context.WithCancel(life)
		if c.leaves && c.chance.IntN(2) == 0 {
			time.AfterFunc(time.Duration(c.chance.IntN(int(100*time.Millisecond))), hangUp)
		}
		query := "?" + c.question
		switch {
		case c.streams:
			query += "&after=" + c.place
		case c.place == "" || c.placeless && first:
			query += "&startup=true"
		case c.placeless:
			query += "&wait=20s"
		default:
			query += "&wait=20s&after=" + c.place
		}
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+c.address+"/v1/decisions/stream"+strings.TrimSuffix(query, "&after="), nil)
		if err != nil {
			panic(err)
		}
		r.Header.Set("X-Api-Key", c.key)
		if c.streams {
			r.Header.Set("Accept", "text/event-stream")
		}
		if err = c.ask(r); err == nil {
			first = false
		} else if life.Err() == nil {
			if len(c.elsewhere) > 0 {
				c.address = c.elsewhere[c.chance.IntN(len(c.elsewhere))]
			}
			time.Sleep(time.Duration(c.chance.IntN(int(50 * time.Millisecond)))) // nobody is there
		}
		hangUp()
	}
}

func (c *pushClient) ask(r *http.Request) error {
	w, err := c.web.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", w.StatusCode)
	}
	if c.streams {
		return c.read(r.Context(), w.Body)
	}
	text, err := io.ReadAll(w.Body)
	if err != nil {
		return err
	}
	var n pushNews
	if err := json.Unmarshal(text, &n); err != nil {
		c.t.Errorf("an answer of 200: %v: %.200s", err, text)
		return err
	}
	c.change(&n, w.Header.Get("Lapid-Stream") == "full", strings.Trim(w.Header.Get("ETag"), `"`))
	return nil
}

// read reads events until they end.
func (c *pushClient) read(ctx context.Context, body io.Reader) error {
	lines := bufio.NewReader(body)
	all := &pushNews{} // of a full state in several parts
	var kind, data, id string
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			kind = value
		case "data":
			data = value
		case "id":
			id = value
		case "":
			if data != "" {
				var n pushNews
				if err := json.Unmarshal([]byte(data), &n); err != nil {
					c.t.Errorf("an event: %v: %.200s", err, data)
					return err
				}
				switch all.New = append(all.New, n.New...); {
				case kind == "delta":
					c.change(&n, false, id)
					all = &pushNews{}
				case n.Last:
					c.change(all, true, id)
					all = &pushNews{}
				}
			}
			if id != "" {
				c.mu.Lock()
				c.place = id
				c.mu.Unlock()
			}
			kind, data, id = "", "", ""
			if c.sleeps && c.chance.IntN(20) == 0 {
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		}
	}
}

// newHoldingProxy passes bytes on, those of answers late and in pieces of its own, and loses
// what it has when the server goes.
func newHoldingProxy(t *testing.T, to string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go holdBack(c, to)
		}
	}()
	return l.Addr().String()
}

// holdBack serves one connection of the proxy: what came is passed on when nothing more has
// come for a while, or there is enough.
func holdBack(c net.Conn, to string) {
	defer c.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, c)
		_ = up.Close()
	}()
	const enough, while = 4 << 10, 30 * time.Millisecond
	var kept []byte
	buf := make([]byte, 1000)
	for {
		if err := up.SetReadDeadline(time.Now().Add(while)); err != nil {
			return
		}
		n, err := up.Read(buf)
		kept = append(kept, buf[:n]...)
		quiet, _ := err.(net.Error)
		switch {
		case err != nil && (quiet == nil || !quiet.Timeout()):
			_, _ = c.Write(kept[:len(kept)/2])
			return
		case len(kept) > enough || err != nil && len(kept) > 0:
			if _, err := c.Write(kept); err != nil {
				return
			}
			kept = kept[:0]
		}
	}
}
