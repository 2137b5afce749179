package transport

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"

	"lapid/transport/conn"
)

// conversation is what one client sends and the statuses of the answers it
// gets, no more and no fewer, on whichever front.
type conversation struct{ name, text, want string }

// TestConversations holds what is unusual and fine, or plainly wrong, in hot
// requests and around them: behind each stands one more request, which is
// answered exactly when the connection stays open.
func TestConversations(t *testing.T) {
	t.Parallel()
	bothWays(t, testConversations)
}

func testConversations(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	hot := func(lines ...string) string { return request("GET", "/v1/decisions?ip=192.0.2.1", lines...) }
	at := func(query string) string { return request("GET", "/v1/decisions"+query, keyLine) }
	line := func(first string) string { return first + " HTTP/1.1\r\nHost: x\r\n" + keyLine + "\r\n\r\n" }
	for _, c := range []conversation{
		{"a live query", live + live, "200 200"},
		{"a miss", miss + live, "200 200"},
		{"nobody's", lonely + live, "403 200"},
		{"a startup and a poll", startup + poll + poll, "200 200 200"},
		{"a first poll", poll + poll, "200 200"},
		{"HEAD", request("HEAD", "/v1/decisions?ip=192.0.2.1", keyLine) + probe + live, "200 200 200"},
		{"HEAD of nobody", request("HEAD", "/v1/decisions/stream") + live, "403 200"},
		{"ten at once", strings.Repeat(live, 10), "200 200 200 200 200 200 200 200 200 200"},
		{"hot and cold", live + health + poll + nowhere + tokenful + live + probe + miss, "200 200 200 404 401 200 200 200"},
		{"cold and hot", nowhere + live + request("PUT", "/v1/decisions", keyLine) + poll, "404 200 405 200"},
		{"a slash too many", request("GET", "/v1/decisions/?ip=192.0.2.1", keyLine) + live, "301 200"},

		{"close", hot(keyLine, "Connection: close") + live, "200"},
		{"Close", hot(keyLine, "connection: Close") + live, "200"},
		{"close in a list", hot(keyLine, "Connection: TE, close") + live, "200"},
		{"close in a second line", hot(keyLine, "Connection: TE", "Connection: close") + live, "200"},
		{"closet", hot(keyLine, "Connection: closet") + live, "200 200"},
		{"keep-alive", hot(keyLine, "Connection: keep-alive") + live, "200 200"},
		{"close a stream", request("GET", "/v1/decisions/stream?startup=true", keyLine, "Connection: close") + live, "200"},
		{"close a HEAD", request("HEAD", "/v1/decisions/stream", keyLine, "Connection: close") + live, "200"},
		{"close nobody", hot("Connection: close") + live, "403"},
		{"upgrade", hot(keyLine, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA") + live, "200 200"},
		{"websocket", hot(keyLine, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x") + live, "200 200"},

		{"HTTP/1.0", "GET /v1/decisions?ip=192.0.2.1 HTTP/1.0\r\n" + keyLine + "\r\n\r\n" + live, "200"},
		{"HTTP/1.0 that stays", "GET /v1/decisions?ip=192.0.2.1 HTTP/1.0\r\nConnection: keep-alive\r\n" + keyLine + "\r\n\r\n" + live, "200 200"},
		{"HTTP/1.0 that Stays", "GET /v1/decisions/stream HTTP/1.0\r\nConnection: Keep-Alive\r\n" + keyLine + "\r\n\r\n" + live, "200 200"},
		{"HTTP/1.0 HEAD", "HEAD /v1/decisions/stream HTTP/1.0\r\n" + keyLine + "\r\n\r\n" + live, "200"},

		{"a body with GET", hot(keyLine, "Content-Length: 5") + "hello" + live, "200 200"},
		{"no body with GET", hot(keyLine, "Content-Length: 0") + live, "200 200"},
		{"a request in the body of a GET", hot(keyLine, fmt.Sprintf("Content-Length: %d", len(nowhere))) + nowhere + live, "200 200"},
		{"chunks with GET", hot(keyLine, "Transfer-Encoding: chunked") + chunks("hello", nowhere, "") + live, "200 200"},
		{"a body with HEAD", request("HEAD", "/v1/decisions/stream", keyLine, "Content-Length: 5") + "hello" + live, "200 200"},
		{"a packed body with GET", hot(keyLine, "Content-Encoding: gzip", "Content-Length: 5") + "hello" + live, "400 200"},
		{"a packed nothing with GET", hot(keyLine, "Content-Encoding: gzip") + live, "400 200"},
		{"Expect without a body", hot(keyLine, "Expect: 100-continue") + live, "200 200"},

		{"a name in capitals", hot("X-API-KEY: "+testKey) + live, "200 200"},
		{"a name in small letters", hot("x-api-key: "+testKey) + live, "200 200"},
		{"a name in both", hot("x-aPI-kEY: "+testKey) + live, "200 200"},
		{"no blank", hot("X-Api-Key:"+testKey) + live, "200 200"},
		{"many blanks", hot("X-Api-Key: \t  "+testKey+"  \t ") + live, "200 200"},
		{"a good key and a bad one", hot(keyLine, "X-Api-Key: bad") + live, "200 200"},
		{"a bad key and a good one", hot("X-Api-Key: bad", keyLine) + live, "403 200"},
		{"an empty key and a good one", hot("X-Api-Key: ", keyLine) + live, "403 200"},
		{"no key", hot("X-Api-Key:") + live, "403 200"},
		{"a key in another header", hot("X-Api-Key-: "+testKey, "X-Api_Key: "+testKey, "Authorization: "+testKey) + live, "403 200"},
		{"a key in the query", request("GET", "/v1/decisions?X-Api-Key="+testKey) + live, "403 200"},
		{"half a key", hot("X-Api-Key: "+testKey[:20]) + live, "403 200"},
		{"a key and more", hot("X-Api-Key: "+testKey+"x") + live, "403 200"},
		{"a long key", hot("X-Api-Key: "+strings.Repeat("k", 4000)) + live, "403 200"},
		{"a name alone", hot(keyLine, "X-Empty:") + live, "200 200"},
		{"a forwarded address nobody trusts", hot(keyLine, "X-Forwarded-For: 203.0.113.9", "X-Real-Ip: 203.0.113.9") + live, "200 200"},
		{"a User-Agent", hot(keyLine, "User-Agent: bouncer/v1.2") + live, "200 200"},
		{"bytes beyond ASCII", hot(keyLine, "X-Other: \xff\xfe\x80") + live, "200 200"},
		{"a thousand headers", hot(keyLine, strings.Repeat("a: b\r\n", 999)+"a: b") + live, "200 200"},
		{"an empty line before", "\r\n" + live + live, "200 200"},

		{"an escape", at("?ip=192%2E0.2.1") + live, "200 200"},
		{"escapes", at("?%69p=%31%39%32.0.2.1") + live, "200 200"},
		{"a broken escape", at("?ip=192.0.2.%zz") + live, "200 200"},
		{"half an escape", at("?ip=192.0.2.1%2") + live, "200 200"},
		{"a plus", at("?ip=192.0.2.1+") + live, "500 200"},
		{"an escaped NUL", at("?ip=192.0.2.1%00") + live, "500 200"},
		{"an escaped line", at("?ip=192.0.2.1%0d%0aSet-Cookie:x") + live, "500 200"},
		{"an escaped IPv6", at("?ip=2001%3Adb8%3A%3a1") + live, "200 200"},
		{"a mapped address", at("?ip=::ffff:192.0.2.1") + live, "200 200"},
		{"no address", at("?ip=zz") + live, "500 200"},
		{"an empty address", at("?ip=") + live, "500 200"},
		{"two addresses", at("?ip=192.0.2.1&ip=zz") + live, "200 200"},
		{"a semicolon", at("?ip=192.0.2.1;x&ip=zz") + live, "500 200"},
		{"an unknown parameter", at("?ip=192.0.2.1&banned=true") + live, "200 200"},
		{"two question marks", at("?ip=192.0.2.1?ip=zz") + live, "500 200"},
		{"nothing asked", at("?") + at("") + live, "200 200 200"},
		{"a fragment", at("?ip=192.0.2.1#x") + live, "500 200"},
		{"a URL", at("?ip=192.0.2.1&value=http://x/") + live, "200 200"},
		{"a long query", at("?ip=192.0.2.1&x="+strings.Repeat("y", 7000)) + live, "200 200"},
		{"a bad stream filter", request("GET", "/v1/decisions/stream?ip=zz", keyLine) + live, "200 200"},

		{"a path in capitals", request("GET", "/V1/decisions?ip=192.0.2.1", keyLine) + live, "404 200"},
		{"a method in small letters", request("get", "/v1/decisions?ip=192.0.2.1", keyLine) + live, "405 200"},
		{"a long method", request("GETGETGET", "/v1/decisions?ip=192.0.2.1", keyLine) + live, "405 200"},
		{"two slashes", request("GET", "//v1/decisions?ip=192.0.2.1", keyLine) + live, "404 200"},
		{"dots", request("GET", "/v1/x/../decisions?ip=192.0.2.1", keyLine) + live, "404 200"},
		{"a dot", request("GET", "/v1/./decisions?ip=192.0.2.1", keyLine) + live, "404 200"},
		{"an escaped path", request("GET", "/v1/%64ecisions?ip=192.0.2.1", keyLine) + live, "404 200"},
		{"an escaped question mark", request("GET", "/v1/decisions%3Fip=192.0.2.1", keyLine) + live, "404 200"},
		{"a parameter of the path", request("GET", "/v1/decisions;x?ip=192.0.2.1", keyLine) + live, "404 200"},
		{"a backslash", request("GET", "/v1\\decisions?ip=192.0.2.1", keyLine) + live, "404 200"},
		{"the stream's child", request("GET", "/v1/decisions/stream/x", keyLine) + live, "404 200"},
		{"nothing at all", "", ""},

		{"an absolute target", line("GET http://x/v1/decisions?ip=192.0.2.1") + live, "200 200"},
		{"an absolute target of TLS", line("GET HTTPS://[::1]:8080/v1/decisions/stream?startup=true") + live, "200 200"},
		{"an absolute target elsewhere", line("GET http://elsewhere:80/v1/decisions?ip=192.0.2.1") + poll, "200 200"},
		{"an absolute target without a path", line("GET http://x") + line("GET http://x?ip=192.0.2.1") + live, "404 404 200"},
		{"an absolute target in a query", line("GET http://x/v1/decisions?ip=192.0.2.1&value=http://y/v1") + live, "200 200"},
		{"an absolute target with a body", request("POST", "http://x/v1/alerts", "Content-Length: 5") + "hello" + live, "401 200"},
		{"absolute targets among others", poll + line("GET http://x/v1/decisions/stream") + poll + line("GET http://x/v1/decisions/stream") + live, "200 200 200 200 200"},
		{"an empty Host", "GET /v1/decisions?ip=192.0.2.1 HTTP/1.1\r\nHost:\r\n" + keyLine + "\r\n\r\n" + live, "200 200"},
		{"a blank Host", "GET /v1/decisions/stream HTTP/1.1\r\n" + keyLine + "\r\nhOST: \t \r\n\r\n" + live, "200 200"},
		{"all of a server", line("OPTIONS *") + live, "200 200"},
		{"all of a server in HTTP/1.0", "OPTIONS * HTTP/1.0\r\n\r\n" + live, "200"},
		{"all of a server with a body", request("OPTIONS", "*", "Content-Length: 5") + "hello" + live, "200 200"},
		{"a line feed", hot(keyLine, "X-Other: y\nX-More: z") + live, "200"},
		{"line feeds", "GET /v1/decisions?ip=192.0.2.1 HTTP/1.1\nHost: x\n" + keyLine + "\n\n" + live, "200"},
		{"a line feed at the end", "GET /v1/decisions/stream HTTP/1.1\r\nHost: x\r\n" + keyLine + "\r\n\n" + live, "200"},
		{"a line feed at first", "GET /v1/decisions HTTP/1.1\nHost: x\r\n" + keyLine + "\r\n\r\n" + live, "200"},
		{"a line feed after another", live + "GET /health HTTP/1.1\nHost: x\n\n" + live, "200 200"},
		{"line feeds and an absolute target", "GET http://y/health HTTP/1.1\nHost:\n\n" + live, "200"},
		{"line feeds without a body", "POST /v1/alerts HTTP/1.1\nHost: x\n\n" + live, "401"},
		{"line feeds before", "\n\r\n\n" + live + "\n" + live, "200 200"},
		{"a long header", hot(keyLine, "X-Forwarded-Client-Cert: "+strings.Repeat("c", 20_000)) + live, "200 200"},
		{"a long header of a poll", poll + request("GET", "/v1/decisions/stream?startup=true", keyLine, "Cookie: a="+strings.Repeat("c", 40_000)) + live, "200 200 200"},
		{"long headers", strings.Repeat(request("GET", "/health", "X-Long: "+strings.Repeat("c", 30_000))+live, 3), "200 200 200 200 200 200"},
		{"a long query", at("?ip=192.0.2.1&x="+strings.Repeat("y", 50_000)) + live, "200 200"},
		{"two thousand headers", hot(keyLine, strings.Repeat("a: b\r\n", 1999)+"a: b") + live, "200 200"},
		{"a long header and close", hot(keyLine, "Connection: close", "X-Long: "+strings.Repeat("c", 20_000)) + live, "200"},
		{"a long header and a body", request("POST", "/v1/alerts", "X-Long: "+strings.Repeat("c", 20_000), "Content-Length: 5") + "hello" + live, "401 200"},
		{"a long header and chunks", request("POST", "/v1/alerts", "X-Long: "+strings.Repeat("c", 20_000), "Transfer-Encoding: chunked") + chunks("hello", live, "") + live, "401 200"},
		{"a long header of nobody", request("GET", "/v1/decisions", "X-Long: "+strings.Repeat("c", 60_000)) + live, "403 200"},
		{"a long header of HTTP/1.0", "GET /v1/decisions/stream?startup=true HTTP/1.0\r\nX-Long: " + strings.Repeat("c", 20_000) + "\r\n" + keyLine + "\r\n\r\n" + live, "200"},
		{"a long header that is too long", hot(keyLine, "X-Long: "+strings.Repeat("c", 64<<10)) + live, "431"},
		{"a long header and two lengths", hot(keyLine, "X-Long: "+strings.Repeat("c", 20_000), "Content-Length: 0", "Content-Length: 0") + live, "400"},
		{"a head that grows", "GET /v1/decisions HTTP/1.1\nHost: x\n" + keyLine + "\n" + strings.Repeat("a:\n", 2700) + "\n" + live, "200"},
		{"a Host that grows", strings.Replace(hot(keyLine, "X: "+strings.Repeat("c", 8078)), "Host: x", "Host:", 1) + live, "200 200"},
		{"a long header and a control", hot(keyLine, "X-Long: "+strings.Repeat("c", 20_000)+"\x01") + live, "400"},
	} {
		if got := statuses(f.alike(c.name, c.text)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestTricks sends what two readers might read in two ways, each with another
// request smuggled in behind. All of it is refused, once, and the connection
// closed.
func TestTricks(t *testing.T) {
	t.Parallel()
	bothWays(t, testTricks)
}

func testTricks(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	token := "Authorization: Bearer " + f.token()
	post := func(lines ...string) string { return request("POST", "/v1/alerts", append(lines, token)...) + "[]" }
	hot := func(lines ...string) string {
		return request("GET", "/v1/decisions?ip=192.0.2.1", append(lines, keyLine)...)
	}
	line := func(first string) string { return first + "\r\nHost: x\r\n" + keyLine + "\r\n\r\n" }
	for name, text := range map[string]string{
		"two lengths":                  post("Content-Length: 2", "Content-Length: 3"),
		"the same length twice":        post("Content-Length: 2", "Content-Length: 2"),
		"two lengths of a GET":         hot("Content-Length: 0", "Content-Length: 60"),
		"no length twice":              hot("Content-Length: 0", "content-length: 0"),
		"a list of lengths":            post("Content-Length: 2, 2"),
		"a signed length":              post("Content-Length: +2"),
		"a negative length":            post("Content-Length: -2"),
		"a length in hexadecimal":      post("Content-Length: 0x2"),
		"no number":                    post("Content-Length: two"),
		"an empty length":              post("Content-Length:"),
		"a length beyond all":          post("Content-Length: 99999999999999999999"),
		"a blank in a length":          post("Content-Length: 1 2"),
		"length and chunks":            post("Content-Length: 4", "Transfer-Encoding: chunked") + chunks(""),
		"chunks and length":            post("Transfer-Encoding: chunked", "Content-Length: 4") + chunks(""),
		"chunks and length with GET":   hot("Transfer-Encoding: chunked", "Content-Length: 0") + chunks(""),
		"chunks twice":                 post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
		"chunks in a list":             post("Transfer-Encoding: gzip, chunked"),
		"chunks in a list, first":      hot("Transfer-Encoding: chunked, identity"),
		"another encoding":             post("Transfer-Encoding: xchunked"),
		"an encoding with a tab":       post("Transfer-Encoding:\vchunked"),
		"no encoding":                  post("Content-Length: 2", "Transfer-Encoding: identity"),
		"an encoding of nothing":       hot("Transfer-Encoding:"),
		"chunks of HTTP/1.0":           "POST /v1/alerts HTTP/1.0\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(""),
		"a folded header":              hot("X-Folded: a", " b: c"),
		"a folded header with a tab":   hot("X-Folded: a", "\tb: c"),
		"a folded length":              post("Content-Length:", " 2"),
		"a folded key":                 request("GET", "/v1/decisions", "X-Api-Key:", " "+testKey),
		"a folded first header":        "GET /v1/decisions HTTP/1.1\r\n Host: x\r\n" + keyLine + "\r\n\r\n",
		"a blank before a colon":       hot("X-Other : 2"),
		"a blank before a colon's key": request("GET", "/v1/decisions", "X-Api-Key : "+testKey),
		"a tab before a colon":         hot("X-Other\t: 2"),
		"a length before a blank":      post("Content-Length : 2"),
		"no colon":                     hot("X-Other"),
		"no name":                      hot(": x"),
		"a name with a bracket":        hot("X(Other): x"),
		"a name beyond ASCII":          hot("X-\xffther: x"),
		"a bare line feed and length":  hot("X-Other: y\nContent-Length: 0"),
		"length and a bare line feed":  hot("Content-Length: 0", "X-Other: y\nX-More: z"),
		"a bare line feed and a body":  post("Content-Length: 2", "X-Other: y\nX-More: z"),
		"a bare line feed and chunks":  post("Transfer-Encoding: chunked\nX-More: z"),
		"a bare line feed at the end":  "POST /v1/alerts HTTP/1.1\r\nHost: x\r\n" + token + "\r\nContent-Length: 2\r\n\n[]",
		"a bare line feed at first":    "POST /v1/alerts HTTP/1.1\nHost: x\r\n" + token + "\r\nContent-Length: 2\r\n\r\n[]",
		"a bare line feed everywhere":  "POST /v1/alerts HTTP/1.1\nHost: x\n" + token + "\nContent-Length: 2\n\n[]",
		"a fold behind a line feed":    hot("X-Other: y\n z: a"),
		"a length behind a line feed":  hot("X-Other: y\n\tContent-Length: 5"),
		"a blank before its colon":     hot("X-Other: y\nContent-Length : 5"),
		"a bare return":                hot("X-Other: y\rX-More: z"),
		"a bare return in a name":      hot("X-Ot\rher: y"),
		"two returns":                  hot("X-Other: y\r"),
		"a NUL in a header":            hot("X-Nul: a\x00b"),
		"a NUL in a name":              hot("X-N\x00l: a"),
		"a control in a header":        hot("X-Bell: a\x07b"),
		"a DEL in a header":            hot("X-Del: a\x7fb"),
		"a NUL in the path":            line("GET /v1/decisions\x00 HTTP/1.1"),
		"a NUL in the query":           line("GET /v1/decisions?ip=192.0.2.1\x00 HTTP/1.1"),
		"a control in the query":       line("GET /v1/decisions?ip=192.0.2.1\x1b HTTP/1.1"),
		"a return in the path":         line("GET /v1/deci\rsions HTTP/1.1"),
		"a tab for a blank":            line("GET\t/v1/decisions HTTP/1.1"),
		"a blank in the path":          line("GET /v1/decisions?ip=192.0.2.1 x HTTP/1.1"),
		"two blanks":                   line("GET  /v1/decisions HTTP/1.1"),
		"two blanks later":             line("GET /v1/decisions  HTTP/1.1"),
		"a blank first":                line(" GET /v1/decisions HTTP/1.1"),
		"a blank last":                 line("GET /v1/decisions HTTP/1.1 "),
		"a NUL in the method":          line("G\x00T /v1/decisions HTTP/1.1"),
		"no method":                    line("/v1/decisions HTTP/1.1"),
		"an absolute URI of FTP":       line("GET ftp://x/v1/decisions?ip=192.0.2.1 HTTP/1.1"),
		"an absolute URI of nobody":    line("GET http:///v1/decisions?ip=192.0.2.1 HTTP/1.1"),
		"an absolute URI of a user":    line("GET http://u@x/v1/decisions?ip=192.0.2.1 HTTP/1.1"),
		"an absolute URI and no port":  line("GET http://x:/v1/decisions?ip=192.0.2.1 HTTP/1.1"),
		"an absolute URI and no Host":  "GET http://x/v1/decisions HTTP/1.1\r\n" + keyLine + "\r\n\r\n",
		"an absolute URI, two Hosts":   "GET http://x/v1/decisions HTTP/1.1\r\nHost: x\r\nHost: x\r\n" + keyLine + "\r\n\r\n",
		"two empty Hosts":              "GET /v1/decisions HTTP/1.1\r\nHost:\r\nHost:\r\n" + keyLine + "\r\n\r\n",
		"an empty Host and another":    "GET /v1/decisions HTTP/1.1\r\nHost:\r\nHost: x\r\n" + keyLine + "\r\n\r\n",
		"an absolute URI without":      line("GET x/v1/decisions HTTP/1.1"),
		"an authority":                 line("GET x:80 HTTP/1.1"),
		"an authority with slashes":    line("GET //x@y/v1/decisions://z HTTP/1.1 x"),
		"an asterisk":                  line("GET * HTTP/1.1"),
		"two asterisks":                line("OPTIONS ** HTTP/1.1"),
		"a tunnel":                     line("CONNECT x:80 HTTP/1.1"),
		"no host":                      "GET /v1/decisions HTTP/1.1\r\n" + keyLine + "\r\n\r\n",
		"two hosts":                    hot("Host: y"),
		"HTTP/0.9":                     "GET /health\r\n\r\n",
		"HTTP/0.9, a line":             "GET /health\r\n",
		"HTTP/2":                       line("GET /v1/decisions HTTP/2"),
		"HTTP/2.x":                     line("GET /v1/decisions HTTP/2.x"),
		"HTTP/.20":                     line("GET /v1/decisions HTTP/.20"),
		"HTTP/2.0 and a blank":         line("PRI * HTTP/2.0 "),
		"HTTP/2.0 and more":            line("PRI * more HTTP/2.0"),
		"HTTP/2.0 of nobody":           line("PRI HTTP/2.0"),
		"HTTP/1.10":                    line("GET /v1/decisions HTTP/1.10"),
		"HTTP/1.01":                    line("GET /v1/decisions HTTP/1.01"),
		"http/1.1":                     line("GET /v1/decisions http/1.1"),
		"HTTP/1,1":                     line("GET /v1/decisions HTTP/1,1"),
		"another protocol":             line("GET /v1/decisions ICAP/1.0"),
		"a broken escape":              line("GET /v1/decisions% HTTP/1.1"),
		"a TLS greeting":               "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"no sense":                     "\xff\xfe\xfd\r\n\r\n",
	} {
		for _, behind := range []string{live, nowhere + startup} {
			if got := statuses(f.alike(name, text+behind)); got != "400" {
				t.Errorf("%s: %s, want 400", name, got)
			}
		}
	}
}

// preface is how a client of HTTP/2 begins that takes it for granted, with its settings
// and a request behind it.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\xff\xff" + "\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x86"

// TestOtherVersions speaks other versions of HTTP, on all fronts, in one piece and byte
// by byte, first and behind others: 505 with words about what to do, and the end.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	bothWays(t, testOtherVersions)
}

func testOtherVersions(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, text := range []string{
		preface, "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\n\n", line505("GET /v1/decisions?ip=192.0.2.1 HTTP/2.0"), line505("GET /health HTTP/3.0"),
		line505("GET /health HTTP/0.9"), line505("POST /v1/alerts HTTP/1.2"), "GET /health HTTP/9.9\r\n", "PRI * HTTP/2.0\r\nX-Long: " + strings.Repeat("c", 20_000) + "\r\n\r\n",
	} {
		each := make([]int, min(len(text), 60))
		for i := range each {
			each[i] = i
		}
		for _, before := range []string{"", live, nowhere + poll} {
			got := f.alike("another version", before+text+live)
			if want := strings.TrimSpace(statuses(f.alike("before it", before)) + " 505"); statuses(got) != want {
				t.Errorf("%.30q behind %.9q: %s, want %s", text, before, statuses(got), want)
			}
			if !strings.HasSuffix(got, "\r\n\r\n"+`{"message":"`+conn.TextVersion+`"}`) || !strings.Contains(got, "HTTP/1.1 505 HTTP Version Not Supported\r\n") ||
				!strings.Contains(got, "Connection: close\r\n") || !strings.Contains(got, "Content-Type: application/json") {
				t.Errorf("%.30q: %s", text, got)
			}
		}
		f.alike("another version byte by byte", text, each...)
	}
}

func line505(first string) string { return first + "\r\nHost: x\r\n" + keyLine + "\r\n\r\n" }

// TestOtherVersionIsHeard: a client of another version that goes on sending, as one of
// HTTP/2 does, gets the answer to its end and no reset.
func TestOtherVersionIsHeard(t *testing.T) {
	t.Parallel()
	bothWays(t, testOtherVersionIsHeard)
}

func testOtherVersionIsHeard(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	for _, one := range f.all {
		c := one.dial()
		defer c.Close()
		_, err := io.WriteString(c, preface+strings.Repeat(preface, 1000))
		f.must(err)
		r := bufio.NewReader(c)
		f.wantsEnd("another version", one, f.answerOf(r), 505, conn.TextVersion)
		if one.secure {
			continue // beyond its farewell nothing is read that could be a reset
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("over %s it ends with %v", one.name, err)
		}
	}
}
