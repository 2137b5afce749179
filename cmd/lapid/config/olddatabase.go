package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"lapid/transport/movein"
)

// OldDatabase is the database that db_config names: that of a CrowdSec server. The error
// says what to write.
func (s *Setup) OldDatabase() (movein.Place, error) {
	d := &s.Config.DB
	if d.Type == "" && d.Path == "" {
		return movein.Place{}, fmt.Errorf("there is no db_config that names a database (%s): name the old server's config.yaml with -c, or its database with --from", s.Origin())
	}
	kind, ok := movein.KindOf(d.Type)
	if !ok {
		return movein.Place{}, s.Bad("db_config.type", "db_config.type is %q, and must be sqlite, mysql, postgres, postgresql or pgx to say which database is taken over; or name it with --from", d.Type)
	}
	if kind == movein.SQLite && d.Path == "" {
		return movein.Place{}, s.Bad("db_config.type", "db_config.db_path is missing: name the database with --from sqlite:PATH")
	}
	return movein.Place{Kind: kind, Path: d.Path, Host: d.Host, Port: d.Port, User: d.User, Password: d.Password, Name: d.Name,
		SSLMode: d.SSLMode, CA: d.SSLCACert, Cert: d.SSLCert, Key: d.SSLKey}, nil
}

// DatabaseLeft says that what is in the reference's own database is not in force here, for
// a store that has nothing of it; "" where db_config names none, or an SQLite file to which
// nothing was ever written.
func (s *Setup) DatabaseLeft() string {
	path, what := "db_config.db_path", ""
	switch d := &s.Config.DB; d.Type {
	case "mysql", "postgres", "postgresql", "pgx":
		where := d.Name
		if d.Host != "" {
			where += " on " + d.Host
		}
		path, what = "db_config.type", "the "+d.Type+" database "+strings.TrimSpace(where)
	default:
		if d.Path == "" || !usedSQLite(d.Path) {
			return ""
		}
		what = d.Path + ", the database of an old installation,"
	}
	text := path + ": " + what + " is not taken over by a start: 'lapid" + s.Named() + " movein' does that, with its bouncers, machines, decisions, alerts and allowlists"
	if n := s.place[path]; n != nil {
		text = n.at() + ": " + text
	}
	return text
}

// The ways in which the SQLite file that db_config names has nothing to take over.
const (
	OldMissing = "is missing"
	OldEmpty   = "is empty"
	OldOther   = "is no SQLite database"
)

// OldFile is the SQLite file that db_config names, and why nothing can be taken over from it,
// one of the words above; "": nothing is known against it, or db_config names none.
func (s *Setup) OldFile() (path, wrong string) {
	path = s.Config.DB.Path
	if s.Config.DB.Type != "sqlite" || path == "" {
		return "", ""
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, OldMissing
	case err != nil:
		return path, ""
	case info.Mode().IsRegular() && info.Size() == 0:
		return path, OldEmpty
	case !usedSQLite(path):
		return path, OldOther
	}
	return path, ""
}

// checkMoveIn: the three words that there are.
func (s *Settings) checkMoveIn() error {
	if w := s.MoveIn; w != "" && w != "auto" && w != "off" && w != "never" {
		return fmt.Errorf("movein must be auto, off or never, not %q", w)
	}
	return nil
}
