package transport

import (
	"net/http"
	"net/netip"

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
	http.StatusBadRequest:                  "malformed",
	http.StatusUnauthorized:                "refused",
	http.StatusForbidden:                   "refused",
	http.StatusNotFound:                    "path_unknown",
	http.StatusMethodNotAllowed:            "method",
	http.StatusRequestTimeout:              "timeout",
	http.StatusRequestEntityTooLarge:       "body_too_large",
	http.StatusUnsupportedMediaType:        "content_type",
	http.StatusUnprocessableEntity:         "fields_missing",
	http.StatusRequestHeaderFieldsTooLarge: "head_too_large",
	http.StatusInternalServerError:         "failed",
	http.StatusServiceUnavailable:          "busy",
	http.StatusHTTPVersionNotSupported:     "version",
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

// unread is what could not be read as a request.
func unread(address netip.Addr, status int, text string) *denial {
	return &denial{reason: faultOf(status), status: status, address: address, why: shortly(text)}
}
