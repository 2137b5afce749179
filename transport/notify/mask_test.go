package notify

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lapid/transport/notify/mailtest"
)

// Whatever a receiver echoes of a secret, as it was, escaped or in base64, whole or as a
// part of something longer, is in no error.
func TestReceiversKeepSecrets(t *testing.T) {
	t.Parallel()
	const token, password = "s3cr=t/t0k<n", "hunter2+2"
	basic := base64.StdEncoding.EncodeToString([]byte("ops:" + password))
	var echo func(r *http.Request) string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "no: "+echo(r))
	}))
	t.Cleanup(s.Close)
	webhook := &HTTP{URL: s.URL + "/services/T0PSECRET/B0?k=queryword", Headers: map[string]string{"X-Api-Key": token, "Authorization": "Basic " + basic, "Content-Type": "text/plain"}}
	chat := &Slack{Webhook: s.URL + "/services/T0PSECRET/B0?k=queryword"}
	for name, what := range map[string]func(r *http.Request) string{
		"headers":  func(r *http.Request) string { return r.Header.Get("X-Api-Key") + " " + r.Header.Get("Authorization") },
		"decoded":  func(*http.Request) string { return password },
		"address":  func(r *http.Request) string { return r.URL.String() + " T0PSECRET queryword" },
		"base64":   func(*http.Request) string { return base64.StdEncoding.EncodeToString([]byte(token)) },
		"within":   func(*http.Request) string { return base64.StdEncoding.EncodeToString([]byte("x:" + token + ":yz")) },
		"cut":      func(*http.Request) string { return strings.Repeat("x", 190) + token },
		"json":     func(*http.Request) string { return `{"key":"s3cr=t/t0k\u003cn"}` },
		"for html": func(*http.Request) string { return "s3cr=t/t0k&lt;n" },
	} {
		echo = what
		for _, c := range []*Configuration{{HTTP: webhook}, {Slack: chat}} {
			if c.Slack != nil && name != "address" {
				continue
			}
			c.Name = "n"
			err := Try(t.Context(), c, TestAlert())
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, secret := range []string{token, password, basic, "T0PSECRET", "queryword", "s3cr=t", "t0k", base64.StdEncoding.EncodeToString([]byte(token)), base64.StdEncoding.EncodeToString([]byte("x:" + token))[4:16]} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: %q in %v", name, secret, err)
				}
			}
		}
	}
}

// A mail server that repeats a login does not bring the password into log, errors or
// troubles.
func TestMailServersKeepSecrets(t *testing.T) {
	t.Parallel()
	const password = "hunter2secret"
	for _, kind := range []string{"plain", "login"} {
		s := mailtest.NewOpen(t)
		plain := base64.StdEncoding.EncodeToString([]byte("\x00ops\x00" + password))
		login := base64.StdEncoding.EncodeToString([]byte(password))
		s.Say("AUTH", "535 cannot log in with "+plain+", "+login+" or "+password)
		o := newOffice(t, "ops")
		n := o.open(&Configuration{Name: "ops", Type: "email", Format: valuesOnly, MaxRetry: 1, Email: &Email{Host: "127.0.0.1", Port: s.Port(), Username: "ops", Password: password,
			Auth: kind, Encryption: "none", Receivers: []string{"a@example.org"}}})
		o.reports(1)
		await(t, "it is told", func() bool { return n.Trouble() != nil })
		for _, text := range []string{n.Trouble().Text, o.log.String()} {
			if strings.Contains(text, plain) || strings.Contains(text, login) || strings.Contains(text, password) || !strings.Contains(text, hiddenWord) {
				t.Errorf("%s", text)
			}
		}
		o.stop()
	}
}

// The server's own secrets are not in the environment of a program; all else is. What it
// writes of the document's is hidden, also in base64 and where a line is cut.
func TestProgramsAndSecrets(t *testing.T) {
	t.Parallel()
	c := &Program{Withheld: []string{"dbsecret"}}
	got := strings.Join(c.environment([]string{"CS_LAPI_SECRET=a", "LAPID_PASSWORD=b", "LAPID_BOUNCER_KEYS=c", "DB_WORD=dbsecret", "HOME=/root", "OPS_TOKEN=x", "BOUNCER_KEY_x=d", "my_bouncer_key_y=e", "AGENT_PASSWORD=f", "AGENT_PASSWORD_2=g", "ENROLL_KEY=h", "REGISTRATION_TOKEN=i"}), " ")
	if got != "HOME=/root OPS_TOKEN=x" {
		t.Errorf("%s", got)
	}
	token := strings.Repeat("t0psecret", 3)
	p := tryProgram(t, script(t, "echo 'with "+base64.StdEncoding.EncodeToString([]byte("a:"+token))+"' >&2; echo '"+strings.Repeat("x", longestLine-9)+token+"' >&2; exit 3"))
	p.c.Secrets = []string{token}
	err := p.send("x")
	if err == nil || strings.Contains(p.log.String()+err.Error(), "t0p") || strings.Contains(p.log.String(), base64.StdEncoding.EncodeToString([]byte("a:" + token))[4:12]) || !strings.Contains(p.log.String(), "with ") {
		t.Errorf("%v\n%s", err, p.log)
	}
	if got := newMask([]string{token}).hideCut("a long line " + strings.Repeat("y", 80) + token[:20]); strings.Contains(got, "t0p") || !strings.Contains(got, "a long line") {
		t.Errorf("%s", got)
	}
}
