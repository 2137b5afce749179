package transport

import (
	"time"

	"lapid/engine"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// visit is a poll as far as it is noted for the operator (engine.PollNote).
type visit struct {
	engine *engine.Engine
	row    *engine.BouncerRow
	at     int64
	came   time.Time
}

// visit is the request as one. One that was put off came when it came first.
func (x *exchange) visit() visit {
	v := visit{engine: x.core.engine, row: x.bouncer, at: x.now, came: x.request.Began}
	if !x.request.Parked.IsZero() {
		v.came = x.request.Parked
	}
	return v
}

// took is for how long it has been under way.
func (v *visit) took() time.Duration {
	if v.came.IsZero() {
		return 0
	}
	return max(time.Since(v.came), 0)
}

// left notes that the client went away before there was anything to tell it.
func (v *visit) left(at engine.Revision) {
	v.engine.NotePoll(v.row, &engine.PollNote{
		At: v.at, Took: v.took(), From: at, To: at, Placed: true, PutOff: true, Fate: engine.PollMissed,
	}, nil, nil)
}

// note remembers the poll and its answer. Where nothing had changed for a bouncer that asks
// by its cursor, that is where the answer leads to.
func (s polls) note(x *exchange, form *wire.StreamForm, a *feed.Answer, view *engine.View) engine.PollRef {
	v, from := x.visit(), x.place
	took := v.took()
	n := engine.PollNote{At: x.now, Took: took, From: view.Revision(), To: view.Revision(), Bytes: int64(len(a.Whole)), Placed: !a.Full,
		Kind: engine.PollDelta, PutOff: x.woken, TimeUp: x.woken && a.Same}
	if x.woken {
		n.At -= int64(took)
	}
	switch {
	case from.Given && from.Known:
		n.From = from.After
	case a.Moves.Row != nil:
		n.From = a.Moves.After
	}
	switch {
	case a.Full:
		n.Kind = engine.PollFull
	case a.Same && from.Given && !form.HasAfter:
		n.Kind, n.Bytes = engine.PollUnchanged, 0
	case a.Same:
		n.Kind = engine.PollNothing
	}
	if a.Body != nil {
		n.Bytes = int64(a.Body.Size())
	}
	return s.engine.NotePoll(x.bouncer, &n, form.Question, &x.query)
}
