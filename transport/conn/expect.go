package conn

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// A client may send a head alone, with Expect: 100-continue, and wait until it is told
// to go on. It is, unless the head says enough for an answer: whoever is not let in, a
// body that is too large or packed in an unknown way, a line of the table that reads
// none. Then that answer comes in place of 100 and ends the connection, for nobody knows
// whether the body comes all the same.

// continues is the expectation that means something, as the HTTP library knows it.
var continues = []byte("100-continue")

// expectation takes it out of heads where it means nothing: no body is to come, or the
// client is one of HTTP/1.0, which would take 100 for the answer.
func expectation(h *fasthttp.RequestHeader) {
	value := h.Peek(fasthttp.HeaderExpect)
	if !bytes.EqualFold(value, continues) {
		return
	}
	if length := h.ContentLength(); h.IsHTTP11() && (length > 0 || length == inChunks) {
		h.SetBytesV(fasthttp.HeaderExpect, continues)
		return
	}
	h.Del(fasthttp.HeaderExpect)
}
