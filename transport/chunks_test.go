package transport

import (
	"strings"
	"testing"
)

// TestChunks sends bodies in chunks that are odd or broken, with another
// request behind: it is answered exactly when there is one way to read them.
func TestChunks(t *testing.T) {
	t.Parallel()
	bothWays(t, testChunks)
}

func testChunks(t *wireTest) {
	t.Parallel()
	f := newFronts(t, nil)
	send := func(body string) string {
		return request("POST", "/v1/alerts", "Authorization: Bearer "+f.token(), "Transfer-Encoding: chunked") + body
	}
	for name, c := range map[string]struct{ body, want string }{
		"one":                     {"2\r\n[]\r\n0\r\n\r\n", "201 200"},
		"two":                     {"1\r\n[\r\n1\r\n]\r\n0\r\n\r\n", "201 200"},
		"zeros before":            {"0002\r\n[]\r\n000\r\n\r\n", "201 200"},
		"capitals":                {"A\r\n[        ]\r\n0\r\n\r\n", "201 200"},
		"an extension":            {"2;a=b\r\n[]\r\n0\r\n\r\n", "201 200"},
		"an extension in quotes":  {"2;a=\"b;\"\r\n[]\r\n0\r\n\r\n", "201 200"},
		"an extension at the end": {"2\r\n[]\r\n0;a=b\r\n\r\n", "201 200"},
		"an extension with LF":    {"2;a\nb\r\n[]\r\n0\r\n\r\n", "400"},
		"a trailer":               {"2\r\n[]\r\n0\r\nX-Other: y\r\n\r\n", "201 200"},
		"a length as a trailer":   {"2\r\n[]\r\n0\r\nContent-Length: 60\r\n\r\n", "400"},
		"a request as a trailer":  {"2\r\n[]\r\n0\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"a blank behind":          {"2 \r\n[]\r\n0\r\n\r\n", "201 200"},
		"a blank before":          {" 2\r\n[]\r\n0\r\n\r\n", "400"},
		"a sign":                  {"+2\r\n[]\r\n0\r\n\r\n", "400"},
		"less than nothing":       {"-2\r\n[]\r\n0\r\n\r\n", "400"},
		"a prefix":                {"0x2\r\n[]\r\n0\r\n\r\n", "400"},
		"an underscore":           {"0_2\r\n[]\r\n0\r\n\r\n", "400"},
		"no size":                 {"\r\n[]\r\n0\r\n\r\n", "400"},
		"no number":               {"zz\r\n[]\r\n0\r\n\r\n", "400"},
		"a size beyond all":       {"fffffffffffffffff2\r\n[]\r\n0\r\n\r\n", "400"},
		"the largest size":        {"7fffffffffffffff\r\n[]\r\n0\r\n\r\n", "400"},
		"a size that wraps":       {"10000000000000002\r\n[]\r\n0\r\n\r\n", "400"},
		"a bare LF":               {"2\n[]\r\n0\r\n\r\n", "400"},
		"a bare LF behind":        {"2\r\n[]\n0\r\n\r\n", "400"},
		"a bare CR":               {"2\r[]\r\n0\r\n\r\n", "400"},
		"too much":                {"1\r\n[]\r\n0\r\n\r\n", "400"},
		"no end of a chunk":       {"2\r\n[]0\r\n\r\n", "400"},
		"other bytes at the end":  {"2\r\n[]XX0\r\n\r\n", "400"},
		"a bare LF at the end":    {"2\r\n[]\r\n0\r\n\n", "201 200"},
		"no end":                  {"2\r\n[]\r\n", "400"},
		"a NUL":                   {"2\x00\r\n[]\r\n0\r\n\r\n", "400"},
		"a long size":             {strings.Repeat("0", 5000) + "2\r\n[]\r\n0\r\n\r\n", "400"},
		"a long extension":        {"2;" + strings.Repeat("a", 1<<20) + "\r\n[]\r\n0\r\n\r\n", "201 200"},
	} {
		if got := statuses(f.alike(name, send(c.body)+live)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
