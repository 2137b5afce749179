package stream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"lapid/engine"
	"lapid/engine/enginetest"
)

// processes are three members of Debian's etcd-server, with TLS, and with users.
type processes struct {
	urls  []string
	tls   *tls.Config
	procs []*exec.Cmd
}

const debianUser, debianPassword = "lapid", "not a secret"

// startDebian starts them; etcd must be installed, or unpacked into the path, as .ci/run does.
func startDebian(t *testing.T) *processes {
	t.Helper()
	if _, err := exec.LookPath("etcd"); err != nil {
		t.Fatalf("Debian's etcd-server is needed, unpacked (`apt-get download etcd-server && dpkg-deb -x etcd-server_*.deb DIR`), with DIR/usr/bin in the path: %v", err)
	}
	dir := t.TempDir()
	p := &processes{tls: certificates(t, dir)}
	var ports []int
	for range 6 { // free a moment ago
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		_ = l.Close()
	}
	var cluster []string
	for i := range 3 {
		cluster = append(cluster, fmt.Sprintf("e%d=http://127.0.0.1:%d", i, ports[2*i]))
	}
	for i := range 3 {
		client, peer := fmt.Sprintf("https://127.0.0.1:%d", ports[2*i+1]), fmt.Sprintf("http://127.0.0.1:%d", ports[2*i])
		cmd := exec.Command("etcd", "--name", fmt.Sprintf("e%d", i), "--data-dir", filepath.Join(dir, fmt.Sprint(i)), "--unsafe-no-fsync", "--bcrypt-cost", "4",
			"--listen-client-urls", client, "--advertise-client-urls", client, "--cert-file", filepath.Join(dir, "cert.pem"), "--key-file", filepath.Join(dir, "key.pem"),
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", strings.Join(cluster, ","), "--logger", "zap", "--log-level", "error")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("etcd e%d: %s", i, said.String())
			}
		})
		p.urls, p.procs = append(p.urls, client), append(p.procs, cmd)
	}
	return p
}

// users turns on users: one that may do everything, and lapid's, which may do what it likes below /test.
func (p *processes) users(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := clientv3.New(clientv3.Config{Endpoints: p.urls, TLS: p.tls, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, "etcd answers", func() bool {
		bounded, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := c.Get(bounded, "x")
		return err == nil
	})
	steps := []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", debianPassword); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, debianUser); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, debianUser, "/test/", "/test0", clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := c.UserAdd(ctx, debianUser, debianPassword); return err },
		func() error { _, err := c.UserGrantRole(ctx, debianUser, debianUser); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d of turning on users: %v", i, err)
		}
	}
}

// certificates writes cert.pem and key.pem for loopback, and returns what trusts them.
func certificates(t *testing.T, dir string) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{"cert.pem": cert, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(cert)
	return &tls.Config{RootCAs: trusted}
}

// Three members of Debian's etcd, with TLS and a user that may do nothing but write below the prefix, are a journal too;
// one of them is killed, and commits go on.
func TestDebian(t *testing.T) {
	t.Parallel()
	p := startDebian(t)
	p.users(t)
	limited := func(o *Options) {
		o.Endpoints, o.TLS, o.User, o.Password = p.urls, p.tls, debianUser, debianPassword
	}
	t.Run("journal", func(t *testing.T) {
		enginetest.Journals(t, func(t *testing.T) enginetest.Shared {
			r := newRig(t)
			r.etcd = limited
			first := r.begun(nil)
			last := first
			return enginetest.Shared{Writer: first, Another: func() engine.Journal { return r.writer() }, Again: func() engine.Journal {
				_ = last.Close()
				last = r.writer()
				return last
			}}
		})
	})
	r := newRig(t)
	r.etcd = limited
	l := r.begun(nil)
	for name, wrong := range map[string]func(*Options){
		"may not":         func(o *Options) { o.Prefix = "/elsewhere" },
		"refuses":         func(o *Options) { o.Password = "wrong" },
		"x509":            func(o *Options) { o.TLS = &tls.Config{RootCAs: x509.NewCertPool()} },
		"asks for a user": func(o *Options) { o.User, o.Password = "", "" },
	} {
		wrong := r.open(wrong, nil)
		err := wrong.Check(context.Background())
		if err == nil {
			_, err = wrong.Join(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := l.Status(context.Background())
	if err != nil || len(s.Members) != 3 || !s.Members[0].Answers || s.Members[0].Version != "3.4.23" {
		t.Errorf("status: %+v, %v", s, err)
	}
	killed := -1
	for i, m := range s.Members {
		if m.Leader {
			killed = i
		}
	}
	if killed < 0 {
		t.Fatal("no member leads")
	}
	for rev := range engine.Revision(60) {
		if rev == 20 {
			_ = p.procs[killed].Process.Kill()
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := l.Append(ctx, rev, []byte(fmt.Sprint("commit ", rev))); err != nil {
			t.Fatalf("commit %d: %v", rev, err)
		}
		cancel()
	}
	follower := r.open(nil, nil)
	seen, over := 0, errors.New("over")
	err = follower.Follow(context.Background(), 0, func(_ engine.Revision, commit []byte) error {
		if string(commit) != fmt.Sprint("commit ", seen) {
			t.Errorf("%d is %q", seen, commit)
		}
		if seen++; seen == 60 {
			return over
		}
		return nil
	})
	if !errors.Is(err, over) {
		t.Error(err)
	}
}
