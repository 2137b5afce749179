package transport

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/budget"
	"lapid/transport/wire"
)

// addAlerts stores what a machine reports (http-api.md section 7). The answer
// says that it is durable and in force.
func (s *Server) addAlerts(x *exchange) error {
	body, err := x.body(s)
	if err != nil {
		return err
	}
	alerts, err := wire.ParseAlerts(body, time.Unix(0, x.now))
	if err != nil {
		return err
	}
	ids, err := s.engine.AddAlerts(s.life, x.machine, alerts, x.now)
	if err != nil {
		return err
	}
	x.out = wire.AppendIDs(x.out[:0], ids)
	x.json(fasthttp.StatusCreated, x.out)
	return nil
}

// findAlerts lists alerts (http-api.md section 9).
func (s *Server) findAlerts(x *exchange) error {
	// The question is the answer's, which may be written when the exchange is over.
	q, view := &engine.AlertQuery{Now: x.now}, s.engine.View()
	if err := wire.ParseAlertQuery(q, bytes.Clone(x.rawQuery())); err != nil {
		return err
	}
	x.reading = &reading{server: s, reader: x.reader(s)}
	q.Room = x.reading.room
	return s.list(x, false, func(w *pieceWriter) error { return s.writeAlerts(w, view, q) })
}

// writeAlerts writes a list of alerts, null when it is empty.
func (s *Server) writeAlerts(w *pieceWriter, view *engine.View, q *engine.AlertQuery) error {
	var failed error
	between := byte('[')
	err := s.engine.Alerts(s.life, view, q, func(a *engine.Alert, ds []engine.Decision) bool {
		w.buf, failed = wire.WriteAlert(append(w.buf, between), a, ds, !q.WithoutDecisions, q.Now, w.flushed)
		between = ','
		if failed == nil {
			failed = w.maybeSend()
		}
		return failed == nil
	})
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case between == '[':
		w.buf = append(w.buf, null...)
	default:
		w.buf = append(w.buf, ']')
	}
	return nil
}

// headAlerts is GET /v1/alerts without its body: only its errors count.
func (s *Server) headAlerts(x *exchange) error {
	x.alertQuery.Now = x.now
	if err := wire.ParseAlertQuery(&x.alertQuery, x.rawQuery()); err != nil {
		return err
	}
	x.head()
	return nil
}

var errAlertID = &answer{fasthttp.StatusBadRequest, "alert_id must be valid integer"}

// getAlert shows one alert, or on HEAD whether there is one.
func (s *Server) getAlert(x *exchange) error {
	text, err := x.param()
	if err != nil {
		return err
	}
	id, ok := parseID(text)
	if !ok {
		return errAlertID
	}
	view, now, isHead := s.engine.View(), x.now, x.ctx.IsHead()
	x.reading = &reading{server: s, reader: x.reader(s)}
	room := x.reading.room
	run := func(w *pieceWriter) error {
		a, ds, err := s.engine.AlertWithin(view, engine.AlertID(id), room)
		if err == nil && !isHead {
			w.buf, err = wire.WriteAlert(w.buf, a, ds, true, now, w.flushed)
		}
		return err
	}
	if isHead {
		if err = run(&pieceWriter{}); err == nil {
			x.head()
		}
	} else {
		err = s.list(x, false, run)
	}
	return err
}

// reading is what an alert takes while it is read and written. It is kept from the
// handler, which reads the first one, until the answer is written.
type reading struct {
	server *Server
	reader reader
	held   budget.Hold
}

// room makes what was taken for the alert before what this one takes.
func (r *reading) room(n int64) bool {
	if n = min(n, r.server.answers.Most()); n <= r.held.Taken() {
		r.held.Shrink(n)
		return true
	}
	r.held.Release()
	var err error
	r.held, err = r.server.aside(r.reader, n)
	return err == nil
}

func (r *reading) release() {
	if r != nil {
		r.held.Release()
	}
}

// mayDelete guards the deletion of alerts: a token is not enough, the address
// must be trusted.
func (s *Server) mayDelete(x *exchange) error {
	if s.gate.MayDeleteAlerts(x.client, x.socket) {
		return nil
	}
	s.deny(x, &auth.Refusal{Reason: auth.DeletionFromStranger, Who: x.machine})
	return &answer{fasthttp.StatusForbidden, "access forbidden from this IP (" + x.client.String() + ")"}
}

// deleteAlerts deletes what the query string describes, with its decisions.
func (s *Server) deleteAlerts(x *exchange) error {
	if err := s.mayDelete(x); err != nil {
		return err
	}
	x.alertQuery.Now = x.now
	if err := wire.ParseAlertDeletion(&x.alertQuery, x.rawQuery()); err != nil {
		return err
	}
	n, err := s.engine.DeleteAlerts(s.asMachine(x), &x.alertQuery)
	if err != nil {
		return err
	}
	s.tellDeletion(x, "alerts", n)
	x.deleted(n)
	return nil
}

// deleteAlert deletes one alert with its decisions.
func (s *Server) deleteAlert(x *exchange) error {
	if err := s.mayDelete(x); err != nil {
		return err
	}
	text, err := x.param()
	if err != nil {
		return err
	}
	id, ok := parseID(text)
	if !ok {
		return errAlertID
	}
	err = s.engine.DeleteAlert(s.asMachine(x), engine.AlertID(id), x.now)
	if err == nil {
		s.tellDeletion(x, "alerts", 1)
		x.deleted(1)
	}
	return err
}
