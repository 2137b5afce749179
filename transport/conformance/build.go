package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// build makes the message of one request: placeholders and macros expanded, tokens forged, logged in.
// What cannot be made is an error of the case, told as such: a case that is not
// understood must not seem to pass.
func (n *names) build(r *Request) (*message, error) {
	for name, mint := range r.Forge {
		token, err := n.forge(mint)
		if err != nil {
			return nil, err
		}
		n.forged[name] = token
	}
	m := &message{method: r.Method, chunked: r.Chunked, cert: r.TLSCert}
	var err error
	if m.path, err = n.sub(r.Path); err != nil {
		return nil, err
	}
	m.headers = []header{{"User-Agent", []string{userAgent}}}
	if err := n.authorize(m, r.Auth); err != nil {
		return nil, err
	}
	if err := n.overrideHeaders(m, r.Headers); err != nil {
		return nil, err
	}
	if err := n.fillBody(m, r); err != nil {
		return nil, err
	}
	if m.body, err = compress(m.body, r.Gzip); err != nil {
		return nil, err
	}
	if r.Gzip > 0 {
		m.setDefault("Content-Encoding", "gzip")
	}
	return m, nil
}

// authorize adds the credentials that the request names. A machine is logged in the
// first time that its token is needed.
func (n *names) authorize(m *message, auth string) error {
	places := map[string][3]string{ // header, prefix, placeholder
		"machine":  {"Authorization", "Bearer ", "token"},
		"machine2": {"Authorization", "Bearer ", "token2"},
		"bouncer":  {"X-Api-Key", "", "bouncer_key"},
		"bouncer2": {"X-Api-Key", "", "bouncer_key2"},
	}
	if auth == "" || auth == "none" {
		return nil
	}
	place, ok := places[auth]
	if !ok {
		return fmt.Errorf("unknown auth %q", auth)
	}
	secret, err := n.lookup(place[2])
	if err != nil {
		return err
	}
	m.headers = append(m.headers, header{place[0], []string{place[1] + secret}})
	return nil
}

// overrideHeaders puts the request's own headers in the place of those sent by default.
// A header with several values is sent as so many lines; one without any takes the
// default away.
func (n *names) overrideHeaders(m *message, own headers) error {
	for _, h := range own {
		m.headers = slices.DeleteFunc(m.headers, func(old header) bool { return strings.EqualFold(old.name, h.name) })
		sent := header{name: h.name}
		for _, v := range h.values {
			v, err := n.sub(v)
			if err != nil {
				return err
			}
			sent.values = append(sent.values, v)
		}
		m.headers = append(m.headers, sent)
	}
	return nil
}

// fillBody gives the message its body: JSON that was expanded, a text with
// placeholders, or a long one written short. Without any, methods that usually have a
// body send an empty one with its length, as clients do.
func (n *names) fillBody(m *message, r *Request) error {
	m.hasBody = true
	switch {
	case r.JSON != nil:
		v, err := decodeValue(r.JSON)
		if err != nil {
			return err
		}
		if v, err = n.expand(v); err != nil {
			return err
		}
		m.body = appendValue(nil, v)
		m.setDefault("Content-Type", "application/json")
	case r.Body != nil:
		body, err := n.sub(*r.Body)
		m.body = []byte(body)
		return err
	case r.Fill != nil:
		if r.Fill.Times < 0 || len(r.Fill.Unit) > 0 && r.Fill.Times > maxExpansion/len(r.Fill.Unit) {
			return fmt.Errorf("fill: longer than %d bytes", maxExpansion)
		}
		head, err := n.sub(r.Fill.Head)
		if err != nil {
			return err
		}
		tail, err := n.sub(r.Fill.Tail)
		m.body = []byte(head + strings.Repeat(r.Fill.Unit, r.Fill.Times) + tail)
		return err
	default:
		m.hasBody = r.Gzip > 0 || slices.Contains([]string{"POST", "PUT", "PATCH"}, r.Method)
	}
	return nil
}

// setDefault adds a header unless one of that name is there already, even one without values.
func (m *message) setDefault(name, value string) {
	for _, h := range m.headers {
		if strings.EqualFold(h.name, name) && h.values != nil {
			return
		}
	}
	m.headers = append(m.headers, header{name, []string{value}})
}
