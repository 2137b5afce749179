package transport

import (
	"bytes"
	"errors"
	"net/http"

	"lapid/engine"
	"lapid/transport/wire"
)

// admitEither takes the one endpoint that bouncers and machines share: a key is
// looked at first, then a token; who shows neither is taken for a machine if it
// calls itself crowdsec, else for a bouncer (http-api.md section 15).
func (s *Server) admitEither(x *exchange) error {
	r := x.request
	switch {
	case len(r.Key) > 0:
		return s.admitBouncer(x)
	case len(x.request.Authorization) > 0, bytes.HasPrefix(r.Agent, []byte("crowdsec/")):
		return s.admitMachine(x)
	}
	return s.admitBouncer(x)
}

// usage stores what a bouncer or machine reports about itself.
func (s *Server) usage(x *exchange) error {
	body, err := x.body()
	if err != nil {
		return err
	}
	kind, name := engine.UsageMachine, x.machine
	if x.bouncer != nil {
		kind, name = engine.UsageBouncer, x.bouncer.Load().Name
	}
	u, err := wire.ParseUsage(body, kind)
	if err != nil {
		return err
	}
	u.Kind, u.Name, u.ReceivedAt = kind, name, x.now
	err = s.engine.AddUsage(s.life, u)
	if errors.Is(err, engine.ErrInvalid) {
		return &answer{http.StatusUnprocessableEntity, wire.UsageProblem(kind, err.Error())}
	}
	if err != nil {
		return err
	}
	x.empty(http.StatusCreated)
	return nil
}
