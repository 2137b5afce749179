package transport

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/peer"
	"lapid/transport/wire"
)

// Beside other servers that share the history (Options.Peers) one writes, and each takes any
// request. What writes is looked at here as far as it says who asks, and then, if another server
// writes, passed on to it, whole, under an id; it is answered by its handler there, and the answer
// goes to the client as it is. The writer may change meanwhile, to this server or from it: a
// request is done once, wherever (engine.ForRequest).

// writes makes the handler of a line that writes out of one that does so here. before, which may
// be nil, refuses what need not be passed on for that.
func (c *core) writes(do, before handler) handler {
	if c.options.Peers == nil {
		return do
	}
	w := &writing{c, do, before}
	return w.handle
}

type writing struct {
	*core
	do, before handler
}

// roundsAtMost is how often a request may come back to this server: each time another one wrote
// when it got there.
const roundsAtMost = 16

func (w *writing) handle(x *exchange) error {
	if x.request.Passed != nil {
		return w.do(x) // nothing is passed on twice
	}
	id, err := w.engine.NewRequest()
	if err != nil {
		return err
	}
	x.asked = engine.ForRequest(w.life, id)
	if w.before != nil && !w.engine.Writes() {
		if err := w.before(x); err != nil {
			return err
		}
	}
	for round := 0; ; round++ {
		if w.engine.Writes() {
			if err := w.do(x); !elsewhere(err) || round == roundsAtMost {
				return err
			}
			x.asked = engine.ForRequest(w.life, id)
		}
		if err := w.pass(x, id); !errors.Is(err, peer.ErrHere) || round == roundsAtMost {
			return err
		}
	}
}

// elsewhere reports whether another server is to be asked, or this one once it has heard more.
func elsewhere(err error) bool {
	return errors.Is(err, engine.ErrNotWriter) || errors.Is(err, engine.ErrUnsure)
}

// pass has the writer answer.
func (w *writing) pass(x *exchange, id engine.RequestID) error {
	r := x.request
	p := &peer.Request{
		Kind: peer.API, ID: id, Method: string(r.Method), Target: string(r.Target),
		Client: x.client, Socket: r.Socket, Who: x.who(), Agent: string(r.Agent),
	}
	if x.route.body.Most != noBody {
		var err error
		if p.Body, err = x.body(); err != nil {
			return err
		}
	}
	got := peer.NewAnswer()
	if err := w.options.Peers.Pass(w.life, p, got); err != nil {
		return w.notPassed(x, err)
	}
	x.passBack(got)
	return nil
}

// notPassed is the answer to what no writer has taken. The pause is longer than usual: it was held
// for some seconds already.
func (w *writing) notPassed(x *exchange, err error) error {
	switch {
	case errors.Is(err, peer.ErrHere), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, peer.ErrTooLarge):
		return wire.ErrTooLarge
	}
	x.failure = err.Error()
	x.message(http.StatusServiceUnavailable, err.Error())
	x.answer.SetHeader("Retry-After", noWriterAfter)
	return nil
}

// noWriterAfter is the pause, in seconds, that is asked of those whose write found no writer.
const noWriterAfter = "5"

// confirmWithin bounds how long a log processor waits for what happened at other servers.
const confirmWithin = time.Second

// confirmed makes the handler of a line that reads out of one that reads here: what was answered anywhere before the request
// came is in what it reads, also at a server that writes no more and does not know it yet. A server that is cut off answers
// with what it has.
func (c *core) confirmed(do handler) handler {
	if c.options.Confirm == nil {
		return do
	}
	return func(x *exchange) error {
		ctx, cancel := context.WithTimeout(c.life, confirmWithin)
		defer cancel()
		_ = c.options.Confirm(ctx)
		return do(x)
	}
}

// who is whom the caller has shown to be, as admitPassed reads it.
func (x *exchange) who() string {
	switch {
	case x.machine != "":
		return "m" + x.machine
	case x.bouncer != nil:
		return "b" + x.bouncer.Load().Name
	}
	return ""
}

// admitPassed takes another server's word for who asks, and looks whether it is so still.
func (x *exchange) admitPassed(who string) error {
	kind, name := byte(0), ""
	if who != "" {
		kind, name = who[0], who[1:]
	}
	switch {
	case x.route.who == anyone:
		return nil
	case x.route.who == session && kind == 'm':
		x.machine = name
		return nil
	case (x.route.who == machine || x.route.who == either) && kind == 'm':
		x.machine = name
		return x.core.gate.MachineStands(name)
	case x.route.who == either && kind == 'b':
		if x.bouncer = x.core.engine.View().Bouncer(name); x.bouncer == nil {
			return &auth.Refusal{Kind: auth.Forbidden, Reason: auth.UnknownKey, Text: "access forbidden", Who: name}
		}
		return nil
	}
	return fmt.Errorf("another server passed on a request for %s %s that it may not", x.route.method, x.route.path)
}

// ServePassed answers a request of the Local API that another server passes on. It implements
// peer.Handler.
func (s *Server) ServePassed(ctx context.Context, r *peer.Request, w http.ResponseWriter) error {
	p := &conn.Passed{Life: ctx, Method: r.Method, Target: r.Target, Agent: r.Agent, Client: r.Client, Socket: r.Socket, Who: r.Who, Body: r.Body}
	a := s.front.ServePassed(p)
	if p.Again != nil {
		return p.Again
	}
	for name, value := range a.Lines {
		w.Header().Add(name, value)
	}
	w.WriteHeader(a.Status())
	_, err := w.Write(a.Body())
	return err
}

// passBack answers as the writer did.
func (x *exchange) passBack(a *peer.Answer) {
	if len(a.Body) > 0 {
		x.answer.Copy(a.Status, []byte(a.Header().Get("Content-Type")), a.Body)
	} else {
		x.empty(a.Status)
	}
	for name, values := range a.Header() {
		for _, value := range values {
			x.answer.SetHeader(name, value)
		}
	}
}
