package capi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Enrolment is how a server asks to be taken into a person's console.
type Enrolment struct {
	Key       string // what the console shows; "" with Quick
	Name      string // of the server, in the console
	Tags      []string
	Overwrite bool // also one that is enrolled already
	Quick     bool // without a key: the answer says where a person accepts it
}

// Enrolled is what the service answered.
type Enrolled struct {
	Already bool      // it was enrolled before
	URL     string    // with Quick: where it is accepted
	Expires time.Time // … until then; zero where that was not told
}

// Enroll logs in once, keeps nothing, and asks for the enrolment. o.Engine is not needed. An
// error may be a *Refusal.
func Enroll(ctx context.Context, o Options, e *Enrolment) (Enrolled, error) {
	if err := o.alone(); err != nil {
		return Enrolled{}, err
	}
	s := newSession(&o)
	t, err := s.newToken(ctx, []string{})
	if err != nil {
		return Enrolled{}, err
	}
	body := struct {
		Key       string   `json:"attachment_key,omitempty"`
		Name      string   `json:"name"`
		Tags      []string `json:"tags"`
		Overwrite bool     `json:"overwrite,omitempty"`
		Auto      bool     `json:"autoenroll"`
	}{e.Key, e.Name, append([]string{}, e.Tags...), e.Overwrite, e.Quick}
	var answer struct {
		URL     string `json:"url"`
		Expires int64  `json:"expire_at"` // Unix milliseconds
	}
	var status int
	r := &request{method: http.MethodPost, path: "v3/watchers/enroll", body: &body, read: readJSON(&answer), status: &status}
	if err := s.send(ctx, r, &t.Text); err != nil {
		return Enrolled{}, err
	}
	done := Enrolled{Already: status == http.StatusOK}
	if !e.Quick || done.Already {
		return done, nil
	}
	u, err := url.Parse(answer.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.ContainsFunc(answer.URL, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return Enrolled{}, errors.New("its answer does not say at which address this server is accepted")
	}
	if done.URL = answer.URL; answer.Expires > 0 {
		done.Expires = time.UnixMilli(answer.Expires)
	}
	return done, nil
}
