package notify

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// mailServer is an SMTP server that insists on TLS and a password.
type mailServer struct {
	net.Listener
	trust *tls.Config
	roots *x509.CertPool
	mu    sync.Mutex
	said  map[string]string // what it answers to a word instead of the usual
	mails []string
	heard []string
}

func newMailServer(t *testing.T) *mailServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{Listener: l, trust: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots: x509.NewCertPool(), said: map[string]string{}}
	own, _ := x509.ParseCertificate(der)
	s.roots.AddCert(own)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *mailServer) serve(c net.Conn) {
	defer c.Close()
	r, secure := bufio.NewReader(c), false
	fmt.Fprint(c, "220 here\r\n")
	line := func() string {
		text, _ := r.ReadString('\n')
		return strings.TrimRight(text, "\r\n")
	}
	for {
		text := line()
		word, _, _ := strings.Cut(text, " ")
		s.mu.Lock()
		s.heard = append(s.heard, word)
		answer := s.said[word]
		s.mu.Unlock()
		switch {
		case text == "":
			return
		case answer != "":
			fmt.Fprint(c, answer+"\r\n")
		case word == "EHLO" && !secure:
			fmt.Fprint(c, "250-here\r\n250 STARTTLS\r\n")
		case word == "EHLO":
			fmt.Fprint(c, "250-here\r\n250 AUTH PLAIN LOGIN\r\n")
		case word == "STARTTLS":
			fmt.Fprint(c, "220 go on\r\n")
			c = tls.Server(c, s.trust)
			r, secure = bufio.NewReader(c), true
		case word == "AUTH" && secure:
			fmt.Fprint(c, "334 VXNlcm5hbWU6\r\n")
			user := line()
			fmt.Fprint(c, "334 UGFzc3dvcmQ6\r\n")
			if user+line() != base64.StdEncoding.EncodeToString([]byte("ops"))+base64.StdEncoding.EncodeToString([]byte("secret")) {
				fmt.Fprint(c, "535 no\r\n")
				return
			}
			fmt.Fprint(c, "235 welcome\r\n")
		case word == "DATA" && secure:
			fmt.Fprint(c, "354 speak\r\n")
			var b strings.Builder
			for text := line(); text != "."; text = line() {
				b.WriteString(strings.TrimPrefix(text, ".") + "\r\n")
			}
			s.mu.Lock()
			s.mails = append(s.mails, b.String())
			s.mu.Unlock()
			fmt.Fprint(c, "250 taken\r\n")
		case word == "QUIT":
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 fine\r\n")
		}
	}
}

// taken are the mails it took, words what it heard.
func (s *mailServer) taken() (mails, words []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails), slices.Clone(s.heard)
}

func (s *mailServer) mailer(t *testing.T) *mailer {
	t.Helper()
	m, err := newMailer(&Email{Host: "127.0.0.1", Port: s.Addr().(*net.TCPAddr).Port, Username: "ops", Password: "secret", Encryption: "starttls",
		Sender: "lapid@example.org", SenderName: "Lapid", Receivers: []string{"a@example.org", "b@example.org"}, Subject: "Größe"})
	if err != nil {
		t.Fatal(err)
	}
	m.trust.RootCAs = s.roots
	return m
}

// A mail goes over STARTTLS, with a login, to all receivers, and is read back as it was.
func TestMail(t *testing.T) {
	t.Parallel()
	s := newMailServer(t)
	const text = "<p>übel</p>\n.\n<b>192.0.2.1</b>"
	if err := s.mailer(t).Send(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	mails, _ := s.taken()
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
		s := newMailServer(t)
		s.said[c.word] = c.answer
		err := s.mailer(t).Send(t.Context(), "text")
		mails, _ := s.taken()
		if err == nil || errors.Is(err, ErrRefused) != c.final || len(mails) != 0 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	s := newMailServer(t)
	m := s.mailer(t)
	m.trust.RootCAs = x509.NewCertPool()
	err := m.Send(t.Context(), "text")
	if _, heard := s.taken(); err == nil || strings.Contains(strings.Join(heard, " "), "AUTH") {
		t.Errorf("%v %v", err, heard)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.mailer(t).Send(ctx, "text"); err == nil {
		t.Error("sent though over")
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
		`{{range .}}{{eq (html .Scenario) "ssh-bf"}} {{.Source}}{{end}}`: "true Ip 192.0.2.1 (FR)",
		`{{range .}}{{eq .Scenario "x"}}{{end}}`:                         "error",
		`{{CrowdsecCTI "192.0.2.1"}}`:                                    "error",
		`{{repeat 20000000 "x"}}`:                                        "error",
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
