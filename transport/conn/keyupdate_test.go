package conn

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// writer writes records of TLS 1.3 as a client, with keys that the client has told: what
// Go's client never says can be said so.
type writer struct {
	t      *testing.T
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	n      uint64
}

func newWriter(t *testing.T, secret []byte, n uint64) *writer {
	w := &writer{t: t, secret: secret, n: n}
	block, err := aes.NewCipher(w.expand("key", 16))
	if err == nil {
		w.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.iv = w.expand("iv", 12)
	return w
}

// expand is HKDF-Expand-Label of RFC 8446, 7.1.
func (w *writer) expand(label string, size int) []byte {
	info := append([]byte{0, byte(size), byte(len("tls13 " + label))}, "tls13 "+label+"\x00"...)
	out, err := hkdf.Expand(sha256.New, w.secret, string(info), size)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// record is one of a type: 22 for the handshake, 23 for what is said, 21 for an alert.
func (w *writer) record(kind byte, data string) []byte {
	text := append([]byte(data), kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(text)+16))
	nonce := append([]byte(nil), w.iv...)
	for i := range 8 {
		nonce[4+i] ^= byte(w.n >> (56 - 8*i))
	}
	w.n++
	return w.aead.Seal(head, nonce, text, head[:5:5])
}

// newWriterOf is one for the client of a new connection.
func newWriterOf(t *testing.T) (*pipe, *writer) {
	t.Helper()
	var keys strings.Builder
	p := newPipeWith(t, tls.VersionTLS13, &keys)
	var secret []byte
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, _ = hex.DecodeString(f[2])
		}
	}
	if len(secret) != 32 {
		t.Fatalf("a secret of %d bytes", len(secret))
	}
	return p, newWriter(t, secret, 0)
}

// TestSessionMute: of a message for crypto/tls that never ends little is kept, for the connection
// ends. Changes of keys go on for ever while something is said between.
func TestSessionMute(t *testing.T) {
	p, w := newWriterOf(t)
	for range 300 {
		row := w.record(22, "\x18\x00\x00\x01\x00")
		w = w.next()
		if text, err := p.open(append(row, w.record(23, "x")...)); text != "x" || err != nil {
			t.Fatalf("%q, %v", text, err)
		}
	}
	for _, size := range []int{100, 1000, 16000} {
		p, w := newWriterOf(t)
		text, err := p.open(w.record(22, "\x18\x00\xff\xff"))
		sent := 0
		for ; text == "" && err == nil && sent < 64<<10; sent += size {
			text, err = p.open(w.record(22, strings.Repeat("x", size)))
		}
		if text != "" || !errors.Is(err, errMute) || sent > muteAtMost+size || p.session.Held() == 0 {
			t.Errorf("in parts of %d: %q, %v after %d bytes", size, text, err, sent)
		}
	}
}

// next are the keys after a change of them.
func (w *writer) next() *writer { return newWriter(w.t, w.expand("traffic upd", 32), 0) }

// TestSessionNewKeys: a client may change its keys at any moment, and ask for a change of
// ours, in one record or in parts, cut anywhere; and say other things that are no request.
func TestSessionNewKeys(t *testing.T) {
	asks, tells := "\x18\x00\x00\x01\x01", "\x18\x00\x00\x01\x00"
	for _, cut := range []int{0, 1, 4, 5, 11, 26, 27, 30, 40, 1 << 10} {
		p, w := newWriterOf(t)
		row := w.record(23, "one")
		row = append(row, w.record(23, "")...) // which means nothing
		row = append(row, w.record(22, tells)...)
		w = w.next()
		row = append(row, w.record(23, "two")...)
		row = append(row, w.record(22, asks[:2])...)
		row = append(row, w.record(22, asks[2:])...)
		w = w.next()
		row = append(row, w.record(23, "three")...)
		cut = min(cut, len(row))
		first, err := p.open(row[:cut])
		if err != nil {
			t.Fatal(err)
		}
		rest, err := p.open(row[cut:])
		if err != nil || first+rest != "onetwothree" || p.session.Held() != 0 {
			t.Fatalf("cut at %d: %q, %v", cut, first+rest, err)
		}
		p.answer("yes") // with new keys, behind a word about them
		text, err := p.open(append(w.record(23, "four"), w.record(21, "\x01\x00")...))
		if text != "four" || err == nil {
			t.Fatalf("%q, %v", text, err)
		}
	}
	p := newPipe(t, tls.VersionTLS13)
	for range 100 { // nothing is remembered of having had nothing
		if text, err := p.open(nil); text != "" || err != nil {
			t.Fatal(text, err)
		}
	}
	p.session.ahead = true
	if text, err := p.open(nil); text != "" || err != nil || p.session.ahead {
		t.Fatal(text, err)
	}
	if text, err := p.open(p.say("five")); text != "five" || err != nil {
		t.Fatal(text, err)
	}
}
