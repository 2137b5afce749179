package transport

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/feed"
)

var (
	closings = flag.Int("closings", 60, "how many polls TestClosings makes over each front")
	deltaSum = flag.Int("deltas", 100, "how many deltas TestLastBrace tells")
	seedOf   = flag.Uint64("closingseed", 0, "the seed of TestClosings; 0: a new one")
)

// TestClosings has a bouncer poll over connections that end in every way there is,
// at random: what it has not heard it is told again, until it has; and as long as it
// ends its connections in good order nothing is told twice. It knows what it has read
// to the end, and after each such answer that is exactly what runs.
func TestClosings(t *testing.T) {
	t.Parallel()
	bothWays(t, testClosings)
}

func testClosings(t *wireTest) {
	t.Parallel()
	for i, name := range []string{"TCP", "socket", "TLS on loops", "TLS"} {
		t.Run(name, func(t *wireTest) {
			t.Parallel()
			seed := *seedOf
			if seed == 0 {
				seed = rand.Uint64()
			}
			t.Logf("seed %d", seed)
			f := newFronts(t, nil)
			c := &closer{fronts: f, front: f.all[i], chance: rand.New(rand.NewPCG(seed, uint64(i))), holds: map[string]bool{}, runs: map[string]bool{}}
			f.house.t = t
			c.runs["192.0.2.1"], c.runs["192.0.2.2"], c.runs["2001:db8::1"], c.runs["198.51.100.0/24"] = true, true, true, true
			c.again = true // its first poll
			for range *closings {
				c.change()
				if c.chance.IntN(2) == 0 {
					c.spoil()
				}
				c.hear()
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// closer is a bouncer that closes as it likes.
type closer struct {
	*fronts
	front  *front
	chance *rand.Rand
	line   net.Conn // kept from the last poll; may be nil
	in     *bufio.Reader

	next  int
	runs  map[string]bool // what runs
	holds map[string]bool // what it was told
	told  map[string]bool // what changed since it was told; true: began
	again bool            // it may be told more than that
	half  bool            // and after this poll, too
}

// change begins or ends some decisions.
func (c *closer) change() {
	if c.told == nil {
		c.told = map[string]bool{}
	}
	if ended := c.chance.IntN(5); ended == 0 {
		for value := range c.holds {
			if !c.runs[value] || len(c.told) > 3 || !strings.HasPrefix(value, "10.") {
				continue
			}
			q := &engine.Query{Now: c.Engine.Now(), Limit: -1, Value: engine.Word{Given: true, Text: value}}
			_, err := c.EndDecisions(c.t.Context(), q)
			c.must(err)
			delete(c.runs, value)
			c.told[value] = false
		}
	}
	var values []string
	for range []int{1, 1, 20, 400, 2500}[c.chance.IntN(5)] {
		value := fmt.Sprintf("10.%d.%d.%d", c.next>>16&255, c.next>>8&255, c.next&255)
		c.next++
		values = append(values, value)
		c.runs[value], c.told[value] = true, true
	}
	c.ban(values...)
}

// ask opens a connection, or uses the one it has, and sends a request.
func (c *closer) ask(proto string, lines ...string) {
	c.t.Helper()
	if c.line == nil {
		c.line = c.front.dial()
		c.in = bufio.NewReader(c.line)
	}
	path := "/v1/decisions/stream"
	if c.chance.IntN(2) == 0 {
		lines = append(lines, "TE: trailers") // which no loop takes
	}
	text := "GET " + path + " " + proto + "\r\nHost: x\r\n" + keyLine + "\r\n"
	for _, l := range lines {
		text += l + "\r\n"
	}
	_, err := c.line.Write(c.front.say(text + "\r\n"))
	c.must(err)
}

func (c *closer) hangUp() {
	if c.line != nil {
		c.line.Close()
		c.line = nil
	}
}

// abort resets the connection; on a Unix socket closing it does, while something is
// unread.
func (c *closer) abort() {
	raw := c.line
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		c.must(tcp.SetLinger(0))
	}
	raw.Close()
	c.line = nil
}

// spoil polls once and does not hear the answer.
func (c *closer) spoil() {
	before, _ := c.front.row.Cursor()
	left := func() bool { at, _ := c.front.row.Cursor(); return at != before }
	secure := c.front.secure
	c.hangUp()
	c.ask("HTTP/1.1")
	way := c.chance.IntN(6)
	switch {
	case way == 0: // it gives up at once
		c.hangUp()
	case way == 1:
		c.abort()
	case way == 2 && !secure: // a brace is missing
		c.allButTheLast()
		c.hangUp()
	case way == 3: // in the middle
		_, err := io.ReadFull(c.line, make([]byte, 1+c.chance.IntN(200)))
		c.must(err)
		c.abort()
	case way == 4 && !c.again && len(c.told) < 1000: // it says that it says no more, and dies
		c.eventually("the answer has left", left)
		raw := c.line
		if secure {
			raw = c.line.(*tls.Conn).NetConn()
		}
		c.must(raw.(interface{ CloseWrite() error }).CloseWrite())
		for range c.chance.IntN(2000) {
			runtime.Gosched()
		}
		raw.Close()
		c.line = nil
	default: // all is there, or as much as there is room for, and it stands still until it gives up
		if !c.again && len(c.told) < 1000 {
			c.eventually("the answer has left", left)
		}
		if c.chance.IntN(2) == 0 {
			c.abort()
		} else {
			c.hangUp()
		}
	}
	c.again = true
	if c.chance.IntN(2) == 0 {
		c.gone()
	}
}

// gone waits until the server has done with every connection but the one that is
// kept.
func (c *closer) gone() {
	kept := 0
	if c.line != nil {
		kept = 1
	}
	c.eventually("the server has noticed", func() bool {
		return c.server.front.Counts().Inside+c.looped.front.Counts().Inside+c.secure.front.Counts().Served <= kept
	})
}

// allButTheLast reads an answer up to its last brace, byte by byte at the end, so
// that nothing but that is left to the kernel.
func (c *closer) allButTheLast() {
	raw := &oneByOne{c.line}
	length, in := -1, bufio.NewReaderSize(raw, 16)
	for {
		text, err := in.ReadString('\n')
		c.must(err)
		if n, ok := strings.CutPrefix(text, "Content-Length: "); ok {
			length, err = strconv.Atoi(strings.TrimSpace(n))
			c.must(err)
		}
		if text == "\r\n" {
			break
		}
	}
	if length >= 0 {
		_, err := io.ReadFull(c.line, make([]byte, length-1))
		c.must(err)
		return
	}
	for {
		size, err := in.ReadString('\n')
		c.must(err)
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 32)
		c.must(err)
		if n <= feed.EndingSize {
			_, err = io.ReadFull(c.line, make([]byte, n-1))
			c.must(err)
			return
		}
		_, err = io.ReadFull(c.line, make([]byte, n+2))
		c.must(err)
	}
}

// oneByOne reads no more than it must.
type oneByOne struct{ io.Reader }

func (r *oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

// hear polls in good order until it knows what runs.
func (c *closer) hear() {
	if c.again && c.chance.IntN(2) == 0 {
		c.gone()
	}
	exact := !c.again
	c.eventually("it knows what runs", func() bool {
		fresh, deleted := c.listen()
		if exact && (len(fresh)+len(deleted) != len(c.told) || !c.news(fresh, true) || !c.news(deleted, false)) {
			c.t.Errorf("told of %d and %d, of %d changes", len(fresh), len(deleted), len(c.told))
			return true
		}
		for _, v := range deleted {
			delete(c.holds, v)
		}
		for _, v := range fresh {
			c.holds[v] = true
		}
		if exact && !c.current() {
			c.t.Error("it was not told everything")
			return true
		}
		return c.current()
	})
	c.told = nil
	if c.again {
		c.gone()
		c.listen() // the last that was taken back; from now on, what comes comes once
	}
	c.again, c.half = c.half, false
}

func (c *closer) news(values []string, began bool) bool {
	for _, v := range values {
		if was, there := c.told[v]; !there || was != began {
			return false
		}
	}
	return true
}

func (c *closer) current() bool {
	if len(c.holds) != len(c.runs) {
		return false
	}
	for v := range c.runs {
		if !c.holds[v] {
			return false
		}
	}
	return true
}

// listen polls once, in one of the ways of clients that know how to behave.
func (c *closer) listen() (fresh, deleted []string) {
	switch c.chance.IntN(7) {
	case 6: // one that has no more to say
		if c.front.secure {
			break
		}
		c.hangUp()
		c.ask("HTTP/1.1")
		c.must(c.line.(interface{ CloseWrite() error }).CloseWrite())
		defer c.hangUp()
		c.half = true
		return lists(c.t, c.whole())
	case 0: // one that keeps its connection
		c.ask("HTTP/1.1")
		return lists(c.t, c.whole())
	case 1: // one that does not
		c.ask("HTTP/1.1")
		defer c.hangUp()
		return lists(c.t, c.whole())
	case 2: // one that says so
		c.hangUp()
		defer c.inTime(time.Now())
		c.ask("HTTP/1.1", "Connection: close")
		defer c.hangUp()
		return lists(c.t, c.whole())
	case 3: // one of old
		c.hangUp()
		defer c.inTime(time.Now())
		c.ask("HTTP/1.0")
		defer c.hangUp()
		return lists(c.t, c.whole())
	case 4: // one that waits for our end
		c.hangUp()
		c.ask("HTTP/1.1", "Connection: close")
		defer c.hangUp()
		all, err := io.ReadAll(c.in)
		c.must(err)
		c.in = bufio.NewReader(bytes.NewReader(all))
		return lists(c.t, c.whole())
	}
	c.hangUp()
	d, err := tellOnce(c.front)
	c.must(err)
	return d.values()
}

// inTime is told when a client asked that has ended its connection just now: over TLS
// one that is slow about that may be told the same again.
func (c *closer) inTime(asked time.Time) {
	if c.front.secure && time.Since(asked) > time.Second/2 {
		c.half = true
	}
}

// whole reads an answer to its end.
func (c *closer) whole() string {
	c.t.Helper()
	got, err := http.ReadResponse(c.in, nil)
	c.must(err)
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	c.must(err)
	if got.StatusCode != 200 {
		c.t.Fatalf("%d %s", got.StatusCode, text)
	}
	return string(text)
}

// told is a delta as a Go bouncer reads it.
type told struct{ New, Deleted []struct{ Value string } }

func (d *told) values() (fresh, deleted []string) {
	for _, x := range d.New {
		fresh = append(fresh, x.Value)
	}
	for _, x := range d.Deleted {
		deleted = append(deleted, x.Value)
	}
	return fresh, deleted
}

// tellOnce polls as Go's bouncers do: it decodes up to the last brace, and closes
// there.
func tellOnce(one *front) (d told, err error) {
	dial := func(context.Context, string, string) (net.Conn, error) { return one.dial(), nil }
	transport := &http.Transport{DialContext: dial}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest("GET", "http://x/v1/decisions/stream", nil)
	if err != nil {
		return d, err
	}
	request.Header.Set("X-Api-Key", one.key)
	got, err := transport.RoundTrip(request)
	if err != nil {
		return d, err
	}
	defer got.Body.Close()
	if got.StatusCode != 200 {
		return d, fmt.Errorf("status %d", got.StatusCode)
	}
	return d, json.NewDecoder(got.Body).Decode(&d)
}

// TestLastBrace tells deltas of 301 to 5 000 decisions to bouncers that stop at the
// last brace, close there and ask again at once, while both processors are busy: none
// is told twice, none is lost.
func TestLastBrace(t *testing.T) {
	t.Parallel()
	bothWays(t, testLastBrace)
}

func testLastBrace(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	var busy sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		busy.Go(func() {
			for n := uint64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
					_ = strconv.AppendUint(nil, n, 10)
					if n%1000 == 0 {
						runtime.Gosched() // as a kernel would have it, only sooner
					}
				}
			}
		})
	}
	defer busy.Wait()
	defer close(stop)
	var bouncers []*front
	for _, one := range f.all {
		one.row.Advance(f.View().Revision(), f.Engine.Now())
		bouncers = append(bouncers, one)
		for n := range 2 {
			another := *one
			another.key = fmt.Sprintf("%s-%d", one.key, n)
			f.addBouncer(another.key, another.key, true)
			another.row = f.View().Bouncer(another.key)
			another.row.Advance(f.View().Revision(), f.Engine.Now())
			bouncers = append(bouncers, &another)
		}
	}
	chance := rand.New(rand.NewPCG(1, 2))
	var twice, lost, empty atomic.Int64
	for told := 0; told < *deltaSum; told += len(bouncers) {
		n := 301 + chance.IntN(4700)
		for _, ends := range []bool{false, true} { // what began ends again
			if ends {
				_, err := f.EndDecisions(t.Context(), &engine.Query{Now: f.Engine.Now(), Limit: -1})
				f.must(err)
				told += len(bouncers)
			} else {
				values := make([]string, n)
				for i := range values {
					values[i] = fmt.Sprintf("10.%d.%d.1", i>>8, i&255)
				}
				f.ban(values...)
			}
			var all sync.WaitGroup
			for _, one := range bouncers {
				all.Go(func() {
					heard := 0
					for polls := 0; polls < 3; polls++ {
						d, err := tellOnce(one)
						if err != nil {
							t.Errorf("%s: %v", one.name, err)
							return
						}
						got := len(d.New) + len(d.Deleted)
						if got == 0 {
							empty.Add(1)
						} else if heard > 0 {
							twice.Add(1)
							t.Logf("%s: told twice, of %d", one.name, got)
						}
						heard += got
					}
					if heard < n {
						lost.Add(1)
					}
				})
			}
			all.Wait()
		}
		for _, one := range bouncers {
			f.eventually("it is known what was heard", func() bool { return !one.row.Waiting() })
		}
		f.Advance(20 * time.Second) // what is over is forgotten
		if told/1000 > (told-2*len(bouncers))/1000 {
			t.Logf("%d told, %d twice, %d lost", told, twice.Load(), lost.Load())
		}
	}
	t.Logf("%d deltas: %d told twice, %d lost; %d empty answers", *deltaSum, twice.Load(), lost.Load(), empty.Load())
	if twice.Load() > 0 || lost.Load() > 0 || empty.Load() == 0 {
		t.Error("not each was told once")
	}
}

// TestOrderlyEnd has the server end connections, for their silence and because it
// stops, whose last answer was heard by clients that keep them: they close when they
// see the end, and nothing is told again.
func TestOrderlyEnd(t *testing.T) {
	t.Parallel()
	bothWays(t, testOrderlyEnd)
}

func testOrderlyEnd(t *wireTest) {
	t.Parallel()
	for name, end := range map[string]func(f *fronts){
		"silence": func(*fronts) {},
		"the end of the server": func(f *fronts) {
			f.must(f.server.Shutdown(t.Context()))
			f.must(f.looped.Shutdown(t.Context()))
			f.must(f.secure.Shutdown(t.Context()))
		},
	} {
		t.Run(name, func(t *wireTest) {
			t.Parallel()
			f := newFronts(t, func(b *build) {
				if name == "silence" {
					b.server.IdleTimeout = 200 * time.Millisecond
				}
			})
			for _, one := range f.all {
				one.row.Advance(f.View().Revision(), f.Engine.Now())
			}
			var last engine.Revision
			f.banMany(500) // of which no loop tells
			for round := range 2 {
				for _, one := range f.all {
					dial := func(context.Context, string, string) (net.Conn, error) { return one.dial(), nil }
					client := &http.Client{Transport: &http.Transport{DialContext: dial}}
					got := f.askBy(client, "http://x", "GET", "/v1/decisions/stream", "", "X-Api-Key: "+one.key)
					if fresh, _ := lists(t, got.body); len(fresh) == 0 {
						t.Errorf("%s is told nothing", one.name)
					}
				}
				if round == 0 {
					f.ban("192.0.2.77") // of which a loop tells
					last = f.View().Revision()
				}
			}
			end(f)
			for _, one := range f.all {
				f.eventually("it is known what was heard", func() bool { return !one.row.Waiting() })
				if at, _ := one.row.Cursor(); at < last {
					t.Errorf("%s: the cursor is at %d, not %d", one.name, at, last)
				}
			}
		})
	}
}

// TestManyOnOneConnection sends several polls at once: what came before an answer
// left shows nothing about it, however it is read.
func TestManyOnOneConnection(t *testing.T) {
	t.Parallel()
	bothWays(t, testManyOnOneConnection)
}

func testManyOnOneConnection(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, one := range f.all {
		for _, text := range []string{poll + live + poll, poll + health + live, startup + live} {
			f.reset()
			before, _ := one.row.Cursor()
			c := one.dial()
			_, err := c.Write(one.say(text))
			f.must(err)
			f.eventually("it is answered", func() bool { at, _ := one.row.Cursor(); return at != before })
			if tcp, ok := c.(*net.TCPConn); ok {
				f.must(tcp.SetLinger(0))
			} else if secure, ok := c.(*tls.Conn); ok {
				f.must(secure.NetConn().(*net.TCPConn).SetLinger(0))
				c = secure.NetConn()
			}
			c.Close()
			f.eventually("it is taken back", func() bool {
				_, pulled := one.row.Cursor()
				return !pulled && !one.row.Waiting()
			})
		}
	}
}
