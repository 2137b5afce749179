package profile

import (
	"log/slog"
	"net/url"
	"strings"
)

// webFunctions read and write URLs and their queries.
func webFunctions() []function {
	return []function{
		ask1("ParseUri", parseURI),
		of1("ParseQuery", parseQuery),
		of2("ExtractQueryParam", func(uri, name string) []string {
			_, query, _ := strings.Cut(uri, "?")
			if values := parseQuery(query)[name]; values != nil {
				return values
			}
			return []string{}
		}),
		of1("PathEscape", url.PathEscape),
		of1("QueryEscape", url.QueryEscape),
		of1("PathUnescape", func(s string) string { return unescaped(url.PathUnescape, s) }),
		of1("QueryUnescape", func(s string) string { return unescaped(url.QueryUnescape, s) }),
	}
}

// parseURI gives the parameters of a URI's query; none, with an error in the
// log, when it cannot be read.
func parseURI(e *evaluation, uri string) (map[string][]string, error) {
	u, err := url.Parse(uri)
	if err == nil {
		var values url.Values
		if values, err = url.ParseQuery(u.RawQuery); err == nil {
			return values, nil
		}
	}
	e.log(slog.LevelError, "Could not parse URI", "error", clip(err.Error()))
	return map[string][]string{}, nil
}

// parseQuery reads what attackers send: semicolons are part of values, bad
// escapes stay as they are, nothing is refused. Equal keys gather their
// values in order.
func parseQuery(query string) map[string][]string {
	values := map[string][]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		key = leniently(key)
		values[key] = append(values[key], leniently(value))
	}
	return values
}

// leniently resolves + and the escapes that are good. What is no good escape
// stays as it was written.
func leniently(s string) string {
	if !strings.ContainsAny(s, "+%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			out = append(out, byte(hexDigit(s[i+1])<<4|hexDigit(s[i+2])))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

// hexDigit is the value of a hexadecimal digit, -1 for other bytes.
func hexDigit(c byte) int {
	return strings.IndexByte("0123456789abcdef", c|0x20)
}

// unescaped is s as it was when its escapes are bad.
func unescaped(f func(string) (string, error), s string) string {
	if plain, err := f(s); err == nil {
		return plain
	}
	return s
}
