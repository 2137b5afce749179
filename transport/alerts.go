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

// alerts are the lines of the table about alerts.
type alerts struct{ *core }

// add stores what a machine reports (http-api.md section 7). The answer
// says that it is durable and in force.
func (s alerts) add(x *exchange) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	alerts, err := wire.ParseAlertsInTurns(body, time.Unix(0, x.now), s.engine.Pace)
	if err != nil {
		return err
	}
	ids, err := s.engine.AddAlerts(x.life(), x.machine, alerts, x.now)
	if err != nil {
		return err
	}
	s.counting.alerts(x.machine, len(ids))
	x.out = wire.AppendIDs(x.out[:0], ids)
	x.json(http.StatusCreated, x.out)
	return nil
}

// find lists alerts (http-api.md section 9).
func (s alerts) find(x *exchange) error {
	// The question is the answer's, which may be written when the exchange is over.
	q, view := &engine.AlertQuery{Now: x.now}, s.engine.View()
	if err := wire.ParseAlertQuery(q, bytes.Clone(x.request.Query)); err != nil {
		return err
	}
	x.reading = s.feed.Part(x)
	q.Room = x.reading.Room
	return x.list(false, func(w *feed.Writer) error { return s.write(w, view, q) })
}

// write writes a list of alerts, null when it is empty.
func (s alerts) write(w *feed.Writer, view *engine.View, q *engine.AlertQuery) error {
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

// head is GET /v1/alerts without its body: only its errors count.
func (s alerts) head(x *exchange) error {
	x.alertQuery.Now = x.now
	if err := wire.ParseAlertQuery(&x.alertQuery, x.request.Query); err != nil {
		return err
	}
	x.head()
	return nil
}

var errAlertID = &answer{http.StatusBadRequest, "alert_id must be valid integer"}

// get shows one alert, or on HEAD whether there is one.
func (s alerts) get(x *exchange) error {
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
		err = x.list(false, run)
	}
	return err
}

// mayDelete guards the deletion of alerts: a token is not enough, the address
// must be trusted.
func (s alerts) mayDelete(x *exchange) error {
	if s.gate.MayDeleteAlerts(x.client, x.request.Socket) {
		return nil
	}
	x.deny(&auth.Refusal{Reason: auth.DeletionFromStranger, Who: x.machine})
	return &answer{http.StatusForbidden, "access forbidden from this IP (" + x.client.String() + ")"}
}

// deleteMany deletes what the query string describes, with its decisions.
func (s alerts) deleteMany(x *exchange) error {
	if err := s.mayDelete(x); err != nil {
		return err
	}
	x.alertQuery.Now = x.now
	if err := wire.ParseAlertDeletion(&x.alertQuery, x.request.Query); err != nil {
		return err
	}
	n, err := s.engine.DeleteAlerts(x.asMachine(), &x.alertQuery)
	if err != nil {
		return err
	}
	x.tellDeletion("alerts", n)
	x.deleted(n)
	return nil
}

// deleteOne deletes one alert with its decisions.
func (s alerts) deleteOne(x *exchange) error {
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
	err = s.engine.DeleteAlert(x.asMachine(), engine.AlertID(id), x.now)
	if err == nil {
		x.tellDeletion("alerts", 1)
		x.deleted(1)
	}
	return err
}
