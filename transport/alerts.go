package transport

import (
	"errors"
	"time"

	"github.com/valyala/fasthttp"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/wire"
)

// shortAlertList is up to how many alerts are put together before they are
// sent. Longer lists go in pieces.
const shortAlertList = 200

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
	q := &x.alertQuery
	q.Now = x.now
	if err := wire.ParseAlertQuery(q, x.rawQuery()); err != nil {
		return err
	}
	if q.Limit == 0 || q.Limit > shortAlertList {
		return s.sendAlerts(x)
	}
	w := pieceWriter{buf: x.out[:0]}
	err := s.writeAlerts(&w, q)
	x.out = w.buf
	if err == nil {
		x.json(fasthttp.StatusOK, x.out)
	}
	return err
}

// sendAlerts lists alerts in pieces. The question is parsed again from a copy,
// for the exchange is over when the answer is written.
func (s *Server) sendAlerts(x *exchange) error {
	q := &engine.AlertQuery{Now: x.now}
	if err := wire.ParseAlertQuery(q, append([]byte(nil), x.rawQuery()...)); err != nil {
		return err
	}
	s.inPieces(x, jsonType, func(w *pieceWriter) error { return s.writeAlerts(w, q) })
	return nil
}

// writeAlerts writes a list of alerts, null when it is empty.
func (s *Server) writeAlerts(w *pieceWriter, q *engine.AlertQuery) error {
	var failed error
	between := byte('[')
	err := s.engine.Alerts(s.life, s.engine.View(), q, func(a *engine.Alert, ds []engine.Decision) bool {
		w.buf = wire.AppendAlert(append(w.buf, between), a, ds, !q.WithoutDecisions, q.Now)
		between = ','
		failed = w.maybeSend()
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
	a, ds, err := s.engine.Alert(s.engine.View(), engine.AlertID(id))
	if errors.Is(err, engine.ErrNotFound) {
		return &answer{fasthttp.StatusNotFound, "object not found"}
	}
	if err != nil {
		return err
	}
	if x.ctx.IsHead() {
		x.head()
		return nil
	}
	x.out = wire.AppendAlert(x.out[:0], a, ds, true, x.now)
	x.json(fasthttp.StatusOK, x.out)
	return nil
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
	n, err := s.engine.DeleteAlerts(s.life, &x.alertQuery)
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
	err = s.engine.DeleteAlert(s.life, engine.AlertID(id), x.now)
	if errors.Is(err, engine.ErrNotFound) {
		return &answer{fasthttp.StatusInternalServerError, "ent: alert not found"} // quirkNotFound
	}
	if err == nil {
		s.tellDeletion(x, "alerts", 1)
		x.deleted(1)
	}
	return err
}
