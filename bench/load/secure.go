//go:build linux

package load

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Records of TLS 1.3 (RFC 8446, section 5).
const (
	recordHead = 5
	recordMost = 1<<14 + 256 // of what follows the head
	plainMost  = 1 << 14
	ofAlert    = 21
	ofShake    = 22
	ofData     = 23
)

// shakeTime is how long a server may keep a handshake waiting.
const shakeTime = 10 * time.Second

var errRecord = errors.New("TLS record cannot be read")

// session encrypts a connection once its handshake is over, without allocating: crypto/tls would wait
// for a socket in a goroutine for each. It knows TLS 1.3 with AES-GCM, and no change of keys.
type session struct {
	in, out direction
	partial []byte // of a record whose end has not come
	inner   []byte // what is to be encrypted, with its type
}

// direction is one half of a session.
type direction struct {
	aead  cipher.AEAD
	iv    [12]byte
	nonce [12]byte
	count uint64 // records so far
}

// secure carries out a handshake on a socket that still blocks.
func secure(fd int, config *tls.Config) (*session, error) {
	limit := unix.NsecToTimeval(int64(shakeTime))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, fmt.Errorf("socket option: %w", err)
	}
	var secrets keyLog
	config = config.Clone()
	config.KeyLogWriter, config.MinVersion = &secrets, tls.VersionTLS13
	c := tls.Client(&blocking{fd: fd}, config)
	if err := c.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	s := new(session)
	suite := c.ConnectionState().CipherSuite
	return s, errors.Join(s.in.init(suite, secrets.server), s.out.init(suite, secrets.client))
}

// init derives key and nonces from a traffic secret.
func (d *direction) init(suite uint16, secret []byte) error {
	var size int
	var sum func() hash.Hash
	switch suite {
	case tls.TLS_AES_128_GCM_SHA256:
		size, sum = 16, sha256.New
	case tls.TLS_AES_256_GCM_SHA384:
		size, sum = 32, sha512.New384
	default:
		return fmt.Errorf("TLS cipher suite %s is not spoken here", tls.CipherSuiteName(suite))
	}
	key, err := expand(sum, secret, "key", size)
	if err != nil {
		return err
	}
	iv, err := expand(sum, secret, "iv", len(d.iv))
	if err != nil {
		return err
	}
	copy(d.iv[:], iv)
	block, err := aes.NewCipher(key)
	if err == nil {
		d.aead, err = cipher.NewGCM(block)
	}
	return err
}

// expand is HKDF-Expand-Label without a context.
func expand(sum func() hash.Hash, secret []byte, label string, size int) ([]byte, error) {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(append(info, byte(len(label))), label...)
	return hkdf.Expand(sum, secret, string(append(info, 0)), size)
}

// next gives the nonce of the next record.
func (d *direction) next() []byte {
	copy(d.nonce[:], d.iv[:])
	binary.BigEndian.PutUint64(d.nonce[4:], binary.BigEndian.Uint64(d.nonce[4:])^d.count)
	d.count++
	return d.nonce[:]
}

// seal appends text to dst as records.
func (s *session) seal(dst, text []byte) []byte {
	for len(text) > 0 {
		n := min(len(text), plainMost)
		s.inner = append(append(s.inner[:0], text[:n]...), ofData)
		text = text[n:]
		at := len(dst)
		dst = append(dst, ofData, 3, 3)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s.inner)+s.out.aead.Overhead()))
		dst = s.out.aead.Seal(dst, s.out.next(), s.inner, dst[at:])
	}
	return dst
}

// feed gives an answer what records have, and writes into them. It says whether the answer is complete,
// and how much came behind it.
func (s *session) feed(a *answer, b []byte) (rest int, done bool, err error) {
	if len(s.partial) > 0 {
		s.partial = append(s.partial, b...)
		b = s.partial
	}
	for len(b) >= recordHead {
		size := int(binary.BigEndian.Uint16(b[3:]))
		if size > recordMost {
			return 0, false, errRecord
		}
		if len(b) < recordHead+size {
			break
		}
		text, err := s.open(b[:recordHead+size])
		if err != nil {
			return 0, false, err
		}
		b = b[recordHead+size:]
		if done {
			rest += len(text)
		} else if len(text) > 0 {
			var used int
			if used, done, err = a.feed(text); err != nil {
				return 0, false, err
			}
			rest += len(text) - used
		}
	}
	s.partial = append(s.partial[:0], b...) // the same array, or another: append copies either
	return rest, done, nil
}

// open decrypts a record in place. What says nothing to an answer, as tickets, gives nothing.
func (s *session) open(record []byte) ([]byte, error) {
	head, body := record[:recordHead], record[recordHead:]
	inner, err := s.in.aead.Open(body[:0], s.in.next(), body, head)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	inner = bytes.TrimRight(inner, "\x00")
	if len(inner) == 0 {
		return nil, errRecord
	}
	text, kind := inner[:len(inner)-1], inner[len(inner)-1]
	switch kind {
	case ofData:
		return text, nil
	case ofShake:
		if len(text) > 0 && text[0] == 24 {
			return nil, fmt.Errorf("%w: the server changes its key", errRecord)
		}
		return nil, nil
	case ofAlert:
		return nil, fmt.Errorf("TLS alert % x", text)
	}
	return nil, fmt.Errorf("%w: of type %d", errRecord, kind)
}

// keyLog takes the secrets that a handshake ends with.
type keyLog struct{ client, server []byte }

func (k *keyLog) Write(line []byte) (int, error) {
	word := bytes.Fields(line)
	if len(word) != 3 {
		return len(line), nil
	}
	secret, err := hex.AppendDecode(nil, word[2])
	if err != nil {
		return 0, err
	}
	switch string(word[0]) {
	case "CLIENT_TRAFFIC_SECRET_0":
		k.client = secret
	case "SERVER_TRAFFIC_SECRET_0":
		k.server = secret
	}
	return len(line), nil
}

// blocking is a socket for crypto/tls. It never gives more than the record that has begun, so that what
// follows the handshake stays in the socket.
type blocking struct {
	fd   int
	head []byte // of the record, as far as it was given
	left int    // of the rest of it
}

func (c *blocking) Read(b []byte) (int, error) {
	limit := c.left
	if limit == 0 {
		limit = recordHead - len(c.head)
	}
	n, err := unix.Read(c.fd, b[:min(len(b), limit)])
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(c.fd, b[:min(len(b), limit)])
	}
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	if c.left > 0 {
		c.left -= n
		return n, nil
	}
	if c.head = append(c.head, b[:n]...); len(c.head) == recordHead {
		c.left = int(binary.BigEndian.Uint16(c.head[3:]))
		c.head = c.head[:0]
	}
	return n, nil
}

func (c *blocking) Write(b []byte) (sent int, err error) {
	for sent < len(b) && err == nil {
		var n int
		if n, err = unix.Write(c.fd, b[sent:]); n > 0 {
			sent += n
		}
		if errors.Is(err, unix.EINTR) {
			err = nil
		}
	}
	return sent, err
}

func (c *blocking) Close() error                     { return nil }
func (c *blocking) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *blocking) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *blocking) SetDeadline(time.Time) error      { return nil }
func (c *blocking) SetReadDeadline(time.Time) error  { return nil }
func (c *blocking) SetWriteDeadline(time.Time) error { return nil }

// ClientTLS is what a client needs that measures: TLS 1.3 over X25519, whatever certificate the server
// shows, and one of its own if it is given one. Nothing is resumed.
func ClientTLS(own *tls.Certificate) *tls.Config {
	c := &tls.Config{
		InsecureSkipVerify: true, // the server was started here; its chain is not what is measured
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   []tls.CurveID{tls.X25519},
	}
	if own != nil {
		c.Certificates = []tls.Certificate{*own}
	}
	return c
}
