// Package mailtest is a mail server for tests.
package mailtest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server speaks SMTP on a port of the loopback, with STARTTLS, and lets user "ops" with the
// password "secret" in, by PLAIN, LOGIN and CRAM-MD5. It lasts as long as the test.
type Server struct {
	Roots *x509.CertPool // its certificate, for 127.0.0.1
	PEM   []byte         // the same

	listener net.Listener
	trust    *tls.Config
	direct   bool
	open     bool

	mu    sync.Mutex
	said  map[string]string
	mails []string
	heard []string
}

// New is a server that insists on STARTTLS and a login.
func New(t *testing.T) *Server { return start(t, &Server{}) }

// NewDirect is a server whose connections are TLS from the first byte.
func NewDirect(t *testing.T) *Server { return start(t, &Server{direct: true}) }

// NewOpen is a server that insists on nothing.
func NewOpen(t *testing.T) *Server { return start(t, &Server{open: true}) }

func start(t *testing.T, s *Server) *Server {
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
	own, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.Roots, s.said = x509.NewCertPool(), map[string]string{}
	s.Roots.AddCert(own)
	s.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.trust = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listener.Close() })
	go func() {
		for {
			c, err := s.listener.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

// Port is where it listens.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Say has it answer so to a command from now on: to a word, or to a whole line. "-" as an
// answer is none, for ever.
func (s *Server) Say(command, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said[command] = answer
}

// Taken are the mails it took, as they came, and the words it heard.
func (s *Server) Taken() (mails, words []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails), slices.Clone(s.heard)
}

// dialogue is one connection.
type dialogue struct {
	s      *Server
	c      net.Conn
	r      *bufio.Reader
	secure bool
	let    bool // in
}

func (s *Server) serve(c net.Conn) {
	d := &dialogue{s: s, c: c, secure: s.direct}
	if s.direct {
		d.c = tls.Server(c, s.trust)
	}
	defer func() { d.c.Close() }()
	d.r = bufio.NewReader(d.c)
	d.say("220 here")
	for d.turn() {
	}
}

func (d *dialogue) say(text string) { fmt.Fprint(d.c, text+"\r\n") }

func (d *dialogue) line() string {
	text, _ := d.r.ReadString('\n')
	return strings.TrimRight(text, "\r\n")
}

// turn is a command and its answer; false: that was the last.
func (d *dialogue) turn() bool {
	text := d.line()
	word, rest, _ := strings.Cut(text, " ")
	d.s.mu.Lock()
	d.s.heard = append(d.s.heard, word)
	answer := d.s.said[word]
	if whole := d.s.said[text]; whole != "" {
		answer = whole
	}
	d.s.mu.Unlock()
	ready := d.s.open || d.secure && d.let
	switch {
	case text == "":
		return false
	case answer == "-":
		_, _ = d.r.ReadByte() // until the other side has enough
		return false
	case answer != "":
		d.say(answer)
	case word == "EHLO" && !d.secure:
		d.say("250-here\r\n250 STARTTLS")
	case word == "EHLO":
		d.say("250-here\r\n250 AUTH PLAIN LOGIN CRAM-MD5")
	case word == "STARTTLS":
		d.say("220 go on")
		d.c = tls.Server(d.c, d.s.trust)
		d.r, d.secure = bufio.NewReader(d.c), true
	case word == "AUTH" && d.secure:
		if d.let = d.login(rest); !d.let {
			d.say("535 no")
			return false
		}
		d.say("235 welcome")
	case word == "MAIL" && !ready:
		d.say("530 who are you")
	case word == "DATA":
		d.data()
	case word == "QUIT":
		d.say("221 bye")
		return false
	default:
		d.say("250 fine")
	}
	return true
}

func (d *dialogue) data() {
	d.say("354 speak")
	var b strings.Builder
	for text := d.line(); text != "."; text = d.line() {
		b.WriteString(strings.TrimPrefix(text, ".") + "\r\n")
	}
	d.s.mu.Lock()
	d.s.mails = append(d.s.mails, b.String())
	d.s.mu.Unlock()
	d.say("250 taken")
}

// login asks for the password in one of the three ways.
func (d *dialogue) login(how string) bool {
	ask := func(question string) string {
		d.say("334 " + base64.StdEncoding.EncodeToString([]byte(question)))
		answer, _ := base64.StdEncoding.DecodeString(d.line())
		return string(answer)
	}
	kind, first, _ := strings.Cut(how, " ")
	switch kind {
	case "PLAIN":
		said, _ := base64.StdEncoding.DecodeString(first)
		return string(said) == "\x00ops\x00secret"
	case "LOGIN":
		return ask("Username:") == "ops" && ask("Password:") == "secret"
	case "CRAM-MD5":
		const challenge = "<1.2@here>"
		sum := hmac.New(md5.New, []byte("secret"))
		sum.Write([]byte(challenge))
		return ask(challenge) == "ops "+hex.EncodeToString(sum.Sum(nil))
	}
	return false
}
