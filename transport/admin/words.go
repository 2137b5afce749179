package admin

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"lapid/engine"
)

// UsableName tells what is wrong with the name of something that an operator makes. A
// name is refused when it is empty or blank, when it is no text in UTF-8, and when it holds
// control characters, which cannot be written into a header, a file or a command line. noun
// names the thing. The error is of kind engine.ErrInvalid.
func UsableName(noun, name string) error {
	if isPlainWord(name) {
		return nil
	}
	if strings.TrimSpace(name) == "" {
		return invalid("%s must not be empty", noun)
	}
	return usableText(noun, name)
}

// NewName is UsableName for a name that is made: one that holds characters that nobody sees, or that turn the direction
// of a line, could be taken for another's, and a sign that stands for what was no text is not what was meant. Names that
// are there already may have them.
func NewName(noun, name string) error {
	if err := UsableName(noun, name); err != nil {
		return err
	}
	for _, r := range name {
		if unicode.Is(unicode.Cf, r) || r == utf8.RuneError {
			return invalid("%s %+q holds %U, which is not seen, or stands for what is no text: leave it away", noun, name, r)
		}
	}
	return nil
}

// isPlainWord reports whether a name is of printable ASCII without blanks, as nearly all are of which an
// import has a million.
func isPlainWord(name string) bool {
	for i := range len(name) {
		if name[i]-'!' > '~'-'!' {
			return false
		}
	}
	return name != ""
}

// LongestKey is how many bytes an API key may have. The head of a request in which it
// comes has more room, but not with every program and proxy that it passes.
const LongestKey = 4096

// UsableKey is UsableName for an API key, which travels in a header: there, blanks
// around it are lost too, and a head that is too long is refused.
func UsableKey(key string) error {
	if len(key) > LongestKey {
		return invalid("the API key has %d bytes, and at most %d fit into a request: choose a shorter one, or leave it away to have one made up", len(key), LongestKey)
	}
	if strings.TrimSpace(key) != key {
		return invalid("the API key begins or ends with a blank or a line end, which no header carries: leave it away")
	}
	return UsableName("the API key", key)
}

// UsableListName is UsableName for an allowlist, whose name is a part of a path in
// a URL.
func UsableListName(name string) error {
	if i := strings.IndexAny(name, `/\?#%`); i >= 0 {
		return invalid("the allowlist's name %q holds %q, which has a meaning in URLs: use another", name, name[i:i+1])
	}
	if name == "." || name == ".." {
		return invalid("the allowlist's name %q has a meaning in URLs: use another", name)
	}
	return NewName("the allowlist's name", name)
}

// usableText is UsableName for a text that may be empty.
func usableText(noun, text string) error {
	if !utf8.ValidString(text) {
		return invalid("%s %q is no text in UTF-8", noun, text)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return invalid("%s %q holds a control character, such as a line end", noun, text)
	}
	return nil
}

// usableWords looks at the words of a decision. It is a last check: what they mean
// was looked at before.
func usableWords(scope, kind, value string) error {
	if kind == "" {
		return invalid("a decision needs a type, such as ban or captcha")
	}
	if !isPlainWord(kind) {
		if err := usableText("the type", kind); err != nil {
			return err
		}
	}
	if err := UsableName("the scope", scope); err != nil {
		return err
	}
	return UsableName("the value", value)
}

// decisionDuration is engine.DecisionDuration with an error that reaches the
// operator.
func decisionDuration(text string) (string, error) {
	d, err := engine.DecisionDuration(text)
	if err == nil {
		return d, nil
	}
	if _, unreadable := engine.ParseDuration(text); unreadable != nil && unreadable.Error() == err.Error() {
		return "", invalid("decision duration '%s': %v: unable to parse duration", text, err)
	}
	return "", invalid("decision %v", err)
}

// invalid is an ErrInvalid with a sentence for the operator.
func invalid(format string, args ...any) error {
	return &engine.Error{Kind: engine.ErrInvalid, Text: fmt.Sprintf(format, args...)}
}
