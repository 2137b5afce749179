package transport

import (
	"context"
	"errors"
	"net/http"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// refuse answers an error. Every error ends here: this is the table from kinds
// to the contract's statuses and messages.
func (x *exchange) refuse(err error) {
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
		x.refusal(refused)
	default:
		x.refuseEngine(err)
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
func (x *exchange) refusal(r *auth.Refusal) {
	x.told = true
	if r.Kind != auth.Busy {
		x.deny(r)
	}
	switch r.Kind {
	case auth.Forbidden:
		x.message(http.StatusForbidden, r.Text)
	case auth.Unauthorized:
		x.message(http.StatusUnauthorized, r.Text)
	case auth.Invalid:
		x.message(http.StatusBadRequest, r.Text)
	case auth.Busy:
		x.core.refusals.add(busyReason(r), x.client)
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
func (x *exchange) refuseEngine(err error) {
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
			x.complain(err, e.Cause)
		}
		x.message(http.StatusInternalServerError, err.Error())
	default:
		x.complain(err, nil)
		x.message(http.StatusInternalServerError, "internal error")
	}
}

// deny notes a request that was not let in.
func (x *exchange) deny(r *auth.Refusal) {
	why := r.Why
	if why == "" && r.Reason != auth.NoKey && r.Reason != auth.UnknownKey { // whose text says nothing
		why = r.Text
	}
	x.core.denied(x.now, r.Reason, x.client, shortly(r.Who))
	x.core.denials.add(&denial{
		reason: r.Reason, address: x.client, who: shortly(r.Who), why: shortly(why),
		request: x.route.method + " " + x.route.path, agent: shortly(string(x.request.Agent)),
	}, x.now)
}

// complain says in the log that the request failed.
func (x *exchange) complain(err, cause error) {
	x.told = true
	x.core.complaints.add(x, x.now/int64(time.Second), err, cause)
}

func (x *exchange) deleted(n int) {
	x.out = wire.AppendDeleted(x.out[:0], n)
	x.json(http.StatusOK, x.out)
}
