package movein

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlite "modernc.org/sqlite"
)

// explain makes a sentence with what to do of an error of a driver. No driver puts a
// password into its errors.
func explain(p Place, err error) error {
	if err == nil || errors.Is(err, errTold) {
		return err
	}
	advice := ""
	var lite *sqlite.Error
	var post *pgconn.PgError
	var my *mysql.MySQLError
	switch {
	case errors.Is(err, errOther):
	case errors.Is(err, fs.ErrPermission):
		advice = ": run this as root, or as the user that owns the file"
	case errors.As(err, &lite):
		advice = sqliteAdvice(p, lite)
	case errors.As(err, &post):
		advice = postgresAdvice(post)
	case errors.As(err, &my):
		advice = mysqlAdvice(my)
	case p.Kind != SQLite && tlsAdvice(err) != "":
		advice = tlsAdvice(err)
	case p.Kind != SQLite && unreachable(err):
		advice = ": the database server cannot be reached, or went away; look whether it runs, and whether host and port are right; nothing was taken over, run it again then"
	}
	return &told{err, fmt.Sprintf("%s: %s%s", p, strings.ReplaceAll(err.Error(), "%!w(<nil>)", "there is no address for the host"), advice)}
}

// told is an error that has its advice already.
type told struct {
	error
	text string
}

var errTold = errors.New("told")

func (t *told) Error() string       { return t.text }
func (t *told) Unwrap() error       { return t.error }
func (t *told) Is(other error) bool { return other == errTold }

// sqliteAdvice goes by the primary code of an error.
func sqliteAdvice(p Place, err *sqlite.Error) string {
	const hotJournal = 8 | 3<<8 // a write that was interrupted has to be rolled back
	if code := err.Code(); code == hotJournal {
		return ": the file was left in the middle of a write; start the old server once and stop it, then try again"
	} else if code = code & 0xff; code == 14 || code == 8 { // cannot open, or write, what lies beside it
		return fmt.Sprintf(": the folder must be writable for reading a database with a write-ahead log, and %s, or a file of the log in it, is not for this user; "+
			"run this as root or as the owner, or take a copy first with sqlite3 FILE \"VACUUM INTO 'COPY'\"", filepath.Dir(p.Path))
	}
	switch err.Code() & 0xff {
	case 5, 6: // busy, locked
		return ": the old server keeps the file locked; try again, or stop it"
	case 11: // corrupt
		return ": the file is damaged or only half of it was copied; take the copy again with sqlite3 FILE \"VACUUM INTO 'COPY'\", or read the old server's file itself"
	case 13: // full
		return ": there is no room left; make room, or name a folder on another disk"
	case 26: // not a database
		return ": this is no SQLite file, or an encrypted one; look at db_config.db_path of the old server"
	}
	return ""
}

func postgresAdvice(err *pgconn.PgError) string {
	switch {
	case strings.HasPrefix(err.Code, "28"):
		return ": user or password is wrong, or the server lets nobody in from here (pg_hba.conf)"
	case err.Code == "3D000":
		return ": there is no such database; look at db_config.db_name"
	case err.Code == "42501":
		return ": the user may not read the tables; SELECT on them, and on their sequences, is enough"
	case err.Code == "55P03":
		return ": another process keeps it locked; try again when that has ended, or look at pg_locks who it is"
	case strings.HasPrefix(err.Code, "57"), strings.HasPrefix(err.Code, "53"):
		return ": the database server ended this, or has no room; nothing was taken over, run it again"
	}
	return ""
}

func mysqlAdvice(err *mysql.MySQLError) string {
	switch err.Number {
	case 1045, 1698:
		return ": user or password is wrong, or not for this host"
	case 1044, 1142, 1143:
		return ": the user may not read the database; SELECT on its tables is enough"
	case 1049:
		return ": there is no such database; look at db_config.db_name"
	case 1205:
		return ": another process keeps it locked; try again when that has ended, or look at SHOW PROCESSLIST who it is"
	case 1053, 1927, 1317:
		return ": the database server ended this; nothing was taken over, run it again"
	}
	return ""
}

// tlsAdvice is about connections that fail for TLS.
func tlsAdvice(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "x509:"):
		return ": the database server's certificate is not trusted, or is for another name: name its authority's file in db_config.ssl_ca_cert (in a URL sslrootcert, or ca for MySQL), or look at db_config.host"
	case strings.Contains(text, "refused TLS"), errors.Is(err, mysql.ErrNoTLS):
		return ": the database server speaks no TLS: look at db_config.sslmode and db_config.ssl_ca_cert"
	case strings.Contains(text, "tls: "):
		return ": look at db_config.sslmode, and whether the server wants a certificate (db_config.ssl_client_cert, ssl_client_key)"
	}
	return ""
}

// unreachable is an error of the connection rather than of what was asked.
func unreachable(err error) bool {
	var connecting *pgconn.ConnectError
	text := err.Error()
	return errors.As(err, &connecting) || errors.Is(err, mysql.ErrInvalidConn) || strings.Contains(text, "bad connection") ||
		strings.Contains(text, "dial ") || strings.Contains(text, "EOF") || strings.Contains(text, "conn closed") || strings.Contains(text, "broken pipe") ||
		strings.Contains(text, "connection reset")
}
