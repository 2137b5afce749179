package transport

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/transport/conn"
)

// answerOf reads one answer; nil when there is none.
func (f *fronts) answerOf(r *bufio.Reader) *reply {
	f.t.Helper()
	got, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		f.t.Errorf("an answer is cut: %v", err)
	}
	if got.Close {
		got.Header.Set("Connection", "close")
	}
	return &reply{got.StatusCode, string(body), got.Header}
}

// wantsEnd checks an answer that ends its connection.
func (f *fronts) wantsEnd(what string, one *front, got *reply, status int, text string) {
	f.t.Helper()
	if got == nil || got.status != status || got.body != `{"message":"`+text+`"}` || got.header.Get("Connection") != "close" ||
		got.header.Get("Content-Type") != string(jsonType) {
		f.t.Errorf("%s over %s: %+v, not %d %s", what, one.name, got, status, text)
	}
}

// TestSlowUploads has machines send alerts in drips, long ones and short ones: it counts
// that something comes.
func TestSlowUploads(t *testing.T) {
	t.Parallel()
	bothWays(t, testSlowUploads)
}

func testSlowUploads(t *wireTest) {
	t.Parallel()
	f := newFronts(t, func(b *build) { b.server.ReadTimeout = 2 * time.Second })
	token := "Authorization: Bearer " + f.token()
	var all sync.WaitGroup
	for i, one := range f.all {
		for name, c := range map[string]struct{ blanks, drips, each int }{"long": {12_000, 3000, 100}, "short": {0, 360, 12}} {
			alert := strings.Repeat(" ", c.blanks) + f.alertText(fmt.Sprintf("192.0.2.%d", 100+i))
			all.Go(func() {
				conn := one.dial()
				defer conn.Close()
				text := request("POST", "/v1/alerts", token, fmt.Sprintf("Content-Length: %d", len(alert))) + alert
				at := len(text) - min(c.drips, len(alert))
				_, err := io.WriteString(conn, text[:at])
				// In all it takes longer than the whole of a request may.
				pace := time.NewTicker(100 * time.Millisecond)
				defer pace.Stop()
				for ; at < len(text) && err == nil; at += c.each {
					<-pace.C
					_, err = io.WriteString(conn, text[at:min(at+c.each, len(text))])
				}
				if got := f.answerOf(bufio.NewReader(conn)); err != nil || got == nil || got.status != 201 {
					t.Errorf("a %s one over %s: %v, %+v", name, one.name, err, got)
				}
			})
		}
	}
	all.Wait()
}

// TestStalledUploads has bodies stop, or go on for ever: 408 with a text of ours.
func TestStalledUploads(t *testing.T) {
	t.Parallel()
	bothWays(t, testStalledUploads)
}

func testStalledUploads(t *wireTest) {
	t.Parallel()
	f := newFronts(t, func(b *build) {
		b.server.ReadStall = 500 * time.Millisecond
	})
	token := "Authorization: Bearer " + f.token()
	const text = "nothing more of the request came for 500ms: send it again"
	var all sync.WaitGroup
	for name, sent := range map[string]string{
		"a length":        request("POST", "/v1/alerts", token, "Content-Length: 30000") + strings.Repeat(" ", 20_000),
		"chunks":          request("POST", "/v1/alerts", token, "Transfer-Encoding: chunked") + chunks("[") + "5\r\n  ",
		"within a size":   request("POST", "/v1/alerts", token, "Transfer-Encoding: chunked") + chunks("[") + "5",
		"a long header":   request("POST", "/v1/alerts", token, "X-Long: "+strings.Repeat("c", 20_000), "Content-Length: 30000") + strings.Repeat(" ", 20_000),
		"a bouncer's":     request("POST", "/v1/usage-metrics", keyLine, "Content-Length: 30000") + strings.Repeat(" ", 20_000),
		"allowlist check": request("POST", "/v1/allowlists/check", token, "Content-Length: 30000") + strings.Repeat(" ", 20_000),
		"a short one":     request("POST", "/v1/alerts", token, "Content-Length: 3000") + strings.Repeat(" ", 1000),
		"a byte":          request("POST", "/v1/alerts", token, "Content-Length: 300") + "[",
		"all but a byte":  request("POST", "/v1/alerts", token, "Content-Length: 300") + strings.Repeat(" ", 299),
		"a bouncer's bit": request("POST", "/v1/usage-metrics", keyLine, "Content-Length: 300") + "{",
		"a short pack":    request("POST", "/v1/alerts", token, "Content-Encoding: gzip", "Content-Length: 300") + packed("[")[:5],
		"nothing":         request("POST", "/v1/alerts", token, "Content-Length: 300"),
		"nobody's":        request("POST", "/v1/alerts", "Content-Length: 300"),
		"a long nothing":  request("POST", "/v1/alerts", token, longLine, "Content-Length: 300"),
	} {
		text := text
		if strings.HasSuffix(sent, "\r\n\r\n") {
			text = conn.TextNoBody
		}
		for _, one := range f.all {
			c := one.dial()
			all.Go(func() {
				defer c.Close()
				_, err := c.Write(one.say(sent))
				r := bufio.NewReader(c)
				f.wantsEnd(name, one, f.answerOf(r), 408, text)
				if _, end := r.ReadByte(); err != nil || end == nil {
					t.Errorf("%s over %s: %v, it goes on", name, one.name, err)
				}
			})
		}
	}
	all.Wait()
}

// TestEndlessUploads drips a body for ever: it ends all the same, also before a login
// and while a long head comes.
func TestEndlessUploads(t *testing.T) {
	t.Parallel()
	bothWays(t, testEndlessUploads)
}

func testEndlessUploads(t *wireTest) {
	t.Parallel()
	f := newFronts(t, func(b *build) {
		b.server.UploadLimit = 500 * time.Millisecond
		b.server.patience.Stranger = 500 * time.Millisecond
	})
	token := "Authorization: Bearer " + f.token()
	for name, c := range map[string]struct{ text, drip, want string }{
		"a machine":          {request("POST", "/v1/alerts", token, "Content-Length: 30000") + strings.Repeat(" ", 10_000), " ", "the request took longer than 500ms: send less at once"},
		"a login":            {request("POST", "/v1/watchers/login", "User-Agent: a/b", "Content-Length: 30000") + strings.Repeat(" ", 10_000), " ", conn.TextTimeout},
		"a stranger's head":  {"GET /v1/decisions HTTP/1.1\r\nX-Long: " + strings.Repeat("c", 20_000), "c", conn.TextTimeout},
		"within eight kilos": {request("POST", "/v1/watchers/login", "User-Agent: a/b", "Content-Length: 6000"), " ", conn.TextTimeout},
	} {
		for _, one := range f.all {
			conn := one.dial()
			_, err := io.WriteString(conn, c.text)
			f.must(err)
			got := make(chan *reply)
			go func() { got <- f.answerOf(bufio.NewReader(conn)) }()
			pace := time.NewTicker(20 * time.Millisecond)
			for done := false; !done; {
				select {
				case answer := <-got:
					f.wantsEnd(name, one, answer, 408, c.want)
					done = true
				case <-pace.C:
					_, _ = io.WriteString(conn, c.drip) // it may have hung up
				}
			}
			pace.Stop()
			conn.Close()
		}
	}
}

// TestRefusalsHaveBodies: whoever is not understood is told why.
func TestRefusalsHaveBodies(t *testing.T) {
	t.Parallel()
	bothWays(t, testRefusalsHaveBodies)
}

func testRefusalsHaveBodies(t *wireTest) {
	t.Parallel()
	f := newFronts(t, func(b *build) { b.server.HeaderBytes = 4 << 10 })
	for name, c := range map[string]struct {
		text, want string
		status     int
	}{
		"no request":          {"no request\r\n", conn.TextNoHTTP, 400},
		"no version":          {"GET /health\r\n", conn.TextNoHTTP, 400},
		"another version":     {"GET /health HTTP/1.2\r\nHost: x\r\n\r\n", conn.TextVersion, 505},
		"HTTP/2":              {preface, conn.TextVersion, 505},
		"no version of ours":  {"GET /health HTTP/1.10\r\nHost: x\r\n\r\n", conn.TextNoHTTP, 400},
		"no host":             {"GET /health HTTP/1.1\r\n\r\n", conn.TextBadHead, 400},
		"two hosts":           {request("GET", "/health", "Host: y"), conn.TextBadHead, 400},
		"no colon":            {request("GET", "/health", "nothing"), conn.TextBadHead, 400},
		"a greeting of TLS":   {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", conn.TextNoHTTP, 400},
		"two lengths":         {request("POST", "/v1/alerts", "Content-Length: 1", "Content-Length: 1"), conn.TextTwoWays, 400},
		"a fold":              {request("GET", "/health", " x: y"), conn.TextTwoWays, 400},
		"a bare LF":           {"POST /v1/alerts HTTP/1.1\nHost: x\r\nContent-Length: 0\r\n\r\n", conn.TextBareLF, 400},
		"another target":      {"GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n", conn.TextBadHead, 400},
		"a broken escape":     {request("GET", "/v1/%zz"), "the path has a broken escape", 400},
		"too long":            {request("GET", "/health", "X-Long: "+strings.Repeat("c", 4<<10)), "the request line and the headers are longer than 4096 bytes together (max_header_bytes)", 431},
		"too long for a loop": {request("GET", "/v1/decisions?ip=192.0.2.1", keyLine, "X-Long: "+strings.Repeat("c", 5<<10)), "the request line and the headers are longer than 4096 bytes together (max_header_bytes)", 431},
		"far too long":        {request("GET", "/health", "X-Long: "+strings.Repeat("c", 1<<20)), "the request line and the headers are longer than 4096 bytes together (max_header_bytes)", 431},
		"too many lines":      {request("GET", "/health", strings.Repeat("a: b\r\n", 1000)+"a: b"), "the request line and the headers are longer than 4096 bytes together (max_header_bytes)", 431},
	} {
		for _, behind := range []string{"", health} {
			for _, one := range f.all {
				conn := one.dial()
				_, err := conn.Write(one.say(behind + c.text))
				if !hungUp(err) {
					f.must(err)
				}
				r := bufio.NewReader(conn)
				if behind != "" {
					if got := f.answerOf(r); got == nil || got.status != 200 {
						t.Errorf("before %s over %s: %+v", name, one.name, got)
					}
				}
				f.wantsEnd(name, one, f.answerOf(r), c.status, c.want)
				conn.Close()
			}
		}
	}
}

// TestPlainOnTLS speaks plain HTTP where TLS is spoken.
func TestPlainOnTLS(t *testing.T) {
	t.Parallel()
	bothWays(t, testPlainOnTLS)
}

func testPlainOnTLS(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, one := range f.all {
		if one.secure {
			f.plainOnTLS(one)
		}
	}
}

func (f *fronts) plainOnTLS(one *front) {
	t := f.t
	for _, text := range []string{health, live, "OPTIONS * HTTP/1.1\r\n\r\n", request("POST", "/v1/watchers/login", "Content-Length: 4000") + strings.Repeat("x", 4000)} {
		c := f.connect("tcp", one.server.Addr().String())
		_, err := io.WriteString(c, text)
		f.must(err)
		r := bufio.NewReader(c)
		f.wantsEnd(text[:5], one, f.answerOf(r), 400, conn.TextSpeaksTLS)
		c.Close()
	}
	for _, noise := range []string{"\x00\x01\x02\x03\x04\x05", "SSH-2.0-x\r\n", "     ", "get / HTTP/1.1\r\n\r\n"} {
		c := f.connect("tcp", one.server.Addr().String())
		_, err := io.WriteString(c, noise)
		f.must(err)
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
		answer, err := io.ReadAll(c)
		if hungUp(err) {
			err = nil
		}
		f.must(err)
		if strings.Contains(string(answer), "HTTP") {
			t.Errorf("%q is answered with %q", noise, answer)
		}
		c.Close()
	}
	secure := one.dial()
	defer secure.Close()
	f.must(secure.(*tls.Conn).Handshake())
}
