package transport

import (
	"context"
	"errors"
	"net/http"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

var (
	jsonType   = []byte("application/json; charset=utf-8")
	streamType = []byte("application/json") // of the stream alone
	headType   = []byte("text/plain; charset=utf-8")
)

// challenge goes with every refusal of the token layer.
const challenge = "JWT realm=Crowdsec API local"

// answer is a handler's own refusal: a status with a message, or with no body
// when the text is empty.
type answer struct {
	status int
	text   string
}

func (a *answer) Error() string { return a.text }

// refuse answers an error. Every error ends here: this is the table from kinds
// to the contract's statuses and messages.
func (s *Server) refuse(x *exchange, err error) {
	err = x.worded(err)
	x.failure = err.Error()
	var own *answer
	var read *wire.Error
	var endless *feed.TooLong
	var refused *auth.Refusal
	switch {
	case errors.As(err, &own):
		x.message(own.status, own.text)
	case errors.As(err, &read):
		x.message(readStatus(read.Kind, x.route), read.Text)
	case errors.As(err, &endless):
		x.message(http.StatusInternalServerError, err.Error())
	case errors.As(err, &refused):
		s.refusal(x, refused)
	default:
		s.refuseEngine(x, err)
	}
}

// worded gives an error about a machine, bouncer, allowlist, alert or decision the
// contract's sentence and status. The rest of the server knows such errors by kind,
// noun and name alone. Any other error is returned as it is.
func (x *exchange) worded(err error) error {
	var refused *auth.Refusal
	if errors.As(err, &refused) && refused.Text == "" {
		worded := *refused
		worded.Text = x.refusedMachine(refused)
		return &worded
	}
	var e *engine.Error
	if !errors.As(err, &e) || e.Text != "" || e.Kind != engine.ErrNotFound {
		return err
	}
	const status = http.StatusInternalServerError // quirkNotFound
	switch e.Noun {
	case engine.NounAlert:
		if x.route.method == http.MethodDelete {
			return &answer{status, "ent: alert not found"}
		}
		return &answer{http.StatusNotFound, "object not found"}
	case engine.NounDecision:
		return &answer{status, "decision with id '" + e.Name + "' doesn't exist: unable to delete"}
	case engine.NounAllowlist:
		return &answer{status, "allowlist '" + e.Name + "' not found"}
	case engine.NounMachine:
		return &answer{status, "'" + e.Name + "' does not exist"}
	case engine.NounBouncer:
		return &answer{status, "ent: bouncer not found"}
	}
	return err
}

// refusedMachine is the sentence for a machine that is refused because of what is, or
// is not, stored of it.
func (x *exchange) refusedMachine(r *auth.Refusal) string {
	switch r.Reason {
	case auth.TakenMachine:
		return "user '" + r.Who + "': user already exist"
	case auth.UnvalidatedMachine:
		return "machine " + r.Who + " not validated"
	case auth.UnknownMachine:
		if x.route.path == loginPath {
			return "ent: machine not found"
		}
		return "machine " + r.Who + " does not exist"
	}
	return ""
}

// readStatus is the status for what could not be read.
func readStatus(kind wire.Kind, line *route) int {
	switch kind {
	case wire.KindMissing:
		return line.missing
	case wire.KindFilter:
		return http.StatusInternalServerError // quirkFilters
	}
	return http.StatusBadRequest
}

// refusal answers somebody whom the gate did not let in.
func (s *Server) refusal(x *exchange, r *auth.Refusal) {
	x.told = true
	if r.Kind != auth.Busy {
		s.deny(x, r)
	}
	switch r.Kind {
	case auth.Forbidden:
		x.message(http.StatusForbidden, r.Text)
	case auth.Unauthorized:
		x.message(http.StatusUnauthorized, r.Text)
	case auth.Invalid:
		x.message(http.StatusBadRequest, r.Text)
	case auth.Busy:
		s.refused(busyReason(r), x.client)
		x.busy(r.Text)
	case auth.BadToken:
		x.coded(http.StatusBadRequest, r.Text)
	default:
		x.coded(http.StatusUnauthorized, r.Text)
	}
}

// busyReason is for what there was no room.
func busyReason(r *auth.Refusal) reason {
	if r.Reason == auth.NoRoomForValidation {
		return noValidation
	}
	return noPassword
}

// refuseEngine answers an error of the engine. Handlers answer the kinds that
// their endpoint has words for themselves.
func (s *Server) refuseEngine(x *exchange, err error) {
	var e *engine.Error
	known := errors.As(err, &e)
	switch {
	case errors.Is(err, engine.ErrBusy), errors.Is(err, engine.ErrClosed), errors.Is(err, engine.ErrNotWriter), errors.Is(err, engine.ErrUnsure):
		x.busy(err.Error())
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		x.busy("no answer in time, try again later") // whoever waited did so for too long, or the server ends
	case errors.Is(err, engine.ErrExists), errors.Is(err, engine.ErrRefused):
		x.message(http.StatusForbidden, err.Error())
	case known:
		if e.Cause != nil || errors.Is(err, engine.ErrDisk) || errors.Is(err, engine.ErrProfile) {
			s.complain(x, err, e.Cause)
		}
		x.message(http.StatusInternalServerError, err.Error())
	default:
		s.complain(x, err, nil)
		x.message(http.StatusInternalServerError, "internal error")
	}
}

// complain says in the log that a request failed, ten times a second at most: on
// a full disk all of them do.
func (s *Server) complain(x *exchange, err, cause error) {
	x.told = true
	second := x.now / int64(time.Second)
	if s.complained.Swap(second) != second {
		if more := s.complaints.Swap(0) - complaintsAtMost; more > 0 {
			s.log.Error("more requests failed", "requests", more)
		}
	}
	if s.complaints.Add(1) > complaintsAtMost {
		return
	}
	if cause != nil {
		s.log.Error("a request failed", "request", x, "error", err, "cause", cause)
		return
	}
	s.log.Error("a request failed", "request", x, "error", err)
}

const complaintsAtMost = 10

// busy asks the client to come back.
func (x *exchange) busy(text string) {
	x.message(http.StatusServiceUnavailable, text)
	x.answer.SetHeader("Retry-After", conn.RetryAfter)
}

// message answers with a status and a message, or with no body when there is no
// text.
func (x *exchange) message(status int, text string) {
	if text == "" {
		x.empty(status)
		return
	}
	x.out = wire.AppendMessage(x.out[:0], text)
	x.json(status, x.out)
}

// coded is a message of the token layer.
func (x *exchange) coded(status int, text string) {
	x.out = wire.AppendCoded(x.out[:0], status, text)
	x.json(status, x.out)
	x.answer.SetHeader("WWW-Authenticate", challenge)
}

// empty answers with a status alone. On HEAD a good one has a type all the same
// (http-api.md section 1).
func (x *exchange) empty(status int) {
	x.answer.Empty(status)
}

// head answers a HEAD whose GET would be fine.
func (x *exchange) head() {
	x.empty(http.StatusOK)
	x.answer.SetType(headType)
}

// json answers with a body, which is copied.
func (x *exchange) json(status int, body []byte) { x.answer.Copy(status, jsonType, body) }

// shared answers with bytes that are never changed any more; they are not
// copied.
func (x *exchange) shared(kind, body []byte) { x.answer.Share(kind, body) }
