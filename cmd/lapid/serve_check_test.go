package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapid/cmd/lapid/datadir"
)

// TestTrial: a test of the configuration finds what a start would fail at, is
// content beside its own server, and leaves nothing behind.
func TestTrial(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	trial := func() (int, string) {
		p := start(t, nil, "-c", h.file, "-t")
		return p.wait(t), p.out.String()
	}
	if code, out := trial(); code != exitGood {
		t.Fatalf("%d %s", code, out)
	}
	if names, _ := filepath.Glob(h.dir + "/*"); len(names) != 2 {
		t.Errorf("it left something: %v", names)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	file := write(t, h.dir, "a-file", "")
	for name, c := range map[string]struct{ local, want string }{
		"port":    {"api: {server: {listen_uri: '" + other.Addr().String() + "'}}", "config.yaml.local:1:28: a start would fail: listen tcp " + other.Addr().String()},
		"metrics": {fmt.Sprintf("prometheus: {listen_port: %d}", other.Addr().(*net.TCPAddr).Port), "config.yaml.local:1:27: a start would fail: listen tcp"},
		"log":     {"common: {log_media: file, log_dir: /nowhere/at/all}", "a start would fail: opening the log"},
		"data":    {"config_paths: {data_dir: " + file + "}", "not a directory"},
		"socket":  {"api: {server: {listen_socket: " + file + "}}", "is in the way and not a socket"},
	} {
		write(t, h.dir, "config.yaml.local", c.local)
		if code, out := trial(); code != exitFails || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	write(t, h.dir, "config.yaml.local", "api: {server: {listen_uri: 'nobody.invalid:1'}}")
	if code, out := trial(); code != exitGood || !strings.Contains(out, "cannot be resolved now") {
		t.Errorf("an unknown name: %d %s", code, out)
	}
	if err := os.Remove(filepath.Join(h.dir, "config.yaml.local")); err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	if code, out := trial(); code != exitGood {
		t.Errorf("beside its own server: %d %s", code, out)
	}
	// Another's port is no better for a server that runs.
	taken := other.Addr().(*net.TCPAddr).Port
	for name, c := range map[string]struct {
		local string
		good  bool
	}{
		"port of another":         {fmt.Sprintf("api: {server: {listen_uri: '127.0.0.1:%d'}}", taken), false},
		"metrics of another":      {fmt.Sprintf("prometheus: {listen_port: %d}", taken), false},
		"everywhere":              {fmt.Sprintf("api: {server: {listen_uri: ':%d'}}", h.port), true},
		"by name":                 {fmt.Sprintf("api: {server: {listen_uri: 'localhost:%d'}}", h.port), true},
		"where its metrics are":   {fmt.Sprintf("api: {server: {listen_uri: '127.0.0.1:%d'}}\nprometheus: {enabled: false}", h.metrics), true},
		"another's on every host": {fmt.Sprintf("api: {server: {listen_uri: '0.0.0.0:%d'}}", taken), false},
	} {
		write(t, h.dir, "config.yaml.local", c.local)
		if code, out := trial(); (code == exitGood) != c.good || !c.good && !strings.Contains(out, "a start would fail: listen tcp") {
			t.Errorf("beside its own server, %s: %d %s", name, code, out)
		}
	}
}

// TestTrialOfFiles: a test of the configuration finds the files that a start would be
// fatal about, names the key, and the start is fatal about each indeed.
func TestTrialOfFiles(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	file, held := write(t, h.dir, "a-file", ""), filepath.Join(h.dir, "held.sock")
	other, err := net.Listen("unix", held)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	a := newAuthority(t, h.dir)
	pair := "cert_file: " + a.cert + ", key_file: " + a.key
	spoilt := filepath.Join(h.dir, "spoilt")
	if err := os.MkdirAll(filepath.Join(spoilt, "lapid/store"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(spoilt, "lapid/store"), "FORMAT", "garbage")
	nodir := filepath.Join(h.dir, "nodir")
	for name, c := range map[string]struct {
		local, own string
		want       []string
	}{
		"both at one": {fmt.Sprintf("prometheus: {listen_port: %d}", h.port), "", []string{"config.yaml.local:1:27: ", "are both at"}},
		"held":        {"api: {server: {listen_socket: " + held + "}}", "", []string{"config.yaml.local:1:31: ", "another program is listening on " + held}},
		"long":        {"api: {server: {listen_socket: " + h.dir + "/" + strings.Repeat("x", 120) + "}}", "", []string{"longer than 107 bytes"}},
		"operator's":  {"", "admin_socket: " + h.dir + "/one.sock", []string{"config.yaml.local:1:31: ", "is the operator's socket (admin_socket)"}},
		"a file":      {"", "admin_socket: " + file, []string{"lapid.yaml:1:15: ", "is in the way and not a socket"}},
		"no folder":   {"", "admin_socket: " + nodir + "/x.sock", []string{"lapid.yaml:1:15: ", "admin_socket", "nodir"}},
		"no list":     {"api: {server: {tls: {" + pair + ", crl_path: " + a.cert + "}}}", "", []string{"config.yaml.local:1:", a.cert, "no revocation list in it"}},
		"bad list":    {"api: {server: {tls: {" + pair + ", crl_path: " + a.badList + "}}}", "", []string{"config.yaml.local:1:", a.badList}},
		"other key":   {"api: {server: {tls: {cert_file: " + a.cert + ", key_file: " + a.otherKey + "}}}", "", []string{"config.yaml.local:1:", a.cert, a.otherKey, "private key does not match public key"}},
		"spoilt":      {"config_paths: {data_dir: " + spoilt + "}", "", []string{"config.yaml.local:1:26: ", "FORMAT says"}},
	} {
		if name == "operator's" {
			c.local = "api: {server: {listen_socket: " + h.dir + "/one.sock}}"
		}
		write(t, h.dir, "config.yaml.local", c.local)
		write(t, h.dir, "lapid.yaml", c.own)
		for _, args := range [][]string{{"-c", h.file, "-t"}, {"-c", h.file, "serve"}} {
			p := start(t, nil, args...)
			code, out := p.wait(t), p.out.String()
			if code != exitFails {
				t.Errorf("%s: %q: %d %s", name, args, code, out)
			}
			for _, want := range c.want {
				if args[2] == "-t" && !strings.Contains(out, want) {
					t.Errorf("%s: %s, want %s", name, out, want)
				}
			}
		}
	}
	if !datadir.Missing(nodir) {
		t.Error("the folder of admin_socket was made")
	}
	write(t, h.dir, "lapid.yaml", "")
	for name, c := range map[string]struct {
		tls  string
		code int
		want string
	}{
		"expired":   {"cert_file: " + a.expired + ", key_file: " + a.key, exitFails, "has expired at"},
		"client":    {"cert_file: " + a.client + ", key_file: " + a.key, exitGood, "lacks serverAuth"},
		"soon":      {"cert_file: " + a.soon + ", key_file: " + a.key, exitGood, "expires at"},
		"authority": {pair + ", ca_cert_path: " + a.expired, exitGood, "client certificates that it signed are refused"},
		"old list":  {pair + ", crl_path: " + a.oldList, exitGood, "a revocation list is outdated"},
	} {
		write(t, h.dir, "config.yaml.local", "api: {server: {tls: {"+c.tls+"}}}")
		p := start(t, nil, "-c", h.file, "-t")
		if code := p.wait(t); code != c.code || !strings.Contains(p.out.String(), c.want) {
			t.Errorf("%s: %d %s", name, code, p.out)
		}
	}
}

// TestExpiredCertificate: a server certificate out of date has one line: a test of the
// configuration ends with it, or says it beside what else is wrong, and a start and a
// reload say it and go on.
func TestExpiredCertificate(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	a := newAuthority(t, h.dir)
	expired := "api: {server: {tls: {cert_file: " + a.expired + ", key_file: " + a.key + "}}}\n"
	lines := func(out string) (says, errors int) {
		return strings.Count(out, "has expired at"), strings.Count(out, "level=error") + strings.Count(out, "level=fatal")
	}
	for local, want := range map[string]int{expired: 1, expired + "common: {log_media: file, log_dir: /nowhere/at/all}\n": 2} {
		write(t, h.dir, "config.yaml.local", local)
		p := start(t, nil, "-c", h.file, "-t")
		code, out := p.wait(t), p.out.String()
		if says, errors := lines(out); code != exitFails || says != 1 || errors != want {
			t.Errorf("exit %d, %d lines of trouble, want 1 about the certificate and %d in all:\n%s", code, errors, want, out)
		}
	}
	write(t, h.dir, "config.yaml.local", expired)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	await(t, "it is ready", func() bool { return strings.Contains(p.out.String(), "lapid is ready") })
	if says, errors := lines(p.out.String()); says != 1 || errors != 1 {
		t.Errorf("at the start: %s", p.out)
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	await(t, "it has reloaded", func() bool { return strings.Contains(p.out.String(), "reloaded: ") })
	if says, errors := lines(p.out.String()); says != 2 || errors != 2 {
		t.Errorf("after a reload: %s", p.out)
	}
}

// authority is a folder of files about certificates, all with one key but otherKey.
type authority struct{ cert, key, otherKey, expired, client, soon, oldList, badList string }

func newAuthority(t *testing.T, dir string) (a authority) {
	t.Helper()
	now := time.Now()
	keep := func(name, kind string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return write(t, dir, name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	}
	newKey := func(name string) (*ecdsa.PrivateKey, string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return key, keep(name, "PRIVATE KEY", der, err)
	}
	var key *ecdsa.PrivateKey
	key, a.key = newKey("key")
	_, a.otherKey = newKey("other-key")
	issue := func(name string, end time.Time, usage ...x509.ExtKeyUsage) (string, *x509.Certificate) {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour * 24 * 365), NotAfter: end, ExtKeyUsage: usage,
			KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}, IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		return keep(name, "CERTIFICATE", der, err), c
	}
	far := now.Add(365 * 24 * time.Hour)
	var issuer *x509.Certificate
	a.cert, issuer = issue("cert", far)
	a.expired, _ = issue("expired", now.Add(-time.Hour))
	a.client, _ = issue("client", far, x509.ExtKeyUsageClientAuth)
	a.soon, _ = issue("soon", now.Add(24*time.Hour))
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-48 * time.Hour), NextUpdate: now.Add(-24 * time.Hour)}
	der, err := x509.CreateRevocationList(rand.Reader, list, issuer, key)
	a.oldList = keep("old-list", "X509 CRL", der, err)
	a.badList = keep("bad-list", "X509 CRL", []byte("nothing"), nil)
	return a
}
