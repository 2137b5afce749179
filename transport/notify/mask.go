package notify

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

// mask takes the secrets of a configuration out of what others say: a receiver may answer
// with what it was sent. It finds them as they are, escaped, and in base64, also as a part
// of something longer. Any goroutine; nil hides nothing.
type mask struct {
	replace *strings.Replacer
	longest int // bytes of what is looked for
}

const (
	hiddenWord = "***"
	// shortestHidden is how long a secret must be to be looked for: a shorter one is in
	// every second word.
	shortestHidden = 3
	// shortestPart is the same of a part of one, such as a folder of an address.
	shortestPart = 5
)

// newMask hides values.
func newMask(values []string) *mask {
	forms := map[string]bool{}
	for _, v := range values {
		if len(v) < shortestHidden {
			continue
		}
		quoted, _ := json.Marshal(v)
		for _, f := range append(encoded(v), v, url.QueryEscape(v), url.PathEscape(v), html.EscapeString(v), string(quoted[1:len(quoted)-1])) {
			forms[f] = true
		}
	}
	m := &mask{}
	var list []string
	for f := range forms {
		list, m.longest = append(list, f), max(m.longest, len(f))
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, f := range list {
		pairs = append(pairs, f, hiddenWord)
	}
	m.replace = strings.NewReplacer(pairs...)
	return m
}

// encoded are the forms of a value in base64: alone, at the end and within, wherever it
// begins there. What it shares a letter with is left out.
func encoded(value string) (forms []string) {
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for shift := range 3 {
			begins := (shift*8 + 5) / 6
			atEnd := e.EncodeToString([]byte(strings.Repeat("\x00", shift) + value))[begins:]
			within := atEnd[:(shift+len(value))*8/6-begins]
			for _, f := range []string{atEnd, strings.TrimRight(atEnd, "="), within} {
				if len(f) >= shortestHidden {
					forms = append(forms, f)
				}
			}
		}
	}
	return forms
}

// maskOf hides the secrets of a configuration.
func maskOf(c *Configuration) *mask { return newMask(secretsOf(c)) }

// secretsOf are the secrets of a configuration, and their parts.
func secretsOf(c *Configuration) (list []string) {
	if c.Program != nil {
		list = append(list, c.Program.Secrets...)
		for _, s := range c.Program.Secrets {
			list = append(list, partsOf(s)...)
			if strings.HasPrefix(s, "/") { // of an address
				list = append(list, addressSecrets("https://"+s)...)
			}
		}
	}
	if c.HTTP != nil {
		list = append(list, addressSecrets(c.HTTP.URL)...)
		for name, value := range c.HTTP.Headers {
			if !slices.Contains([]string{"accept", "content-type", "host", "user-agent"}, strings.ToLower(name)) {
				list = append(append(list, value), partsOf(value)...)
			}
		}
	}
	if c.Slack != nil {
		list = append(list, addressSecrets(c.Slack.Webhook)...)
	}
	if c.Email != nil && c.Email.Password != "" {
		list = append(list, c.Email.Password, "\x00"+c.Email.Username+"\x00"+c.Email.Password)
	}
	return list
}

// partsOf are the words of a header's value, and what is in one that is base64.
func partsOf(value string) (list []string) {
	for i, word := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" ,;\t", r) }) {
		if i == 0 && slices.Contains([]string{"basic", "bearer", "digest", "token", "negotiate"}, strings.ToLower(word)) {
			continue
		}
		_, after, _ := strings.Cut(word, "=")
		list = append(list, word, strings.Trim(after, `"`))
		if plain, err := base64.StdEncoding.DecodeString(word); err == nil {
			_, password, _ := strings.Cut(string(plain), ":")
			list = append(list, string(plain), password)
		}
	}
	return slices.DeleteFunc(list, func(s string) bool { return len(s) < shortestPart })
}

// addressSecrets are what an address holds besides its host.
func addressSecrets(text string) (list []string) {
	u, err := url.Parse(text)
	if err != nil {
		return []string{text}
	}
	parts := append(strings.Split(u.Path, "/"), strings.Trim(u.Path, "/"))
	if u.RawQuery != "" {
		parts = append(parts, u.RawQuery, u.RequestURI())
		for _, values := range u.Query() {
			parts = append(parts, values...)
		}
	}
	for _, p := range parts {
		if len(p) >= shortestPart && (u.Host == "" || !strings.Contains(u.Host, p)) {
			list = append(list, p)
		}
	}
	if password, set := u.User.Password(); set {
		list = append(list, password, u.User.Username()+":"+password)
	}
	return list
}

// hide is a text without secrets.
func (m *mask) hide(text string) string {
	if m == nil {
		return text
	}
	return m.replace.Replace(text)
}

// hideCut is a text without secrets whose end was cut off: what may be the beginning of one
// goes too.
func (m *mask) hideCut(text string) string {
	if m == nil {
		return text
	}
	text = m.hide(text)
	return strings.ToValidUTF8(text[:max(0, len(text)-m.longest)], "")
}

// error is an error whose words are without secrets.
func (m *mask) error(err error) error {
	if err == nil {
		return nil
	}
	if text := m.hide(err.Error()); text != err.Error() {
		return &maskedError{err, text}
	}
	return err
}

// maskedError is an error in other words.
type maskedError struct {
	error
	text string
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.error }
