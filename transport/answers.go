package transport

import (
	"net/http"
	"unsafe"

	"lapid/transport/conn"
	"lapid/transport/wire"
)

var (
	jsonType   = []byte("application/json; charset=utf-8")
	streamType = []byte("application/json") // of the stream alone
	headType   = []byte("text/plain; charset=utf-8")
)

// challenge goes with every refusal of the token layer.
const challenge = "JWT realm=Crowdsec API local"

// replying is how a handler answers: the forms that the contract has.
type replying struct {
	answer *conn.Answer
	out    []byte // scratch
}

// busy asks the client to come back.
func (r *replying) busy(text string) {
	r.message(http.StatusServiceUnavailable, text)
	r.answer.SetHeader("Retry-After", conn.RetryAfter)
}

// message answers with a status and a message, or with no body when there is no
// text.
func (r *replying) message(status int, text string) {
	if text == "" {
		r.empty(status)
		return
	}
	r.out = wire.AppendMessage(r.out[:0], text)
	r.json(status, r.out)
}

// coded is a message of the token layer.
func (r *replying) coded(status int, text string) {
	r.out = wire.AppendCoded(r.out[:0], status, text)
	r.json(status, r.out)
	r.answer.SetHeader("WWW-Authenticate", challenge)
}

// empty answers with a status alone. On HEAD a good one has a type all the same
// (http-api.md section 1).
func (r *replying) empty(status int) {
	r.answer.Empty(status)
}

// head answers a HEAD whose GET would be fine.
func (r *replying) head() {
	r.empty(http.StatusOK)
	r.answer.SetType(headType)
}

// json answers with a body, which is copied.
func (r *replying) json(status int, body []byte) { r.answer.Copy(status, jsonType, body) }

// shared answers with bytes that are never changed any more; they are not
// copied.
func (r *replying) shared(kind, body []byte) { r.answer.Share(kind, body) }

// answer is a handler's own refusal: a status with a message, or with no body
// when the text is empty.
type answer struct {
	status int
	text   string
}

func (a *answer) Error() string { return a.text }

var errBroken = &answer{status: http.StatusBadRequest}

// keepAtMost is how much scratch may be kept for the next request, in
// bytes and in decisions. Larger scratch is left to the collector.
const keepAtMost = 64 << 10

// keep empties scratch, or drops it.
func keep[T any](scratch []T) []T {
	var one T
	if cap(scratch)*int(unsafe.Sizeof(one)) > keepAtMost {
		return nil
	}
	return scratch[:0]
}
