package movein

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Kind is a kind of database.
type Kind string

// The kinds of database that are read. MariaDB is MySQL.
const (
	SQLite   Kind = "sqlite"
	Postgres Kind = "postgres"
	MySQL    Kind = "mysql"
)

// Place says where a database is. It is a value; none of it is checked before Open.
type Place struct {
	Kind     Kind
	Path     string // SQLite: the file. Else a socket, where there is no host: MySQL's file, PostgreSQL's folder
	Host     string
	Port     int // 0: the usual one
	User     string
	Password string // never shown
	Name     string // of the database
	SSLMode  string // the words of the kind; "": its default
	CA       string // files in PEM
	Cert     string
	Key      string

	url      string        // PostgreSQL: a whole URL, which says everything
	patience time.Duration // with servers and locks; 0: the usual
}

// ParsePlace reads sqlite:PATH, postgres://… or mysql://…. A password may be left out
// and given by PGPASSWORD or MYSQL_PWD, which others do not see in a list of processes.
// Errors do not repeat what was given, for there may be a password in it.
func ParsePlace(text string) (Place, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	switch {
	case ok && (scheme == "sqlite" || scheme == "sqlite3"):
		rest = strings.TrimPrefix(rest, "//")
		if rest == "" {
			return Place{}, errors.New("sqlite: names no file: write sqlite:/var/lib/crowdsec/data/crowdsec.db")
		}
		return Place{Kind: SQLite, Path: rest}, nil
	case ok && scheme == "pgx": // the word of db_config
		return postgresPlace("postgres:" + rest)
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		return postgresPlace(text)
	case ok && (scheme == "mysql" || scheme == "mariadb"):
		return mysqlPlace(text)
	}
	return Place{}, errors.New("names no database that can be read: write sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/DATABASE or mysql://USER:PASSWORD@HOST:PORT/DATABASE")
}

func postgresPlace(text string) (Place, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Place{}, errors.New("is no URL: write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with signs other than letters and digits in the password as %XX")
	}
	p := Place{Kind: Postgres, User: u.User.Username(), Host: u.Hostname(), Name: strings.TrimPrefix(u.Path, "/"), url: text}
	options := u.Query()
	if h := options.Get("host"); p.Host == "" {
		p.Path = h
	}
	if p.Name == "" {
		p.Name = cmp.Or(options.Get("dbname"), options.Get("database"), os.Getenv("PGDATABASE"))
	}
	if p.Name == "" {
		return Place{}, errors.New("names no database: write postgres://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	p.Port, _ = strconv.Atoi(u.Port())
	return p, nil
}

func mysqlPlace(text string) (Place, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Place{}, errors.New("is no URL: write mysql://USER:PASSWORD@HOST:PORT/DATABASE, with signs other than letters and digits in the password as %XX")
	}
	p := Place{Kind: MySQL, User: u.User.Username(), Host: u.Hostname(), Name: strings.TrimPrefix(u.Path, "/")}
	p.Password, _ = u.User.Password()
	p.Port, _ = strconv.Atoi(u.Port())
	for key, values := range u.Query() {
		switch key {
		case "socket":
			p.Path = values[0]
		case "tls":
			p.SSLMode = values[0]
		case "ca":
			p.CA = values[0]
		case "cert":
			p.Cert = values[0]
		case "key":
			p.Key = values[0]
		default:
			return Place{}, fmt.Errorf("has the unknown option %q: there are socket, tls, ca, cert and key", key)
		}
	}
	if p.Host != "" && p.Path != "" {
		return Place{}, errors.New("names a host and a socket, and only one of them can be: write mysql://USER:PASSWORD@HOST:PORT/DATABASE, or mysql://USER:PASSWORD@/DATABASE?socket=PATH")
	}
	if p.Name == "" {
		return Place{}, errors.New("names no database: write mysql://USER:PASSWORD@HOST:PORT/DATABASE")
	}
	return p, nil
}

// KindOf gives the kind that a word of db_config.type means; false: none.
func KindOf(word string) (Kind, bool) {
	switch word {
	case "sqlite":
		return SQLite, true
	case "mysql":
		return MySQL, true
	case "postgres", "postgresql", "pgx":
		return Postgres, true
	}
	return "", false
}

// String names the place without its password.
func (p Place) String() string {
	switch {
	case p.Kind == SQLite:
		return "sqlite:" + p.Path
	case p.Host == "" && p.Path != "":
		return fmt.Sprintf("%s database %s by the socket %s", p.Kind, p.Name, p.Path)
	}
	host := p.Host
	if p.Port != 0 {
		host = net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	}
	return fmt.Sprintf("%s database %s on %s", p.Kind, p.Name, host)
}

// secret is the password, from the environment where none was given.
func (p Place) secret() string {
	if p.Password == "" && p.Kind == MySQL {
		return os.Getenv("MYSQL_PWD")
	}
	return p.Password
}
