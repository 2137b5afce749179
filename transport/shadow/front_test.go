package shadow

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadline is how long anything may take before a test gives up.
const deadline = time.Minute

// between is a shadow between two servers that a test has written.
type between struct {
	t        *testing.T
	shadow   *Shadow
	address  string
	upstream *httptest.Server
	ours     *httptest.Server
	log      *lines
}

// lines collects a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// begin starts a shadow between two handlers. It ends with the test.
func begin(t *testing.T, theirs, ours http.Handler, change func(*Options)) *between {
	t.Helper()
	p := &between{t: t, upstream: httptest.NewServer(theirs), ours: httptest.NewServer(ours), log: &lines{}}
	o := &Options{Upstream: p.upstream.URL, Listen: "127.0.0.1:0", Dir: t.TempDir(), Ours: func() string { return p.ours.Listener.Addr().String() },
		Logger: slog.New(slog.NewTextHandler(p.log, nil))}
	if change != nil {
		change(o)
	}
	var err error
	if p.shadow, err = New(o); err != nil {
		t.Fatal(err)
	}
	if err := p.shadow.Listen(); err != nil {
		t.Fatal(err)
	}
	p.address = p.shadow.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.shadow.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		p.upstream.CloseClientConnections() // what hangs there hangs no longer
		p.ours.CloseClientConnections()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		p.upstream.Close()
		p.ours.Close()
	})
	return p
}

// await looks until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	for !so() {
		if time.Now().After(end) {
			t.Fatalf("it never happened that %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// echo answers with the request as a server sees it.
func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Odd", "a  b;c")
	w.Header()["Content-Type"] = nil
	fmt.Fprintf(w, "%s %s host=%s type=%q xff=%q key=%q te=%v cl=%d agent=%q body=%x", r.Method, r.RequestURI, r.Host, r.Header["Content-Type"],
		r.Header["X-Forwarded-For"], r.Header["X-Api-Key"], r.TransferEncoding, r.ContentLength, r.Header["User-Agent"], body)
}

// raw sends bytes and gives one answer.
func (p *between) raw(text string) (*http.Response, string) {
	p.t.Helper()
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(deadline)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		p.t.Fatal(err)
	}
	method, _, _ := strings.Cut(text, " ")
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		p.t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return r, string(body)
}

// TestPassedOn: what a client writes reaches the old server as it is, and its answer comes back so.
func TestPassedOn(t *testing.T) {
	t.Parallel()
	p := begin(t, http.HandlerFunc(echo), http.HandlerFunc(echo), nil)
	for _, c := range []struct{ sent, seen string }{
		{"GET /v1/decisions?ip=1.2.3.4&x=%zz;a+b HTTP/1.1\r\nHost: lapi\r\nx-api-key: k\r\n\r\n",
			`GET /v1/decisions?ip=1.2.3.4&x=%zz;a+b host=lapi type=[] xff=["127.0.0.1"] key=["k"] te=[] cl=0 agent=[] body=`},
		{"GET //v1//alerts?a HTTP/1.1\r\nHost: lapi\r\n\r\n", `GET //v1//alerts?a host=lapi type=[] xff=["127.0.0.1"] key=[] te=[] cl=0 agent=[] body=`},
		{"GET /v1/allowlists/check/192.0.2.0%2F24?%3F HTTP/1.1\r\nHost: lapi\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n",
			`GET /v1/allowlists/check/192.0.2.0%2F24?%3F host=lapi type=[] xff=["203.0.113.7, 127.0.0.1"] key=[] te=[] cl=0 agent=[] body=`},
		{"GET /odd%20\"<>?\" HTTP/1.0\r\nHost: lapi\r\nUser-Agent: a/b\r\n\r\n", `GET /odd%20"<>?" host=lapi type=[] xff=["127.0.0.1"] key=[] te=[] cl=0 agent=["a/b"] body=`},
		{"POST /v1/alerts HTTP/1.1\r\nHost: lapi\r\nContent-Type: x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00",
			`POST /v1/alerts host=lapi type=["x"] xff=["127.0.0.1"] key=[] te=[] cl=3 agent=[] body=1f8b00`},
		{"POST /v1/alerts HTTP/1.1\r\nHost: lapi\r\nConnection: X-Api-Key\r\nX-Api-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
			`POST /v1/alerts host=lapi type=[] xff=["127.0.0.1"] key=[] te=[chunked] cl=-1 agent=[] body=616263`},
		{"POST /v1/alerts HTTP/1.1\r\nHost: lapi\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
			`POST /v1/alerts host=lapi type=[] xff=["127.0.0.1"] key=[] te=[] cl=0 agent=[] body=`},
	} {
		r, body := p.raw(c.sent)
		if body != c.seen {
			t.Errorf("%q reaches the old server as\n%s, not\n%s", c.sent, body, c.seen)
		}
		if r.Header.Get("X-Odd") != "a  b;c" || r.Header["Content-Type"] != nil {
			t.Errorf("%q: headers %v", c.sent, r.Header)
		}
	}
	if r, body := p.raw("HEAD /v1/decisions HTTP/1.1\r\nHost: lapi\r\n\r\n"); r.StatusCode != 200 || body != "" {
		t.Errorf("HEAD: %d %q", r.StatusCode, body)
	}
	await(t, "the second server was asked for everything", func() bool {
		n := int64(0)
		for _, one := range p.shadow.Report().Routes {
			n += one.Theirs.Count
		}
		return n == 8
	})
}

// TestAwayIs502: a server that does not answer is told of, and the request is not repeated at the other.
func TestAwayIs502(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 10)
	p := begin(t, http.HandlerFunc(echo), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }), nil)
	p.upstream.Close()
	r, body := p.raw("POST /v1/alerts HTTP/1.1\r\nHost: lapi\r\nContent-Length: 2\r\n\r\n[]")
	if r.StatusCode != 502 || !strings.Contains(body, "the server behind this shadow, "+p.upstream.URL+", does not answer") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if report := p.shadow.Report(); report.Void != "" || len(report.Routes) != 1 || report.Routes[0].Unanswered != 1 || report.Waiting != 0 || len(asked) != 0 {
		t.Errorf("%+v", report)
	}
}
