package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lapid/engine"
)

// front is one of the ways in. Each has a bouncer of its own, so that what is
// asked at one moves no cursor that another asks for.
type front struct {
	name   string
	server *Server
	secure bool
	key    string // as long as testKey, which it takes the place of
	dial   func() net.Conn
	row    *engine.BouncerRow
}

// fronts are plain TCP, the Unix socket, TLS on loops and TLS without, in front of one engine.
// What is answered behind TLS without loops is what must be answered everywhere.
type fronts struct {
	*house
	all    []*front
	oracle *front
	secure *Server // behind the oracle
	looped *Server // over TLS, on loops

	knowing bool // bouncers know everything instead of nothing
}

func newFronts(t testing.TB, change func(*build)) *fronts {
	c := newCertificates(t)
	f := &fronts{}
	var last func(*Server)
	f.house = newHouse(t, func(b *build) {
		b.server.Socket = filepath.Join(t.TempDir(), "lapi.sock")
		if change != nil {
			change(b)
		}
		last = b.last
	})
	over := build{server: f.server.options}
	c.serve(&over)
	over.server.Listen, over.server.Socket = "127.0.0.1:0", ""
	f.looped = f.another(&over.server, last) // without loops where there are none
	over.server.SecureAlone = true
	f.secure = f.another(&over.server, last)
	behind := func(s **Server) func() net.Conn {
		settings := c.settings(nil)
		settings.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		return func() net.Conn { return tls.Client(f.connect("tcp", (*s).Addr().String()), settings) }
	}
	f.oracle = &front{name: "TLS", server: f.secure, secure: true, key: "a-bouncer-key-for-tls-1", dial: behind(&f.secure)}
	f.all = []*front{
		{name: "TCP", server: f.server, key: "a-bouncer-key-for-tcp-1", dial: func() net.Conn { return f.connect("tcp", f.server.Addr().String()) }},
		{name: "the socket", server: f.server, key: "a-bouncer-key-for-uds-1", dial: func() net.Conn { return f.connect("unix", f.socket) }},
		{name: "TLS on loops", server: f.looped, secure: true, key: "a-bouncer-key-for-tll-1", dial: behind(&f.looped)},
		f.oracle,
	}
	for _, one := range f.all {
		f.addBouncer(one.key, one.key, true)
		one.row = f.View().Bouncer(one.key)
	}
	f.furnish()
	return f
}

// another serves the same engine on another listener.
func (f *fronts) another(o *Options, last func(*Server)) *Server {
	s, err := New(o)
	f.must(err)
	if last != nil {
		last(s)
	}
	f.must(s.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Run(ctx); err != nil {
			f.t.Errorf("running another server: %v", err)
		}
	})
	f.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return s
}

// furnish stores something to ask for.
func (f *fronts) furnish() {
	f.ban("192.0.2.1", "192.0.2.2", "2001:db8::1")
	f.ban("192.0.2.1", "198.51.100.0/24")
	f.addMachine("late-one", true) // a revision that changes no decision
}

func (f *fronts) connect(network, address string) net.Conn {
	f.t.Helper()
	c, err := net.Dial(network, address)
	f.must(err)
	f.must(c.SetDeadline(time.Now().Add(10 * time.Minute))) // only who hangs is so slow
	return c
}

// reset has all bouncers know nothing, or everything.
func (f *fronts) reset() {
	for _, one := range f.all {
		if f.knowing {
			one.row.Advance(f.View().Revision(), f.Engine.Now())
		} else {
			one.row.Forget()
		}
	}
}

// say is what a client of this front sends.
func (one *front) say(text string) []byte { return []byte(strings.ReplaceAll(text, testKey, one.key)) }

// tell sends bytes, cut at the given places into as many writes, says that
// there is no more, and gives all that comes back.
func (one *front) tell(text string, cuts ...int) (string, error) {
	c := one.dial()
	defer c.Close()
	rest, at := one.say(text), 0
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if secure, ok := c.(*tls.Conn); ok && secure.Handshake() != nil {
			return
		}
		for _, cut := range append(cuts, len(rest)) {
			if cut <= at || cut > len(rest) {
				continue
			}
			if _, err := c.Write(rest[at:cut]); err != nil {
				return // it has hung up, as it may
			}
			at = cut
		}
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	answers, err := io.ReadAll(c)
	c.Close()
	<-sent
	if hungUp(err) {
		err = nil
	}
	return one.plain(string(answers)), err
}

// hungUp reports an error that only says that the server has closed while there
// was more to read for it.
func hungUp(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
}

var (
	answerHead  = regexp.MustCompile(`(?s)HTTP/1\.1 [0-9]{3} .*?\r\n\r\n`)
	dateLine    = regexp.MustCompile(`(?m)^Date: .*\r\n`)
	tagRevision = regexp.MustCompile(`(?m)^(ETag: "[a-z2-7]{8}-)[0-9]+(-[0-9a-f]{16}"\r\n)`)
	statusLine  = regexp.MustCompile(`(?m)^HTTP/1\.1 ([0-9]{3}) `)
)

// plain is what answers say, whoever asked and when, and in whatever order
// headers stand: who asks again may do so at another revision.
func (one *front) plain(answers string) string {
	answers = strings.ReplaceAll(answers, one.key, testKey)
	return answerHead.ReplaceAllStringFunc(answers, func(head string) string {
		lines := strings.SplitAfter(dateLine.ReplaceAllString(strings.TrimSuffix(head, "\r\n"), ""), "\r\n")
		slices.Sort(lines[1:])
		return tagRevision.ReplaceAllString(strings.Join(lines, ""), "${1}N$2") + "\r\n"
	})
}

// statuses are those of a row of answers.
func statuses(answers string) string {
	var all []string
	for _, head := range answerHead.FindAllString(answers, -1) {
		all = append(all, statusLine.FindStringSubmatch(head)[1])
	}
	return strings.Join(all, " ")
}

// alike sends the same to all fronts and gives the one answer to it.
func (f *fronts) alike(name, text string, cuts ...int) string {
	f.t.Helper()
	f.reset()
	want, err := f.oracle.tell(text)
	f.must(err)
	for _, one := range f.all {
		if one == f.oracle && len(cuts) == 0 {
			continue
		}
		if one == f.oracle {
			f.reset()
		}
		got, err := one.tell(text, cuts...)
		if err != nil || got != want {
			f.t.Errorf("%s: %s, cut at %v, over %s:\n%s%v\nover TLS:\n%s", name, text, cuts, one.name, got, err, want)
		}
	}
	return want
}

// request is a request of HTTP/1.1 as somebody would write it.
func request(method, path string, lines ...string) string {
	var b strings.Builder
	b.WriteString(method + " " + path + " HTTP/1.1\r\nHost: x\r\n")
	for _, l := range lines {
		b.WriteString(l + "\r\n")
	}
	return b.String() + "\r\n"
}

// The requests that come most often.
var (
	keyLine  = "X-Api-Key: " + testKey
	live     = request("GET", "/v1/decisions?ip=192.0.2.1", keyLine)
	miss     = request("GET", "/v1/decisions?ip=203.0.113.7", keyLine)
	poll     = request("GET", "/v1/decisions/stream", keyLine)
	startup  = request("GET", "/v1/decisions/stream?startup=true", keyLine)
	probe    = request("HEAD", "/v1/decisions/stream", keyLine)
	lonely   = request("GET", "/v1/decisions?ip=192.0.2.1")
	health   = request("GET", "/health")
	nowhere  = request("GET", "/nowhere")
	tokenful = request("GET", "/v1/heartbeat", "Authorization: Bearer x")
)
