package movein

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The servers of Debian's packages postgresql and mariadb-server, on data directories
// of their own and reached by sockets in them. Each is started once, for all tests.

// server is a database server of these tests.
type server struct {
	dir  string
	port int // 0: the usual one, which is in the name of PostgreSQL's socket
	cmd  *exec.Cmd
	err  error
}

var (
	postgresServer = sync.OnceValue(startPostgres)
	mariaServer    = sync.OnceValue(startMaria)
	started        []*server
	databases      atomic.Int64
)

func TestMain(m *testing.M) {
	if path := os.Getenv(beReader); path != "" {
		readAlone(path)
		return
	}
	code := m.Run()
	for _, s := range started {
		if s.cmd != nil && s.cmd.Process != nil {
			_ = s.cmd.Process.Signal(syscall.SIGQUIT) // at once, for nothing is kept
			_ = s.cmd.Wait()
		}
		_ = os.RemoveAll(s.dir)
	}
	os.Exit(code)
}

// program finds a program of a package, which may not be on the path.
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil && !strings.HasPrefix(path, "/usr/local") {
		return path
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	found = append(found, filepath.Join("/usr/sbin", name))
	return found[0]
}

// as gives a command the user that a server wants to be, where root is not allowed.
func as(c *exec.Cmd, name, dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	c.Dir = dir
	return os.Chown(dir, uid, gid)
}

func run(user, dir, name string, args ...string) error {
	c := exec.Command(program(name), args...)
	if err := as(c, user, dir); err != nil {
		return err
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

func start(s *server, user, name string, args ...string) {
	s.cmd = exec.Command(program(name), args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if s.err = as(s.cmd, user, s.dir); s.err != nil {
		return
	}
	s.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.err = err
		return
	}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.err = s.cmd.Start()
}

func startPostgres() *server {
	s := &server{}
	if s.dir, s.err = os.MkdirTemp("", "movein-pg"); s.err != nil {
		return s
	}
	started = append(started, s)
	_ = os.Chmod(s.dir, 0o755)
	data, words := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "word")
	if s.err = os.WriteFile(words, []byte(secretWord), 0o644); s.err != nil {
		return s
	}
	if s.err = run("postgres", s.dir, "initdb", "-D", data, "-U", "root", "-A", "scram-sha-256", "--pwfile="+words, "-N", "-E", "UTF8", "--locale=C.UTF-8"); s.err != nil {
		return s
	}
	start(s, "postgres", "postgres", "-D", data, "-k", s.dir, "-h", "", "-F", "-c", "timezone=Asia/Tokyo")
	return s
}

func startMaria() *server {
	s := &server{}
	if s.dir, s.err = os.MkdirTemp("", "movein-my"); s.err != nil {
		return s
	}
	started = append(started, s)
	_ = os.Chmod(s.dir, 0o755)
	data := filepath.Join(s.dir, "data")
	if s.err = run("mysql", s.dir, "mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db"); s.err != nil {
		return s
	}
	start(s, "mysql", "mariadbd", "--no-defaults", "--datadir="+data, "--socket="+filepath.Join(s.dir, "sock"), "--skip-networking", "--default-time-zone=+09:00",
		"--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--pid-file="+filepath.Join(s.dir, "pid"))
	return s
}

// admin is the place where databases are made.
func (s *server) admin(kind Kind) Place {
	if kind == Postgres {
		return Place{Kind: kind, Path: s.dir, Port: s.port, User: "root", Password: secretWord, Name: "postgres", SSLMode: "disable"}
	}
	return Place{Kind: kind, Path: filepath.Join(s.dir, "sock"), User: "root", Name: "mysql"}
}

const secretWord = `a b'c\d` // what a password may hold

// opened waits until a server answers.
func opened(t *testing.T, p Place) *sql.DB {
	t.Helper()
	db, err := connect(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for deadline := time.Now().Add(time.Minute); ; {
		if err = db.Ping(); err == nil {
			return db
		}
		if time.Now().After(deadline) {
			t.Fatalf("no server answers: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// database makes an empty database with a user of its own, who may only read it.
func database(t *testing.T, kind Kind) (p Place, owner *sql.DB) {
	t.Helper()
	if kind == SQLite {
		p = Place{Kind: kind, Path: filepath.Join(t.TempDir(), "crowdsec.db")}
		db, err := sql.Open("sqlite", p.Path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return p, db
	}
	s := postgresServer
	if kind == MySQL {
		s = mariaServer
	}
	at := s()
	if at.err != nil {
		t.Fatal(at.err)
	}
	all := at.admin(kind)
	db := opened(t, all)
	p = all
	p.Name = fmt.Sprintf("cs%d", databases.Add(1))
	p.User, p.Password = "reader_"+p.Name, secretWord
	exec1(t, db, "CREATE DATABASE "+p.Name)
	all.Name = p.Name
	owner = opened(t, all)
	if kind == Postgres {
		exec1(t, db, fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, p.User, strings.ReplaceAll(secretWord, "'", "''")))
		exec1(t, owner, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "+p.User)
		exec1(t, owner, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO "+p.User)
	} else {
		exec1(t, db, fmt.Sprintf(`CREATE USER %s@localhost IDENTIFIED BY '%s'`, p.User, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(secretWord)))
		exec1(t, db, fmt.Sprintf("GRANT SELECT ON %s.* TO %s@localhost", p.Name, p.User))
	}
	return p, owner
}

func exec1(t *testing.T, db *sql.DB, command string) {
	t.Helper()
	if _, err := db.Exec(command); err != nil {
		t.Fatalf("%v\n%.300s", err, command)
	}
}

// filled makes a database and loads a fixture into it.
func filled(t *testing.T, kind Kind, fixture string) (Place, *sql.DB) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", fixture))
	if err != nil {
		t.Fatal(err)
	}
	p, owner := database(t, kind)
	if kind == SQLite {
		exec1(t, owner, string(text))
		return p, owner
	}
	for _, command := range statements(string(text)) {
		exec1(t, owner, command)
	}
	return p, owner
}

// statements cuts a script at the semicolons at the ends of lines.
func statements(script string) []string {
	var all []string
	for _, one := range strings.Split(script, ";\n") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return slices.Clip(all)
}
