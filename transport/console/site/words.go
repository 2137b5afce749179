package site

import (
	"fmt"
	"html/template"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// words are what templates may ask for besides the fields of their page.
func (s *Site) words() template.FuncMap {
	return template.FuncMap{
		"asset":  func(file string) string { return s.base + "/assets/" + allAssets().named[file] },
		"seg":    url.PathEscape,
		"lookup": s.lookUp, "to": s.to, "base": func() string { return s.base },
		"count": Count, "bytes": Bytes, "for": Span, "lasts": lasts, "ago": ago, "left": left, "moment": moment, "stamp": stamp, "clip": clip, "seconds": seconds,
		"pair": pair, "list3": func(a, b, c any) []any { return []any{a, b, c} }, "list": func(all ...string) []string { return all }, "dict": dict, "add": func(a, b int) int { return a + b }, "percent": percent,
	}
}

// to is a link within the console: a path, then names and values of its query. Empty values are left out.
func (s *Site) to(path string, query ...any) (string, error) {
	if len(query)%2 != 0 {
		return "", fmt.Errorf("%s: a parameter without a value", path)
	}
	values := url.Values{}
	for i := 0; i < len(query); i += 2 {
		if text := fmt.Sprint(query[i+1]); text != "" {
			values.Add(fmt.Sprint(query[i]), text)
		}
	}
	if len(values) > 0 {
		path += "?" + values.Encode()
	}
	return s.base + path, nil
}

// lookUp is where an address is looked up; "" for what is none.
func (s *Site) lookUp(value string) string {
	if _, err := netip.ParseAddr(value); err != nil || s.lookup == "" {
		return ""
	}
	return strings.ReplaceAll(s.lookup, "{ip}", url.QueryEscape(value))
}

// pair and dict hand several things to a template that takes one.
func pair(a, b any) [2]any { return [2]any{a, b} }

func dict(list ...any) (map[string]any, error) {
	if len(list)%2 != 0 {
		return nil, fmt.Errorf("dict has a name without a value")
	}
	out := map[string]any{}
	for i := 0; i < len(list); i += 2 {
		out[fmt.Sprint(list[i])] = list[i+1]
	}
	return out, nil
}

// Count writes a number, or what a pointer leads to, in groups of three, parted by thin spaces.
func Count(n any) string {
	text := fmt.Sprint(pointed(n))
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "−", text[1:]
	}
	if _, err := strconv.ParseUint(text, 10, 64); err != nil || len(text) < 5 {
		return sign + text
	}
	var b strings.Builder
	for i, c := range text {
		if i > 0 && (len(text)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(c)
	}
	return sign + b.String()
}

// pointed is a number that may be given by a pointer, which is not nil.
func pointed(n any) any {
	if v := reflect.ValueOf(n); v.Kind() == reflect.Pointer && !v.IsNil() {
		return v.Elem().Interface()
	}
	return n
}

// Bytes writes a size, or that which a pointer leads to.
func Bytes(n any) string {
	n = pointed(n)
	v, err := strconv.ParseFloat(fmt.Sprint(n), 64)
	if err != nil {
		return fmt.Sprint(n)
	}
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%.0f bytes", v)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// Span writes a length of time by its two largest units.
func Span(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.of {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.of, u.name)
		if i+1 < len(units) && d < 60*u.of {
			if rest := d % u.of / units[i+1].of; rest > 0 {
				text += fmt.Sprintf(" %d %s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0 s"
}

// lasts writes a length of time that is written as Go does.
func lasts(text string) string {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return text
	case d <= 0:
		return "over"
	}
	return Span(d)
}

// seconds writes a number of seconds as a length of time.
func seconds(n float64) string { return Span(time.Duration(n * float64(time.Second))) }

// when is a moment of whatever kind fields have it as; false: it is none.
func when(v any) (t time.Time, ok bool) {
	switch v := v.(type) {
	case time.Time:
		t = v
	case *time.Time:
		if v != nil {
			t = *v
		}
	case int64:
		if v != 0 {
			t = time.Unix(0, v)
		}
	case string:
		for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05 -0700 MST", "2006-01-02 15:04:05 +0000 UTC"} {
			if parsed, err := time.Parse(form, v); err == nil {
				t = parsed
				break
			}
		}
	}
	return t, !t.IsZero()
}

// stamp writes a moment in the page's zone, and machines' form of it for the datetime attribute.
func stamp(p *Page, v any) string {
	t, ok := when(v)
	if !ok {
		if text, is := v.(string); is {
			return text
		}
		return "–"
	}
	return t.In(p.Zone).Format("2006-01-02 15:04:05")
}

func moment(v any) string {
	t, ok := when(v)
	if !ok {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// ago writes how long ago a moment was, or in how long it will be.
func ago(p *Page, v any) string {
	t, ok := when(v)
	if !ok {
		return "never"
	}
	d := p.Now.Sub(t)
	switch {
	case d < 0:
		return "in " + Span(d)
	case d < 2*time.Second:
		return "now"
	}
	return Span(d) + " ago"
}

// left writes how long something still runs.
func left(p *Page, v any) string {
	t, ok := when(v)
	if !ok {
		return "no end"
	}
	if d := t.Sub(p.Now); d > 0 {
		return Span(d)
	}
	return "over"
}

// clip cuts a long text; what is cut off is in the title beside it.
func clip(most int, text string) string {
	r := []rune(text)
	if len(r) <= most {
		return text
	}
	return string(r[:most-1]) + "…"
}

// percent is a share of 100, for the length of a bar.
func percent(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return min(100*part/whole, 100)
}
