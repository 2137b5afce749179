package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// door is a gate in front of an engine with a clock set by hand.
type door struct {
	*enginetest.Rig
	*Gate
	t testing.TB
}

var (
	here   = netip.MustParseAddr("192.0.2.1")
	there  = netip.MustParseAddr("192.0.2.2")
	agent  = []byte("tester/1.0")
	secret = []byte(strings.Repeat("0123456789abcdef", 4))
)

func newDoor(t testing.TB, change func(*Options)) *door {
	o := Options{Secret: secret}
	if change != nil {
		change(&o)
	}
	d := &door{t: t, Rig: enginetest.NewRig(t, nil)}
	var err error
	d.Gate, err = NewGate(d.Engine, &o)
	d.must(err)
	return d
}

func (d *door) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// addBouncer adds a row for a key.
func (d *door) addBouncer(name, key string, shared bool) {
	d.t.Helper()
	_, err := d.AddBouncer(d.t.Context(), &engine.Bouncer{
		Name: name, KeyHash: sha512.Sum512([]byte(key)), AuthType: engine.AuthAPIKey, Shared: shared,
	})
	d.must(err)
}

// addMachine adds a machine with a cheap hash of its password.
func (d *door) addMachine(id, password string, validated bool) {
	d.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	d.must(err)
	d.must(d.AddMachine(d.t.Context(), &engine.Machine{ID: id, PasswordHash: hash, AuthType: engine.AuthPassword, Validated: validated}, false))
}

// names are the bouncer rows there are.
func (d *door) names() (all []string) {
	for _, row := range d.View().Bouncers() {
		all = append(all, row.Load().Name)
	}
	return all
}

// refused checks an error. The text is the caller's, or, where that is the server's to
// word, reason and name.
func (d *door) refused(err error, kind Kind, text string) {
	d.t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		d.t.Fatalf("got %v, want %s", err, text)
	}
	got := r.Text
	if got == "" {
		got = string(r.Reason) + " " + r.Who
	}
	if r.Kind != kind || got != text {
		d.t.Fatalf("got %d %q, want %d %q", r.Kind, got, kind, text)
	}
}

// authority signs certificates.
type authority struct {
	t      testing.TB
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	folder string
	serial int64
}

func newAuthority(t testing.TB) *authority {
	a := &authority{t: t, folder: t.TempDir(), serial: 1}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil, &a.key.PublicKey)
	a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) path(name string) string { return filepath.Join(a.folder, name) }

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	a.must(os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// sign makes a certificate that is good for decades, for tests set the clock
// as they like.
func (a *authority) sign(c, parent *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	a.t.Helper()
	c.SerialNumber = big.NewInt(a.serial)
	a.serial++
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, a.key)
	a.must(err)
	made, err := x509.ParseCertificate(der)
	a.must(err)
	return made
}

// client makes a client certificate and what a connection with it looks like.
func (a *authority) client(name, unit string, change func(*x509.Certificate)) *Peer {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	c := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name, OrganizationalUnit: []string{unit}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(c)
	}
	leaf := a.sign(c, a.cert, &key.PublicKey)
	return NewPeer(&tls.ConnectionState{
		PeerCertificates: []*x509.Certificate{leaf},
		VerifiedChains:   [][]*x509.Certificate{{leaf, a.cert}},
	})
}

// revoke writes a list of certificates.
func (a *authority) revoke(name string, revoked ...*Peer) {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(a.serial), ThisUpdate: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), NextUpdate: time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)}
	a.serial++
	for _, p := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: p.leaf.SerialNumber, RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	a.must(err)
	a.write(name, "X509 CRL", der)
}

// serverPair makes a server's certificate.
func (a *authority) serverPair(name string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	c := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, a.cert, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key, Leaf: c}
}
