package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The values of imports and of named lists travel in lines of JSON:
//
//	{"Items":[{"v":"192.0.2.1"},{"v":"192.0.2.8","t":"captcha"},…]}
//	{"End":true,"Count":2}
//
// Millions come behind one another, so what clients usually write is read and written here,
// without encoding/json, which is asked for everything else: a text with an escape or a
// character beyond ASCII, a blank, a field in capitals.

// Item is one value to import.
type Item struct {
	Value    string `json:"v"`
	Scope    string `json:"s,omitempty"`
	Type     string `json:"t,omitempty"`
	Duration string `json:"d,omitempty"`
	Reason   string `json:"r,omitempty"`

	// Again: the same target and type came before in this input. It is stored as the others,
	// and a dry run counts it apart.
	Again bool `json:"a,omitempty"`
}

const (
	// listLine bounds a line in bytes. ListItems values of the longest kind are more, but clients
	// end a line at lineAtLeast bytes.
	listLine = 16 << 20
	// lineAtLeast is after how many bytes a client ends a line: the server reads one while
	// the next is on its way.
	lineAtLeast = 64 << 10
	// ListItems is how many values a line has at most, as clients write it.
	ListItems = 5000
)

// itemLine is one line.
type itemLine struct {
	Items []Item `json:",omitempty"`
	End   bool   `json:",omitempty"`
	Count int    `json:",omitempty"`
}

// itemLines reads lines of a request. It is for one goroutine.
type itemLines struct {
	lines *bufio.Scanner
	pace  func(int) // called with the number of each value of a line, see engine.Pace
}

func newItemLines(from io.Reader, pace func(int)) *itemLines {
	l := &itemLines{lines: bufio.NewScanner(from), pace: pace}
	l.lines.Buffer(make([]byte, 2*lineAtLeast), listLine)
	return l
}

// next is the next line, borrowed until the one behind it is read. The error is io.EOF at the
// end of the request.
func (l *itemLines) next() ([]byte, error) {
	if l.lines.Scan() {
		return l.lines.Bytes(), nil
	}
	if err := l.lines.Err(); err != nil {
		return nil, unreadable(err)
	}
	return nil, io.EOF
}

// head reads the first line, with unknown fields refused.
func (l *itemLines) head(into any) error {
	line, err := l.next()
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(line)))
		d.DisallowUnknownFields()
		err = d.Decode(into)
	}
	return cutOff(err)
}

// cutOff is an error of a line that had to come.
func cutOff(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return unreadable(err)
	}
	return nil
}

// read reads a line and appends its values to into.Items, which hold on to the line's text. What
// is not there is left as it is. The error is io.EOF at the end of the request.
func (l *itemLines) read(into *itemLine) (size int, err error) {
	line, err := l.next()
	if err != nil {
		return 0, err
	}
	text := string(line)
	if items, ok := plainItems(into.Items, text, l.pace); ok {
		into.Items = items
		return len(line), nil
	}
	if err := readItemLine(strings.NewReader(text), into, l.pace); err != nil {
		return 0, unreadable(err)
	}
	return len(line), nil
}

// itemsBegin and itemsEnd are around the values of a line.
const itemsBegin, itemsEnd = `{"Items":[`, `]}`

// plainItems reads a line of values as appendItem writes those whose texts need no escape,
// and appends them to dst. It is false for any other, of which encoding/json has to say what it is;
// dst is as it was then. Values are parts of text.
func plainItems(dst []Item, text string, pace func(int)) ([]Item, bool) {
	rest, ok := strings.CutPrefix(text, itemsBegin)
	if !ok || rest == itemsEnd {
		return dst, false
	}
	before := len(dst)
	for turn := 0; ; turn++ {
		pace(turn)
		dst = append(dst, Item{})
		if rest, ok = dst[len(dst)-1].plain(rest); !ok || rest == "" {
			return dst[:before], false
		}
		if rest == itemsEnd {
			return dst, true
		}
		if rest[0] != ',' || len(dst)-before > MaxChunk { // too many: those are counted, not kept
			return dst[:before], false
		}
		rest = rest[1:]
	}
}

// plain reads one value, and gives what follows it.
func (i *Item) plain(text string) (rest string, ok bool) {
	const name = `{"v":"`
	if text == "" || text[0] != name[0] {
		return "", false
	}
	for before := byte('{'); text[0] == before; before = ',' {
		if len(text) < len(name) || text[1] != '"' || text[3] != '"' || text[4] != ':' {
			return "", false
		}
		var into *string
		switch text[2] {
		case 'v':
			into = &i.Value
		case 's':
			into = &i.Scope
		case 't':
			into = &i.Type
		case 'd':
			into = &i.Duration
		case 'r':
			into = &i.Reason
		case 'a':
			if text, i.Again = strings.CutPrefix(text[len(name)-1:], "true"); !i.Again || text == "" {
				return "", false
			}
			continue
		default:
			return "", false
		}
		if text[5] != '"' {
			return "", false
		}
		text = text[len(name):]
		end := plainText(text)
		if end+1 >= len(text) || text[end] != '"' {
			return "", false
		}
		*into, text = text[:end], text[end+1:]
	}
	return strings.CutPrefix(text, "}")
}

// plainText counts the bytes at the start of a text that stand for themselves in JSON.
func plainText(s string) int {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return i
		}
	}
	return len(s)
}

// readItemLine reads a line as encoding/json would, with unknown fields refused, but the
// values one by one, with pace called for each: all at once they take the processor for
// milliseconds, in which live queries would wait. Of more values than MaxChunk those beyond one
// more are not kept: there are too many in any case.
func readItemLine(from io.Reader, into *itemLine, pace func(int)) error {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	switch open, err := d.Token(); {
	case err != nil:
		return err
	case open == nil:
		return nil
	case open != json.Delim('{'):
		return errors.New("json: a line is an object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		switch name, _ := key.(string); {
		case strings.EqualFold(name, "Items"):
			err = readItems(d, into, pace)
		case strings.EqualFold(name, "End"):
			err = d.Decode(&into.End)
		case strings.EqualFold(name, "Count"):
			err = d.Decode(&into.Count)
		default:
			err = fmt.Errorf("json: unknown field %q", name)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.Token() // the end of the object
	return err
}

func readItems(d *json.Decoder, into *itemLine, pace func(int)) error {
	switch open, err := d.Token(); {
	case err != nil:
		return err
	case open == nil:
		return nil
	case open != json.Delim('['):
		return errors.New("json: Items is a list")
	}
	for i := 0; d.More(); i++ {
		pace(i)
		var item Item
		if err := d.Decode(&item); err != nil {
			return err
		}
		if i <= MaxChunk {
			into.Items = append(into.Items, item)
		}
	}
	_, err := d.Token() // the end of the list
	return err
}

// Values are what a client sends of an import or of a named list, one by one. They are for
// one goroutine.
type Values struct {
	out   *bufio.Writer
	line  []byte // not yet written
	items int    // of the line
	count int    // since the last end
}

// Add sends a value, at once or with those that follow. It keeps nothing of it. The
// error is that the server does not take any more; what it says then is told by whoever
// gave the Values.
func (v *Values) Add(i *Item) error {
	before := byte(',')
	if v.items == 0 {
		v.line, before = append(v.line[:0], itemsBegin[:len(itemsBegin)-1]...), '['
	}
	v.line = appendItem(append(v.line, before), i)
	v.items++
	v.count++
	if len(v.line) >= lineAtLeast || v.items == ListItems {
		return v.flush()
	}
	return nil
}

// flush writes a line that was begun.
func (v *Values) flush() error {
	if v.items == 0 {
		return nil
	}
	v.items = 0
	_, err := v.out.Write(append(v.line, itemsEnd+"\n"...))
	return err
}

// end says how many there were since the last end.
func (v *Values) end() error {
	if err := v.flush(); err != nil {
		return err
	}
	err := json.NewEncoder(v.out).Encode(itemLine{End: true, Count: v.count})
	v.count = 0
	return err
}

// appendItem writes a value as encoding/json does, but that it leaves <, > and & as they are.
func appendItem(dst []byte, i *Item) []byte {
	dst = appendText(append(dst, `{"v":`...), i.Value)
	for _, f := range [...]struct{ name, text string }{{`,"s":`, i.Scope}, {`,"t":`, i.Type}, {`,"d":`, i.Duration}, {`,"r":`, i.Reason}} {
		if f.text != "" {
			dst = appendText(append(dst, f.name...), f.text)
		}
	}
	if i.Again {
		dst = append(dst, `,"a":true`...)
	}
	return append(dst, '}')
}

func appendText(dst []byte, s string) []byte {
	if plainText(s) == len(s) {
		return append(append(append(dst, '"'), s...), '"')
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a text that is none in JSON: " + err.Error())
	}
	return append(dst, text...)
}
