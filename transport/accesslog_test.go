package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/conn"
	"lapid/transport/visible"
)

// plainLines is an access log of nothing but the lines.
type plainLines struct {
	out io.Writer
	buf bytes.Buffer
}

func (p *plainLines) Wanted() bool { return true }

func (p *plainLines) Line(_ time.Time, line []byte) {
	p.buf.Write(line)
	p.buf.WriteByte('\n')
}

func (p *plainLines) Flush() (int, error) {
	_, err := p.buf.WriteTo(p.out)
	return 0, err
}

// TestLineRing: with many who put and one who takes, every line is taken once, whole, in
// the order of whoever put it, or its put said that there was no room.
func TestLineRing(t *testing.T) {
	t.Parallel()
	const writers, each = 6, 4000
	r := newLineRing(4 << 10)
	var all sync.WaitGroup
	var lost atomic.Int64
	for w := range writers {
		all.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(w), 7))
			for n := range each {
				line := fmt.Appendf(nil, "%d %d %s", w, n, strings.Repeat("x", chance.IntN(300)))
				if !r.put(int64(w*each+n), line) {
					lost.Add(1)
					runtime.Gosched()
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	last, taken, ended := [writers]int{}, 0, false
	for {
		at, line, ok := r.take(nil)
		if !ok {
			if ended {
				break
			}
			select {
			case <-over:
				ended = true
			default:
				runtime.Gosched()
			}
			continue
		}
		taken++
		var w, n int
		var rest string
		if _, err := fmt.Sscan(string(line)+" .", &w, &n, &rest); err != nil || at != int64(w*each+n) || strings.Trim(rest, "x") != "" && rest != "." {
			t.Fatalf("%d: %q, %v", at, line, err)
		}
		if n+1 <= last[w] {
			t.Fatalf("line %d of %d came after %d", n, w, last[w]-1)
		}
		last[w] = n + 1
	}
	if int64(taken)+lost.Load() != writers*each {
		t.Errorf("%d taken and %d lost of %d", taken, lost.Load(), writers*each)
	}
	if !r.empty() || r.put(0, make([]byte, 5<<10)) {
		t.Error("a line that is longer than the ring has room")
	}
}

// formerLine makes a line by the general means, at any cost: the oracle.
func formerLine(r *conn.Request, client netip.Addr, now int64, status int, failure string, took time.Duration) string {
	quoted := func(s string) string {
		parts := strings.Split(s, `"`)
		for i := range parts {
			parts[i] = visible.Text(parts[i])
		}
		return strings.Join(parts, `\"`)
	}
	return fmt.Sprintf(`%s - [%s] "%s %s %s %d %s "%s" %s"`, client.AppendTo(nil), time.Unix(0, now).Format(time.RFC1123), visible.Text(string(r.Method)),
		visible.Text(visible.Short(string(r.Target))), visible.Text(string(r.Protocol)), status, took, quoted(visible.Short(string(r.Agent))), quoted(visible.Short(failure)))
}

// taken is what a log that nobody writes has, in order.
func taken(l *accessLog) (lines []string) {
	for {
		_, line, ok := l.ring.take(nil)
		if !ok {
			return lines
		}
		lines = append(lines, string(line))
	}
}

// TestAccessLines: a line is, byte for byte, what it was when it was made by the general
// means, whatever is in it.
func TestAccessLines(t *testing.T) {
	t.Parallel()
	l := newAccessLog(&plainLines{out: io.Discard}, slog.New(slog.DiscardHandler))
	chance := rand.New(rand.NewPCG(rand.Uint64(), 3))
	some := func() []byte {
		parts := []string{"GET", "/v1/decisions?ip=1.2.3.4", `"`, `\`, "\n", "é", "\x1b", "\xff", "\u202e", "\ufe0f", "✔️", strings.Repeat("long ", 900), ""}
		text := ""
		for range chance.IntN(4) {
			text += parts[chance.IntN(len(parts))]
		}
		return []byte(text)
	}
	var w accessLine
	for range 3000 {
		r := &conn.Request{Method: some(), Target: some(), Protocol: []byte("HTTP/1.1"), Agent: some(), Began: time.Now()}
		client := []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1%eth0")}[chance.IntN(4)]
		now, status, failure := chance.Int64N(1<<32)*1e9+chance.Int64N(1e9), chance.IntN(600), string(some())
		took := time.Duration(chance.Int64N(1 << chance.IntN(50)))
		l.line(&w, r, client, now, status, failure, took)
		if got, want := strings.Join(taken(l), ""), formerLine(r, client, now, status, failure, took); got != want {
			t.Fatalf("%s\nwant %s", got, want)
		}
	}
	l.unread(netip.MustParseAddr("192.0.2.1"), 400, `a "b"`, 0)
	if got, want := taken(l)[0], `192.0.2.1 - [`+time.Unix(0, 0).Format(time.RFC1123)+`] "- - - 400 0s "" "a \"b\""`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestAccessLineCosts: a line takes no memory, whether there is room for it or not.
func TestAccessLineCosts(t *testing.T) {
	l := newAccessLog(&plainLines{out: io.Discard}, slog.New(slog.DiscardHandler))
	r := &conn.Request{
		Method: []byte("GET"), Target: []byte("/v1/decisions?ip=192.0.2.1"), Protocol: []byte("HTTP/1.1"),
		Agent: []byte(`a "bouncer"/1.0`), Began: time.Now(),
	}
	client, w := netip.MustParseAddr("192.0.2.1"), accessLine{}
	second := int64(0)
	for _, room := range []bool{true, false} {
		if got := testing.AllocsPerRun(1000, func() {
			second++
			l.line(&w, r, client, second*1e8, 200, "", 123456)
			if room {
				_, l.room, _ = l.ring.take(l.room[:0])
			}
		}); got != 0 {
			t.Errorf("room %v: %v allocations", room, got)
		}
	}
}

// stuckLines is a log whose disk takes nothing until it is freed.
type stuckLines struct {
	plainLines
	stuck chan struct{}
}

func (s *stuckLines) Flush() (int, error) {
	<-s.stuck
	return s.plainLines.Flush()
}

// TestStuckLog: while the log takes nothing, requests are answered as ever, and each has
// its line in the end, or is counted as lost; the log of the server says so.
func TestStuckLog(t *testing.T) {
	t.Parallel()
	bothWays(t, testStuckLog)
}

func testStuckLog(t *wireTest) {
	t.Parallel()
	var out, log lockedBuffer
	stuck := &stuckLines{plainLines{out: &out}, make(chan struct{})}
	h := newHouse(t, func(b *build) {
		b.server.AccessLog = stuck
		b.server.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	agent := "User-Agent: " + strings.Repeat("x", 4000)
	c, in := h.dial()
	const asked = 1500 // more than there is room for
	for range asked {
		_, err := io.WriteString(c, request("GET", "/v1/decisions?ip=192.0.2.1", keyLine, agent))
		h.must(err)
		if got := (&fronts{house: h}).answerOf(in); got == nil || got.status != 200 {
			t.Fatalf("an answer is missing: %+v", got)
		}
	}
	l := h.server.access
	if l.lost.Load() == 0 {
		t.Fatal("there was room for all of it")
	}
	close(stuck.stuck)
	h.eventually("every request has a line or is counted", func() bool { return l.written.Load()+l.lost.Load() == asked })
	h.eventually("it is told", func() bool { return strings.Contains(log.String(), "lines about requests are lost") })
	if n := strings.Count(out.String(), "\n"); uint64(n) != l.written.Load() {
		t.Errorf("%d lines, %d counted", n, l.written.Load())
	}
	text := h.scrape("/metrics")
	for result, want := range map[string]uint64{"written": l.written.Load(), "lost": l.lost.Load()} {
		if line := fmt.Sprintf("lapid_access_log_lines_total{result=%q} %s\n", result, strconv.FormatUint(want, 10)); !strings.Contains(text, line) {
			t.Errorf("the metrics have no %s", line)
		}
	}
}

// fullLines is a log whose disk is full for every other write.
type fullLines struct {
	plainLines
	turn, lines int
}

func (f *fullLines) Line(at time.Time, line []byte) { f.lines++; f.plainLines.Line(at, line) }

func (f *fullLines) Flush() (lost int, err error) {
	lost, f.lines = f.lines, 0
	if f.turn++; f.turn%2 == 0 {
		f.buf.Reset()
		return lost, errors.New("no space left on device")
	}
	return f.plainLines.Flush()
}

// TestFullLog: what a full disk does not take is counted, and the rest is there; at the end of the
// server nothing is left.
func TestFullLog(t *testing.T) {
	t.Parallel()
	var out lockedBuffer
	h := newHouse(t, func(b *build) { b.server.AccessLog = &fullLines{plainLines: plainLines{out: &out}} })
	const clients, each = 8, 300
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c, in := h.dial()
			for n := range each {
				_, err := io.WriteString(c, request("GET", fmt.Sprintf("/v1/decisions?ip=192.0.2.1&c=%d&n=%d", i, n), keyLine))
				h.must(err)
				if got := (&fronts{house: h}).answerOf(in); got == nil {
					t.Error("no answer")
				}
			}
		})
	}
	all.Wait()
	l := h.server.access
	h.eventually("every request has a line or is counted", func() bool { return l.written.Load()+l.lost.Load() == clients*each })
	if n := strings.Count(out.String(), "\n"); uint64(n) != l.written.Load() {
		t.Errorf("%d lines, %d counted", n, l.written.Load())
	}
	last := map[string]int{}
	for _, m := range regexp.MustCompile(`&c=(\d+)&n=(\d+) HTTP`).FindAllStringSubmatch(out.String(), -1) {
		n, _ := strconv.Atoi(m[2])
		if n+1 <= last[m[1]] {
			t.Errorf("connection %s: line %d behind %d", m[1], n, last[m[1]]-1)
		}
		last[m[1]] = n + 1
	}
}

// A token in a query, however it is spelt and wherever it is sent, and what clients of a proxy ask it for, are in no
// line, of whatever answer, nor in those about refusals; other queries are.
func TestQueriesWithSecretsAreNotLogged(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *wireTest) {
		t.Parallel()
		var lines, log lockedBuffer
		h := newHouse(t, func(b *build) {
			behindProxies("127.0.0.0/8")(b)
			b.server.AccessLog = &plainLines{out: &lines}
			b.server.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		h.ban("198.51.100.1")
		h.addExport("list", func(x *engine.Export) { x.Auth, x.Path = engine.ExportToken, "/lists/mine" })
		h.addExport("far", func(x *engine.Export) {
			x.Auth, x.AllowFrom = engine.ExportToken, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
		})
		const free, banned = "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 198.51.100.1"
		statuses, asked := map[int]int{}, 0
		ask := func(method, target string, header ...string) {
			t.Helper()
			asked++
			c, in := h.dial()
			fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", method, target, strings.Join(append(header, "Connection: close"), "\r\n"))
			w, err := http.ReadResponse(in, &http.Request{Method: method})
			h.must(err)
			statuses[w.StatusCode]++
			w.Body.Close()
			c.Close()
		}
		for _, key := range []string{"token=", "TOKEN=", "a=b&token=", "%74oken=", "tok%65n=", "%74%6F%6b%65%6E=", "x;token="} {
			for _, path := range []string{"/exports/list", "/exports/list/", "/exports/list.md5", "/exports/far", "/exports/none", "/exports/list/more", "/exports%2Flist", "/lists/mine", "/lists/mine.sha256", "/lists/mine/", "/v1/decisions", "/v1/none", "/", "http://x/exports/list"} {
				for _, value := range []string{"hush-" + exportSecret, exportSecret + "-hush", exportSecret} {
					ask("GET", path+"?"+key+value)
				}
			}
			ask("POST", "/exports/list?"+key+exportSecret)
			ask("HEAD", "/exports/list?"+key+exportSecret)
			ask("DELETE", "/v1/alerts?"+key+exportSecret)
		}
		for _, method := range []string{"GET", "HEAD", "POST", "PROPFIND"} {
			for _, path := range []string{"/auth", "/auth/", "/auth/more", "//auth", "/Auth", "/%61uth", "http://x/auth"} {
				for _, header := range [][]string{{"X-Api-Key: " + testKey, free}, {"X-Api-Key: " + testKey, banned}, {"X-Api-Key: " + testKey}, {"X-Api-Key: wrong", free}, {free}} {
					ask(method, path+"?session=hush&reset=hush", header...)
				}
			}
		}
		ask("GET", "/v1/decisions?ip=192.0.2.1&seen=1", keyLine[:len(keyLine)-2])
		for _, status := range []int{200, 301, 400, 401, 403, 404, 405} {
			if statuses[status] == 0 {
				t.Errorf("nothing was answered with %d: %v", status, statuses)
			}
		}
		h.eventually("every request has its line", func() bool { return strings.Count(lines.String(), "\n") >= asked })
		h.Advance(time.Hour) // refusals that wait are told
		h.server.denials.tellDue(h.Engine.Now(), true)
		for name, text := range map[string]string{"the access log": lines.String(), "the log": log.String()} {
			for _, line := range strings.Split(text, "\n") {
				if strings.Contains(line, "hush") || strings.Contains(line, exportSecret) {
					t.Errorf("%s: %s", name, line)
				}
			}
		}
		for _, want := range []string{"GET /exports/list?... HTTP", "GET /auth?... HTTP", "GET /v1/decisions?ip=192.0.2.1&seen=1 HTTP"} {
			if !strings.Contains(lines.String(), want) {
				t.Errorf("there is no %s", want)
			}
		}
		if !strings.Contains(log.String(), "refused") {
			t.Error("no refusal is told")
		}
	})
}

// BenchmarkAccessLine is what a line costs who answers.
func BenchmarkAccessLine(b *testing.B) {
	l := newAccessLog(&plainLines{out: io.Discard}, slog.New(slog.DiscardHandler))
	r := &conn.Request{
		Method: []byte("GET"), Target: []byte("/v1/decisions?ip=192.0.2.1"), Protocol: []byte("HTTP/1.1"),
		Agent: []byte(`lua-bouncer/v1.0.5`), Began: time.Now(),
	}
	client, w := netip.MustParseAddr("192.0.2.1"), accessLine{}
	b.ReportAllocs()
	for i := range b.N {
		l.line(&w, r, client, int64(i)*20_000, 200, "", 6200)
		_, l.room, _ = l.ring.take(l.room[:0])
	}
}

// TestAccessLogFields: whoever asks, and however, the line says from where, what, and how it
// went.
func TestAccessLogFields(t *testing.T) {
	t.Parallel()
	bothWays(t, testAccessLogFields)
}

func testAccessLogFields(t *wireTest) {
	t.Parallel()
	var out lockedBuffer
	plain := func(b *build) { b.server.AccessLog = &plainLines{out: &out} }
	n := 0
	wants := func(h *house, pattern string) {
		t.Helper()
		n++
		h.eventually("there is a line", func() bool { return strings.Count(out.String(), "\n") >= n })
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != n || !regexp.MustCompile(pattern).MatchString(lines[len(lines)-1]) {
			t.Errorf("%d lines, want %d, the last %s\nwant %s", len(lines), n, lines[len(lines)-1], pattern)
		}
	}
	c := newCertificates(t)
	overTLS := newHouse(t, func(b *build) { plain(b); c.serve(b) })
	overTLS.askBy(c.client(t, c.bouncer), "https://"+overTLS.server.Addr().String(), "GET", "/v1/decisions?ip=192.0.2.3", "")
	wants(overTLS, `^127\.0\.0\.1 - .*"GET /v1/decisions\?ip=192\.0\.2\.3 HTTP/1\.1 200 [0-9.]+(ns|µs|ms|s) "[^"]*" "$`)
	overTLS.askBy(c.client(t, c.other), "https://"+overTLS.server.Addr().String(), "GET", "/v1/decisions?ip=192.0.2.4", "")
	wants(overTLS, `^127\.0\.0\.1 - .*"GET /v1/decisions\?ip=192\.0\.2\.4 HTTP/1\.1 403 .* access forbidden: client certificate OU .*"$`)

	h := newHouse(t, func(b *build) {
		plain(b)
		b.server.Socket = filepath.Join(t.TempDir(), "s")
		b.gate.Rules.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	h.asBouncer("GET", "/v1/decisions?ip=192.0.2.1", "X-Forwarded-For: 203.0.113.9")
	wants(h, `^203\.0\.113\.9 - .*192\.0\.2\.1 HTTP/1\.1 200 `)
	h.ask("GET", "/v1/decisions?ip=192.0.2.1", "", "X-Forwarded-For: 203.0.113.9", "X-Api-Key: wrong")
	wants(h, `^203\.0\.113\.9 - .* HTTP/1\.1 403 .* access forbidden"$`)
	h.asBouncer("GET", "/v1/decisions?ip=bad")
	wants(h, ` HTTP/1\.1 500 `)
	h.asBouncer("HEAD", "/v1/decisions?ip=192.0.2.1")
	wants(h, `"HEAD /v1/decisions\?ip=192\.0\.2\.1 HTTP/1\.1 200 `)
	h.askBy(h.overSocket(), "http://unix", "GET", "/v1/decisions?ip=192.0.2.8", "", "X-Api-Key: "+testKey)
	wants(h, `^(127\.0\.0\.1)? - .*"GET /v1/decisions\?ip=192\.0\.2\.8 HTTP/1\.1 200 `)

	conn, in := h.dial()
	_, err := io.WriteString(conn, "GET / BAD\r\n\r\n")
	h.must(err)
	_, _ = io.ReadAll(in)
	wants(h, `^127\.0\.0\.1 - .*"- - - 400 0s "" "`)

	// A poll that was held has one line, at its end.
	conn, in = h.dial()
	_, err = io.WriteString(conn, request("GET", streamPath+"?startup=true", keyLine))
	h.must(err)
	(&fronts{house: h}).answerOf(in)
	wants(h, `/stream\?startup=true HTTP/1\.1 200 `)
	_, err = io.WriteString(conn, request("GET", streamPath+"?wait=50s", keyLine))
	h.must(err)
	h.eventually("it is held", func() bool { return strings.Contains(h.scrape("/metrics"), "lapid_held_polls 1") })
	h.ban("192.0.2.7")
	(&fronts{house: h}).answerOf(in)
	wants(h, `/stream\?wait=50s HTTP/1\.1 200 `)
}
