package transport

import (
	"net/netip"

	"github.com/valyala/fasthttp"

	"lapid/transport/auth"
)

// An answer that says something is wrong, with what was asked or with us, is told as
// denials are: of an address, or a /64 of IPv6, each reason at once and then once a
// minute with how often. So a machine whose every report fails is seen. What has a
// line of its own has no other: who is not let in, for whom there is no room, what
// the disk refuses. What is merely not there (404 of a line of the table) is no fault.

// faults are the reasons, one for each of a few statuses; the metrics have the
// statuses.
var faults = map[int]auth.Reason{
	fasthttp.StatusBadRequest:                  "malformed",
	fasthttp.StatusUnauthorized:                "refused",
	fasthttp.StatusForbidden:                   "refused",
	fasthttp.StatusNotFound:                    "path_unknown",
	fasthttp.StatusMethodNotAllowed:            "method",
	fasthttp.StatusRequestTimeout:              "timeout",
	fasthttp.StatusRequestEntityTooLarge:       "body_too_large",
	fasthttp.StatusUnsupportedMediaType:        "content_type",
	fasthttp.StatusUnprocessableEntity:         "fields_missing",
	fasthttp.StatusRequestHeaderFieldsTooLarge: "head_too_large",
	fasthttp.StatusInternalServerError:         "failed",
	fasthttp.StatusServiceUnavailable:          "busy",
	fasthttp.StatusHTTPVersionNotSupported:     "version",
}

// otherFault is the reason of all other statuses, and badFilter that of a poll whose
// filter cannot be read, which is answered with nothing and 200.
const (
	otherFault auth.Reason = "other"
	badFilter  auth.Reason = "filter"
)

// faultOf is the reason of a status.
func faultOf(status int) auth.Reason {
	if r, ok := faults[status]; ok {
		return r
	}
	return otherFault
}

// tellFault notes an exchange that went wrong and has no line yet.
func (s *Server) tellFault(x *exchange) {
	status := x.ctx.Response.StatusCode()
	if status < fasthttp.StatusBadRequest && x.failure == "" || x.told || x.later {
		return
	}
	if status == fasthttp.StatusNotFound && x.route.path != "" {
		return
	}
	one := &denial{reason: faultOf(status), status: status, address: x.client, who: x.machine, request: x.route.method + " " + x.route.path, why: shortly(x.failure)}
	if status < fasthttp.StatusBadRequest {
		one.reason = badFilter
	}
	if x.bouncer != nil {
		one.who = rowName(x.bouncer)
	}
	one.who = shortly(one.who)
	if x.asked == nil {
		one.agent = shortly(string(x.ctx.UserAgent()))
		if x.route.path == "" {
			one.request = shortly(string(x.ctx.Method()) + " " + string(x.ctx.Request.Header.RequestURI()))
		}
	}
	if status >= fasthttp.StatusInternalServerError {
		s.log.Debug("a request failed", "request", x, "status", status, "error", x.failure)
	}
	s.denied(one, x.now)
}

// tellUnread notes what could not be read as a request.
func (s *Server) tellUnread(address netip.Addr, status int, text string) {
	s.denied(&denial{reason: faultOf(status), status: status, address: address, why: shortly(text)}, s.engine.Now())
}
