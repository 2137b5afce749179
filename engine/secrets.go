package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Secrets are what the server keeps for itself, by name. One that is rotated is followed by another, and those before it
// stay good for a while: they lie under a name of their own beside it, each with its end.

// TokenSecret is the name of the secret that signs the tokens of machines, unless another is given from outside.
const TokenSecret = "tokens"

// TokenLife is how long the token of a machine is good.
const TokenLife = time.Hour

const (
	// earlierSecrets is what follows the name of a secret in that of those before it.
	earlierSecrets = ".earlier"
	// mostSecrets bounds how many secrets of one name are good at once.
	mostSecrets = 8
	// longestRotated bounds one of them in bytes, so that all together are not longer than a secret may be.
	longestRotated = longestSecret / (2 * mostSecrets)
)

// EarlierSecret is one that another has followed.
type EarlierSecret struct {
	Value []byte // shared: not to be changed
	Until int64  // Unix nanoseconds; from then on it is good for nothing
}

// Secret returns the named secret, made by fresh and stored durably at the
// first call. The bytes are shared: do not modify them.
func (e *Engine) Secret(ctx context.Context, name string, fresh func() ([]byte, error)) ([]byte, error) {
	if s := e.View().secrets[name]; s != nil {
		return s, nil
	}
	err := e.propose(ctx, &proposal{key: "secret:" + name, resolve: func(v *View) (op, error) {
		if v.secrets[name] != nil {
			return nil, nil
		}
		s, err := fresh()
		if err != nil {
			return nil, fmt.Errorf("making secret %q: %w", name, err)
		}
		return newSecret(name, s)
	}})
	return e.View().secrets[name], err
}

func newSecret(name string, s []byte) (op, error) {
	if len(name) > LongestName || len(s) > longestSecret {
		return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("secret %.100q has %d bytes, and at most %d", name, len(s), longestSecret)}
	}
	return &putSecret{name: name, value: s}, nil
}

// KeepSecret stores a secret under a name, in the place of the one that was there. It is
// the engine's from here on. The same again costs no commit. Errors: ErrInvalid for what is
// longer than 64 KiB, and those of every write.
func (e *Engine) KeepSecret(ctx context.Context, name string, s []byte) error {
	return e.propose(ctx, &proposal{key: "secret:" + name, resolve: func(v *View) (op, error) {
		if bytes.Equal(v.secrets[name], s) {
			return nil, nil
		}
		return newSecret(name, s)
	}})
}

// Secret returns a secret as this view has it, nil when there is none. It must not be
// changed.
func (v *View) Secret(name string) []byte { return v.secrets[name] }

// EarlierSecrets are those that the named one has followed, the newest first. Some may be over.
func (v *View) EarlierSecrets(name string) []EarlierSecret {
	return decodeEarlier(v.secrets[name+earlierSecrets])
}

// SecretsChanged is another number whenever a secret was rotated, since the start.
func (v *View) SecretsChanged() uint64 { return v.secretsChanged }

// RotateSecret puts a secret in the place of the one of its name. That one, and those before it that are still good, are so
// until grace is over: not at all for 0. until is that moment, Unix nanoseconds. Errors: ErrInvalid for a grace that is less
// than 0 or longer than TokenLife, and for what is empty or longer than 4 KiB; ErrRefused for too many that would be good at once.
func (e *Engine) RotateSecret(ctx context.Context, name string, s []byte, grace time.Duration) (until int64, err error) {
	if grace < 0 || grace > TokenLife {
		return 0, invalid("a secret can be good for 0 to %s after it is rotated, not %s", TokenLife, grace)
	}
	if len(s) == 0 || len(s) > longestRotated || len(name) > LongestName-len(earlierSecrets) {
		return 0, invalid("a secret that is rotated has 1 to %d bytes, not %d", longestRotated, len(s))
	}
	err = e.propose(ctx, &proposal{key: "secret:" + name, resolve: func(v *View) (op, error) {
		o := &rotateSecret{name: name, value: s, at: max(e.Now(), v.at)}
		if o.until = o.at + int64(grace); len(o.earlier(v.secrets)) >= mostSecrets {
			return nil, &Error{Kind: ErrRefused, Text: fmt.Sprintf("%d secrets are good already: end those before with a grace of 0, or wait", mostSecrets)}
		}
		until = o.until
		return o, nil
	}})
	return until, err
}

// putSecret keeps a secret under a name.
type putSecret struct {
	name  string
	value []byte
}

func (*putSecret) number() byte { return numberPutSecret }
func (o *putSecret) append(dst []byte) []byte {
	return appendBytes(appendString(dst, o.name), o.value)
}
func (o *putSecret) decode(d *decoder) {
	o.name = d.string()
	o.value = slices.Clone(d.bytes())
}
func (o *putSecret) apply(s *state, rev Revision) {
	secrets := make(map[string][]byte, len(s.next.secrets)+1)
	for k, v := range s.next.secrets {
		secrets[k] = v
	}
	secrets[o.name] = o.value
	s.next.secrets = secrets
}

// rotateSecret puts a secret in the place of another, which stays good until a time.
type rotateSecret struct {
	name      string
	value     []byte
	at, until int64
}

func (*rotateSecret) number() byte { return numberRotateSecret }
func (o *rotateSecret) append(dst []byte) []byte {
	return binary.AppendVarint(binary.AppendVarint(appendBytes(appendString(dst, o.name), o.value), o.at), o.until)
}
func (o *rotateSecret) decode(d *decoder) {
	o.name = d.string()
	o.value = slices.Clone(d.bytes())
	o.at, o.until = d.varint(), d.varint()
}

// apply passes over what is in force already: the same again would make it an earlier one of its own.
func (o *rotateSecret) apply(s *state, _ Revision) {
	if bytes.Equal(s.next.secrets[o.name], o.value) {
		return
	}
	secrets := maps.Clone(s.next.secrets)
	if secrets == nil {
		secrets = map[string][]byte{}
	}
	keepEarlier(secrets, o.name+earlierSecrets, o.earlier(secrets))
	secrets[o.name] = o.value
	s.next.secrets = secrets
	s.next.secretsChanged++
}

// earlier are those that are good behind the new one, the newest first.
func (o *rotateSecret) earlier(secrets map[string][]byte) (list []EarlierSecret) {
	if o.until <= o.at {
		return nil
	}
	if s := secrets[o.name]; s != nil {
		list = append(list, EarlierSecret{s, o.until})
	}
	for _, s := range decodeEarlier(secrets[o.name+earlierSecrets]) {
		if s.Until = min(s.Until, o.until); s.Until > o.at {
			list = append(list, s)
		}
	}
	return list
}

// lapseSecrets forgets what is over, before time goes back: it would be good again.
func (s *state) lapseSecrets() {
	secrets := maps.Clone(s.next.secrets)
	for name, text := range s.next.secrets {
		if !strings.HasSuffix(name, earlierSecrets) {
			continue
		}
		good := slices.DeleteFunc(decodeEarlier(text), func(e EarlierSecret) bool { return e.Until <= s.at })
		keepEarlier(secrets, name, good)
	}
	s.next.secrets = secrets
	s.next.secretsChanged++
}

// keepEarlier stores a list under its name; none is no row.
func keepEarlier(secrets map[string][]byte, name string, list []EarlierSecret) {
	delete(secrets, name)
	if len(list) == 0 {
		return
	}
	text := binary.AppendUvarint(nil, uint64(len(list)))
	for _, s := range list {
		text = appendBytes(binary.AppendVarint(text, s.Until), s.Value)
	}
	secrets[name] = text
}

// decodeEarlier is the mirror; of what cannot be read nothing is good.
func decodeEarlier(text []byte) []EarlierSecret {
	if len(text) == 0 {
		return nil
	}
	d := &decoder{rest: text, version: recordVersion}
	list := make([]EarlierSecret, d.count(2))
	for i := range list {
		list[i].Until = d.varint()
		list[i].Value = d.bytes()
	}
	if d.err != nil {
		return nil
	}
	return list
}
