package capi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func (f *fake) get(c *Client) error {
	var a pulled
	return c.session.ask(context.Background(), &request{method: http.MethodGet, path: c.pullPath(), read: a.readPull})
}

// A token is used until its last minute, by the next start too, and belongs to one login.
func TestTokenIsKept(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for range 2 {
		for range 2 {
			if err := f.get(f.client(nil)); err != nil {
				t.Fatal(err)
			}
		}
		f.rig.Restart()
	}
	if f.logins != 1 {
		t.Errorf("%d logins", f.logins)
	}
	f.rig.Advance(59*time.Minute + time.Second)
	c := f.client(nil)
	for range 2 {
		if err := f.get(c); err != nil {
			t.Fatal(err)
		}
	}
	if f.logins != 2 {
		t.Errorf("%d logins in the last minute", f.logins)
	}
	other := f.client(func(o *Options) { o.Credentials.Password, o.Credentials.URL = "passw0rd", f.web.URL+"/./" })
	if other.session.load(); other.session.token.Text != "" {
		t.Error("a token is used for another service")
	}
}

// A token that the service does not take is got anew, twice.
func TestTokenThatIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(nil)
	f.fails("/v3/decisions/stream", status(401), status(403))
	if err := f.get(c); err != nil || f.logins != 3 {
		t.Errorf("%v after %d logins", err, f.logins)
	}
	f.fails("/v3/decisions/stream", status(401), status(401), status(401))
	var refused *Refusal
	if err := f.get(c); !errors.As(err, &refused) || refused.Status != 401 || f.logins != 5 {
		t.Errorf("%v after %d logins", err, f.logins)
	}
}

// What is busy is asked again after the pauses of the contract.
func TestPausesWhenBusy(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.loose = true
	c := f.client(nil)
	f.fails("/v3/decisions/stream", status(503), status(429), status(504), status(503), status(503))
	if err := f.get(c); err != nil {
		t.Error(err)
	}
	if want := []time.Duration{7e9, 9e9, 11e9, 13e9, 15e9}; !slices.Equal(f.waited, want) {
		t.Errorf("waited %v", f.waited)
	}
	f.fails("/v3/decisions/stream", slices.Repeat([]http.HandlerFunc{status(503)}, 6)...)
	if err := f.get(c); err == nil || !strings.Contains(err.Error(), "answered with 503") {
		t.Error(err)
	}
	f.fails("/v3/signals", status(503))
	if err := c.session.ask(context.Background(), &request{method: http.MethodPost, path: "v3/signals", body: []int{}, once: true}); err == nil {
		t.Error("signals are asked for again")
	}
}

// A login that fails for the moment is tried five times; another at once not.
func TestLoginThatFails(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.fails("/v3/watchers/login", status(500), cut("{"), status(429), status(503))
	if err := f.get(f.client(nil)); err != nil {
		t.Error(err)
	}
	if want := []time.Duration{20e9, 40e9, 60e9, 60e9}; !slices.Equal(f.waited, want) {
		t.Errorf("waited %v", f.waited)
	}
	for name, fault := range map[string]http.HandlerFunc{
		"forbidden": status(403), "no JSON": says("<html>"), "no token": says(`{"expire":"2030-01-01T00:00:00Z"}`), "no time": says(`{"token":"t"}`),
		"a token of two lines": says(`{"expire":"2030-01-01T00:00:00Z","token":"a\r\nX: y"}`), "elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		},
		"too long": says(strings.Repeat(" ", mostAnswer+1)),
	} {
		f.rig.Advance(2 * time.Hour)
		f.waited = nil
		f.fails("/v3/watchers/login", fault)
		if err := f.get(f.client(nil)); err == nil || f.waited != nil || !strings.Contains(err.Error(), "logging in to the Central API as l0gin") || strings.Contains(err.Error(), "passw0rd") {
			t.Errorf("%s: %v after %v", name, err, f.waited)
		}
	}
}

// A pull is asked for with a token whose login told the scenarios of now.
func TestLoginTellsScenarios(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(nil)
	if err := f.get(c); err != nil {
		t.Fatal(err)
	}
	f.crew()
	f.mustPull(c)
	f.mustPull(c)
	f.rig.Restart()
	f.mustPull(f.client(nil))
	logins := f.asked("/v3/watchers/login")
	if len(logins) != 2 || !strings.Contains(string(logins[0].body), `"scenarios":[]`) || !strings.Contains(string(logins[1].body), `"scenarios":["s"]`) {
		t.Errorf("%d logins", len(logins))
	}
}
