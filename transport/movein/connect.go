package movein

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// patience bounds how long a server may take to be reached and to answer, and a lock of
// another to be free.
const patience = 15 * time.Second

// busyStep is how long SQLite itself waits for a lock, in milliseconds: it is asked again then
// (Source.patiently).
const busyStep = 50

// connect prepares the driver; nothing is opened yet but files are looked for.
func connect(p Place) (*sql.DB, error) {
	switch p.Kind {
	case SQLite:
		return connectSQLite(p)
	case Postgres:
		return connectPostgres(p)
	case MySQL:
		return connectMySQL(p)
	}
	return nil, fmt.Errorf("%q is no kind of database that can be read", p.Kind)
}

// connectSQLite opens a file for reading. Never as immutable: that passes over the
// write-ahead log, and with it over what a running server wrote last.
func connectSQLite(p Place) (*sql.DB, error) {
	path, err := filepath.Abs(p.Path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s: name the old server's database with --from sqlite:PATH, or see db_config.db_path in its config.yaml", path)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file: name the database file itself, usually crowdsec.db in it", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("%s is empty: no server has written to it yet", path)
	}
	if f, err := os.Open(path); err != nil {
		return nil, err
	} else {
		f.Close()
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro&_pragma=busy_timeout(" + strconv.Itoa(busyStep) + ")&_pragma=query_only(1)"}
	return sql.Open("sqlite", u.String())
}

// connectPostgres hands values over one by one, so a password may hold anything.
func connectPostgres(p Place) (*sql.DB, error) {
	text := p.url
	if text == "" {
		text = postgresWords(p)
	}
	c, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("what says where the database is cannot be used: %w", err)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = cmp.Or(p.patience, patience)
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "lapid movein"
	}
	return stdlib.OpenDB(*c), nil
}

// postgresWords writes a place in libpq's words, each value quoted.
func postgresWords(p Place) string {
	var b strings.Builder
	word := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s='%s' ", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	host := p.Host
	if host == "" {
		host = p.Path
	}
	word("host", host)
	if p.Port != 0 {
		word("port", strconv.Itoa(p.Port))
	}
	word("user", p.User)
	word("password", p.secret())
	word("dbname", p.Name)
	word("sslmode", p.SSLMode)
	word("sslrootcert", p.CA)
	word("sslcert", p.Cert)
	word("sslkey", p.Key)
	return b.String()
}

// connectMySQL leaves the session's time zone and the text of times alone: what is in
// the columns is UTC, written in the zone that is the server's default.
func connectMySQL(p Place) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName, c.Timeout = p.User, p.secret(), p.Name, patience
	c.Logger = silent{}
	c.Net, c.Addr = "tcp", net.JoinHostPort(p.Host, strconv.Itoa(orUsual(p.Port, 3306)))
	if p.Host == "" && p.Path != "" {
		c.Net, c.Addr = "unix", p.Path
	}
	c.TLSConfig = p.SSLMode
	if p.CA != "" || p.Cert != "" {
		var err error
		if c.TLS, err = mysqlTLS(p); err != nil {
			return nil, err
		}
		c.TLSConfig = ""
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("what says where the database is cannot be used: %w", err)
	}
	return sql.OpenDB(connector), nil
}

func orUsual(port, usual int) int {
	if port == 0 {
		return usual
	}
	return port
}

// mysqlTLS trusts the given authority beside the system's and verifies fully.
func mysqlTLS(p Place) (*tls.Config, error) {
	c := &tls.Config{ServerName: p.Host, MinVersion: tls.VersionTLS12}
	if p.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		text, err := os.ReadFile(p.CA)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", p.CA)
		}
		c.RootCAs = pool
	}
	if p.Cert != "" {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// silent keeps the driver from writing to stderr; what it has to say is in its errors.
type silent struct{}

func (silent) Print(...any) {}
