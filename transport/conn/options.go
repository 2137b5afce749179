package conn

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
)

// Options say what a Front listens on and how much it lets in. All fields without a
// default beside them are required.
type Options struct {
	Listen     string      // host:port of the TCP listener; "": none
	Socket     string      // path of the Unix socket; "": none
	SocketMode fs.FileMode // of Socket, whatever the umask is
	TLS        *tls.Config // of the TCP listener; nil: plain

	// Loops is how many loops hold connections; 0: none, and each connection has a goroutine.
	Loops int
	// SecureAlone keeps those over TLS from the loops.
	SecureAlone bool

	Limits

	Routes     []Route // what can be asked; the number of one is Request.Line
	Owner      Owner
	NewHandler func() Handler // one for each loop, and for each request at once; reused
	Labour     func(int)      // told 1 when a body of more than AsIs bytes begins, -1 when it is over
	Now        func() int64   // Unix nanoseconds, for the Date of answers that end a connection
	Log        *slog.Logger
}
