package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// mailer sends texts as mails, one SMTP dialogue each.
type mailer struct {
	to            *Email
	sender        mail.Address
	receivers     []*mail.Address
	connect, send time.Duration
	trust         *tls.Config      // tests change it
	now           func() time.Time // and this
}

func newMailer(c *Email) (*mailer, error) {
	m := &mailer{to: c, now: time.Now, trust: &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12}}
	switch {
	case c.Host == "":
		return nil, errors.New("SMTP host is not set: write smtp_host")
	case len(c.Receivers) == 0:
		return nil, errors.New("receiver emails are not set: write receiver_emails")
	case c.Port < 0 || c.Port > 65535:
		return nil, fmt.Errorf("smtp_port %d is none", c.Port)
	case !headerText(c.Subject) || !headerText(c.SenderName) || !headerText(c.Hello):
		return nil, errors.New("email_subject, sender_name and helo_host must not hold line ends")
	}
	switch c.Encryption {
	case "", "ssltls", "starttls", "none":
	default:
		return nil, fmt.Errorf("encryption_type must be ssltls, starttls or none, not %q", c.Encryption)
	}
	switch c.Auth {
	case "", "none", "crammd5", "login", "plain":
	default:
		return nil, fmt.Errorf("auth_type must be none, crammd5, login or plain, not %q", c.Auth)
	}
	m.sender = mail.Address{Name: cmp.Or(c.SenderName, "Crowdsec"), Address: cmp.Or(c.Sender, "crowdsec@crowdsec.local")}
	if _, err := mail.ParseAddress(m.sender.Address); err != nil {
		return nil, fmt.Errorf("sender_email is no address: %w", err)
	}
	for _, text := range c.Receivers {
		a, err := mail.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("receiver_emails: %q is no address: %w", text, err)
		}
		m.receivers = append(m.receivers, a)
	}
	var err error
	for _, d := range []struct {
		key, text string
		into      *time.Duration
	}{{"connect_timeout", c.ConnectTimeout, &m.connect}, {"send_timeout", c.SendTimeout, &m.send}} {
		if *d.into, err = time.ParseDuration(cmp.Or(d.text, "10s")); err != nil || *d.into <= 0 {
			return nil, fmt.Errorf("%s must be a duration such as 10s, not %q", d.key, d.text)
		}
	}
	return m, nil
}

// Send has one dialogue. A server that answers with a code of 5xx to the mail itself
// refuses it; one that does not let us in may do so later.
func (m *mailer) Send(ctx context.Context, text string) error {
	connecting, cancel := context.WithTimeout(ctx, m.connect)
	defer cancel()
	conn, err := m.dial(connecting)
	if err != nil {
		return err
	}
	defer conn.Close()
	until := time.Now().Add(m.connect + m.send)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	if err := conn.SetDeadline(until); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	return m.speak(conn, text)
}

// dial connects, with TLS where it comes first.
func (m *mailer) dial(ctx context.Context) (net.Conn, error) {
	at := net.JoinHostPort(m.to.Host, strconv.Itoa(orUsual(m.to.Port, 25)))
	if m.to.Encryption == "" || m.to.Encryption == "ssltls" {
		return (&tls.Dialer{Config: m.trust}).DialContext(ctx, "tcp", at)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", at)
}

// speak is the dialogue on a connection.
func (m *mailer) speak(conn net.Conn, text string) error {
	c, err := smtp.NewClient(conn, m.to.Host)
	if err != nil {
		return fmt.Errorf("greeting of %s: %w", m.to.Host, err)
	}
	defer c.Close()
	if err := c.Hello(cmp.Or(m.to.Hello, "localhost")); err != nil {
		return fmt.Errorf("hello to %s: %w", m.to.Host, err)
	}
	if m.to.Encryption == "starttls" {
		if err := c.StartTLS(m.trust); err != nil {
			return fmt.Errorf("STARTTLS with %s: %w", m.to.Host, err)
		}
	}
	if a := m.auth(); a != nil {
		if err := c.Auth(a); err != nil {
			return fmt.Errorf("login at %s as %s: %w", m.to.Host, m.to.Username, err)
		}
	}
	if err := c.Mail(m.sender.Address); err != nil {
		return judged("sender", err)
	}
	var never []error // about receivers that are refused for good: the others get it
	for _, r := range m.receivers {
		switch err := c.Rcpt(r.Address); {
		case err == nil:
		case errors.Is(judged("", err), ErrRefused):
			never = append(never, judged("receiver "+r.Address, err))
		default:
			return judged("receiver "+r.Address, err)
		}
	}
	if len(never) == len(m.receivers) {
		return errors.Join(never...)
	}
	w, err := c.Data()
	if err != nil {
		return judged("mail", err)
	}
	if _, err := w.Write(m.compose(text)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return judged("mail", err)
	}
	_ = c.Quit() // it was taken
	if len(never) > 0 {
		return &partlyError{errors.Join(never...)}
	}
	return nil
}

// judged is what a server said about a part of the mail.
func judged(what string, err error) error {
	var said *textproto.Error
	if errors.As(err, &said) && said.Code >= 500 {
		return refused("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// compose writes the mail: headers in 7 bits, the text as HTML.
func (m *mailer) compose(text string) []byte {
	var b bytes.Buffer
	to := make([]string, len(m.receivers))
	for i, r := range m.receivers {
		to[i] = r.String()
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // it does not fail
	_, domain, _ := strings.Cut(m.sender.Address, "@")
	for _, h := range [][2]string{
		{"From", m.sender.String()}, {"To", strings.Join(to, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", cmp.Or(m.to.Subject, "Crowdsec notification"))},
		{"Date", m.now().Format(time.RFC1123Z)}, {"Message-ID", "<" + hex.EncodeToString(id[:]) + "@" + domain + ">"},
		{"MIME-Version", "1.0"}, {"Content-Type", "text/html; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(text)) // into memory
	_ = q.Close()
	return b.Bytes()
}

// auth is how the mailer logs in, nil: it does not.
func (m *mailer) auth() smtp.Auth {
	if m.to.Username == "" {
		return nil
	}
	switch m.to.Auth {
	case "none":
		return nil
	case "crammd5":
		return smtp.CRAMMD5Auth(m.to.Username, m.to.Password)
	case "plain":
		return &passwordAuth{mechanism: "PLAIN", user: m.to.Username, password: m.to.Password}
	}
	return &passwordAuth{mechanism: "LOGIN", user: m.to.Username, password: m.to.Password}
}

// passwordAuth logs in with a password, over whatever connection was asked for: net/smtp's
// own refuses where encryption_type is none.
type passwordAuth struct {
	mechanism, user, password string
	asked                     int
}

// Start begins the dialogue.
func (a *passwordAuth) Start(*smtp.ServerInfo) (string, []byte, error) {
	a.asked = 0
	if a.mechanism == "PLAIN" {
		return a.mechanism, []byte("\x00" + a.user + "\x00" + a.password), nil
	}
	return a.mechanism, nil, nil
}

// Next answers the two questions of LOGIN.
func (a *passwordAuth) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	a.asked++
	switch {
	case a.mechanism == "LOGIN" && a.asked == 1:
		return []byte(a.user), nil
	case a.mechanism == "LOGIN" && a.asked == 2:
		return []byte(a.password), nil
	}
	return nil, errors.New("the server asks for more than a password")
}
