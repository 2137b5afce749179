package admin_test

import (
	"errors"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/transport/admin"
)

// A hash fits its password alone, two of one password differ, and the parameters stand in it.
func TestOperatorPasswords(t *testing.T) {
	t.Parallel()
	const password = "correct horse battery"
	one, err := admin.HashPassword(password)
	two, again := admin.HashPassword(password)
	if err != nil || again != nil || one == two || !strings.HasPrefix(one, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(one, two, err, again)
	}
	if !admin.PasswordFits(one, password) || !admin.PasswordFits(two, password) {
		t.Error("a password does not fit its own hash")
	}
	for _, wrong := range []string{"", password + " ", "Correct horse battery", strings.Repeat("x", admin.LongestPassword+1)} {
		if admin.PasswordFits(one, wrong) {
			t.Errorf("%q fits", wrong)
		}
	}
	for _, p := range []string{"", "short", strings.Repeat("x", admin.LongestPassword+1)} {
		if _, err := admin.HashPassword(p); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("a password of %d bytes: %v", len(p), err)
		}
	}
}

// What is no hash, or asks for more than a login may cost, fits nothing.
func TestForeignHashes(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{"", "secret", "$argon2id$", "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=4294967295,t=2,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=4294967295,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=16$m=64,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=64,t=1,p=0$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=64,t=1,p=1$$", "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAA$AA", "$argon2id$v=19$m=64,t=1,p=1$!$!"} {
		if admin.PasswordFits(hash, "") || admin.PasswordFits(hash, "secret") {
			t.Errorf("%q fits", hash)
		}
	}
}
