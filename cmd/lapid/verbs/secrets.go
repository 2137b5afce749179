package verbs

import (
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// hashPassword is the form in which a machine's password is kept. bcrypt, at
// its default cost: passwords are chosen by people and must be slow to
// guess.
func hashPassword(password string) ([]byte, error) {
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("unable to hash the password: %w", err)
	}
	return h, nil
}

// hashKey is the form in which an API key is kept. SHA-512 without salt: a generated
// key has 256 bits of chance, and each is looked up by its hash at every request.
func hashKey(key string) []byte {
	h := sha512.Sum512([]byte(key))
	return h[:]
}

// generatedKey is an API key: 32 bytes of chance in base64, 43 characters.
func generatedKey() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, see its documentation
	return base64.RawStdEncoding.EncodeToString(b)
}
