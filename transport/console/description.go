package console

import (
	"net/http"
	"slices"
	"strings"

	"lapid/transport/openapi"
)

// described are the routes of the description of the API (package openapi), the same files as on the
// Local API's listener; none where it is off.
func (s *Server) described() (list []route) {
	access := s.options.Description
	if access == openapi.Off {
		return nil
	}
	role := anybody
	if access == openapi.Authenticated {
		role = viewer
	}
	for _, path := range openapi.Paths {
		list = append(list, route{method: http.MethodGet, path: path, role: role, answer: (*Server).description})
	}
	return list
}

// description answers GET and HEAD of one of the files. What a client has is 304.
func (s *Server) description(q *request) error {
	f := openapi.Of(strings.TrimPrefix(q.URL.Path, s.options.BasePath))
	h := q.w.Header()
	body, tag := f.Body, f.Tag
	if packs(q.Header.Values("Accept-Encoding")) {
		body, tag = f.Gzip, f.PackedTag
	}
	h.Set("ETag", tag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if f.Policy != "" {
		h.Set("Content-Security-Policy", f.Policy)
	}
	if f.Shared && s.options.Description != openapi.Authenticated {
		h.Set("Access-Control-Allow-Origin", "*")
	}
	for one := range strings.SplitSeq(strings.Join(q.Header.Values("If-None-Match"), ","), ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == f.Tag || one == f.PackedTag || one == "*" {
			q.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	h.Set("Content-Type", f.Type)
	if tag == f.PackedTag {
		h.Set("Content-Encoding", "gzip")
	}
	_, _ = q.w.Write(body) // it fails when the client has gone away
	return nil
}

// packs reports whether gzip is among the codings that a client takes, and not with a weight of
// nothing.
func packs(lines []string) bool {
	return slices.ContainsFunc(strings.Split(strings.Join(lines, ","), ","), func(one string) bool {
		name, weight, _ := strings.Cut(one, ";")
		_, q, weighed := strings.Cut(weight, "q=")
		return strings.EqualFold(strings.TrimSpace(name), "gzip") && (!weighed || strings.Trim(q, "0. ") != "")
	})
}
