package transport

import (
	"net/http"

	"lapid/transport/openapi"
)

// descriptions are the lines about the description of the API itself (package openapi): the same
// files as on the operators' listener.
type descriptions struct{ *core }

// lines are those of the table; none where the description is off, so that its paths are unknown.
func (s descriptions) lines() (list []tableLine) {
	access := s.options.Description
	if access == openapi.Off {
		return nil
	}
	who := anyone
	if access == openapi.Authenticated {
		who = either
	}
	for _, path := range openapi.Paths {
		for _, method := range [...]string{"GET", "HEAD"} {
			list = append(list, tableLine{route{method, path, who, &noneRead, 0, 0, "", 0}, s.get})
		}
	}
	return list
}

// get answers GET and HEAD of one of the files. What a client has is 304.
func (s descriptions) get(x *exchange) error {
	f := openapi.Of(x.route.path)
	body, tag := f.Body, f.Tag
	a := x.answer
	if x.wantsGzip() {
		body, tag = f.Gzip, f.PackedTag
	}
	if match := x.request.Match; hasTag(match, []byte(f.Tag)) || hasTag(match, []byte(f.PackedTag)) {
		x.empty(http.StatusNotModified)
	} else {
		x.shared([]byte(f.Type), body)
		if tag == f.PackedTag {
			a.SetHeader("Content-Encoding", "gzip")
		}
	}
	a.Tell(tagName, []byte(tag))
	a.Tell(varyName, varyValue)
	a.Tell(cacheName, cacheValue)
	a.SetHeader("X-Content-Type-Options", "nosniff")
	if f.Policy != "" {
		a.SetHeader("Content-Security-Policy", f.Policy)
	}
	if f.Shared && x.route.who == anyone {
		a.SetHeader("Access-Control-Allow-Origin", "*")
	}
	return nil
}
