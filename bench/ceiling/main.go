//go:build linux

// Ceiling answers the routes of the Local API with constant bytes: what is left of
// a server when everything is taken out but its HTTP library. Nothing built on
// fasthttp, asked for as many bytes, can be faster on the same machine.
//
// It checks no key, reads no parameter and keeps nothing. The bytes are given by
// whoever measures:
//
//	PUT /constant/live      body of GET /v1/decisions; "null" at first
//	PUT /constant/stream    body of GET /v1/decisions/stream; two empty lists at first
//
// A stream above one piece (-piece) is sent in chunks of that size, as one that nobody
// wants to hold whole. POST /v1/alerts answers 201 and ["1"].
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/valyala/fasthttp"
)

// maxConstant bounds a body given, in bytes; more is refused.
const maxConstant = 4 << 30

func main() {
	listen := flag.String("listen", "127.0.0.1:9080", "address to listen at")
	piece := flag.Int("piece", 64<<10, "bytes of a chunk")
	alone := flag.Bool("bare", false, "no HTTP library: answer null from bare epoll loops")
	flag.Parse()
	if *alone {
		end(bare(*listen))
	}
	c := &constants{piece: *piece}
	c.live.Store(&[]byte{'n', 'u', 'l', 'l'})
	empty := []byte(`{"new": [], "deleted": []}`)
	c.stream.Store(&empty)
	s := &fasthttp.Server{Handler: c.answer, MaxRequestBodySize: maxConstant, NoDefaultServerHeader: true, ReadBufferSize: 8 << 10}
	end(s.ListenAndServe(*listen))
}

// end says why the program has ended.
func end(err error) {
	fmt.Fprintln(os.Stderr, "ceiling:", err)
	os.Exit(1)
}

// constants are the answers; they may be replaced while they are sent.
type constants struct {
	piece        int
	live, stream atomic.Pointer[[]byte]
}

// answer is the handler of all routes.
func (c *constants) answer(ctx *fasthttp.RequestCtx) {
	switch string(ctx.Path()) {
	case "/v1/decisions":
		ctx.Response.Header.SetContentType("application/json; charset=utf-8")
		ctx.Response.SetBodyRaw(*c.live.Load())
	case "/v1/decisions/stream":
		ctx.Response.Header.SetContentType("application/json")
		c.pieces(ctx, *c.stream.Load())
	case "/v1/alerts":
		ctx.Response.Header.SetContentType("application/json; charset=utf-8")
		ctx.SetStatusCode(fasthttp.StatusCreated)
		ctx.Response.SetBodyRaw([]byte(`["1"]`))
	case "/health":
		ctx.Response.SetBodyRaw([]byte(`{"status":"up"}`))
	case "/constant/live":
		keep(&c.live, ctx)
	case "/constant/stream":
		keep(&c.stream, ctx)
	default:
		ctx.SetStatusCode(fasthttp.StatusNotFound)
	}
}

// pieces sends a long body in chunks. The library would cut it into chunks of 4 KiB
// and pass each through a pipe, so the connection is taken from it: each chunk is one
// call of writev, and the connection ends with the answer.
func (c *constants) pieces(ctx *fasthttp.RequestCtx, body []byte) {
	if len(body) <= c.piece {
		ctx.Response.SetBodyRaw(body)
		return
	}
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(conn net.Conn) {
		head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
		size := append(make([]byte, 0, 256), head...)
		for len(body) > 0 {
			n := min(c.piece, len(body))
			chunk := net.Buffers{fmt.Appendf(size, "%x\r\n", n), body[:n], []byte("\r\n")}
			if _, err := chunk.WriteTo(conn); err != nil {
				return // the client has gone
			}
			body, size = body[n:], size[:0]
		}
		_, _ = conn.Write([]byte("0\r\n\r\n"))
	})
}

// keep takes the bytes of a route; a client that is being sent the old ones gets all
// of them.
func keep(p *atomic.Pointer[[]byte], ctx *fasthttp.RequestCtx) {
	body := append([]byte(nil), ctx.PostBody()...)
	p.Store(&body)
	ctx.SetStatusCode(fasthttp.StatusNoContent)
}
