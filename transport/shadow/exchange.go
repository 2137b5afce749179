package shadow

import (
	"io"
	"net/http"
	"net/netip"
	"time"
)

// exchange is one request of a client, with what both servers answered.
type exchange struct {
	route  *route
	method string
	target string // path and query as they came
	host   string
	header http.Header // as passed on, before X-Forwarded-For; nobody changes it
	peer   netip.Addr

	body   *capture // nil: there is none
	length int64    // of the body as it was declared, -1: in chunks

	first   Side
	answers [2]answer
}

// answer is what one server said.
type answer struct {
	status int
	header http.Header
	body   *capture
	began  time.Time // when it was asked
	ended  time.Time // when all of it was there
}

// took is how long it took.
func (a *answer) took() time.Duration { return a.ended.Sub(a.began) }

// release gives back what is kept of the bodies.
func (x *exchange) release() {
	if x.body != nil {
		x.body.release()
	}
	for i := range x.answers {
		if b := x.answers[i].body; b != nil {
			b.release()
		}
	}
}

// content is the request's body from the beginning, nil without one.
func (x *exchange) content() io.Reader {
	if x.body == nil {
		return nil
	}
	return x.body.reader()
}

// lag is how much later the second server was asked than the first.
func (x *exchange) lag() time.Duration {
	return x.answers[x.first.other()].ended.Sub(x.answers[x.first].began)
}
