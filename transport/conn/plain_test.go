package conn

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

const plainRequest = "GET /v1/decisions?ip=192.0.2.1 HTTP/1.1\r\nHost: lapi:8080\r\nUser-Agent: a/1\r\nX-Api-Key: k\r\nAccept: */*\r\nConnection: Keep-Alive\r\n\r\n"

func TestPlain(t *testing.T) {
	t.Parallel()
	var p plain
	if !p.read([]byte(plainRequest+"GET")) || p.kind != Address || p.size != len(plainRequest) ||
		string(p.query) != "ip=192.0.2.1" || string(p.key) != "k" || string(p.agent) != "a/1" || p.forwarded != nil || p.real != nil {
		t.Fatalf("%+v", p)
	}
	for at := range len(plainRequest) {
		if p.read([]byte(plainRequest[:at])) {
			t.Errorf("%q is whole", plainRequest[:at])
		}
	}
	change := func(from, to string) string { return strings.Replace(plainRequest, from, to, 1) }
	for _, good := range []string{
		change("/v1/decisions?ip=192.0.2.1", "/v1/decisions/stream"),
		change("/v1/decisions?ip=192.0.2.1", "/v1/decisions/stream?startup=false"),
		change("/v1/decisions?ip=192.0.2.1", "/v1/decisions?"),
		change("lapi:8080", "[::1]:8080"),
		change("lapi:8080", "127.0.0.1"),
		change("Accept", "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nx-real-ip:192.0.2.3  \r\nACCEPT"),
	} {
		if !p.read([]byte(good)) {
			t.Errorf("%q is not plain", good)
		}
	}
	for path, kind := range map[string]Kind{"/auth": Verdict, "/auth?a=%20b": Verdict, "/exports/edge.txt": List} {
		text := change("/v1/decisions?ip=192.0.2.1", path)
		if !p.read([]byte(text)) || p.kind != kind || p.size != len(text) || string(p.key) != "k" {
			t.Errorf("%s: %+v", path, p)
		}
		for at := range len(text) {
			if p.read([]byte(text[:at])) {
				t.Errorf("%q is whole", text[:at])
			}
		}
	}
	for _, odd := range []string{
		change("/v1/decisions?ip=192.0.2.1", "/authority"), change("/v1/decisions?ip=192.0.2.1", "/auth/"), change("/v1/decisions?ip=192.0.2.1", "/auth?a b"),
		change("/v1/decisions?ip=192.0.2.1", "/exports/a?page=1"), change("/v1/decisions?ip=192.0.2.1", "/exports/.a"),
		change("GET", "HEAD"), change("GET", "get"), change(" HTTP/1.1", "  HTTP/1.1"), change("HTTP/1.1", "HTTP/1.0"),
		change("/v1/decisions?", "/v1/decisions/7?"), change("?ip=192.0.2.1", ""), change("/v1", "http://x/v1"),
		change("192.0.2.1", "192.0.2.1#"), change("192.0.2.1", "http://x"), change("192.0.2.1", "\x7f"), change("192.0.2.1", "\xc3\xa9"),
		change("192.0.2.1 ", "192.0.2.1\t"), change("\r\nHost", "\nHost"), change("\r\nHost", "\r\r\nHost"),
		change("Host", " Host"), change("Host:", "Host :"), change("Host", "Hos\x00t"), change("Host: lapi:8080\r\n", ""),
		change("lapi", ""), change("lapi", "la pi"), change("lapi", "la/pi"), change("lapi", "u@lapi"), change("8080", "80x"), change(":8080", ":"),
		change("Accept", "Host: x\r\nAccept"), change("Accept", "X-Api-Key: 2\r\nAccept"), change("Accept", "User-Agent: 2\r\nAccept"),
		change("X-Api-Key: k", "X-Api-Key:"), change("X-Api-Key: k", "X-Api-Key: \x01"), change("X-Api-Key: k", "X-Api-Key: k\tk"),
		change("Keep-Alive", "close"), change("Keep-Alive", "Upgrade"), change("Keep-Alive", "keep-alive, close"),
		change("Accept", "Content-Length: 0\r\nAccept"), change("Accept", "content-encoding: gzip\r\nAccept"),
		change("Accept", "Transfer-Encoding: chunked\r\nAccept"), change("Accept", "Trailer: x\r\nAccept"), change("Accept", "TE: x\r\nAccept"),
		change("Accept", "Expect: 100-continue\r\nAccept"), change("Accept", "Upgrade: x\r\nAccept"), change("Accept", "HTTP2-Settings: x\r\nAccept"),
		change("Accept: */*", "Accept"), change("Accept: */*", ": x"), change("Accept: */*", " folded"),
	} {
		if p.read([]byte(odd)) {
			t.Errorf("%q is plain", odd)
		}
	}
}

// FuzzPlain: what is plain is read by the HTTP library the same way.
func FuzzPlain(f *testing.F) {
	f.Add([]byte(plainRequest))
	f.Add([]byte(plainRequest + plainRequest))
	f.Add([]byte("GET /v1/decisions/stream?startup=true HTTP/1.1\r\nHost: [::1]\r\nX-Forwarded-For: 1.2.3.4\r\nx-real-ip: 2.3.4.5 \r\n\r\n"))
	f.Add([]byte("GET /auth HTTP/1.1\r\nHost: lapi\r\nX-Api-Key: k\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"))
	f.Add([]byte("GET /auth?a=b HTTP/1.1\r\nHost: lapi\r\n\r\nGET /exports/edge.txt HTTP/1.1\r\nHost: lapi\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var p plain
		if !p.read(in) {
			return
		}
		var r fasthttp.Request
		from := bufio.NewReaderSize(bytes.NewReader(in), len(in)+16)
		if err := r.Header.Read(from); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		headerReceived(&r.Header)
		switch h := &r.Header; {
		case len(in)-from.Buffered() != p.size:
			t.Fatalf("%q: %d bytes, not %d", in, len(in)-from.Buffered(), p.size)
		case !h.IsHTTP11() || h.ConnectionClose() || h.ContentLength() > 0:
			t.Fatalf("%q is not plain: %v", in, h)
		}
		ctx := &fasthttp.RequestCtx{}
		ctx.Init(&r, nil, nil)
		want := Request{core: &core{}} // as the library reads it
		want.fill(ctx)
		got := Request{Method: plainMethod, Protocol: plainProtocol}
		got.fillPlain(&p)
		path := map[Kind]string{Address: "/v1/decisions", Changes: "/v1/decisions/stream", Verdict: "/auth", List: "/exports/"}[p.kind]
		if string(got.Path) != path && (p.kind != List || !bytes.HasPrefix(got.Path, []byte(path))) {
			t.Fatalf("%q: a path %s", in, got.Path)
		}
		for name, pair := range map[string][2][]byte{
			"method": {got.Method, want.Method}, "path": {got.Path, want.Path}, "query": {got.Query, want.Query}, "protocol": {got.Protocol, want.Protocol},
			"key": {got.Key, want.Key}, "agent": {got.Agent, want.Agent}, "forwarded": {got.Forwarded, want.Forwarded}, "real": {got.Real, want.Real},
			"target": {got.Target, want.Target}, "encoding": {got.Encoding, want.Encoding},
		} {
			if !bytes.Equal(pair[0], pair[1]) {
				t.Fatalf("%q: %s is %q, and %q for the library", in, name, pair[0], pair[1])
			}
		}
	})
}
