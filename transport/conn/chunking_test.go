package conn

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/valyala/fasthttp"
)

// FuzzChunking: a body in chunks ends for us where it does for the HTTP library: what
// is whole for us leaves nothing for it to take for the next request, and what is not
// is not whole for it.
func FuzzChunking(f *testing.F) {
	for _, text := range []string{
		"5\r\nhello\r\n0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", "2 \r\n[]\r\n0\r\n\n", "2\n[]\r\n0\r\n\r\n", "000\r\n\r\n", "1\r\nab\r\n",
		"0\r\nX: y\n\r\n", "0;\r\n\r\nGET", strings.Repeat("0", 16) + "\r\n\r\n", "fffffffffffffff\r\n", "1\r\na\n0\r\n\r\n", "0\r\nX: y\r\n\n",
	} {
		f.Add([]byte(text))
	}
	head := request("POST", "/", "Transfer-Encoding: chunked")
	f.Fuzz(func(t *testing.T, body []byte) {
		var c chunking
		n, trailer := 0, false // the library takes an error there for its end
		for n < len(body) && c.at < chunksEnd {
			if k := c.walk(body[n : n+1]); k == 0 {
				break
			}
			n++
			trailer = trailer || c.at == trailerLine
		}
		given := append([]byte(nil), body[:n]...)
		if c.at == chunksEndCR {
			given = append(given, '\r', '\n')
		}
		var r fasthttp.Request
		in := bufio.NewReaderSize(io.MultiReader(strings.NewReader(head), bytes.NewReader(given), iotest.ErrReader(io.ErrNoProgress)), 64<<10)
		if err := r.Header.Read(in); err != nil {
			t.Fatal(err)
		}
		err := r.ContinueReadBodyStream(in, 1<<30, false)
		if err == nil {
			_, err = io.Copy(io.Discard, r.BodyStream())
		}
		whole := c.at == chunksEnd || c.at == chunksEndCR
		rest, _ := io.ReadAll(in)
		switch {
		case err == nil && !whole && !trailer:
			t.Fatalf("%q at %d: the library takes %q for whole", body, c.at, given)
		case err == nil && whole && len(rest) > 0:
			t.Fatalf("%q: the library leaves %q", body, rest)
		}
	})
}
