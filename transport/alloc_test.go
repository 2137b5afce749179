package transport

import (
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"

	"lapid/transport/feed"
)

// handled builds a request as a connection would and gives a function that
// answers it once.
func (h *house) handled(method, path string, header ...string) (*fasthttp.RequestCtx, func()) {
	ctx := &fasthttp.RequestCtx{}
	ctx.Init(&fasthttp.Request{}, nil, nil)
	r := &ctx.Request
	r.Header.SetMethod(method)
	r.SetRequestURI(path)
	r.Header.SetHost("localhost")
	r.Header.SetUserAgent("tester/1.0")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return ctx, func() {
		h.server.front.Do(ctx)
		if ctx.Response.StatusCode() != 200 {
			h.t.Fatalf("%s: %d %s", path, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
}

// TestNothingIsAllocated holds what the package comment promises.
func TestNothingIsAllocated(t *testing.T) {
	h := newHouse(t, nil)
	h.ban("192.0.2.1", "198.51.100.0/24", "2001:db8::1")
	for _, c := range []struct{ name, path, body string }{
		{"hit", "/v1/decisions?ip=192.0.2.1", ""},
		{"miss", "/v1/decisions?ip=203.0.113.1", "null"},
		{"in a range", "/v1/decisions?ip=198.51.100.77", ""},
		{"IPv6 hit", "/v1/decisions?ip=2001:db8::1", ""},
		{"with a type", "/v1/decisions?type=ban&ip=192.0.2.1", ""},
		{"empty delta", "/v1/decisions/stream", string(feed.EmptyAnswer)},
		{"empty delta, spelled out", "/v1/decisions/stream?startup=false", string(feed.EmptyAnswer)},
		{"empty delta of a Go bouncer", "/v1/decisions/stream?additional_pull=false&community_pull=false", string(feed.EmptyAnswer)},
		{"empty delta with filters", "/v1/decisions/stream?scopes=ip,range&origins=crowdsec", string(feed.EmptyAnswer)},
	} {
		h.asBouncer("GET", "/v1/decisions/stream?startup=true") // the cursor follows closely
		ctx, answer := h.handled("GET", c.path, "X-Api-Key", testKey)
		ctx.Request.Header.Set("X-Real-Ip", "192.0.2.9") // not believed
		answer()
		if c.path[len("/v1/decisions")] == '/' {
			row := h.View().Bouncer("fw@0.0.0.0")
			if row == nil {
				t.Fatal("the request has no row of its own")
			}
			answer()
		}
		if got := string(ctx.Response.Body()); c.body != "" && got != c.body {
			t.Errorf("%s: %s", c.name, got)
		}
		if n := testing.AllocsPerRun(200, answer); n != 0 && !raced {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkHandlers(b *testing.B) {
	h := newHouse(b, nil)
	h.ban("192.0.2.1", "198.51.100.0/24")
	for _, c := range [][2]string{
		{"hit", "/v1/decisions?ip=192.0.2.1"},
		{"miss", "/v1/decisions?ip=203.0.113.1"},
		{"range", "/v1/decisions?ip=198.51.100.77"},
		{"poll", "/v1/decisions/stream"},
	} {
		b.Run(c[0], func(b *testing.B) {
			_, answer := h.handled("GET", c[1], "X-Api-Key", testKey)
			answer()
			b.ReportAllocs()
			for b.Loop() {
				answer()
			}
		})
	}
}

// processor is what of processors the process has used, system calls included, nanoseconds.
func processor(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// BenchmarkLoops is what loops do for a request, but for the system calls: a live query, a device that
// has its list of a hundred thousand, and a proxy that asks about a client.
func BenchmarkLoops(b *testing.B) {
	h := newHouse(b, behindProxies("127.0.0.0/8"))
	h.banMany(100_000)
	h.addExport("edge", nil)
	h.asBouncer("GET", "/v1/decisions?ip=10.0.0.1")
	tag := h.ask("GET", "/exports/edge", "", "Accept-Encoding: gzip", "Authorization: "+basic("edge", exportSecret)).header.Get("Etag")
	for _, c := range [][2]string{
		{"live query", plainGet("/v1/decisions?ip=10.0.7.7")},
		{"live query, nothing found", plainGet("/v1/decisions?ip=203.0.113.1")},
		{"unchanged list", "GET /exports/edge HTTP/1.1\r\nHost: x\r\nUser-Agent: tester/1.0\r\nAccept-Encoding: gzip\r\nAuthorization: " + basic("edge", exportSecret) + "\r\nIf-None-Match: " + tag + "\r\n\r\n"},
		{"door, free", "GET /auth HTTP/1.1\r\nHost: x\r\nUser-Agent: tester/1.0\r\nX-Api-Key: " + testKey + "\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n"},
		{"door, banned", "GET /auth HTTP/1.1\r\nHost: x\r\nUser-Agent: tester/1.0\r\nX-Api-Key: " + testKey + "\r\nX-Forwarded-For: 10.0.7.7\r\n\r\n"},
	} {
		b.Run(c[0], func(b *testing.B) {
			answer := h.onLoop(c[1])
			if out, done := answer(); !done {
				b.Fatalf("not on a loop: %s", out)
			}
			b.ReportAllocs()
			from := processor(b)
			for b.Loop() {
				answer()
			}
			b.ReportMetric(float64(processor(b)-from)/float64(b.N), "cpu-ns/op")
		})
	}
}
