package conformance

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"regexp"
	"strconv"
)

// Mint says how to make a token that the server did not give out.
type Mint struct {
	Claims json.RawMessage `json:"claims"` // a text "@+600" becomes now + 600 s, as a number
	Alg    string          `json:"alg"`    // HS256 (when empty), HS384, HS512 or none
	Key    *string         `json:"key"`    // nil: the server's own secret
}

// relativeClaim is a moment in a claim, in seconds from now.
var relativeClaim = regexp.MustCompile(`^@([+-]\d+)$`)

// signers are the algorithms that a token may be signed with here.
var signers = map[string]func() hash.Hash{
	"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New,
}

// forge makes the token. It fails when the key or the algorithm is not known.
// It is written without a JWT library, for it must be able to make tokens that a
// library refuses to.
func (n *names) forge(m Mint) (string, error) {
	claims, err := n.claims(m.Claims)
	if err != nil {
		return "", err
	}
	alg := m.Alg
	if alg == "" {
		alg = "HS256"
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(appendValue(nil, fields("alg", alg, "typ", "JWT"))) + "." + encode(appendValue(nil, claims))
	if alg == "none" {
		return signed + ".", nil
	}
	signer, ok := signers[alg]
	if !ok {
		return "", fmt.Errorf("forge a token: unknown algorithm %q", alg)
	}
	key, err := n.signingKey(m.Key)
	if err != nil {
		return "", err
	}
	mac := hmac.New(signer, []byte(key))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil)), nil
}

// signingKey is the key that was given, else the server's own, which the target must
// name.
func (n *names) signingKey(given *string) (string, error) {
	if given == nil {
		return n.lookup("jwt_secret")
	}
	return n.sub(*given)
}

// claims are the claims with their moments and placeholders put in, in the order they
// were written.
func (n *names) claims(text json.RawMessage) (*object, error) {
	v, err := decodeValue(text)
	if err != nil {
		return nil, fmt.Errorf("forge a token: claims: %w", err)
	}
	written, ok := v.(*object)
	if !ok {
		return nil, fmt.Errorf("forge a token: claims: want an object, got %s", short(v, 80))
	}
	claims, now := newObject(), n.now().Unix()
	for _, k := range written.keys {
		if s, ok := written.values[k].(string); ok && relativeClaim.MatchString(s) {
			seconds, err := strconv.ParseInt(s[1:], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("forge a token: claim %s: %w", k, err)
			}
			claims.set(k, json.Number(strconv.FormatInt(now+seconds, 10)))
			continue
		}
		v, err := n.expand(written.values[k])
		if err != nil {
			return nil, fmt.Errorf("forge a token: claim %s: %w", k, err)
		}
		claims.set(k, v)
	}
	return claims, nil
}
