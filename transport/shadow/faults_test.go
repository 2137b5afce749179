package shadow

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestOverflow: what does not fit into the queue is dropped, counted and named, and the comparison is void; clients do not
// notice.
func TestOverflow(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	p := begin(t, http.HandlerFunc(echo), slow, func(o *Options) { o.QueueItems, o.SwitchLimit = 2, 1 })
	for range 5 {
		if r, _ := p.raw("POST /v1/alerts HTTP/1.1\r\nHost: lapi\r\nContent-Length: 2\r\n\r\n[]"); r.StatusCode != 200 {
			t.Errorf("a client gets %d", r.StatusCode)
		}
	}
	r := p.shadow.Report()
	if r.Void == "" || r.LostCount < 2 || len(r.Lost) != int(r.LostCount) || r.Lost[0].Target != "/v1/alerts" || r.Routes[0].Dropped != r.LostCount || r.Good() {
		t.Errorf("%+v", r)
	}
	if err := p.shadow.Switch(Ours, nil); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("a change while the second server is not level: %v", err)
	}
	close(hold)
	await(t, "the queue is empty", func() bool { r := p.shadow.Report(); return r.Waiting == 0 && r.Bytes == 0 })
	p.shadow.Reset()
	if r := p.shadow.Report(); r.Void != "" || r.LostCount != 0 {
		t.Errorf("%+v", r)
	}
}

// TestClientGoes: a client that goes away within its body has done nothing anywhere; one that goes after it has done it on
// both sides.
func TestClientGoes(t *testing.T) {
	t.Parallel()
	began, hold := make(chan struct{}, 1), make(chan struct{})
	theirs := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-hold
		echo(w, r)
	})
	p := begin(t, theirs, http.HandlerFunc(echo), nil)
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "POST /v1/alerts HTTP/1.1\r\nHost: lapi\r\nContent-Length: 9\r\n\r\n[")
	c.Close()
	await(t, "it is counted", func() bool { return p.shadow.Report().Aborted == 1 })
	if c, err = net.Dial("tcp", p.address); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "POST /v1/alerts HTTP/1.1\r\nHost: lapi\r\nContent-Length: 2\r\n\r\n[]")
	<-began
	c.Close()
	close(hold)
	await(t, "both have it", func() bool {
		r := p.shadow.Report()
		return len(r.Routes) == 1 && r.Routes[0].Ours.Count == 1
	})
	if r := p.shadow.Report(); r.Void != "" {
		t.Errorf("%+v", r)
	}
}

// TestGarbage: what is no request gets an answer or an end, and nothing of it comes to either server.
func TestGarbage(t *testing.T) {
	t.Parallel()
	never := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s has come through", r.Method, r.RequestURI)
	})
	p := begin(t, never, never, nil)
	for _, text := range []string{"\x16\x03\x01\x02\x00", "GET\r\n\r\n", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", "GET /v1/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
		"POST /v1/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]x", "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "DELETE /v1/decisions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"POST /v1/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: gzip\r\n\r\n[]", "GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 80<<10) + "\r\n\r\n"} {
		c, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(c) // a reset is an end too
		c.Close()
		if strings.HasPrefix(string(answer), "HTTP/1.1 2") {
			t.Errorf("%.60q is answered with %.100q", text, answer)
		}
	}
	if r := p.shadow.Report(); r.Void != "" {
		t.Errorf("void: %s", r.Void)
	}
}

// TestForwarded: the old server is told of the client that it would have taken without the shadow.
func TestForwarded(t *testing.T) {
	t.Parallel()
	told := make(chan string, 1)
	p := begin(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		told <- strings.Join(r.Header["X-Forwarded-For"], "|")
	}), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	for lines, want := range map[string]string{
		"": "127.0.0.1", "X-Real-IP: 198.51.100.66\r\n": "198.51.100.66, 127.0.0.1", "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nX-Real-IP: 192.0.2.3\r\n": "192.0.2.1, 192.0.2.2, 127.0.0.1",
		"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n": "192.0.2.1, 127.0.0.1",
	} {
		c, err := net.Dial("tcp", p.address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+lines+"\r\n")
		if got := <-told; got != want {
			t.Errorf("%q: %q, not %q", lines, got, want)
		}
		c.Close()
	}
}
