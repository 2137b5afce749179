package movein

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// beReader has the test's own program read the database file that the variable names, and say
// what came of it: for tests as another user, or within other limits.
const (
	beReader = "LAPID_TEST_READS"
	fewFiles = "LAPID_TEST_FILES" // how many files that one may have open; 0: as many as usual
)

func readAlone(path string) {
	if n, _ := strconv.Atoi(os.Getenv(fewFiles)); n > 0 {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}); err != nil {
			panic(err)
		}
	}
	s, err := Open(context.Background(), Place{Kind: SQLite, Path: path})
	var tally *Tally
	if err == nil {
		tally, err = s.Read(context.Background(), Options{Now: now}, Nobody{})
		s.Close()
	}
	if err == nil {
		err = tally.Unfit(false)
	}
	fmt.Println("read:", err)
}

// alone reads a file in a process of its own, as nobody, with a limit of open files (0: the usual).
func alone(t *testing.T, path string, files int) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program") // where nobody may run it
	// By another process: what this one writes, its other children might hold open a moment.
	if out, err := exec.Command("install", "-m", "755", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for dir := filepath.Dir(program); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755)
	}
	c := exec.Command(program)
	c.Env = append(os.Environ(), beReader+"="+path, fmt.Sprint(fewFiles, "=", files))
	if os.Getuid() == 0 {
		u, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	c.Dir = "/"
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestFilesThatMayNotBeRead is as a user who may do little.
func TestFilesThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	exec1(t, owner, "PRAGMA journal_mode = WAL")
	exec1(t, owner, "UPDATE machines SET version = 'in the log'")
	dir := filepath.Dir(p.Path)
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	log := func(mode os.FileMode) {
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.Chmod(p.Path+end, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	log(0o600)
	if said := alone(t, p.Path, 0); os.Getuid() == 0 && !strings.Contains(said, "run this as root, or as the user that owns the file") {
		t.Errorf("without any right: %s", said)
	}
	log(0o644)
	if said := alone(t, p.Path, 0); os.Getuid() == 0 && !strings.Contains(said, "read: <nil>") && !strings.Contains(said, "the folder must be writable") {
		t.Errorf("with a log that may not be written: %s", said)
	}
	if err := os.Remove(p.Path + "-shm"); err != nil {
		t.Fatal(err)
	}
	if said := alone(t, p.Path, 0); os.Getuid() == 0 && !strings.Contains(said, "the folder must be writable for reading a database with a write-ahead log") {
		t.Errorf("in a folder that may not be written: %s", said)
	}
	owner.Close() // which ends the log, and the mode stays
	if _, err := os.Stat(p.Path + "-wal"); err == nil {
		t.Fatal("the log is still there")
	}
	if said := alone(t, p.Path, 0); os.Getuid() == 0 && (!strings.Contains(said, "the folder must be writable for reading a database with a write-ahead log") || !strings.Contains(said, dir)) {
		t.Errorf("in a folder that may not be written, without a log: %s", said)
	}
}

// TestWithoutFiles: where no file can be opened any more there is an error, and nothing else.
func TestWithoutFiles(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	owner.Close()
	for at := filepath.Dir(p.Path); at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_ = os.Chmod(p.Path, 0o644)
	refused := 0
	for files := 4; files < 16; files++ {
		said := alone(t, p.Path, files)
		if !strings.Contains(said, "read: ") || strings.Contains(said, "panic") {
			t.Errorf("with %d: %s", files, said)
		}
		if !strings.Contains(said, "read: <nil>") {
			refused++
		}
	}
	if refused == 0 {
		t.Error("it always worked")
	}
}

// TestLockedSQLite: a server that holds the file locked is waited for, and then named.
func TestLockedSQLite(t *testing.T) {
	t.Parallel()
	p, owner := filled(t, SQLite, "sqlite-1.7.sql")
	owner.SetMaxOpenConns(1)
	exec1(t, owner, "BEGIN EXCLUSIVE")
	p.patience = 50 * time.Millisecond
	s, err := Open(t.Context(), p)
	if err == nil {
		_, err = s.Read(t.Context(), Options{Now: now}, Nobody{})
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "the old server keeps the file locked") {
		t.Errorf("it says %v", err)
	}
	exec1(t, owner, "ROLLBACK")
	taken(t, p)
}

// TestHalfWritten reads copies that were taken in the middle of a write, cut and damaged ones:
// an error, or all that it counts. There is no third.
func TestHalfWritten(t *testing.T) {
	t.Parallel()
	whole, owner := filled(t, SQLite, "sqlite-1.7.sql")
	exec1(t, owner, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
		INSERT INTO alerts (id, created_at, updated_at, scenario, simulated, machine_alerts) SELECT 1000 + i, '2026-07-01 10:00:00+00:00', '2026-07-01 10:00:00+00:00', 's', 0, 1 FROM n`)
	text, err := os.ReadFile(whole.Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	read := func(name string, text []byte) error {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), Place{Kind: SQLite, Path: path})
		if err != nil {
			return err
		}
		defer s.Close()
		tally, err := s.Read(t.Context(), Options{Now: now}, Nobody{})
		if err == nil {
			err = tally.Unfit(false)
		}
		return err
	}
	failed := 0
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		cut := r.IntN(len(text))
		if read(fmt.Sprint("cut", i), text[:cut]) != nil {
			failed++
		}
		harmed := append([]byte{}, text...)
		for range 1 + r.IntN(400) {
			harmed[r.IntN(len(harmed))] = byte(r.Uint32())
		}
		if read(fmt.Sprint("harmed", i), harmed) != nil {
			failed++
		}
	}
	if failed < 60 {
		t.Errorf("%d of 120 fail", failed)
	}
	// The journal of a write that was under way: it has to be rolled back, which a reader may not.
	owner.SetMaxOpenConns(1)
	for _, c := range []string{"PRAGMA cache_size = 2", "BEGIN", "UPDATE alerts SET scenario = 'another one which is longer', message = 'and more'"} {
		exec1(t, owner, c)
	}
	for _, end := range []string{"", "-journal"} {
		text, err := os.ReadFile(whole.Path + end)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "hot"+end), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	exec1(t, owner, "ROLLBACK")
	hot, err := os.ReadFile(filepath.Join(dir, "hot"))
	if err != nil {
		t.Fatal(err)
	}
	if err := read("hot", hot); err == nil || !strings.Contains(err.Error(), "in the middle of a write") {
		t.Errorf("with a journal that is to be rolled back: %v", err)
	}
}

// authority is a certificate authority of a test, and what it signs.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.cert, a.key = a.sign(name, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign writes NAME.pem and NAME.key.
func (a *authority) sign(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(crand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for end, block := range map[string]*pem.Block{".pem": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(filepath.Join(a.dir, name+end), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

// TestServersOverTLS has the words of db_config about TLS, on servers that ask for it.
func TestServersOverTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Postgres, MySQL} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, certs, port := startOverTLS(t, kind)
			admin := s.admin(kind)
			owner := opened(t, admin)
			p := Place{Kind: kind, Host: "127.0.0.1", Port: port, User: "over_tls", Password: secretWord, Name: "cs"}
			if kind == Postgres {
				exec1(t, owner, "CREATE ROLE over_tls LOGIN SUPERUSER PASSWORD '"+strings.ReplaceAll(secretWord, "'", "''")+"'")
			} else {
				exec1(t, owner, "CREATE USER over_tls@'127.0.0.1' IDENTIFIED BY '"+strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(secretWord)+"' REQUIRE SSL")
				exec1(t, owner, "GRANT ALL ON *.* TO over_tls@'127.0.0.1'")
			}
			exec1(t, owner, "CREATE DATABASE cs")
			admin.Name = "cs"
			file := map[Kind]string{Postgres: "postgres-1.7.sql", MySQL: "mysql-1.7.sql"}[kind]
			text, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			inside := opened(t, admin)
			inside.SetMaxOpenConns(1)
			for _, command := range statements(string(text)) {
				exec1(t, inside, command)
			}
			ca, other := filepath.Join(certs, "ca.pem"), filepath.Join(certs, "other.pem")
			for _, c := range []struct {
				word, ca string
				client   bool
				says     string // "": it is read
			}{
				{map[Kind]string{Postgres: "require", MySQL: "skip-verify"}[kind], "", true, ""},
				{map[Kind]string{Postgres: "verify-full", MySQL: ""}[kind], ca, true, ""},
				{map[Kind]string{Postgres: "verify-ca", MySQL: "true"}[kind], ca, true, ""},
				{map[Kind]string{Postgres: "verify-full", MySQL: ""}[kind], other, true, "ssl_ca_cert"},
				{map[Kind]string{Postgres: "verify-full", MySQL: "true"}[kind], "", true, "ssl_ca_cert"},
				{map[Kind]string{Postgres: "disable", MySQL: "false"}[kind], "", false, map[Kind]string{Postgres: "user or password is wrong, or the server lets nobody in", MySQL: "user or password is wrong"}[kind]},
				{"nonsense", "", false, "cannot be used"},
				{map[Kind]string{Postgres: "verify-full", MySQL: ""}[kind], filepath.Join(certs, "none.pem"), true, "none.pem"},
			} {
				p := p
				p.SSLMode, p.CA = c.word, c.ca
				if c.client && (kind == Postgres || c.ca != "") {
					p.Cert, p.Key = filepath.Join(certs, "client.pem"), filepath.Join(certs, "client.key")
				}
				err := readOnce(t, p)
				if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("%+v: it says %v", c, err)
				}
				if err != nil && strings.Contains(err.Error(), secretWord) {
					t.Error("the password is in it")
				}
			}
		})
	}
}

func readOnce(t *testing.T, p Place) error {
	t.Helper()
	s, err := Open(t.Context(), p)
	if err != nil {
		return err
	}
	defer s.Close()
	tally, err := s.Read(t.Context(), Options{Now: now}, Nobody{})
	if err == nil {
		err = tally.Unfit(false)
	}
	return err
}

// startOverTLS starts a server of its own that speaks TLS on a port; PostgreSQL's asks for a
// certificate as well.
func startOverTLS(t *testing.T, kind Kind) (s *server, certs string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	s = &server{}
	if s.dir, err = os.MkdirTemp("", "movein-tls"); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(s.dir, 0o755)
	certs = t.TempDir()
	a := newAuthority(t, certs, "ca")
	newAuthority(t, certs, "other")
	a.sign("server", &x509.Certificate{Subject: pkix.Name{CommonName: "server"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	a.sign("client", &x509.Certificate{Subject: pkix.Name{CommonName: "over_tls"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	account := map[Kind]string{Postgres: "postgres", MySQL: "mysql"}[kind]
	for _, name := range []string{"ca.pem", "server.pem", "server.key"} {
		text, err := os.ReadFile(filepath.Join(certs, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if u, err := user.Lookup(account); err == nil && os.Getuid() == 0 {
			uid, _ := strconv.Atoi(u.Uid)
			gid, _ := strconv.Atoi(u.Gid)
			_ = os.Chown(filepath.Join(s.dir, name), uid, gid)
		}
	}
	data, at := filepath.Join(s.dir, "data"), func(name string) string { return filepath.Join(s.dir, name) }
	if kind == Postgres {
		words := at("word")
		if err := os.WriteFile(words, []byte(secretWord), 0o644); err != nil {
			t.Fatal(err)
		}
		s.err = run(account, s.dir, "initdb", "-D", data, "-U", "root", "-A", "scram-sha-256", "--pwfile="+words, "-N", "-E", "UTF8", "--locale=C.UTF-8")
		if s.err == nil {
			s.err = os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"), 0o600)
		}
		if s.err == nil {
			start(s, account, "postgres", "-D", data, "-k", s.dir, "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-F", "-c", "ssl=on", "-c", "ssl_cert_file="+at("server.pem"),
				"-c", "ssl_key_file="+at("server.key"), "-c", "ssl_ca_file="+at("ca.pem"))
		}
	} else {
		s.err = run(account, s.dir, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
		if s.err == nil {
			start(s, account, "mariadbd", "--no-defaults", "--datadir="+data, "--socket="+at("sock"), "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port),
				"--ssl-ca="+at("ca.pem"), "--ssl-cert="+at("server.pem"), "--ssl-key="+at("server.key"), "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--pid-file="+at("pid"))
		}
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	s.port = port
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		_ = s.cmd.Wait()
		_ = os.RemoveAll(s.dir)
	})
	return s, certs, port
}

// TestServerIsKilled kills the whole server in the middle of the reading.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	s, certs, port := startOverTLS(t, Postgres)
	owner := opened(t, s.admin(Postgres))
	owner.SetMaxOpenConns(1)
	text, err := os.ReadFile(filepath.Join("testdata", "postgres-1.7.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range statements(string(text)) {
		exec1(t, owner, command)
	}
	h := newHouse(t)
	source, err := Open(t.Context(), Place{Kind: Postgres, Host: "127.0.0.1", Port: port, User: "root", Password: secretWord, Name: "postgres", SSLMode: "verify-full",
		CA: filepath.Join(certs, "ca.pem"), Cert: filepath.Join(certs, "client.pem"), Key: filepath.Join(certs, "client.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	// Its processes for connections would go on for a moment without the one that began them.
	kill := func() error {
		var process int
		if err := owner.QueryRow("select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()").Scan(&process); err != nil {
			return err
		}
		return errors.Join(s.cmd.Process.Kill(), syscall.Kill(process, syscall.SIGKILL))
	}
	_, err = source.Read(t.Context(), Options{Now: now}, &killer{Nobody{}, kill})
	if err == nil || !strings.Contains(err.Error(), "nothing was taken over") {
		t.Errorf("it says %v", err)
	}
	if m := h.e.Metrics(); m.Bouncers+m.Machines != 0 {
		t.Error("something is there")
	}
}
