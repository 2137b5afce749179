package conn

import (
	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
)

// Route is one line of the table of what can be asked.
type Route struct {
	Method string // "*": all that have no route of their own
	Path   string // {name} is one segment that is not empty
}

// NoLine is Request.Line where no route is asked for.
const NoLine = -1

// newRouter leads each request to serve with the number of its route, or NoLine. Whatever
// the router would do by itself about paths that do not match is the handler's.
func newRouter(routes []Route, serve func(ctx *fasthttp.RequestCtx, line int)) *router.Router {
	r := router.New()
	r.RedirectTrailingSlash = false
	r.RedirectFixedPath = false
	r.HandleMethodNotAllowed = false
	r.HandleOPTIONS = false
	r.NotFound = func(ctx *fasthttp.RequestCtx) { serve(ctx, NoLine) }
	for i, route := range routes {
		r.Handle(route.Method, route.Path, func(ctx *fasthttp.RequestCtx) { serve(ctx, i) })
	}
	return r
}

// Has reports whether there is a route for a method and a path, escaped as it comes in
// requests.
func (r *Request) Has(method, path string) bool {
	handler, _ := r.core.router.Lookup(method, path, nil)
	return handler != nil
}
