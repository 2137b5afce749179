package conformance

import (
	"regexp"
	"strings"
)

const (
	uuidShape     = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
	stampPattern  = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)`
	gotimePattern = `\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4} \S+`
)

// blanks are what may stand in double angle brackets in a template. An unknown one is plain text.
var blanks = map[string]string{
	"int":    `\d+`,
	"uuid":   uuidShape,
	"ts":     stampPattern,
	"dur":    `-?(?:\d+h)?(?:\d+m)?\d+s`,
	"any":    `.*?`,
	"gotime": gotimePattern,
}

var blank = regexp.MustCompile(`<<(\w+)>>`)

// maxPattern bounds the text that is compiled to a pattern, in bytes; a longer template fits nothing.
const maxPattern = 1 << 20

// fitsTemplate says whether the whole text is the template with its blanks filled in.
func fitsTemplate(template, text string) bool {
	if len(template) > maxPattern {
		return false
	}
	var b strings.Builder
	rest := 0
	for _, at := range blank.FindAllStringSubmatchIndex(template, -1) {
		pattern, known := blanks[template[at[2]:at[3]]]
		if !known {
			continue
		}
		b.WriteString(regexp.QuoteMeta(template[rest:at[0]]))
		b.WriteString("(?:" + pattern + ")")
		rest = at[1]
	}
	b.WriteString(regexp.QuoteMeta(template[rest:]))
	fits, err := fitsPattern(b.String(), text)
	return err == nil && fits
}

// fitsPattern says whether the whole text fits a regular expression; a dot stands for a line break too.
// The error is about the pattern.
func fitsPattern(pattern, text string) (bool, error) {
	re, err := regexp.Compile(`(?s)\A(?:` + pattern + `)\z`)
	if err != nil {
		return false, err
	}
	return re.MatchString(text), nil
}
