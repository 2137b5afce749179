package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"lapid/engine"
	"lapid/transport/console/site"
)

// problem is a failure as clients get it (RFC 9457).
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

// fault is an error with the status that it is answered with.
type fault struct {
	status int
	detail string
}

func (f *fault) Error() string { return f.detail }

// bad is a fault of the request.
func bad(detail string) error { return &fault{http.StatusBadRequest, detail} }

// refuse answers with a failure: a page where a page was asked for, else a problem.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, detail := statusOf(err)
	if v := viewOf(r); v != nil {
		v.failure(w, r, status, detail)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{"about:blank", http.StatusText(status), status, detail, h.Get(requestID)})
}

// statusOf is what a failure of the engine is over HTTP, with its sentence.
func statusOf(err error) (int, string) {
	var f *fault
	if errors.As(err, &f) {
		return f.status, f.detail
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than the %s that may be sent here", site.Bytes(large.Limit))
	}
	for _, k := range []struct {
		kind   error
		status int
	}{
		{engine.ErrForgotten, http.StatusGone}, {engine.ErrInvalid, http.StatusBadRequest}, {engine.ErrNotFound, http.StatusNotFound}, {engine.ErrExists, http.StatusConflict},
		{engine.ErrRefused, http.StatusConflict}, {engine.ErrBusy, http.StatusServiceUnavailable}, {engine.ErrDisk, http.StatusInsufficientStorage},
		{engine.ErrClosed, http.StatusServiceUnavailable}, {engine.ErrNotWriter, http.StatusServiceUnavailable}, {engine.ErrUnsure, http.StatusServiceUnavailable},
	} {
		if errors.Is(err, k.kind) {
			return k.status, err.Error()
		}
	}
	return http.StatusInternalServerError, err.Error()
}
