package conn

import (
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// scripted is a connection on which each read gives the next part, and all that is done
// with it is written down.
type scripted struct {
	memoryConn
	parts []string
	end   error // after the last of them
	log   []string
}

func (c *scripted) note(what string) { c.log = append(c.log, what) }

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.parts) == 0 {
		c.note("read nothing")
		return 0, c.end
	}
	n := copy(p, c.parts[0])
	c.note("read " + c.parts[0][:n])
	if c.parts[0] = c.parts[0][n:]; c.parts[0] == "" {
		c.parts = c.parts[1:]
	}
	return n, nil
}

func (c *scripted) Write(p []byte) (int, error) {
	c.note("write " + string(p))
	return len(p), nil
}

func (c *scripted) Close() error { c.note("close"); return nil }

func (c *scripted) SetReadDeadline(t time.Time) error {
	c.note("deadline in " + time.Until(t).Round(time.Second).String())
	return nil
}

func (c *scripted) SetDeadline(time.Time) error { c.note("deadline for all"); return nil }

// has says how often a line of the log begins so.
func (c *scripted) has(prefix string) (n int) {
	for _, l := range c.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// bare is the HTTP library as a Front makes it, with nothing of ours before or behind.
func bare(change func(*fasthttp.Server)) *fasthttp.Server {
	s := New(&Options{NewHandler: func() Handler { return nil }, Limits: Limits{ReadTimeout: time.Minute, IdleTimeout: time.Hour}}).library.newHTTP(readBuffer)
	s.HeaderReceived, s.ExpectHandler, s.ErrorHandler, s.Logger = nil, nil, nil, quiet{}
	s.Handler = func(ctx *fasthttp.RequestCtx) { ctx.SetBodyString(string(ctx.Path())) }
	if change != nil {
		change(s)
	}
	return s
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// served has the library serve a connection, on which the parts come.
func served(s *fasthttp.Server, parts ...string) (*scripted, error) {
	c := &scripted{parts: parts, end: io.EOF}
	err := s.ServeConn(c)
	return c, err
}

func get(path string) string { return request("GET", path) }

// TestAssumptions holds that each line of assumptions.go has a test.
func TestAssumptions(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("assumptions.go")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("assumptions_test.go")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^//\t(\w+)  `).FindAllStringSubmatch(string(page), -1)
	if len(names) < 10 {
		t.Fatalf("%d assumptions", len(names))
	}
	for _, n := range names {
		if !strings.Contains(string(tests), "\nfunc TestAssume"+n[1]+"(") {
			t.Errorf("%s has no test", n[1])
		}
	}
}

func TestAssumeAnEndSendsHome(t *testing.T) {
	t.Parallel()
	failed := false
	s := bare(func(s *fasthttp.Server) {
		s.ErrorHandler = func(*fasthttp.RequestCtx, error) { failed = true }
	})
	c, err := served(s, get("/a"))
	if err != nil || failed || c.has("write ") != 1 || c.has("close") != 1 || c.log[len(c.log)-1] != "close" {
		t.Errorf("%v, %v: %q", err, failed, c.log)
	}
	if c, err = served(s); err != nil || failed || c.has("write ") != 0 || c.has("close") != 1 {
		t.Errorf("before any request: %v, %v: %q", err, failed, c.log)
	}
}

func TestAssumeTwoDeadlinesARequest(t *testing.T) {
	t.Parallel()
	c, err := served(bare(nil), get("/a"), get("/b"), get("/c"))
	var seen []string
	for _, l := range c.log {
		if strings.HasPrefix(l, "deadline") || strings.HasPrefix(l, "write") || strings.HasPrefix(l, "read") {
			seen = append(seen, strings.Fields(l)[0]+lastWord(l, "deadline"))
		}
	}
	first := []string{"deadline 1m0s", "deadline 1m0s", "read", "write"}
	later := []string{"deadline 1h0m0s", "read", "deadline 1m0s", "write"}
	want := slices.Concat(first, later, later, []string{"deadline 1h0m0s", "read"})
	if err != nil || !slices.Equal(seen, want) {
		t.Errorf("%v\n%q\nwant\n%q", err, seen, want)
	}
}

// lastWord is that of a line of one kind, with a blank before.
func lastWord(line, kind string) string {
	if !strings.HasPrefix(line, kind) {
		return ""
	}
	return line[strings.LastIndexByte(line, ' '):]
}

func TestAssumeFlushedBeforeReading(t *testing.T) {
	t.Parallel()
	c, _ := served(bare(nil), get("/a"), get("/b"))
	reads, writes := 0, 0
	for _, l := range c.log {
		switch {
		case strings.HasPrefix(l, "read"):
			if reads != writes {
				t.Errorf("after %d answers it reads for request %d: %q", writes, reads+1, c.log)
			}
			reads++
		case strings.HasPrefix(l, "write"):
			writes++
		}
	}
}

func TestAssumePipelinedWithoutFlush(t *testing.T) {
	t.Parallel()
	c, _ := served(bare(nil), get("/a")+get("/b")+get("/c"))
	before := slices.Index(c.log, "read nothing")
	text := strings.Join(c.log[:before], "\n")
	if c.has("read GET") != 1 || strings.Count(text, "HTTP/1.1 200") != 3 {
		t.Errorf("%q", c.log)
	}
}

func TestAssumeEmptyLineWakes(t *testing.T) {
	t.Parallel()
	c, err := served(bare(nil), get("/a"), "\n", get("/b"))
	woke := slices.Index(c.log, "read \n")
	if err != nil || woke < 0 || !strings.HasPrefix(c.log[woke+1], "deadline in 1m0s") || c.has("write ") != 2 {
		t.Errorf("%v: %q", err, c.log)
	}
}

func TestAssumeBodyTimeout(t *testing.T) {
	t.Parallel()
	s := bare(func(s *fasthttp.Server) {
		s.HeaderReceived = func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
			return fasthttp.RequestConfig{ReadTimeout: 7 * time.Second}
		}
	})
	c, _ := served(s, request("POST", "/a", "Content-Length: 5"), "hello")
	set, read := slices.Index(c.log, "deadline in 7s"), slices.Index(c.log, "read hello")
	if set < 0 || read < set {
		t.Errorf("%q", c.log)
	}
}

func TestAssumeBodiesAreStreamed(t *testing.T) {
	t.Parallel()
	var c *scripted
	s := bare(func(s *fasthttp.Server) {
		s.Handler = func(ctx *fasthttp.RequestCtx) {
			c.note("handle")
			body, err := io.ReadAll(ctx.RequestBodyStream())
			c.note("body " + string(body))
			if err != nil {
				t.Errorf("the body: %v", err)
			}
		}
	})
	for _, parts := range [][]string{
		{request("POST", "/a", "Content-Length: 10") + "h", "ello", "hello"},
		{request("POST", "/a", "Transfer-Encoding: chunked"), "5\r\nhello\r\n", "5\r\nhello\r\n", "0\r\n\r\n"},
	} {
		c = &scripted{parts: parts, end: io.EOF}
		_ = s.ServeConn(c)
		last := slices.IndexFunc(c.log, func(l string) bool { return strings.HasSuffix(l, "hello") || strings.HasSuffix(l, "hello\r\n") })
		handled, body := slices.Index(c.log, "handle"), slices.Index(c.log, "body hellohello")
		if handled < 0 || body < handled || last < handled {
			t.Errorf("%q", c.log)
		}
	}
}

// bodyOf is a stream that writes itself.
type bodyOf struct {
	parts         []string
	err           error
	wrote, closed int
}

func (*bodyOf) SupportsBodyWriteTo() bool { return true }

func (*bodyOf) Read([]byte) (int, error) { return 0, errors.New("read") }

func (b *bodyOf) WriteTo(w io.Writer) (n int64, err error) {
	b.wrote++
	for _, p := range b.parts {
		m, err := w.Write([]byte(p))
		if n += int64(m); err != nil {
			return n, err
		}
	}
	return n, b.err
}

func (b *bodyOf) Close() error { b.closed++; return nil }

func TestAssumeStreamsAreWritten(t *testing.T) {
	t.Parallel()
	for _, size := range []int{-1, 10} {
		for _, failure := range []error{nil, errors.New("failed")} {
			body := &bodyOf{parts: []string{"hello", "hello"}, err: failure}
			s := bare(func(s *fasthttp.Server) {
				s.Handler = func(ctx *fasthttp.RequestCtx) { ctx.Response.SetBodyStream(body, size) }
			})
			c, err := served(s, get("/a"), get("/b"))
			answers := strings.Count(strings.Join(c.log, ""), "HTTP/1.1 200")
			if failure != nil && (err == nil || answers > 1 || body.wrote != 1 || body.closed != 1) || failure == nil && (err != nil || answers != 2 || body.wrote != 2 || body.closed != 2) {
				t.Errorf("size %d, %v: %v, written %d times, closed %d times: %q", size, failure, err, body.wrote, body.closed, c.log)
			}
		}
	}
}

func TestAssumeChunksEndInThree(t *testing.T) {
	t.Parallel()
	for _, length := range []int{10, 1000, 10_000} {
		text := strings.Repeat("x", length)
		s := bare(func(s *fasthttp.Server) {
			s.Handler = func(ctx *fasthttp.RequestCtx) { ctx.Response.SetBodyStream(&bodyOf{parts: []string{text}}, -1) }
		})
		c, _ := served(s, get("/a"))
		var all strings.Builder
		for _, l := range c.log {
			if part, ok := strings.CutPrefix(l, "write "); ok {
				all.WriteString(part)
			}
		}
		if !strings.HasSuffix(all.String(), "x"+string(endOfChunks)) || !strings.HasPrefix(string(endOfChunks), string(noMoreChunks)) {
			t.Errorf("%d bytes: %q", length, all.String())
		}
		// Whatever parts they come in, they are kept until all are there, and leave at once.
		e, left := ending{keep: true}, []string(nil)
		for _, l := range c.log {
			if part, ok := strings.CutPrefix(l, "write "); ok {
				_, _ = e.write([]byte(part), func(b []byte) (int, error) { left = append(left, string(b)); return len(b), nil })
			}
		}
		if len(left) != 1 || left[0] != all.String() {
			t.Errorf("%d bytes leave in %d parts", length, len(left))
		}
	}
}

func TestAssumeErrorsNeedAByte(t *testing.T) {
	t.Parallel()
	failed := 0
	s := bare(func(s *fasthttp.Server) {
		s.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) { failed++; ctx.Error("", 400) }
	})
	for _, c := range []struct {
		part  string
		end   error
		times int
	}{
		{"", io.EOF, 0}, {get("/"), io.EOF, 0}, {get("/"), os.ErrDeadlineExceeded, 0},
		{"x", &Refusal{400, "refused"}, 1}, {"GET / HTTP/1.1\r\nHo", &Refusal{400, "refused"}, 1}, {get("/") + "x", &Refusal{400, "refused"}, 1},
	} {
		failed = 0
		on := &scripted{end: c.end}
		if c.part != "" {
			on.parts = []string{c.part}
		}
		_ = s.ServeConn(on)
		if failed != c.times || on.has("close") != 1 {
			t.Errorf("%q, %v: %d times; %q", c.part, c.end, failed, on.log)
		}
	}
}

func TestAssumeHijackedWithoutAnswer(t *testing.T) {
	t.Parallel()
	var c *scripted
	over := make(chan struct{})
	s := bare(func(s *fasthttp.Server) {
		s.Handler = func(ctx *fasthttp.RequestCtx) {
			ctx.HijackSetNoResponse(true)
			ctx.Hijack(func(to net.Conn) {
				_, _ = to.Write([]byte("mine"))
				close(over)
			})
		}
	})
	c = &scripted{parts: []string{get("/a")}, end: io.EOF}
	closed := make(chan struct{})
	err := s.ServeConn(&untilClosed{c, closed})
	<-over
	<-closed
	if err != nil || c.has("write ") != 1 || c.has("write mine") != 1 {
		t.Errorf("%v: %q", err, c.log)
	}
}

// untilClosed tells when it is closed.
type untilClosed struct {
	*scripted
	closed chan struct{}
}

func (c *untilClosed) Close() error {
	close(c.closed)
	return nil
}

func TestAssumeExpectedIsAsked(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{100: "HTTP/1.1 100 Continue\r\n\r\n", 403: "HTTP/1.1 403 Forbidden\r\n"} {
		handled := 0
		s := bare(func(s *fasthttp.Server) {
			s.ExpectHandler = func(ctx *fasthttp.RequestCtx) int {
				ctx.SetStatusCode(status)
				return status
			}
			s.Handler = func(ctx *fasthttp.RequestCtx) {
				handled++
				ctx.SetStatusCode(200)
			}
		})
		c, _ := served(s, request("POST", "/a", "Content-Length: 5", "Expect: 100-continue"), "hello")
		first := slices.IndexFunc(c.log, func(l string) bool { return strings.HasPrefix(l, "write ") })
		body := slices.Index(c.log, "read hello")
		if first < 0 || !strings.HasPrefix(c.log[first], "write "+want) || status == 100 && (body < first || handled != 1) || status != 100 && handled != 0 {
			t.Errorf("%d: handled %d times: %q", status, handled, c.log)
		}
	}
}
