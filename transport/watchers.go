package transport

import (
	"errors"
	"net/http"

	"lapid/transport/auth"
	"lapid/transport/visible"
	"lapid/transport/wire"
)

// accounts are the lines about machines, their logins and tokens.
type accounts struct{ *core }

// register makes a machine known (http-api.md section 6). Who may not is told
// before the body is read.
func (s accounts) register(x *exchange) error {
	r, err := s.application(x)
	if err != nil {
		return err
	}
	defer x.request.AtDesk()()
	validated, err := s.gate.Register(x.life(), *r, x.client)
	if err != nil {
		return err
	}
	s.log.Info("a machine has registered", "machine", visible.Short(r.MachineID), "address", x.client, "validated", validated)
	if validated {
		x.empty(http.StatusAccepted)
	} else {
		x.empty(http.StatusCreated)
	}
	return nil
}

// application reads what a machine that registers says.
func (s accounts) application(x *exchange) (*auth.Application, error) {
	if err := s.gate.MayRegister(x.client, x.request.Socket); err != nil {
		return nil, err
	}
	body, err := x.body()
	if err != nil {
		return nil, err
	}
	r, err := wire.ParseRegistration(body)
	if err != nil {
		return nil, err
	}
	return &auth.Application{MachineID: r.MachineID, Password: r.Password, Token: r.Token}, nil
}

// mayRegister refuses what would be refused wherever it comes.
func (s accounts) mayRegister(x *exchange) error {
	r, err := s.application(x)
	if err != nil {
		return err
	}
	_, err = s.gate.MayApply(x.life(), r, x.client)
	return err
}

// login gives a machine a token, for its password or, if it shows one, for its
// certificate. Whatever is wrong with a login is 401.
func (s accounts) login(x *exchange) error {
	if certificate := x.certificate(); certificate != nil {
		err := s.certifiedLogin(x, certificate)
		s.logins.certificate.count(err)
		return err
	}
	err := s.passwordLogin(x)
	s.logins.password.count(err)
	return err
}

func (s accounts) passwordLogin(x *exchange) error {
	body, err := x.body()
	var l wire.Login
	if err == nil {
		l, err = wire.ParseLogin(body)
	}
	if err != nil {
		return loginProblem(err, "missing: ")
	}
	defer x.request.AtDesk()()
	grant, err := s.gate.Login(s.life, auth.Credentials{MachineID: l.MachineID, Password: l.Password, Scenarios: l.Scenarios}, x.client, x.request.Agent)
	if err != nil {
		return err
	}
	x.token(grant)
	return nil
}

// certifiedLogin looks at the certificate before the body, of which it wants
// nothing but the scenarios.
func (s accounts) certifiedLogin(x *exchange, certificate *auth.Peer) error {
	if err := s.gate.MayLogin(certificate, x.client); err != nil {
		return err
	}
	body, err := x.body()
	var scenarios []string
	if err == nil {
		scenarios, err = wire.ParseScenarios(body)
	}
	if err != nil {
		return loginProblem(err, "missing scenarios list in login request for TLS auth: ")
	}
	ctx, cancel := s.patience()
	defer cancel()
	grant, err := s.gate.CertifiedLogin(ctx, certificate, scenarios, x.client, x.request.Agent)
	if err != nil {
		return err
	}
	x.token(grant)
	return nil
}

// loginProblem words what is wrong with the body of a login.
func loginProblem(err error, unreadable string) error {
	var read *wire.Error
	if !errors.As(err, &read) {
		return err
	}
	text := read.Text
	if read.Kind != wire.KindMissing {
		text = unreadable + text
	}
	return &auth.Refusal{Kind: auth.NotLoggedIn, Reason: auth.BadLogin, Text: text}
}

func (x *exchange) token(g auth.Grant) {
	x.request.Prove()
	x.out = wire.AppendToken(x.out[:0], g.Expires, g.Token)
	x.json(http.StatusOK, x.out)
}

// refresh exchanges a token.
func (s accounts) refresh(x *exchange) error {
	grant, err := s.gate.Refresh(x.request.Authorization, x.request.Cookie)
	if err != nil {
		return err
	}
	x.token(grant)
	return nil
}

// heartbeat notes that a machine lives.
func (s accounts) heartbeat(x *exchange) error {
	s.engine.Heartbeat(x.machine, x.now)
	x.empty(http.StatusOK)
	return nil
}

// unregister removes the machine that asks for it.
func (s accounts) unregister(x *exchange) error {
	err := s.engine.DeleteMachine(x.life(), x.machine)
	if err == nil {
		s.log.Info("a machine has removed itself", "machine", x.machine, "address", x.client)
	}
	if err == nil {
		x.empty(http.StatusNoContent)
	}
	return err
}
