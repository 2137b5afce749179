package profile

import (
	"errors"
	"fmt"
	"strings"
)

// pairFunctions cut texts such as `user=root msg="no such file"` into keys and
// values, put into target[key] as a map of texts.
func pairFunctions() []function {
	read := func(name string, cut func(string) [][2]string) function {
		return ask3(name, func(e *evaluation, text string, target map[string]any, key string) (any, error) {
			if len(text) > documentLimit {
				return nil, errDocument
			}
			pairs := cut(text)
			if len(pairs) == 0 {
				return nil, errors.New("no key/value pair in the text")
			}
			if _, ok := target[key]; !ok {
				target[key] = map[string]string{}
			}
			into, ok := target[key].(map[string]string)
			if !ok {
				return nil, fmt.Errorf("the target holds %T, not pairs", target[key])
			}
			for _, p := range pairs {
				into[p[0]] = p[1]
			}
			return nil, e.charge(into)
		})
	}
	return []function{read("ParseKV", strictPairs), read("ParseKVLax", laxPairs)}
}

// strictPairs reads key=word and key="words, with \" inside"; quoted values
// keep their escapes. A value ends at a blank or at the next =. Of what
// stands in no pair nothing is kept.
func strictPairs(text string) [][2]string {
	var pairs [][2]string
	for i := 0; i < len(text); {
		eq := strings.IndexByte(text[i:], '=')
		if eq < 0 {
			break
		}
		eq += i
		key := lastWord(text[i:eq])
		i = eq + 1
		if key == "" {
			continue
		}
		value := ""
		if end := closingQuote(text, i); end > 0 {
			value, i = text[i+1:end], end+1
		} else {
			end := i
			for end < len(text) && text[end] != '=' && !blank(text[end]) {
				end++
			}
			value, i = text[i:end], end
		}
		pairs = append(pairs, [2]string{key, value})
	}
	return pairs
}

// laxPairs lets a value run, blanks included, up to the next key= outside
// quotes. A quoted value loses its quotes and escapes. Keys are told by
// their =, so a value that holds one outside quotes ends there.
func laxPairs(text string) [][2]string {
	type start struct{ key, value int } // offsets of the key and of what follows its =
	var starts []start
	quoted, escaped := false, false
	for i := range len(text) {
		switch {
		case escaped:
			escaped = false
		case text[i] == '\\':
			escaped = true
		case text[i] == '"':
			quoted = !quoted
		case text[i] == '=' && !quoted:
			key := lastWord(text[:i])
			if key != "" && (len(starts) == 0 || i-len(key) >= starts[len(starts)-1].value) {
				starts = append(starts, start{i - len(key), i + 1})
			}
		}
	}
	pairs := make([][2]string, len(starts))
	for i, s := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1].key
		}
		pairs[i] = [2]string{text[s.key : s.value-1], unquote(strings.TrimSpace(text[s.value:end]))}
	}
	return pairs
}

// lastWord is what stands right before an =: no blanks, no other =.
func lastWord(s string) string {
	i := len(s)
	for i > 0 && s[i-1] != '=' && !blank(s[i-1]) {
		i--
	}
	return s[i:]
}

// closingQuote is the offset of the quote that closes the one at i, 0 if there
// is none.
func closingQuote(s string, i int) int {
	if i >= len(s) || s[i] != '"' {
		return 0
	}
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case '"':
			return j
		}
	}
	return 0
}

// unquote takes the quotes off a text and resolves what is escaped in it; an end that
// is missing is no fault.
func unquote(s string) string {
	if !strings.HasPrefix(s, `"`) {
		return s
	}
	if len(s) >= 2 && strings.HasSuffix(s, `"`) {
		return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
	}
	return s[1:]
}

// blank is white space in ASCII.
func blank(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}
