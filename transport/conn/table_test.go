package conn

import (
	"testing"

	"github.com/valyala/fasthttp"
)

// lineOf notes which route a request was led to.
type lineOf struct{ line *int }

func (l lineOf) Serve(r *Request, _ *Answer) bool {
	*l.line = r.Line
	return true
}

// Each request is led to its route and to no other; what has none, or a segment too many or
// too few, to none.
func TestRoutes(t *testing.T) {
	t.Parallel()
	routes := []Route{{"GET", "/a"}, {"HEAD", "/a"}, {"GET", "/a/{id}"}, {"DELETE", "/a/{id}"}, {"GET", "/a/check/{what}"}}
	line := 99
	h := newHouse(t, func(o *Options) {
		o.Routes, o.NewHandler = routes, func() Handler { return lineOf{&line} }
	})
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/a", 0}, {"HEAD", "/a", 1}, {"GET", "/a/1", 2}, {"DELETE", "/a/%2F", 3}, {"GET", "/a/check/192.0.2.0%2F24", 4}, {"GET", "/a/check", 2},
		{"POST", "/a", NoLine}, {"GET", "/a/", NoLine}, {"GET", "/", NoLine}, {"GET", "/A", NoLine}, {"GET", "/a/1/2", NoLine}, {"GET", "/a/check/1/2", NoLine},
		{"GET", "/a//", NoLine}, {"GET", "//a", NoLine}, {"GET", "/b/../a", NoLine},
	} {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod(c.method)
		ctx.Request.SetRequestURI(c.path)
		if h.Do(&ctx); line != c.want {
			t.Errorf("%s %s is led to %d, want %d", c.method, c.path, line, c.want)
		}
		r := newRequest(&h.core, nil)
		if r.Has(c.method, c.path) != (c.want != NoLine) {
			t.Errorf("whether there is %s %s", c.method, c.path)
		}
	}
}
