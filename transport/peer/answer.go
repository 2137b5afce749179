package peer

import "net/http"

// Answer keeps what Pass writes: for callers that do not give it on as it comes. One goroutine has it at a time.
type Answer struct {
	Status int    // 0: none has come
	Body   []byte // the caller's
	head   http.Header
}

// NewAnswer is one that has not come.
func NewAnswer() *Answer { return &Answer{head: http.Header{}} }

// Header is the answer's.
func (a *Answer) Header() http.Header { return a.head }

// WriteHeader notes the status.
func (a *Answer) WriteHeader(status int) { a.Status = status }

// Write keeps all of it: answers to writes are short.
func (a *Answer) Write(b []byte) (int, error) {
	a.Body = append(a.Body, b...)
	return len(b), nil
}
