package capi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// ServiceURL is where the Central API is.
const ServiceURL = "https://api.crowdsec.net/"

// Account is what a login says of this server.
type Account struct {
	Enrolled bool   // in the console
	Plan     string // of the subscription; "" where none is told
}

// Try logs in once, keeps nothing, and asks for nothing else. o.Engine is not needed. An error
// may be a *Refusal.
func Try(ctx context.Context, o Options, scenarios []string) (Account, error) {
	if err := o.alone(); err != nil {
		return Account{}, err
	}
	if scenarios == nil {
		scenarios = []string{}
	}
	t, err := newSession(&o).newToken(ctx, scenarios)
	if err != nil {
		return Account{}, err
	}
	c, _ := claimsOf(t.Text) // what cannot be read says nothing
	return Account{Enrolled: c.enrolled(), Plan: c.Plan}, nil
}

// Register makes the login of o.Credentials known to the service. It is told to nobody
// else: who calls writes the credentials down. An error may be a *Refusal.
func Register(ctx context.Context, o Options) error {
	if err := o.alone(); err != nil {
		return err
	}
	body := struct {
		Machine  string `json:"machine_id"`
		Password string `json:"password"`
	}{o.Credentials.Login, o.Credentials.Password}
	var nothing json.RawMessage
	return newSession(&o).send(ctx, &request{method: http.MethodPost, path: "v3/watchers", body: &body, read: readJSON(&nothing)}, nil)
}

// alone completes options that have no engine.
func (o *Options) alone() error {
	if o.Now == nil {
		o.Now = time.Now
	}
	return o.complete()
}

// errNoToken is a login that says nothing.
var errNoToken = errors.New("its answer has no token, or no time at which it expires")
