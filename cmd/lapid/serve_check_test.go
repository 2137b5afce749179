package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestListenURI(t *testing.T) {
	t.Parallel()
	for uri, good := range map[string]bool{
		"127.0.0.1:8080": true, "[::]:80": true, ":8080": true, "name:1": true, "localhost:http": true,
		"unix:///run/lapi.sock": false, "/run/lapi.sock": false, "0.0.0.0:99999": false, "127.0.0.1:8080/": false,
		"127.0.0.1": false, "127.0.0.1:": false, "http://127.0.0.1:8080": false, "127.0.0.1:-1": false, "8080": false,
	} {
		s, err := load(t, plainConfig+"api: {server: {listen_uri: '"+uri+"'}}", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.server()
		if good != (err == nil) || !good && !(strings.Contains(err.Error(), "config.yaml:2:") && strings.Contains(err.Error(), "listen_socket")) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

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

func TestCertificateDates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &Setup{Config: Config{API: API{Server: &APIServer{TLS: &TLS{
		CertFile: write(t, dir, "cert", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		KeyFile:  write(t, dir, "key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))),
	}}}}}
	for want, at := range map[string]time.Time{"": now, "has expired at": now.Add(2 * time.Hour), "is not valid before": now.Add(-2 * time.Hour)} {
		var out bytes.Buffer
		s.checkDates(slog.New(slog.NewTextHandler(&out, nil)), at)
		if want == "" && out.Len() > 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%q: %s", want, &out)
		}
	}
}
