package transport

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"lapid/transport/conn"
)

// raw sends bytes as they are and reads one answer. closed tells whether the
// server closed the connection after it.
func (h *house) raw(text string) (got reply, closed bool) {
	h.t.Helper()
	c, r := h.dial()
	io.WriteString(c, text) // the server may have hung up before the end
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return reply{}, true
	}
	body, err := io.ReadAll(answer.Body)
	h.must(err)
	return reply{answer.StatusCode, string(body), answer.Header}, answer.Close
}

// TestLenience sends what is unusual and fine.
func TestLenience(t *testing.T) {
	t.Parallel()
	bothWays(t, testLenience)
}

func testLenience(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	for name, text := range map[string]string{
		"old protocol":     "GET /health HTTP/1.0\r\n\r\n",
		"close":            "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"close, otherwise": "GET /health HTTP/1.1\r\nHost: x\r\nconnection: TE, Close\r\n\r\n",
		"closet":           "GET /health HTTP/1.1\r\nHost: x\r\nConnection: closet, keep-alive\r\n\r\n",
		"keep":             "GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
		"lower case":       "GET /health HTTP/1.1\r\nhost:x\r\n\r\n",
		"a body with GET":  "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
		"a URL in a query": "GET /v1/decisions?ip=192.0.2.1&value=http://x/ HTTP/1.1\r\nHost: x\r\nx-api-key:" + testKey +
			"\r\n\r\n",
		"chunks": "POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nUser-Agent: a/b\r\nTransfer-Encoding: Chunked\r\n\r\n" +
			chunks(`{"machine_id":"a-machine",`, `"password":"a-password"}`, ""),
		"an empty bearer": "POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nUser-Agent: a/b\r\nAuthorization: Bearer \r\nContent-Length: 50\r\n\r\n" +
			`{"machine_id":"a-machine","password":"a-password"}`,
	} {
		got, closed := h.raw(text)
		if got.status != 200 {
			t.Errorf("%s: %d %q", name, got.status, got.body)
		}
		if closed != (strings.HasPrefix(name, "close,") || name == "close" || name == "old protocol") {
			t.Errorf("%s: closed %v", name, closed)
		}
	}
	got, _ := h.raw("GET /v1/decisions?limit=x#y HTTP/1.1\r\nHost: x\r\nX-Api-Key: " + testKey + "\r\n\r\n")
	h.wants(got, 500, `{"message":"invalid limit value: strconv.Atoi: parsing \"x#y\": invalid syntax: invalid filter"}`)
	if got, _ = h.raw("GET /v1/decisions/stream#x HTTP/1.1\r\nHost: x\r\n\r\n"); got.status != 405 {
		t.Errorf("a fragment: %d", got.status)
	}
	if got, _ = h.raw("GET /% HTTP/1.1\r\nHost: x\r\n\r\n"); got.status != 400 {
		t.Errorf("a broken escape: %d", got.status)
	}
}

func chunks(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
	}
	return b.String()
}

// TestPipeline sends requests behind one another, some with bodies that nobody
// reads: none is taken for the start of the next.
func TestPipeline(t *testing.T) {
	t.Parallel()
	bothWays(t, testPipeline)
}

func testPipeline(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	c, r := h.dial()
	body := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	unread := fmt.Sprintf("Host: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	requests := []struct {
		text   string
		status int
	}{
		{"POST /v1/alerts HTTP/1.1\r\n" + unread, 401},
		{"POST /nowhere HTTP/1.1\r\n" + unread, 404},
		{"PUT /v1/alerts HTTP/1.1\r\n" + unread, 405},
		{"GET /health HTTP/1.1\r\n" + unread, 200},
		{"POST /v1/watchers/login HTTP/1.1\r\nContent-Encoding: gzip\r\n" + unread, 400},
		{"POST /v1/watchers HTTP/1.1\r\nContent-Encoding: br, gzip\r\n" + unread, 415},
		{"DELETE /v1/decisions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, ""), 401},
		{"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	}
	var all strings.Builder
	for _, q := range requests {
		all.WriteString(q.text)
	}
	_, err := io.WriteString(c, all.String())
	h.must(err)
	for _, q := range requests {
		got, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%.20q: %v", q.text, err)
		}
		io.Copy(io.Discard, got.Body)
		if got.StatusCode != q.status {
			t.Errorf("%.20q: %d, want %d", q.text, got.StatusCode, q.status)
		}
	}
}

// TestExpect asks before it sends.
func TestExpect(t *testing.T) {
	t.Parallel()
	bothWays(t, testExpect)
}

func testExpect(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	c, r := h.dial()
	body := h.alertText("192.0.2.1")
	fmt.Fprintf(c, "POST /v1/alerts HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", h.token(), len(body))
	got, err := http.ReadResponse(r, nil)
	h.must(err)
	if got.StatusCode != 100 {
		t.Fatalf("%d", got.StatusCode)
	}
	io.WriteString(c, body)
	got, err = http.ReadResponse(r, nil)
	h.must(err)
	if got.StatusCode != 201 {
		t.Errorf("%d", got.StatusCode)
	}
}

// TestCutBody ends in the middle of a body: nothing is stored.
func TestCutBody(t *testing.T) {
	t.Parallel()
	bothWays(t, testCutBody)
}

func testCutBody(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, size := range []int{0, 20_000} { // read at once, and read later
		c, r := h.dial()
		body := strings.Repeat(" ", size) + h.alertText("192.0.2.1")
		fmt.Fprintf(c, "POST /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", h.token(), len(body)+10, body)
		c.(interface{ CloseWrite() error }).CloseWrite()
		got, err := http.ReadResponse(r, nil)
		if err == nil && got.StatusCode != 400 {
			t.Errorf("%d bytes: %d", size, got.StatusCode)
		}
	}
	c, r := h.dial()
	fmt.Fprintf(c, "POST /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 10\r\n\r\n", h.token())
	c.(interface{ CloseWrite() error }).CloseWrite()
	got, err := http.ReadResponse(r, nil)
	h.must(err)
	if text, _ := io.ReadAll(got.Body); got.StatusCode != 400 || string(text) != `{"message":"`+conn.TextCutBody+`"}` {
		t.Errorf("no body: %d %s", got.StatusCode, text)
	}
	h.wants(h.asMachine("GET", "/v1/alerts", ""), 200, "null")
}

// FuzzRaw feeds bytes to the whole server: it answers or hangs up, and goes on.
func FuzzRaw(f *testing.F) {
	h := newHouse(f, nil)
	h.ban("192.0.2.1")
	for _, s := range []string{
		"GET /v1/decisions?ip=192.0.2.1 HTTP/1.1\r\nHost: x\r\nX-Api-Key: " + testKey + "\r\n\r\n",
		"GET /v1/decisions/stream?startup=true&scopes=%zz HTTP/1.1\r\nHost: x\r\nX-Api-Key: " + testKey + "\r\n\r\n",
		"POST /v1/watchers HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
		"POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x1f\x8b\r\n0\r\n\r\n",
		"DELETE /v1/alerts/%2f/ HTTP/1.0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	front := h.server.front
	f.Fuzz(func(t *testing.T, text []byte) {
		c := &memoryConn{in: text}
		_ = front.ServeConn(c)
		if rest := c.out; len(rest) > 0 && !strings.HasPrefix(string(rest), "HTTP/1.1 ") {
			t.Errorf("%q is answered with %q", text, rest)
		}
		ctx := &fasthttp.RequestCtx{}
		ctx.Init(&fasthttp.Request{}, nil, nil)
		ctx.Request.SetRequestURI("/health")
		if front.Do(ctx); ctx.Response.StatusCode() != 200 {
			t.Fatalf("the server is not up: %d", ctx.Response.StatusCode())
		}
	})
}

// FuzzFronts feeds the same bytes to all fronts, to TLS in one write and to the
// others in up to three: the answers are the same to the byte. What registers
// or logs in is left out, for it is not the same the second time.
func FuzzFronts(f *testing.F) {
	w := newFronts(f, nil)
	for _, text := range []string{
		live + poll + probe, startup + live, lonely + health, nowhere + miss, tokenful + live,
		request("GET", "/v1/decisions?ip=%31&ip=zz;&x=+#y", "x-api-key:"+testKey+" ", "Connection: close") + live,
		request("GET", "/v1/decisions/stream?scopes=ip", keyLine, "Content-Length: 5") + "hello" + live,
		request("GET", "/v1/decisions", keyLine, "Transfer-Encoding: chunked") + chunks("hello", "") + live,
		request("GET", "/v1/decisions", keyLine, "Expect: 100-continue", "Content-Length: 1") + "x" + live,
		request("DELETE", "/v1/decisions/1", "Cookie: jwt=x", "Content-Encoding: gzip") + live,
		"HEAD /v1/decisions HTTP/1.0\r\nConnection: keep-alive\r\n" + keyLine + "\r\n\r\n" + live,
		"GET /v1/decisions HTTP/1.1\nHost: x\r\n folded\r\nA : b\r\n\r\n" + live,
		health + "  HTTP/1.0\r\nno header\n\r\n",
		poll + "GET http://x/v1/decisions/stream HTTP/1.1\r\nHost:\r\n" + keyLine + "\r\n\r\n" + live,
		live + "GET /v1/decisions HTTP/1.1\nHost: x\n" + keyLine + "\n\n" + live,
		live + "OPTIONS * HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n\r\n" + live,
		request("GET", "/v1/decisions", keyLine, longLine) + live + poll,
		request("GET", "/v1/decisions/stream", keyLine, `If-None-Match: "abcdefgh-1-0000000000000000"`) + poll + request("GET", "/v1/decisions/stream?after=abcdefgh-1-0000000000000000", keyLine),
		request("GET", "/v1/decisions/stream?after=x&after=y", keyLine, "If-None-Match: *", "if-none-match: W/\"x\"") + live,
		request("POST", "/v1/alerts", "Transfer-Encoding: chunked") + "2;a\r\n[]\r\n0\r\nX: y\r\n\n" + poll,
	} {
		f.Add(text, uint16(len(text)/3), uint16(len(text)/2))
	}
	f.Fuzz(func(t *testing.T, text string, first, second uint16) {
		if strings.Contains(text, "watchers") || len(text) > 64<<10 {
			return
		}
		w.t = t
		w.knowing = len(text)%2 == 0
		w.alike("fuzzed", text, int(first), int(second))
	})
}
