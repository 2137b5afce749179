package main

import (
	"bufio"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// parseSamples reads the text exposition of Prometheus, version 0.0.4. Comments
// and lines that make no sense are skipped.
func parseSamples(in io.Reader) ([]sample, error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxLine)
	var out []sample
	for lines.Scan() {
		if s, ok := parseSample(lines.Text()); ok {
			out = append(out, s)
		}
	}
	return out, lines.Err()
}

func parseSample(line string) (sample, bool) {
	end := strings.IndexAny(line, "{ ")
	if end <= 0 || line[0] == '#' {
		return sample{}, false
	}
	s := sample{family: line[:end], labels: map[string]string{}}
	rest := line[end:]
	if rest[0] == '{' {
		var ok bool
		if rest, ok = s.parseLabels(rest[1:]); !ok {
			return s, false
		}
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return s, false
	}
	var err error
	s.value, err = strconv.ParseFloat(fields[0], 64)
	return s, err == nil
}

// parseLabels reads name="value" pairs up to the closing brace and gives what
// follows it.
func (s *sample) parseLabels(text string) (rest string, ok bool) {
	for {
		text = strings.TrimLeft(text, ", ")
		if strings.HasPrefix(text, "}") {
			return text[1:], true
		}
		name, after, found := strings.Cut(text, `="`)
		if !found {
			return "", false
		}
		value, after, found := quoted(after)
		if !found {
			return "", false
		}
		s.labels[strings.TrimSpace(name)] = value
		text = after
	}
}

// quoted reads up to the quote that ends a value.
func quoted(text string) (value, rest string, ok bool) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return out.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			if text[i] == 'n' {
				out.WriteByte('\n')
			} else {
				out.WriteByte(text[i])
			}
		default:
			out.WriteByte(c)
		}
	}
	return "", "", false
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
