package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"lapid/transport/wire"
)

// textSpeaksTLS is for clients that have http:// where it should be https://.
const textSpeaksTLS = "this port speaks TLS; use https://"

// explain tells a client that speaks plain HTTP where TLS is spoken, which is why the
// handshake failed.
func (c *secureConn) explain(err error) {
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader) {
		c.under.sayTLS()
	}
}

// looksLikeHTTP reports whether what came in place of a record is the beginning of
// a method and a blank, or of a method.
func looksLikeHTTP(in [5]byte) bool {
	for _, b := range in {
		if b == ' ' {
			return in[0] != ' '
		}
		if b < 'A' || b > 'Z' {
			return false
		}
	}
	return true
}

// sayTLS answers without TLS, and waits a moment for the end of the client, which
// would not see the answer after a reset.
func (c *conn) sayTLS() {
	body := wire.AppendMessage(nil, textSpeaksTLS)
	_ = c.Conn.SetWriteDeadline(time.Now().Add(lingering)) // refused: it is over, which Write says
	_, err := fmt.Fprintf(c.Conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", jsonType, len(body), body)
	if err != nil {
		return
	}
	c.linger(partingBytes)
}
