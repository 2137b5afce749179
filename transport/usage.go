package transport

import (
	"errors"
	"net/http"

	"lapid/engine"
	"lapid/transport/wire"
)

// usage are the lines about usage metrics.
type usage struct{ *core }

// add stores what a bouncer or machine reports about itself.
func (s usage) add(x *exchange) error {
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
	told := reportOf(u) // before the engine has it
	err = s.engine.AddUsage(x.life(), u)
	if errors.Is(err, engine.ErrInvalid) {
		return &answer{http.StatusUnprocessableEntity, wire.UsageProblem(kind, err.Error())}
	}
	if err != nil {
		return err
	}
	if kind == engine.UsageBouncer {
		s.engine.NoteReport(name, told)
	}
	x.empty(http.StatusCreated)
	return nil
}
