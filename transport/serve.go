package transport

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"lapid/transport/conn"
)

// serving is an exchange with the table that its requests are looked up in.
type serving struct {
	exchange
	routes *routes
	line   *tableLine
}

func newExchange(c *core, t *routes) *serving {
	return &serving{exchange: exchange{core: c, counters: c.counting.share()}, routes: t}
}

// Serve implements conn.Handler: it runs one line of the table.
func (x *serving) Serve(r *conn.Request, a *conn.Answer) (done bool) {
	x.line = x.routes.find(r)
	x.request, x.answer, x.route = r, a, &x.line.route
	x.identify()
	done = true // also when a handler panics
	defer func() { x.conclude(recover()) }()
	err := x.run()
	if errors.Is(err, errLater) {
		x.pending = true
		return false
	} else if err != nil {
		if r.Passed != nil && elsewhere(err) {
			r.Passed.Again = err
		}
		x.refuse(err)
	}
	return true
}

// run opens the body, admits the caller, and handles. Before a body has come that its
// sender waits to be asked for, it only looks whether the request would be refused.
func (x *serving) run() error {
	if x.route.path == "" {
		return x.unmatched()
	}
	if err := x.open(); err != nil {
		return err
	}
	if err := x.admit(); err != nil {
		return err
	}
	if x.request.Pending && x.route.body.Most != noBody {
		return x.foresee()
	}
	if x.route.who != anyone {
		x.request.Prove()
		if !x.request.Trust(x) {
			return x.noMemory()
		}
	}
	return x.line.handle(&x.exchange)
}

// foresee refuses a body whose length is beyond what is read of it, and has any other
// sent; then all is done once more.
func (x *exchange) foresee() error {
	most := int64(x.route.body.Most)
	if x.route.who != anyone {
		most = min(most, x.core.known-1)
	}
	if int64(x.request.Length) > most {
		return &answer{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes: send less at once", most)}
	}
	x.pending = true
	x.answer.Continue()
	return nil
}

// conclude ends an exchange, whatever became of it: a panic in a handler is one
// client's 500, never the server's end.
func (x *exchange) conclude(panicked any) {
	s := x.core
	if panicked != nil {
		s.log.Error("a handler failed", "panic", panicked, "method", x.route.method, "path", x.route.path, "stack", string(debug.Stack()))
		x.answer.Reset()
		x.answer.SetStatus(http.StatusInternalServerError)
		x.answer.Close()
		x.failure, x.told = "panic", true
	}
	x.request.Drain()
	if !x.pending && x.request.Passed == nil { // else it is counted where it came
		took := time.Since(x.request.Began)
		s.counting.count(x.counters, x.route, x.answer.Status(), x.bouncer, x.machine, took)
		x.tellFault()
		if s.access != nil {
			s.access.line(&x.logged, x.request, x.client, x.now, x.answer.Status(), x.failure, took)
		}
	}
	x.release()
}

// tellFault notes an exchange that went wrong and has no line yet.
func (x *exchange) tellFault() {
	status := x.answer.Status()
	if status < http.StatusBadRequest && x.failure == "" || x.told || x.pending {
		return
	}
	if status == http.StatusNotFound && x.route.path != "" {
		return
	}
	one := &denial{reason: faultOf(status), status: status, address: x.client, who: x.machine, request: x.route.method + " " + x.route.path, why: shortly(x.failure)}
	if status < http.StatusBadRequest {
		one.reason = badFilter
	}
	if x.bouncer != nil {
		one.who = rowName(x.bouncer)
	}
	one.who = shortly(one.who)
	one.agent = shortly(string(x.request.Agent))
	if x.route.path == "" {
		one.request = shortly(string(x.request.Method) + " " + string(appendTarget(nil, x.request)))
	}
	if status >= http.StatusInternalServerError {
		x.core.log.Debug("a request failed", "request", x, "status", status, "error", x.failure)
	}
	x.core.denials.add(one, x.now)
}

// admit asks the gate for whom the line is.
func (x *exchange) admit() error {
	if x.request.Passed != nil {
		return x.admitPassed(x.request.Passed.Who)
	}
	switch x.route.who {
	case bouncer, proxy:
		return x.admitBouncer()
	case machine:
		return x.admitMachine()
	case session:
		var err error
		x.machine, err = x.core.gate.Session(x.request.Authorization, x.request.Cookie)
		return err
	case either:
		return x.admitEither()
	}
	return nil
}

// admitBouncer takes a client certificate before the key, and only that if
// there is one.
func (x *exchange) admitBouncer() (err error) {
	r := x.request
	if !r.MayWait() {
		if p := x.certificate(); p != nil {
			x.bouncer = x.core.gate.KnownCertified(p, x.client, r.Agent)
		} else {
			x.bouncer = x.core.gate.KnownBouncer(r.Key, x.client, r.Agent)
		}
		if x.bouncer == nil {
			return errLater
		}
		return nil
	}
	readOnly := r.IsHead()
	if p := x.certificate(); p != nil {
		x.bouncer, err = x.core.gate.CertifiedBouncer(x.core.life, p, x.client, r.Agent, readOnly)
		return err
	}
	x.bouncer, err = x.core.gate.Bouncer(x.core.life, r.Key, x.client, r.Agent, readOnly)
	return err
}

func (x *exchange) admitMachine() (err error) {
	x.machine, err = x.core.gate.Machine(x.request.Authorization, x.request.Cookie)
	return err
}

// admitEither takes the one endpoint that bouncers and machines share: a key is
// looked at first, then a token; who shows neither is taken for a machine if it
// calls itself crowdsec, else for a bouncer (http-api.md section 15).
func (x *exchange) admitEither() error {
	r := x.request
	switch {
	case len(r.Key) > 0:
		return x.admitBouncer()
	case len(x.request.Authorization) > 0, bytes.HasPrefix(r.Agent, []byte("crowdsec/")):
		return x.admitMachine()
	}
	return x.admitBouncer()
}

// everything is what OPTIONS asks about when it asks about the server.
const everything = "*"

// unmatched answers paths that are not in the table: a slash too many is
// redirected, a known path with another method is 405, the rest 404
// (http-api.md section 1). Nobody is asked for credentials, nothing has a body.
func (x *serving) unmatched() error {
	r, a, t := x.request, x.answer, x.routes
	path := string(r.Path)
	switch {
	case r.Unreadable:
		a.Close()
		return &answer{http.StatusBadRequest, conn.TextBadHead}
	case brokenEscape(path):
		a.Close()
		return &answer{http.StatusBadRequest, "the path has a broken escape"}
	case path == everything && string(r.Method) == http.MethodOptions:
		return nil // 200 and nothing, as net/http says about the whole of a server
	}
	if n := len(path) - 1; n > 0 && path[n] == '/' && r.Has(string(r.Method), path[:n]) {
		x.redirect(path[:n])
		return nil
	}
	if err := x.open(); err != nil {
		return err
	}
	if string(r.Method) == http.MethodGet || r.IsHead() {
		lists := exports{x.core}
		if one, sum := lists.at(path); one != nil {
			return lists.serve(&x.exchange, one, sum)
		}
	}
	if allowed := t.allowed(r); allowed != "" {
		a.SetStatus(http.StatusMethodNotAllowed)
		a.SetHeader("Allow", allowed)
		return nil
	}
	a.SetStatus(http.StatusNotFound)
	return nil
}

// brokenEscape reports a percent sign without two digits behind it.
func brokenEscape(path string) bool {
	_, err := url.PathUnescape(path)
	return err != nil
}

// redirect sends the client to the path without its last slash, with the query
// it came with.
func (x *exchange) redirect(path string) {
	status := http.StatusTemporaryRedirect
	if string(x.request.Method) == http.MethodGet {
		status = http.StatusMovedPermanently
	}
	if query := x.request.Query; len(query) > 0 {
		path += "?" + string(query)
	}
	x.answer.SetStatus(status)
	x.answer.SetHeader("Location", path)
}
