package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Parameters of argon2id for new hashes: 19 MiB, two passes, one thread, as is usual for servers. They
// stand in each hash, so other ones can be chosen later.
const (
	argonMemory  = 19 << 10 // KiB
	argonPasses  = 2
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonLength  = 32 // bytes
)

// What a hash from elsewhere may ask of the server at each login.
const (
	mostArgonMemory  = 64 << 10 // KiB
	mostArgonPasses  = 10
	mostArgonThreads = 4
)

const (
	// LongestPassword is for an operator's password, in bytes.
	LongestPassword = 1024
	// ShortestPassword is for one that an operator chooses, in bytes.
	ShortestPassword = 10
)

// HashPassword is the form in which an operator's password is kept: argon2id with a salt of its own,
// $argon2id$v=19$m=…,t=…,p=…$salt$hash. It takes some 20 ms and 19 MiB. engine.ErrInvalid for a password that
// is too short or too long.
func HashPassword(password string) (string, error) {
	if len(password) < ShortestPassword || len(password) > LongestPassword {
		return "", invalid("a password has %d to %d bytes, and this one %d", ShortestPassword, LongestPassword, len(password))
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails, see its documentation
	a := argonHash{memory: argonMemory, passes: argonPasses, threads: argonThreads, salt: salt}
	a.sum = a.of(password, argonLength)
	return a.String(), nil
}

// PasswordFits reports whether a password is that of a hash. It takes as long for a hash that cannot
// be read, and for none, as for a new one, so that nobody learns which names there are.
func PasswordFits(hash, password string) bool {
	a, err := parseArgon(hash)
	if err != nil {
		a = &argonHash{memory: argonMemory, passes: argonPasses, threads: argonThreads, salt: make([]byte, argonSalt), sum: make([]byte, argonLength)}
	}
	if len(password) > LongestPassword {
		password = ""
	}
	same := subtle.ConstantTimeCompare(a.of(password, len(a.sum)), a.sum) == 1
	return same && err == nil && password != ""
}

// argonHash is a password's hash with what it was made by.
type argonHash struct {
	memory, passes uint32
	threads        uint8
	salt, sum      []byte
}

func (a *argonHash) of(password string, length int) []byte {
	return argon2.IDKey([]byte(password), a.salt, a.passes, a.memory, a.threads, uint32(length))
}

func (a *argonHash) String() string {
	text := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.memory, a.passes, a.threads, text(a.salt), text(a.sum))
}

// parseArgon is the mirror, and refuses what would cost more than a login may.
func parseArgon(hash string) (*argonHash, error) {
	parts, a, version := strings.Split(hash, "$"), &argonHash{}, 0
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return nil, invalid("a password's hash is $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	_, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &a.memory, &a.passes, &a.threads)
	if err == nil {
		a.salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	}
	if err == nil {
		a.sum, err = base64.RawStdEncoding.DecodeString(parts[5])
	}
	switch {
	case err != nil || version != argon2.Version:
		return nil, invalid("a password's hash is $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	case a.memory < 8 || a.memory > mostArgonMemory || a.passes < 1 || a.passes > mostArgonPasses || a.threads < 1 || a.threads > mostArgonThreads:
		return nil, invalid("a password's hash may ask for m=8 to %d, t=1 to %d, p=1 to %d", mostArgonMemory, mostArgonPasses, mostArgonThreads)
	case len(a.salt) < 8 || len(a.salt) > 64 || len(a.sum) < 16 || len(a.sum) > 64:
		return nil, invalid("a password's hash has a salt of 8 to 64 bytes and a sum of 16 to 64")
	}
	return a, nil
}

// usablePasswordHash refuses what no password could fit to; "" is for none.
func usablePasswordHash(hash string) error {
	if hash == "" {
		return nil
	}
	_, err := parseArgon(hash)
	return err
}

// TokenMark begins each token, so that programs that look for leaked secrets find them.
const TokenMark = "lapid_"

// NewSecret is a token: the mark and 32 bytes of chance, 49 characters that fit into a header and a
// URL. Links have one too.
func NewSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return TokenMark + base64.RawURLEncoding.EncodeToString(b)
}

// HashSecret is the form in which tokens and links are kept.
func HashSecret(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}
