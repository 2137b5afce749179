package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"lapid/transport/auth"
)

// TestCutShort ends a request after each of its bytes: it is not answered as
// if it were whole, and a whole one before it is.
func TestCutShort(t *testing.T) {
	t.Parallel()
	bothWays(t, testCutShort)
}

func testCutShort(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	alert := f.alertText("192.0.2.99")
	body := request("POST", "/v1/alerts", "Authorization: Bearer "+f.token(), fmt.Sprintf("Content-Length: %d", len(alert))) + alert
	inChunks := request("POST", "/v1/alerts", "Authorization: Bearer "+f.token(), "Transfer-Encoding: chunked") + chunks(alert[:20], alert[20:])
	inChunks = strings.TrimSuffix(inChunks, "\r\n") // only the first JSON value counts, and behind this it is whole
	for _, text := range []string{live, probe, startup, "GET /v1/decisions?ip=192.0.2.1 HTTP/1.0\r\n" + keyLine + "\r\n\r\n", body, inChunks} {
		for end := range len(text) {
			got := statuses(f.alike("cut short", text[:end]))
			if got != "" && got != "400" {
				t.Errorf("%q: %s", text[:end], got)
			}
		}
		for end := 0; end < len(text); end += 7 {
			got := statuses(f.alike("cut short behind another", live+text[:end]))
			if got != "200" && got != "200 400" {
				t.Errorf("%q behind another: %s", text[:end], got)
			}
		}
	}
	f.wants(f.asMachine("GET", "/v1/alerts?ip=192.0.2.99", ""), 200, "null")
}

// TestSplit sends requests in two writes, cut at each of their bytes, and in
// writes of one byte: nobody takes a part for the whole.
func TestSplit(t *testing.T) {
	t.Parallel()
	bothWays(t, testSplit)
}

func testSplit(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	f.knowing = true
	for _, text := range []string{
		live + poll,
		probe + lonely,
		request("GET", "/v1/decisions?ip=192.0.2.1", "connection: close", "x-api-key:"+testKey) + live,
		nowhere + startup,
		request("GET", "/v1/decisions/stream", keyLine, "Content-Length: 11") + "hello world" + miss,
		request("GET", "/v1/decisions/stream", keyLine, "X-Bad : x") + live,
	} {
		each := make([]int, len(text))
		for i := range each {
			each[i] = i
		}
		want := f.alike("byte by byte", text, each...)
		for _, one := range f.all {
			f.split(one, text, want)
		}
	}
}

// split opens a connection for each place to cut at, sends all first parts,
// waits until they have been read, and sends the rest.
func (f *fronts) split(one *front, text, want string) {
	f.t.Helper()
	whole := one.say(text)
	conns := make([]net.Conn, len(whole)-1)
	for i := range conns {
		conns[i] = one.dial()
		defer conns[i].Close()
		_, err := conns[i].Write(whole[:i+1])
		f.must(err)
	}
	f.eventually("all first parts have been read", func() bool { return f.drained(conns) })
	for i, c := range conns { // all at once: under TLS the server waits a moment for their ends
		f.reset()
		_, _ = c.Write(whole[i+1:]) // it may have hung up already
		_ = c.(interface{ CloseWrite() error }).CloseWrite()
	}
	for i, c := range conns {
		answers, err := io.ReadAll(c)
		if err != nil && !hungUp(err) {
			f.t.Fatal(err)
		}
		if got := one.plain(string(answers)); got != want {
			f.t.Errorf("%q, then %q over %s: %s\nin one: %s", whole[:i+1], whole[i+1:], one.name, got, want)
		}
	}
}

// drained reports whether the server has read what was sent to it. Over TCP the
// system's table of connections tells; where there is none, and under TLS, where
// each part is a record of its own anyway, the answer is yes.
func (f *fronts) drained(conns []net.Conn) bool {
	f.t.Helper()
	if _, ok := conns[0].(*net.UnixConn); ok {
		return !slices.ContainsFunc(conns, func(c net.Conn) bool { return f.queued(c.(*net.UnixConn)) > 0 })
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return true
	}
	waiting := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		if columns := strings.Fields(line); len(columns) > 4 && !strings.HasSuffix(columns[4], ":00000000") {
			waiting[columns[1]+" "+columns[2]] = true
		}
	}
	return !slices.ContainsFunc(conns, func(c net.Conn) bool {
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return false
		}
		server, client := tcp.RemoteAddr().(*net.TCPAddr), tcp.LocalAddr().(*net.TCPAddr)
		return waiting[fmt.Sprintf("0100007F:%04X 0100007F:%04X", server.Port, client.Port)]
	})
}

// queued is how much the other end has not read yet, as the system counts it.
func (f *fronts) queued(c *net.UnixConn) (bytes int32) {
	raw, err := c.SyscallConn()
	f.must(err)
	f.must(raw.Control(func(fd uintptr) {
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&bytes)))
	}))
	return bytes
}

// TestOrder sends many different requests in one write, on each front by many
// clients at once, and knows each answer by its body.
func TestOrder(t *testing.T) {
	t.Parallel()
	bothWays(t, testOrder)
}

func testOrder(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	var values []string
	for i := range 100 {
		values = append(values, fmt.Sprintf("10.0.0.%d", i))
	}
	f.ban(values...)
	var all sync.WaitGroup
	for _, one := range f.all {
		for client := range 8 {
			all.Go(func() {
				var text strings.Builder
				for i, v := range values {
					text.WriteString(request("GET", "/v1/decisions?ip="+v, keyLine))
					if i%7 == client%7 {
						text.WriteString(health + request("HEAD", "/v1/decisions?ip="+v, keyLine))
					}
				}
				answers, err := one.tell(text.String())
				if err != nil {
					t.Errorf("over %s: %v", one.name, err)
				}
				r := bufio.NewReader(strings.NewReader(answers))
				for i, v := range values {
					f.answered(r, "GET", `"value":"`+v+`"`)
					if i%7 == client%7 {
						f.answered(r, "GET", `{"status":"up"}`)
						f.answered(r, "HEAD", "")
					}
				}
			})
		}
	}
	all.Wait()
}

func (f *fronts) answered(r *bufio.Reader, method, part string) {
	got, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		f.t.Errorf("%s: %v", part, err)
		return
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != 200 || !strings.Contains(string(body), part) {
		f.t.Errorf("%d %s %v, want %s", got.StatusCode, body, err, part)
	}
}

// TestLargeHeads sends more head than is read.
func TestLargeHeads(t *testing.T) {
	t.Parallel()
	bothWays(t, testLargeHeads)
}

func testLargeHeads(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for name, text := range map[string]string{
		"a megabyte of headers":     request("GET", "/v1/decisions", keyLine, strings.Repeat("X-Some: thing\r\n", 70_000)+"a: b"),
		"a header of a megabyte":    request("GET", "/v1/decisions", keyLine, "X-Large: "+strings.Repeat("a", 1<<20)),
		"a name of a megabyte":      request("GET", "/v1/decisions", keyLine, strings.Repeat("a", 1<<20)+": x"),
		"a query of a megabyte":     request("GET", "/v1/decisions?ip=192.0.2.1&x="+strings.Repeat("a", 1<<20), keyLine),
		"a method of a megabyte":    request(strings.Repeat("G", 1<<20), "/v1/decisions", keyLine),
		"twenty thousand headers":   request("GET", "/v1/decisions", keyLine, strings.Repeat("a: b\r\n", 19_999)+"a: b"),
		"a megabyte of empty lines": strings.Repeat("\r\n", 1<<19),
		"a megabyte of nothing":     strings.Repeat("\x00", 1<<20),
	} {
		for _, one := range f.all {
			answers, err := one.tell(text + live)
			f.must(err)
			// It may be gone before all was sent, and its answer with it.
			if got := statuses(answers); got != "431" && got != "400" && got != "" {
				t.Errorf("%s over %s: %s", name, one.name, got)
			}
		}
	}
}

// TestForgedAddress has clients say that they speak for somebody else. Whom the
// server takes them for is seen in the row that a bouncer gets.
func TestForgedAddress(t *testing.T) {
	t.Parallel()
	bothWays(t, testForgedAddress)
}

func testForgedAddress(t *wireTest) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		proxies []netip.Prefix
		lines   []string
		want    string
	}{
		{"nobody is trusted", nil, []string{"X-Forwarded-For: 203.0.113.9"}, "127.0.0.1"},
		{"nobody is trusted, real", nil, []string{"X-Real-Ip: 203.0.113.9"}, "127.0.0.1"},
		{"nobody is trusted, standard", nil, []string{"Forwarded: for=203.0.113.9"}, "127.0.0.1"},
		{"another is trusted", prefixes("10.0.0.0/8"), []string{"X-Forwarded-For: 10.0.0.1, 10.0.0.2"}, "127.0.0.1"},
		{"by the proxy", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		{"the client forges, the proxy adds", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: 127.0.0.1, 203.0.113.9"}, "203.0.113.9"},
		{"two lines", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.9"}, "203.0.113.9"},
		{"two lines and names in all cases", prefixes("127.0.0.1/32"), []string{"x-forwarded-for: 198.51.100.1", "X-FORWARDED-FOR: 203.0.113.9, 127.0.0.1"}, "203.0.113.9"},
		{"all are trusted", prefixes("127.0.0.1/32", "10.0.0.0/8"), []string{"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"}, "10.0.0.1"},
		{"a spoilt list", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: 203.0.113.9, zz"}, "127.0.0.1"},
		{"a spoilt list and a real one", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: zz", "X-Real-Ip: 203.0.113.9"}, "203.0.113.9"},
		{"an empty line last", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: "}, "127.0.0.1"},
		{"a port", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: 203.0.113.9:80"}, "127.0.0.1"},
		{"a mapped one", prefixes("127.0.0.1/32"), []string{"X-Forwarded-For: ::ffff:203.0.113.9"}, "203.0.113.9"},
	} {
		t.Run(c.name, func(t *wireTest) {
			t.Parallel()
			f := newFronts(t, func(b *build) { b.gate.Rules = auth.Rules{TrustedProxies: c.proxies} })
			for _, one := range f.all {
				f.must(f.DeleteBouncer(t.Context(), one.key))
				f.addBouncer(one.key, one.key, false)
				answers, err := one.tell(request("GET", "/v1/decisions?ip=192.0.2.1", append(c.lines, keyLine)...))
				f.must(err)
				if got := f.View().Bouncer(one.key).Load().IP.String(); statuses(answers) != "200" || got != c.want {
					t.Errorf("over %s: %s, taken for %s, not for %s", one.name, statuses(answers), got, c.want)
				}
			}
		})
	}
}

func prefixes(all ...string) (list []netip.Prefix) {
	for _, one := range all {
		list = append(list, netip.MustParsePrefix(one))
	}
	return list
}

// TestSlowBytes sends a request byte by byte, slower than the server's patience
// for a whole one.
func TestSlowBytes(t *testing.T) {
	t.Parallel()
	bothWays(t, testSlowBytes)
}

func testSlowBytes(t *wireTest) {
	t.Parallel()
	f := newFronts(t, func(b *build) { b.server.ReadTimeout = 100 * time.Millisecond })
	for _, one := range f.all {
		c := one.dial()
		text, at := one.say(live), 0
		closed := make(chan string)
		go func() {
			answers, _ := io.ReadAll(c)
			closed <- statuses(one.plain(string(answers)))
		}()
		pace := time.NewTicker(20 * time.Millisecond)
		for got, done := "", false; !done; {
			select {
			case got = <-closed:
				done = true
				if got != "408" && got != "" {
					t.Errorf("over %s: %s", one.name, got)
				}
			case <-pace.C:
				_, _ = c.Write(text[at : at+1]) // it may have hung up
				if at++; at == len(text)-1 {
					t.Fatalf("over %s: nobody lost patience", one.name)
				}
			}
		}
		pace.Stop()
		c.Close()
	}
}
