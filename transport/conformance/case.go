package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Configs are the configurations a case may ask for, each a differently configured server.
var Configs = []string{"main", "plain", "locked", "tls", "socket"}

// Case is one transcript. It is read-only once loaded and may be played by several sessions at once.
// Title, Why, Area and Tags are for people and for choosing.
type Case struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Why    string   `json:"why"`
	Area   string   `json:"area"`
	Config string   `json:"config"` // one of Configs; "main" when not written
	Tags   []string `json:"tags"`
	Steps  []Step   `json:"steps"`
}

// Step is one exchange, or only a wait when Request is nil. A step whose
// Expect is nil still must be answered.
type Step struct {
	Note    string   `json:"note"`
	Sleep   float64  `json:"sleep"` // seconds before the request
	Request *Request `json:"request"`
	Expect  *Expect  `json:"expect"` // nil: any answer will do

	Select    string            `json:"select"`    // "mine": only list elements that mention the case
	Unordered bool              `json:"unordered"` // lists may come in any order
	Also      []json.RawMessage `json:"also"`      // other bodies that are right as well
	Capture   map[string]string `json:"capture"`   // name → path into the answer, for later steps
	Record    string            `json:"record"`    // of use to a recorder only
}

// Request says what to send. At most one of JSON, Body and Fill is given.
// Everything in it may hold placeholders but the method.
type Request struct {
	Method  string          `json:"method"`
	Path    string          `json:"path"`
	Auth    string          `json:"auth"` // machine, machine2, bouncer, bouncer2; "" or none
	Headers headers         `json:"headers"`
	JSON    json.RawMessage `json:"json"`
	Body    *string         `json:"body"`
	Fill    *Fill           `json:"fill"`
	Gzip    int             `json:"gzip"` // how many times the body is compressed
	Chunked bool            `json:"chunked"`
	TLSCert string          `json:"tls_cert"`
	Forge   map[string]Mint `json:"forge"`
}

// Fill is a long body written short: Head, Times times Unit, Tail.
type Fill struct {
	Head  string `json:"head"`
	Unit  string `json:"unit"`
	Times int    `json:"times"`
	Tail  string `json:"tail"`
}

// Expect is the reference's answer. Of JSON, Raw and Empty those that are given are compared.
// In JSON a text that begins with $$ is a matcher, and every other value must be
// equal; keys that are not expected are differences, too.
type Expect struct {
	Status  int                `json:"status"`  // 0: any
	Headers map[string]*string `json:"headers"` // null: the header must be missing
	JSON    json.RawMessage    `json:"json"`
	Raw     *string            `json:"raw"`
	Empty   bool               `json:"empty"`
}

// header is one name with the values it is sent with; none removes a header sent by default.
type header struct {
	name   string
	values []string
}

// headers keeps the order in which they are written.
type headers []header

// UnmarshalJSON accepts a text, null or a list of texts for each name.
func (h *headers) UnmarshalJSON(text []byte) error {
	v, err := decodeValue(text)
	if err != nil {
		return err
	}
	o, ok := v.(*object)
	if !ok {
		return fmt.Errorf("headers: want an object, got %s", short(v, 80))
	}
	for _, name := range o.keys {
		one := header{name: name}
		list, isList := o.values[name].([]any)
		if !isList && o.values[name] != nil {
			list = []any{o.values[name]}
		}
		for _, x := range list {
			s, ok := x.(string)
			if !ok {
				return fmt.Errorf("header %s: want a text, got %s", name, short(x, 80))
			}
			one.values = append(one.values, s)
		}
		*h = append(*h, one)
	}
	return nil
}

// Load reads every *.json file at the root of fsys, in the order of their names. A key that the format
// does not know, two cases of one name and an unknown configuration are errors: a case that is
// not understood must not seem to pass.
func Load(fsys fs.FS) ([]*Case, error) {
	names, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, fmt.Errorf("list cases: %w", err)
	}
	seen := map[string]bool{}
	var cases []*Case
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("read case: %w", err)
		}
		c, err := parseCase(text)
		if err != nil {
			return nil, fmt.Errorf("case file %s: %w", name, err)
		}
		if seen[c.ID] {
			return nil, fmt.Errorf("case file %s: there is another case %q", name, c.ID)
		}
		seen[c.ID] = true
		cases = append(cases, c)
	}
	return cases, nil
}

// parseCase reads one file. Keys that the format does not know are errors.
func parseCase(text []byte) (*Case, error) {
	c := &Case{Config: "main"}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	if c.ID == "" || len(c.Steps) == 0 {
		return nil, fmt.Errorf("a case needs an id and steps")
	}
	if !slices.Contains(Configs, c.Config) {
		return nil, fmt.Errorf("unknown configuration %q", c.Config)
	}
	for i, s := range c.Steps {
		if s.Select != "" && s.Select != "mine" {
			return nil, fmt.Errorf("step %d: unknown selection %q", i+1, s.Select)
		}
	}
	return c, nil
}

// Choose gives the cases of one configuration whose id fits the pattern (as path.Match reads it; an empty one
// fits all), in the order given.
func Choose(cases []*Case, config, pattern string) ([]*Case, error) {
	var chosen []*Case
	for _, c := range cases {
		fits := pattern == ""
		if !fits {
			var err error
			if fits, err = path.Match(pattern, c.ID); err != nil {
				return nil, fmt.Errorf("choose cases by %q: %w", pattern, err)
			}
		}
		if fits && c.Config == config {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}
