package conn

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/valyala/fasthttp"
)

func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.String()
}

// TestTimeForBodies gives bodies byte by byte and looks at how long each byte is waited
// for: who is known has the time of a stall before every one of them, however short the
// body, and strangers have theirs once.
func TestTimeForBodies(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	body := strings.Repeat("body ", 80)
	random := make([]byte, 200)
	for i := range random {
		random[i] = byte(i*i*7 + i)
	}
	token := "Authorization: " + goodToken
	post := func(path, body string, lines ...string) string {
		return request("POST", path, append(lines, "Connection: close", fmt.Sprintf("Content-Length: %d", len(body)))...) + body
	}
	inChunks := func(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }
	for name, one := range map[string]struct {
		text   string
		status string
		known  bool
	}{
		"a body":              {post("/", body, token), "200", true},
		"a packed body":       {post("/", packed(string(random)), token, "Content-Encoding: gzip"), "200", true},
		"a body in chunks":    {request("POST", "/", token, "Connection: close", "Transfer-Encoding: chunked") + inChunks(body), "200", true},
		"a long head":         {post("/", body, token, longLine), "200", true},
		"what is not read":    {post("/unread", body, token), "200", true},
		"a stranger":          {post("/", body), "401", false},
		"a packed stranger":   {post("/", packed(string(random)), "Content-Encoding: gzip"), "401", false},
		"a stranger's chunks": {request("POST", "/", "Connection: close", "Transfer-Encoding: chunked") + inChunks(body), "401", false},
	} {
		head := strings.Index(one.text, "\r\n\r\n") + 4
		w := &watchedConn{parts: append([]string{one.text[:head]}, strings.Split(one.text[head:], "")...)}
		c, before, left := newConn(w, &h.core, netip.MustParseAddr("127.0.0.1"), false), time.Now(), len(w.parts)
		var until []time.Time // of each byte of the body
		w.look = func() {
			if len(w.parts) > 0 && len(w.parts) < left {
				until = append(until, c.readWanted)
			}
		}
		h.open.add(c)
		h.must(h.library.http.ServeConn(c))
		if got := string(w.out); !strings.HasPrefix(got, "HTTP/1.1 "+one.status) {
			t.Errorf("%s: %s", name, got)
		}
		grows := 0
		for i, u := range until {
			if u.After(time.Now().Add(h.ReadStall)) && one.known && i > 0 || u.Before(before) {
				t.Errorf("%s: byte %d is waited for until %s", name, i, u)
			}
			if i > 1 && u.After(until[i-1]) {
				grows++
			}
		}
		switch last := until[len(until)-1]; {
		case len(until) < 50:
			t.Errorf("%s: %d bytes", name, len(until))
		case one.known && grows < len(until)/2:
			t.Errorf("%s: only before %d of %d bytes there is new time", name, grows, len(until))
		case !one.known && (grows > 0 || last.After(time.Now().Add(strangerPatience))):
			t.Errorf("%s: before %d of %d bytes there is new time", name, grows, len(until))
		}
	}
}

// TestTimeToLogIn: before a login nobody is known, so its body has the time of strangers.
func TestTimeToLogIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for path, short := range map[string]bool{"/v1/watchers": true, "/v1/watchers/login": true, "/v1/alerts": false} {
		var r fasthttp.Request
		h.must(r.Header.Read(bufio.NewReader(strings.NewReader(request("POST", path, "Content-Length: 10")))))
		if got := h.library.received(&r.Header).ReadTimeout; (got == strangerPatience) != short {
			t.Errorf("%s may take %s", path, got)
		}
	}
}
