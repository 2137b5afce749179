package transport

import "github.com/valyala/fasthttp"

var upAnswer = []byte(`{"status":"up"}`)

// health says that the server answers.
func (s *Server) health(x *exchange) error {
	x.shared(jsonType, upAnswer)
	h := &x.ctx.Response.Header
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	h.Set(fasthttp.HeaderPragma, "no-cache")
	h.Set(fasthttp.HeaderExpires, "Thu, 01 Jan 1970 00:00:00 GMT")
	return nil
}
