package transport

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
)

// expecting is the head of a request whose body waits for leave to come.
func expecting(method, path string, length int, lines ...string) string {
	return request(method, path, append(lines, "Expect: 100-continue", fmt.Sprintf("Content-Length: %d", length))...)
}

// TestExpectIsAnswered sends heads that say enough for an answer and wait: it comes, no
// 100 before it, and it is the last.
func TestExpectIsAnswered(t *testing.T) {
	t.Parallel()
	bothWays(t, testExpectIsAnswered)
}

func testExpectIsAnswered(t *wireTest) {
	t.Parallel()
	f := newFronts(t, func(b *build) { b.server.BodyMemory = 60 << 20 })
	token := "Authorization: Bearer " + f.token()
	for name, c := range map[string]struct {
		text, part string
		status     int
	}{
		"a report that is too large":      {expecting("POST", "/v1/alerts", largeBody+1, token), "the body is longer than 52428800 bytes: send less at once", 413},
		"a packed one":                    {expecting("POST", "/v1/alerts", largeBody+1, token, "Content-Encoding: gzip"), "the body is longer", 413},
		"usage that is too large":         {expecting("POST", "/v1/usage-metrics", largeBody+1, keyLine), "the body is longer", 413},
		"a login that is too large":       {expecting("POST", "/v1/watchers/login", smallBody+1), "the body is longer than 2097152 bytes: send less at once", 413},
		"a registration":                  {expecting("POST", "/v1/watchers", smallBody+1), "the body is longer", 413},
		"no token":                        {expecting("POST", "/v1/alerts", 1000), "cookie token is empty", 401},
		"a bad token":                     {expecting("POST", "/v1/alerts", 1000, token+"x"), "signature is invalid", 401},
		"a bad token with too much":       {expecting("POST", "/v1/alerts", largeBody+1, token+"x"), "signature is invalid", 401},
		"a bad token before chunks":       {request("POST", "/v1/alerts", token+"x", "Expect: 100-continue", "Transfer-Encoding: chunked"), "signature is invalid", 401},
		"a bad token with a long head":    {expecting("POST", "/v1/alerts", 1000, token+"x", longLine), "signature is invalid", 401},
		"a bad token and a packed body":   {expecting("POST", "/v1/alerts", 1000, token+"x", "Content-Encoding: gzip"), "signature is invalid", 401},
		"a bad key":                       {expecting("POST", "/v1/usage-metrics", 1000, "X-Api-Key: bad"), "access forbidden", 403},
		"packed in an unknown way":        {expecting("POST", "/v1/alerts", 1000, token, "Content-Encoding: gzip, br"), "", 415},
		"nowhere":                         {expecting("POST", "/nowhere", 1000), "", 404},
		"nowhere, packed":                 {expecting("POST", "/nowhere", 1000, "Content-Encoding: gzip"), "", 404},
		"another method":                  {expecting("PUT", "/v1/alerts", 1000), "", 405},
		"a body that nobody reads":        {expecting("GET", "/health", 1000), `{"status":"up"}`, 200},
		"a live query with a body":        {expecting("GET", "/v1/decisions?ip=192.0.2.1", 1000, keyLine), `"value":"192.0.2.1"`, 200},
		"a startup with a body in chunks": {request("GET", "/v1/decisions/stream?startup=true", keyLine, "Expect: 100-continue", "Transfer-Encoding: chunked"), `"value":"192.0.2.1"`, 200},
		"in capitals":                     {strings.Replace(expecting("POST", "/v1/alerts", 1000), "100-continue", "100-CONTINUE", 1), "cookie token is empty", 401},
	} {
		for _, before := range []string{"", live} {
			for _, one := range f.all {
				conn := one.dial()
				_, err := conn.Write(one.say(before + c.text))
				f.must(err)
				r := bufio.NewReader(conn)
				if before != "" {
					if got := f.answerOf(r); got == nil || got.status != 200 {
						t.Errorf("before %s over %s: %+v", name, one.name, got)
					}
				}
				got := f.answerOf(r)
				if got == nil || got.status != c.status || !strings.Contains(got.body, c.part) || got.header.Get("Connection") != "close" {
					t.Errorf("%s over %s: %+v, not %d %s", name, one.name, got, c.status, c.part)
				}
				if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
					t.Errorf("%s over %s: behind it %q, %v", name, one.name, rest, err)
				}
				conn.Close()
			}
		}
	}
}

// TestExpectGoesOn sends heads that promise a body worth waiting for: 100, the body, the
// answer, and the connection goes on.
func TestExpectGoesOn(t *testing.T) {
	t.Parallel()
	bothWays(t, testExpectGoesOn)
}

func testExpectGoesOn(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	token := "Authorization: Bearer " + f.token()
	alert, login := f.alertText("192.0.2.99"), `{"machine_id":"`+testMachine+`","password":"`+testPassword+`"}`
	inChunks := "Transfer-Encoding: chunked"
	for name, c := range map[string]struct {
		head, body string
		status     int
	}{
		"a report":        {expecting("POST", "/v1/alerts", len(alert), token), alert, 201},
		"a packed report": {expecting("POST", "/v1/alerts", len(packed(alert)), token, "Content-Encoding: gzip"), packed(alert), 201},
		"in chunks":       {request("POST", "/v1/alerts", token, "Expect: 100-continue", inChunks), chunks(alert, ""), 201},
		"in capitals":     {request("POST", "/v1/alerts", token, "EXPECT: 100-Continue", inChunks), chunks(alert, ""), 201},
		"a long head":     {expecting("POST", "/v1/alerts", len(alert), token, longLine), alert, 201},
		"a login":         {expecting("POST", "/v1/watchers/login", len(login), "User-Agent: a/b"), login, 200},
		"a wrong login":   {expecting("POST", "/v1/watchers/login", 2, "User-Agent: a/b"), "{}", 401},
		"broken":          {expecting("POST", "/v1/alerts", 2, token), "{x", 400},
		"a broken pack":   {expecting("POST", "/v1/alerts", 20, token, "Content-Encoding: gzip"), strings.Repeat("x", 20), 400},
	} {
		for _, one := range f.all {
			conn := one.dial()
			r := bufio.NewReader(conn)
			for range 2 {
				_, err := io.WriteString(conn, c.head)
				f.must(err)
				if got := f.answerOf(r); got == nil || got.status != 100 {
					t.Fatalf("%s over %s: %+v", name, one.name, got)
				}
				_, err = io.WriteString(conn, c.body+string(one.say(live)))
				f.must(err)
				if got := f.answerOf(r); got == nil || got.status != c.status || got.header.Get("Connection") != "" {
					t.Fatalf("%s over %s: %+v", name, one.name, got)
				}
				if got := f.answerOf(r); got == nil || got.status != 200 {
					t.Fatalf("behind %s over %s: %+v", name, one.name, got)
				}
			}
			conn.Close()
		}
	}
}

// TestExpectWhereItMeansNothing: who has no body to send, and who knows no 100, gets none.
func TestExpectWhereItMeansNothing(t *testing.T) {
	t.Parallel()
	bothWays(t, testExpectWhereItMeansNothing)
}

func testExpectWhereItMeansNothing(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for name, c := range map[string]struct{ text, want string }{
		"no body":             {request("GET", "/v1/decisions?ip=192.0.2.1", keyLine, "Expect: 100-continue") + live, "200 200"},
		"a body of nothing":   {expecting("GET", "/v1/decisions/stream", 0, keyLine) + live, "200 200"},
		"a post of nothing":   {expecting("POST", "/v1/alerts", 0) + live, "401 200"},
		"HTTP/1.0":            {"POST /v1/usage-metrics HTTP/1.0\r\n" + keyLine + "\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}" + live, "400"},
		"something else":      {request("GET", "/v1/decisions?ip=192.0.2.1", keyLine, "Expect: more", "Content-Length: 2") + "{}" + live, "200 200"},
		"a body that is here": {expecting("POST", "/v1/usage-metrics", 2, keyLine) + "{}" + live, "100 400 200"},
	} {
		if got := statuses(f.alike(name, c.text)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestExpectNobodyWaits sends bodies without waiting: the answer is not lost with a
// connection that is reset.
func TestExpectNobodyWaits(t *testing.T) {
	t.Parallel()
	bothWays(t, testExpectNobodyWaits)
}

func testExpectNobodyWaits(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, one := range f.all {
		conn := one.dial()
		sent := make(chan error)
		go func() {
			_, err := io.WriteString(conn, expecting("POST", "/v1/alerts", 1<<20)+strings.Repeat(" ", 1<<20))
			sent <- err
		}()
		r := bufio.NewReader(conn)
		if got := f.answerOf(r); got == nil || got.status != 401 {
			t.Errorf("over %s: %+v", one.name, got)
		}
		if err := <-sent; err != nil {
			t.Errorf("over %s: %v", one.name, err)
		}
		conn.Close()
	}
}

// TestExpectIsCountedOnce: a request is one in the logs, whether its body came or not.
func TestExpectIsCountedOnce(t *testing.T) {
	t.Parallel()
	bothWays(t, testExpectIsCountedOnce)
}

func testExpectIsCountedOnce(t *wireTest) {
	t.Parallel()
	var access lockedBuffer
	h := newHouse(t, func(b *build) { b.server.AccessLog = &plainLines{out: &access} })
	token, alert := "Authorization: Bearer "+h.token(), h.alertText("192.0.2.1")
	for i, text := range []string{expecting("POST", "/v1/alerts", len(alert), token) + alert, expecting("POST", "/v1/alerts", 1000), expecting("GET", "/health", 1000)} {
		c, r := h.dial()
		_, err := io.WriteString(c, text)
		h.must(err)
		for got := (&reply{status: 100}); got.status == 100; {
			if got = (&fronts{house: h}).answerOf(r); got == nil {
				t.Fatalf("%.30q is not answered", text)
			}
		}
		h.eventually("it has a line", func() bool { return strings.Count(access.String(), "\n") > i })
	}
	if text := access.String(); strings.Count(text, "\n") != 3 || strings.Count(text, " 201 ") != 1 || strings.Count(text, " 401 ") != 1 || strings.Count(text, " 200 ") != 1 {
		t.Error(text)
	}
}
