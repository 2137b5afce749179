package transport

import (
	"bytes"
	"net/http"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// addAlerts stores what a machine reports (http-api.md section 7). The answer
// says that it is durable and in force.
func (s *Server) addAlerts(x *exchange) error {
	body, err := x.body()
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
	x.json(http.StatusCreated, x.out)
	return nil
}

// findAlerts lists alerts (http-api.md section 9).
func (s *Server) findAlerts(x *exchange) error {
	// The question is the answer's, which may be written when the exchange is over.
	q, view := &engine.AlertQuery{Now: x.now}, s.engine.View()
	if err := wire.ParseAlertQuery(q, bytes.Clone(x.request.Query)); err != nil {
		return err
	}
	x.reading = s.feed.Part(x)
	q.Room = x.reading.Room
	return s.list(x, false, func(w *feed.Writer) error { return s.writeAlerts(w, view, q) })
}

// writeAlerts writes a list of alerts, null when it is empty.
func (s *Server) writeAlerts(w *feed.Writer, view *engine.View, q *engine.AlertQuery) error {
	var failed error
	between := byte('[')
	err := s.engine.Alerts(s.life, view, q, func(a *engine.Alert, ds []engine.Decision) bool {
		w.Buf, failed = wire.WriteAlert(append(w.Buf, between), a, ds, !q.WithoutDecisions, q.Now, w.Flushed)
		between = ','
		if failed == nil {
			failed = w.MaybeSend()
		}
		return failed == nil
	})
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case between == '[':
		w.Buf = append(w.Buf, nullAnswer...)
	default:
		w.Buf = append(w.Buf, ']')
	}
	return nil
}

// headAlerts is GET /v1/alerts without its body: only its errors count.
func (s *Server) headAlerts(x *exchange) error {
	x.alertQuery.Now = x.now
	if err := wire.ParseAlertQuery(&x.alertQuery, x.request.Query); err != nil {
		return err
	}
	x.head()
	return nil
}

var errAlertID = &answer{http.StatusBadRequest, "alert_id must be valid integer"}

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
	view, now, isHead := s.engine.View(), x.now, x.request.IsHead()
	x.reading = s.feed.Part(x)
	room := x.reading.Room
	run := func(w *feed.Writer) error {
		a, ds, err := s.engine.AlertWithin(view, engine.AlertID(id), room)
		if err == nil && !isHead {
			w.Buf, err = wire.WriteAlert(w.Buf, a, ds, true, now, w.Flushed)
		}
		return err
	}
	if isHead {
		if err = run(&feed.Writer{}); err == nil {
			x.head()
		}
	} else {
		err = s.list(x, false, run)
	}
	return err
}

// mayDelete guards the deletion of alerts: a token is not enough, the address
// must be trusted.
func (s *Server) mayDelete(x *exchange) error {
	if s.gate.MayDeleteAlerts(x.client, x.request.Socket) {
		return nil
	}
	s.deny(x, &auth.Refusal{Reason: auth.DeletionFromStranger, Who: x.machine})
	return &answer{http.StatusForbidden, "access forbidden from this IP (" + x.client.String() + ")"}
}

// deleteAlerts deletes what the query string describes, with its decisions.
func (s *Server) deleteAlerts(x *exchange) error {
	if err := s.mayDelete(x); err != nil {
		return err
	}
	x.alertQuery.Now = x.now
	if err := wire.ParseAlertDeletion(&x.alertQuery, x.request.Query); err != nil {
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
