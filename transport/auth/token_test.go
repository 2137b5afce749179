package auth

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"lapid/engine"
)

// forge makes a token of any claims.
func forge(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims) []byte {
	t.Helper()
	text, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return []byte("Bearer " + text)
}

// TestTokens holds http-api.md section 6.
func TestTokens(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addMachine("m", "pw", true)
	now := d.Now().Unix()
	good := jwt.MapClaims{"id": "m", "exp": now + 600, "orig_iat": now - 10}
	with := func(name string, value any) jwt.MapClaims {
		c := jwt.MapClaims{"id": "m", "exp": now + 600, "orig_iat": now - 10}
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	hs := jwt.SigningMethodHS256
	for _, c := range []struct {
		name  string
		token []byte
		kind  Kind
		text  string // "" is good
	}{
		{"good", forge(t, hs, secret, good), 0, ""},
		{"none", nil, NotLoggedIn, "cookie token is empty"},
		{"no token", []byte("Bearer "), NotLoggedIn, "cookie token is empty"},
		{"other scheme", []byte("Token x"), NotLoggedIn, "cookie token is empty"},
		{"scheme in lower case", []byte("bearer x"), NotLoggedIn, "cookie token is empty"},
		{"nonsense", []byte("Bearer nonsense"), NotLoggedIn, "token contains an invalid number of segments"},
		{"broken signature", append(forge(t, hs, secret, good), 'x'), NotLoggedIn, "signature is invalid"},
		{"other secret", forge(t, hs, []byte("another"), good), NotLoggedIn, "signature is invalid"},
		{"none", forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good), NotLoggedIn, "invalid signing algorithm"},
		{"HS384", forge(t, jwt.SigningMethodHS384, secret, good), NotLoggedIn, "invalid signing algorithm"},
		{"expired", forge(t, hs, secret, with("exp", now-5)), NotLoggedIn, "Token is expired"},
		{"not yet valid", forge(t, hs, secret, with("nbf", now+300)), NotLoggedIn, "Token is not valid yet"},
		{"no exp", forge(t, hs, secret, with("exp", nil)), BadToken, "missing exp field"},
		{"no id", forge(t, hs, secret, with("id", nil)), NotLoggedIn, "token names no machine"},
		{"id of another type", forge(t, hs, secret, with("id", 7)), NotLoggedIn, "token names no machine"},
		{"unknown machine", forge(t, hs, secret, with("id", "gone")), NotLoggedIn, "machine_unknown gone"},
		{"long", forge(t, hs, secret, with("pad", strings.Repeat("x", 2000))), 0, ""},
	} {
		for range 2 { // once by hand, once from memory
			id, err := d.Machine(c.token, nil)
			if c.text == "" {
				if err != nil || id != "m" {
					t.Errorf("%s: %q %v", c.name, id, err)
				}
				continue
			}
			d.refused(err, c.kind, c.text)
		}
	}
	cookie, _ := strings.CutPrefix(string(forge(t, hs, secret, good)), "Bearer ")
	for _, header := range []string{"", "Basic x", "Bearer "} {
		if id, err := d.Machine([]byte(header), []byte(cookie)); id != "m" {
			t.Errorf("cookie beside %q: %v", header, err)
		}
	}
	if _, err := d.Machine([]byte("Bearer nonsense"), []byte(cookie)); err == nil {
		t.Error("the cookie outweighs a readable header")
	}
}

// TestTokenEnds lets a remembered token expire and its machine go.
func TestTokenEnds(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addMachine("m", "pw", true)
	grant, err := d.Login(t.Context(), Credentials{MachineID: "m", Password: "pw"}, here, agent)
	d.must(err)
	header := []byte("Bearer " + grant.Token)
	if want := d.Now().Truncate(time.Second).Add(time.Hour); !grant.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", grant.Expires, want)
	}
	if id, err := d.Machine(header, nil); id != "m" {
		t.Fatal(err)
	}
	d.Advance(time.Hour + time.Second)
	_, err = d.Machine(header, nil)
	d.refused(err, NotLoggedIn, "Token is expired")

	grant, err = d.Login(t.Context(), Credentials{MachineID: "m", Password: "pw"}, here, agent)
	d.must(err)
	header = []byte("Bearer " + grant.Token)
	d.must(d.DeleteMachine(t.Context(), "m"))
	_, err = d.Machine(header, nil)
	d.refused(err, NotLoggedIn, "machine_unknown m")
	if id, err := d.Session(header, nil); id != "m" {
		t.Errorf("the session is gone: %v", err)
	}
	_, err = d.Refresh(header, nil)
	d.refused(err, NotLoggedIn, "machine_unknown m")
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addMachine("m", "pw", true)
	now := d.Now().Unix()
	hs := jwt.SigningMethodHS256
	got, err := d.Refresh(forge(t, hs, secret, jwt.MapClaims{"id": "m", "exp": now - 5, "orig_iat": now - 3599, "extra": "kept"}), nil)
	d.must(err)
	parts := strings.Split(got.Token, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	d.must(err)
	var claims map[string]any
	d.must(json.Unmarshal(text, &claims))
	if claims["extra"] != "kept" || claims["id"] != "m" || claims["exp"] != float64(now+3600) || claims["orig_iat"] != float64(now) {
		t.Errorf("claims %s", text)
	}
	if head, _ := base64.RawURLEncoding.DecodeString(parts[0]); string(head) != `{"alg":"HS256","typ":"JWT"}` {
		t.Errorf("header %s", head)
	}
	_, err = d.Refresh(forge(t, hs, secret, jwt.MapClaims{"id": "m", "exp": now + 600, "orig_iat": now - 3700}), nil)
	d.refused(err, NotLoggedIn, "token is expired")
	_, err = d.Refresh(forge(t, hs, secret, jwt.MapClaims{"id": "m", "exp": now + 600}), nil)
	d.refused(err, NotLoggedIn, "token is expired")
	_, err = d.Refresh(forge(t, hs, []byte("another"), jwt.MapClaims{"id": "m", "exp": now + 600, "orig_iat": now}), nil)
	d.refused(err, NotLoggedIn, "signature is invalid")
	_, err = d.Refresh(nil, nil)
	d.refused(err, NotLoggedIn, "cookie token is empty")
}

func TestKnownTokenAllocatesNothing(t *testing.T) {
	d := newDoor(t, nil)
	d.addMachine("m", "pw", true)
	now := d.Now().Unix()
	header := forge(t, jwt.SigningMethodHS256, secret, jwt.MapClaims{"id": "m", "exp": now + 600})
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Machine(header, nil); err != nil {
			t.Fatal(err)
		}
	}); n > 1 { // the engine copies the machine when it has been heard of
		t.Errorf("%v allocations", n)
	}
}

// FuzzToken feeds tokens: none but the server's own is believed.
func FuzzToken(f *testing.F) {
	d := newDoor(f, nil)
	d.addMachine("m", "pw", true)
	now := d.Now().Unix()
	good := string(forge(f, jwt.SigningMethodHS256, secret, jwt.MapClaims{"id": "m", "exp": now + 600, "orig_iat": now}))
	for _, s := range []string{good, "Bearer a.b.c", "Bearer ..", "Bearer " + strings.Repeat("x.", 100), good + "="} {
		f.Add(s, "")
	}
	f.Fuzz(func(t *testing.T, header, cookie string) {
		id, err := d.Machine([]byte(header), []byte(cookie))
		if err == nil && header != good && "Bearer "+cookie != good {
			t.Errorf("%q is taken for %q", header, id)
		}
		if _, err := d.Refresh([]byte(header), []byte(cookie)); err == nil && header != good && "Bearer "+cookie != good {
			t.Errorf("%q is refreshed", header)
		}
	})
}

// TestRotatedSecret has tokens of the secret before it good for the grace, however often they were shown, and no longer; what
// is exchanged meanwhile is signed with the new one. Without a grace none is good.
func TestRotatedSecret(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	fresh := func(letter string) []byte { return []byte(strings.Repeat(letter, 64)) }
	_, err := d.Secret(t.Context(), engine.TokenSecret, func() ([]byte, error) { return fresh("a"), nil })
	d.must(err)
	d.Gate, err = NewGate(d.Engine, &Options{TokenLife: 3 * time.Hour})
	d.must(err)
	d.addMachine("m", "pw", true)
	token := func() []byte {
		t.Helper()
		grant, err := d.Login(t.Context(), Credentials{MachineID: "m", Password: "pw"}, here, agent)
		d.must(err)
		return []byte("Bearer " + grant.Token)
	}
	good := func(when string, token []byte, want bool) {
		t.Helper()
		for range 2 { // once by hand, once from memory
			id, err := d.Machine(token, nil)
			if want && (err != nil || id != "m") {
				t.Errorf("%s: %v", when, err)
			} else if !want {
				d.refused(err, NotLoggedIn, "signature is invalid")
			}
		}
	}
	rotate := func(letter string, grace time.Duration) {
		t.Helper()
		_, err := d.RotateSecret(t.Context(), engine.TokenSecret, fresh(letter), grace)
		d.must(err)
	}
	first := token()
	good("at first", first, true)
	rotate("b", time.Hour)
	good("in its grace", first, true)
	second := token()
	d.Advance(30 * time.Minute)
	rotate("c", time.Hour)
	good("behind two", first, true)
	good("behind one", second, true)
	exchanged, err := d.Refresh(first, nil)
	d.must(err)
	d.Restart()
	d.Gate, err = NewGate(d.Engine, &Options{TokenLife: 3 * time.Hour})
	d.must(err)
	good("after a restart", first, true)
	d.Advance(30 * time.Minute)
	good("after its grace", first, false)
	good("the second", second, true)
	d.Advance(30 * time.Minute)
	good("the second after its grace", second, false)
	third := []byte("Bearer " + exchanged.Token)
	good("what was exchanged", third, true)
	rotate("d", 0)
	good("without a grace", third, false)
	good("the newest", token(), true)
}
