package notify

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapid/transport/notify/mailtest"
)

// mailer sends to a server of the test.
func mailerTo(t *testing.T, s *mailtest.Server, change func(c *Email)) *mailer {
	t.Helper()
	c := &Email{Host: "127.0.0.1", Port: s.Port(), Username: "ops", Password: "secret", Encryption: "starttls",
		Sender: "lapid@example.org", SenderName: "Lapid", Receivers: []string{"a@example.org", "b@example.org"}, Subject: "Größe"}
	if change != nil {
		change(c)
	}
	m, err := newMailer(c)
	if err != nil {
		t.Fatal(err)
	}
	m.trust.RootCAs = s.Roots
	return m
}

// A mail goes over STARTTLS, with a login, to all receivers, and is read back as it was.
func TestMail(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t)
	const text = "<p>übel</p>\n.\n<b>192.0.2.1</b>"
	if err := mailerTo(t, s, nil).Send(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	mails, _ := s.Taken()
	m, err := mail.ReadMessage(strings.NewReader(mails[0]))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	to, _ := m.Header.AddressList("To")
	if got := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || strings.TrimSuffix(got, "\n") != text || len(to) != 2 || m.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%q %v %v %v", body, err, to, m.Header)
	}
}

// Without trust in its certificate a server is told nothing; a receiver that it refuses is
// final; a login that fails, or a server that is busy, is not.
func TestMailFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, word, answer string
		final              bool
	}{
		{"busy", "MAIL", "451 later", false}, {"no such receiver", "RCPT", "550 nobody", true},
		{"no login", "AUTH", "535 no", false}, {"refused mail", "DATA", "554 spam", true}, {"no STARTTLS", "STARTTLS", "454 no", false},
	} {
		s := mailtest.New(t)
		s.Say(c.word, c.answer)
		err := mailerTo(t, s, nil).Send(t.Context(), "text")
		mails, _ := s.Taken()
		if err == nil || errors.Is(err, ErrRefused) != c.final || len(mails) != 0 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s := mailtest.New(t)
	m := mailerTo(t, s, nil)
	m.trust.RootCAs = x509.NewCertPool()
	err := m.Send(t.Context(), "text")
	if _, heard := s.Taken(); err == nil || strings.Contains(strings.Join(heard, " "), "AUTH") {
		t.Errorf("%v %v", err, heard)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := mailerTo(t, s, nil).Send(ctx, "text"); err == nil {
		t.Error("sent though over")
	}
}

// Each kind of encryption and of login works, and says the HELO that was asked for.
func TestMailKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		server func(*testing.T) *mailtest.Server
		change func(*Email)
	}{
		{"ssltls, login", mailtest.NewDirect, func(c *Email) { c.Encryption, c.Auth = "ssltls", "login" }},
		{"usual", mailtest.NewDirect, func(c *Email) { c.Encryption, c.Auth = "", "" }},
		{"starttls, plain", mailtest.New, func(c *Email) { c.Auth = "plain" }},
		{"starttls, crammd5", mailtest.New, func(c *Email) { c.Auth = "crammd5" }},
		{"nothing", mailtest.NewOpen, func(c *Email) { c.Encryption, c.Auth, c.Username = "none", "none", "" }},
		{"a helo", mailtest.NewOpen, func(c *Email) { c.Encryption, c.Auth, c.Hello = "none", "none", "mx.example.org" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := c.server(t)
			if c.name == "a helo" {
				s.Say("EHLO localhost", "550 not you")
			}
			if err := mailerTo(t, s, c.change).Send(t.Context(), "text"); err != nil {
				t.Fatal(err)
			}
			if mails, _ := s.Taken(); len(mails) != 1 {
				t.Errorf("%q", mails)
			}
		})
	}
}

// Of several receivers one that is refused does not cost the others their mail; it is told.
// All refused is a refusal; one that is to come later holds up the mail.
func TestMailReceivers(t *testing.T) {
	t.Parallel()
	send := func(answers ...string) (int, error) {
		s := mailtest.New(t)
		for i, answer := range answers {
			if answer != "" {
				s.Say([]string{"RCPT TO:<a@example.org>", "RCPT TO:<b@example.org>"}[i], answer)
			}
		}
		err := mailerTo(t, s, nil).Send(t.Context(), "text")
		mails, _ := s.Taken()
		return len(mails), err
	}
	part := (*partlyError)(nil)
	if n, err := send("550 nobody"); n != 1 || !errors.As(err, &part) || !strings.Contains(err.Error(), "a@example.org") || strings.Contains(err.Error(), "b@example.org") {
		t.Errorf("one: %d %v", n, err)
	}
	if n, err := send("550 nobody", "551 nobody"); n != 0 || !errors.Is(err, ErrRefused) || errors.As(err, &part) {
		t.Errorf("all: %d %v", n, err)
	}
	if n, err := send("550 nobody", "451 later"); n != 0 || err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("later: %d %v", n, err)
	}
}

// A server that says nothing costs as long as the configuration says, or the attempt.
func TestMailTimeouts(t *testing.T) {
	t.Parallel()
	s := mailtest.New(t)
	s.Say("MAIL", "-")
	m := mailerTo(t, s, func(c *Email) { c.ConnectTimeout, c.SendTimeout = "1ms", "1s" })
	m.connect = time.Minute // of the dialling alone; the test is about what comes after it
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := m.Send(ctx, "text"); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
	m = mailerTo(t, s, nil)
	m.connect, m.send = 20*time.Millisecond, 30*time.Millisecond
	if err := m.Send(t.Context(), "text"); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("%v", err)
	}
}

// Texts are appended, also to a file that was moved away; one that is too large is put
// away, packed, and the oldest go.
func TestFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "log [1].json")
	l, err := newLogbook(&File{Path: path, Rotate: &Rotate{Enabled: true, MaxSize: 1, MaxFiles: 2, Compress: true}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	l.now = func() time.Time { return now }
	send := func(text string) {
		t.Helper()
		if err := l.Send(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	send("a\n")
	send("b\n")
	if got, _ := os.ReadFile(path); string(got) != "a\nb\n" {
		t.Errorf("%q", got)
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		send(strings.Repeat("x", 1<<20))
		send("y")
		now = now.Add(time.Hour)
	}
	names, _ := os.ReadDir(dir)
	var got []string
	for _, n := range names {
		got = append(got, n.Name())
	}
	const want = "log [1].json.20260701-120000.gz log [1].json.20260701-130000.gz log [1].json.moved"
	if strings.Join(got, " ") != want && !strings.Contains(strings.Join(got, " "), "130000.gz") {
		t.Errorf("%v", got)
	}
}

// Templates of the field work: pointers, methods, sprig, the functions of its own.
func TestTemplates(t *testing.T) {
	t.Parallel()
	text := func(s string) *string { return &s }
	n := int32(6)
	simulated := false
	a := &Alert{Scenario: text("ssh-bf"), Source: &Source{Scope: text("Ip"), Value: text("192.0.2.1"), Cn: "FR"}, EventsCount: &n, Simulated: &simulated,
		Meta: []*Meta{{"own", "1"}}, Events: []*Event{{Meta: []*Meta{{"user", "root"}}}, {}, {Meta: []*Meta{{"user", "adm"}}}}}
	for format, want := range map[string]string{
		`{{range .}}{{.Scenario}} {{upper .Scenario}} {{len .Scenario}}{{end}}`: "ssh-bf SSH-BF 6",
		`{{range .}}{{if .Simulated}}always{{end}}{{end}}`:                      "always",
		`{{(index . 0).GetValue}} {{(index . 0).GetMeta "own"}}`:                "192.0.2.1 1",
		`{{range .}}{{GetMeta . "user" | join ","}}{{end}}`:                     "root,adm",
		`{{HTMLEscape "<b>"}}`: "&lt;b&gt;",
		`{{range .}}{{eq (html .Scenario) "ssh-bf"}} {{.Source}}{{end}}`:           "true Ip 192.0.2.1 (FR)",
		`{{range .}}{{eq .Scenario "x"}}{{end}}`:                                   "error",
		`{{CrowdsecCTI "192.0.2.1"}}`:                                              "error",
		`{{repeat 20000000 "x"}}`:                                                  "error",
		`{{range until 100000000}}{{end}}`:                                         "error",
		`{{range until 9999}}{{range until 9999}}{{end}}{{end}}`:                   "error",
		`{{define "a"}}{{if .}}{{template "a" .}}{{end}}{{end}}{{template "a" 1}}`: "error",
		`{{repeat 100000000000 "x"}}{{indent 100000000000 "x"}}`:                   "error",
		`{{range until 3}}{{.}}{{else}}-{{end}}`:                                   "012",
	} {
		tpl, err := compile(format)
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		got, err := render(tpl, []*Alert{a})
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", format, got, want, err)
		}
	}
}

// A format that fails for any alert is seen at a trial, with the line.
func TestTrial(t *testing.T) {
	t.Parallel()
	err := TryFormat(t.Context(), "x\n{{range .}}{{if eq .Source.Value \"x\"}}{{end}}{{end}}")
	if err == nil || !strings.HasPrefix(err.Error(), "template: format:2:") {
		t.Errorf("%v", err)
	}
	err = TryFormat(t.Context(), `{{range .}}{{if eq .GetValue "x"}}{{end}}{{(index .Events 0).GetMeta "source_ip"}}{{end}}`)
	if err != nil {
		t.Errorf("%v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := TryFormat(over, `{{range until 9999}}{{range until 9999}}{{end}}{{end}}`); err == nil {
		t.Error("it went through")
	}
}

// What cannot work is refused before anything is sent.
func TestCheck(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]*Configuration{
		"SMTP host is not set":    {Email: &Email{}},
		"receiver emails are not": {Email: &Email{Host: "h"}},
		"must not hold line ends": {Email: &Email{Host: "h", Receivers: []string{"a@b.c"}, Subject: "a\r\nBcc: x"}},
		"encryption_type must be": {Email: &Email{Host: "h", Receivers: []string{"a@b.c"}, Encryption: "tls"}},
		"url must be":             {HTTP: &HTTP{URL: "ftp://secret"}},
		"webhook must be":         {Slack: &Slack{}},
		"log_path is missing":     {File: &File{}},
		"format of 'n'":           {Format: "{{.", HTTP: &HTTP{URL: "http://h"}},
		"nothing sends the type":  {Type: "splunk"},
		"group_threshold":         {GroupThreshold: MostGrouped + 1, HTTP: &HTTP{URL: "http://h"}},
	} {
		c.Name = "n"
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
