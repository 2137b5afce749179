package auth

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"lapid/engine"
)

func units(o *Options) {
	o.Rules.AgentUnits, o.Rules.BouncerUnits = []string{"agents"}, []string{"bouncers", "others"}
}

func TestCertifiedBouncer(t *testing.T) {
	t.Parallel()
	d, a := newDoor(t, units), newAuthority(t)
	p := a.client("fw", "bouncers", nil)
	if row, err := d.CertifiedBouncer(t.Context(), p, here, agent, true); row != nil || err != nil || len(d.names()) != 0 {
		t.Errorf("a HEAD made a row: %v", err)
	}
	var rows []*engine.BouncerRow
	for range 3 {
		row, err := d.CertifiedBouncer(t.Context(), p, here, agent, false)
		d.must(err)
		rows = append(rows, row)
	}
	b := rows[0].Load()
	if b.Name != "fw@192.0.2.1" || b.AuthType != engine.AuthTLS || !b.AutoCreated || b.IP != here || b.Version != "1.0" || rows[1] != rows[0] || rows[2] != rows[0] {
		t.Errorf("made %+v", b)
	}
	if row, err := d.CertifiedBouncer(t.Context(), p, there, agent, false); err != nil || row.Load().Name != "fw@192.0.2.2" {
		t.Errorf("from elsewhere: %v", err)
	}
	if row, err := d.CertifiedBouncer(t.Context(), a.client("", "others", nil), here, agent, false); err != nil || row.Load().Name != "@192.0.2.1" {
		t.Errorf("no name: %v", err)
	}
	d.addBouncer("key@192.0.2.1", "key", false)
	for name, c := range map[string]*Peer{
		"another unit":     a.client("fw", "agents", nil),
		"a key's name":     a.client("key", "bouncers", nil),
		"not verified":     {leaf: p.leaf},
		"expired":          a.client("fw", "bouncers", func(c *x509.Certificate) { c.NotAfter = d.Now().Add(-time.Hour) }),
		"not yet valid":    a.client("fw", "bouncers", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = d.Now().Add(time.Hour), d.Now().Add(2*time.Hour) }),
		"no unit":          a.client("fw", "", nil),
		"unit with a dash": a.client("fw", "bouncers-", nil),
	} {
		_, err := d.CertifiedBouncer(t.Context(), c, here, agent, false)
		t.Log(name)
		d.refused(err, Forbidden, "access forbidden")
	}
}

func TestCertifiedLogin(t *testing.T) {
	t.Parallel()
	d, a := newDoor(t, units), newAuthority(t)
	p := a.client("lp", "agents", nil)
	for range 2 {
		grant, err := d.CertifiedLogin(t.Context(), p, []string{"a/b"}, here, agent)
		d.must(err)
		if id, err := d.Machine([]byte("Bearer "+grant.Token), nil); id != "lp@192.0.2.1" {
			t.Errorf("%s %v", id, err)
		}
	}
	m := d.View().Machine("lp@192.0.2.1")
	if m.AuthType != engine.AuthTLS || !m.Validated || m.Scenarios != "a/b" || m.Version != "1.0" {
		t.Errorf("made %+v", m)
	}
	_, err := d.CertifiedLogin(t.Context(), a.client("lp", "bouncers", nil), nil, here, agent)
	d.refused(err, NotLoggedIn, "client certificate OU [bouncers] doesn't match expected OU [agents]")
	_, err = d.CertifiedLogin(t.Context(), p, nil, here, []byte("noslash"))
	d.refused(err, NotLoggedIn, "incorrect Username or Password")
	d.addMachine("pw@192.0.2.1", "pw", true)
	_, err = d.CertifiedLogin(t.Context(), a.client("pw", "agents", nil), nil, here, agent)
	d.refused(err, NotLoggedIn, "machine pw@192.0.2.1 attempted to auth with TLS cert but it is configured to use password")
}

// TestRevocationList has certificates revoked while they are in use.
func TestRevocationList(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	good, bad := a.client("good", "bouncers", nil), a.client("bad", "bouncers", nil)
	a.revoke("list.pem")
	d := newDoor(t, func(o *Options) {
		units(o)
		o.Rules.CRLPath = a.path("list.pem")
	})
	let := func(p *Peer) bool {
		_, err := d.CertifiedBouncer(t.Context(), p, here, agent, false)
		return err == nil
	}
	if !let(good) || !let(bad) {
		t.Fatal("nobody is revoked yet")
	}
	a.revoke("list.pem", bad)
	d.Advance(6 * time.Second)
	if !let(good) || let(bad) || let(bad) {
		t.Error("the list was not read again")
	}
	a.must(os.WriteFile(a.path("list.pem"), []byte("garbage"), 0o600))
	d.Advance(6 * time.Second)
	if !let(good) || let(bad) {
		t.Error("a broken file forgot the old list")
	}
	a.must(os.Remove(a.path("list.pem")))
	d.Advance(6 * time.Second)
	if !let(good) || let(bad) {
		t.Error("a missing file forgot the old list")
	}
	if err := d.Replace(Rules{CRLPath: a.path("list.pem")}); err == nil || !strings.Contains(err.Error(), "could not access CRL file") {
		t.Errorf("a missing file at the start: %v", err)
	}
	if let(bad) {
		t.Error("rules that failed are in force")
	}
}

// TestSeveralLists reads a file with lists of two authorities.
func TestSeveralLists(t *testing.T) {
	t.Parallel()
	a, b := newAuthority(t), newAuthority(t)
	badA, badB := a.client("a", "bouncers", nil), b.client("b", "bouncers", nil)
	a.revoke("list.pem", badA)
	b.revoke("list.pem", badB)
	one, err := os.ReadFile(a.path("list.pem"))
	a.must(err)
	two, err := os.ReadFile(b.path("list.pem"))
	a.must(err)
	a.must(os.WriteFile(a.path("both.pem"), append(one, two...), 0o600))
	d := newDoor(t, func(o *Options) {
		units(o)
		o.Rules.CRLPath = a.path("both.pem")
	})
	// All test authorities have the same name, so the serial numbers decide.
	for _, p := range []*Peer{badA, badB} {
		_, err := d.CertifiedBouncer(t.Context(), p, here, agent, false)
		d.refused(err, Forbidden, "access forbidden")
	}
}

// TestResponder asks a responder made by the test.
func TestResponder(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	status, asked, mute := ocsp.Good, 0, false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if mute {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		answer, err := ocsp.CreateResponse(a.cert, a.cert, ocsp.Response{
			Status: status, SerialNumber: a.cert.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		}, a.key)
		if err == nil {
			w.Write(answer)
		}
	}))
	defer s.Close()
	d := newDoor(t, units)
	p := a.client("fw", "bouncers", func(c *x509.Certificate) { c.OCSPServer = []string{s.URL} })
	a.cert.SerialNumber = p.leaf.SerialNumber // what the responder speaks of
	let := func() bool {
		_, err := d.CertifiedBouncer(t.Context(), p, here, agent, false)
		return err == nil
	}
	if !let() || !let() || asked != 1 {
		t.Errorf("good: asked %d times", asked)
	}
	status = ocsp.Revoked
	d.Advance(time.Hour + time.Second)
	if let() || let() || asked != 2 {
		t.Errorf("revoked: asked %d times", asked)
	}
	status = ocsp.Unknown
	d.Advance(time.Hour + time.Second)
	if !let() || !let() || asked != 3 {
		t.Errorf("unknown: asked %d times", asked)
	}
	mute = true
	d.Advance(time.Minute)
	if !let() || asked != 4 {
		t.Errorf("out of order: asked %d times", asked)
	}
}

// TestTLSFiles replaces the server's certificate while it serves.
func TestTLSFiles(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	serve := func(name string) {
		pair := a.serverPair(name)
		a.write("server.pem", "CERTIFICATE", pair.Certificate[0])
		der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
		a.must(err)
		a.write("server.key", "PRIVATE KEY", der)
	}
	serve("first")
	now := 10 * lookEvery
	files, err := NewTLS(TLSOptions{CertFile: a.path("server.pem"), KeyFile: a.path("server.key"), CAFile: a.path("ca.pem"), Now: func() int64 { return now }})
	a.must(err)
	c := files.Config()
	name := func() string {
		got, err := c.GetConfigForClient(&tls.ClientHelloInfo{})
		a.must(err)
		leaf, err := x509.ParseCertificate(got.Certificates[0].Certificate[0])
		a.must(err)
		return leaf.Subject.CommonName
	}
	if c.MinVersion != tls.VersionTLS12 || len(c.NextProtos) != 1 || c.NextProtos[0] != "http/1.1" || c.ClientAuth != tls.VerifyClientCertIfGiven {
		t.Errorf("settings %+v", c)
	}
	serve("second")
	if name() != "second" {
		t.Error("the new certificate is not served")
	}
	a.must(os.WriteFile(a.path("server.key"), []byte("garbage"), 0o600))
	now += 10 * lookEvery
	if name() != "second" {
		t.Error("a broken key took the certificate away")
	}
	for _, bad := range []TLSOptions{
		{KeyFile: a.path("server.key")},
		{CertFile: a.path("server.pem")},
		{CertFile: a.path("server.pem"), KeyFile: a.path("nothing")},
		{CertFile: a.path("server.pem"), KeyFile: a.path("server.key"), ClientVerification: "Maybe"},
	} {
		bad.Now = func() int64 { return 0 }
		if _, err := NewTLS(bad); err == nil {
			t.Errorf("%+v is fine", bad)
		}
	}
}
