package stream

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// A Seal closes what a cluster puts into etcd, with XChaCha20-Poly1305. A value is bound to the cluster and
// to the key it lies under. The zero Seal closes and opens nothing; any number of goroutines may use one.
type Seal struct {
	keys  []cipher.AEAD
	words [][sha256.Size]byte // of the same keys, what Digest goes by
}

const (
	sealLine   = "lapid-seal-1:" // begins a line of a seal file
	sealFormat = 1               // first byte of a sealed value
)

var errSeal = errors.New("it was not closed with this seal, or was altered since")

// NewSealLine returns a line for a seal file, with a new key of 256 bits.
func NewSealLine() string {
	key := make([]byte, chacha20poly1305.KeySize)
	_, _ = rand.Read(key) // never fails
	return sealLine + base64.RawURLEncoding.EncodeToString(key)
}

// ParseSeal reads a seal file: one or two lines, of which the first closes and both open. Empty lines and
// such that begin with # are passed over. An error says which line is wrong, and nothing of its content.
func ParseSeal(file []byte) (Seal, error) {
	var s Seal
	for n, line := range strings.Split(string(file), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		text, ok := strings.CutPrefix(line, sealLine)
		key, err := base64.RawURLEncoding.DecodeString(text)
		if !ok || err != nil || len(key) != chacha20poly1305.KeySize {
			return Seal{}, fmt.Errorf("line %d of the seal is not one that lapid made: `lapid cluster keys` makes seals", n+1)
		}
		if len(s.keys) == 2 {
			return Seal{}, fmt.Errorf("line %d of the seal is the third: the first closes, the second is the one before it, and there are no others", n+1)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return Seal{}, err
		}
		s.keys = append(s.keys, aead)
		s.words = append(s.words, sha256.Sum256(append([]byte("lapid digest\x00"), key...)))
	}
	if len(s.keys) == 0 {
		return Seal{}, errors.New("the seal has no line: `lapid cluster keys` makes seals")
	}
	return s, nil
}

// String keeps the keys out of logs.
func (Seal) String() string { return "(a seal)" }

// GoString does too.
func (Seal) GoString() string { return "(a seal)" }

// close seals what is to lie under a key (without the prefix) of a cluster.
func (s Seal) close(cluster ClusterID, key string, plain []byte) []byte {
	aead := s.keys[0]
	value := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(plain)+aead.Overhead())
	value[0] = sealFormat
	nonce := value[1:]
	_, _ = rand.Read(nonce)
	return aead.Seal(value, nonce, plain, bound(cluster, key))
}

// open is the mirror. old reports that the second line opened it.
func (s Seal) open(cluster ClusterID, key string, value []byte) (plain []byte, old bool, err error) {
	for i, aead := range s.keys {
		if len(value) < 1+aead.NonceSize() || value[0] != sealFormat {
			break
		}
		nonce, rest := value[1:1+aead.NonceSize()], value[1+aead.NonceSize():]
		if plain, err = aead.Open(nil, nonce, rest, bound(cluster, key)); err == nil {
			return plain, i > 0, nil
		}
	}
	return nil, false, fmt.Errorf("%s: %w", key, errSeal)
}

// bound is what a value cannot be taken away from.
func bound(cluster ClusterID, key string) []byte {
	return append(append([]byte("lapid stream 1\x00"), cluster[:]...), key...)
}
