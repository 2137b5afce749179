package conformance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"lapid/transport/openapi/openapitest"
)

// described holds what a server answers to the cases to the description of the API. Answers are checked
// always, requests where they were obeyed, unless the case is about what is tolerated: those stand in
// testdata/lenient.txt.
type described struct {
	checker *openapitest.Checker
	lenient map[string]string // reasons by case
	strayed sync.Map          // lenient cases whose requests did not fit, by id
}

func newDescribed(t *testing.T, cases []*Case) *described {
	return &described{checker: openapitest.New(t, "admin", "metrics"), lenient: loadReasons(t, "testdata/lenient.txt", func(id string) bool {
		return slices.ContainsFunc(cases, func(c *Case) bool { return c.ID == id })
	})}
}

// judge is for the exchanges of one case.
func (d *described) judge(id string) func(*Exchange) []string {
	return func(x *Exchange) []string {
		one := &openapitest.Exchange{
			Method: x.Method, Target: x.Target, RequestHeader: x.RequestHeader, Request: inflated(x), Status: x.Status, Header: x.Header, Body: x.Answer,
		}
		problems := d.checker.Answer(one)
		if x.Status >= 300 {
			return problems
		}
		asked := d.checker.Request(one)
		if d.lenient[id] == "" {
			return append(problems, asked...)
		}
		if asked != nil {
			d.strayed.Store(id, true)
		}
		return problems
	}
}

// inflated is the body of a request as it was meant.
func inflated(x *Exchange) []byte {
	body := x.Request
	for range strings.Count(x.RequestHeader.Get("Content-Encoding"), "gzip") {
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return body
		}
		if body, err = io.ReadAll(r); err != nil {
			return body
		}
	}
	return body
}

// complete says what is described and was not met by any case, unless testdata/unmet.txt has the reason, and
// which lines of both files are not needed any more.
func (d *described) complete(t *testing.T) {
	unmet := loadReasons(t, "testdata/unmet.txt", func(string) bool { return true })
	for _, o := range d.checker.Operations() {
		for _, status := range d.checker.Statuses(o) {
			name := strings.ReplaceAll(o.String(), " ", "_") + "_" + status
			switch reason, met := unmet[name], d.checker.Met(o, status); {
			case !met && reason == "" && unmet["*_"+status] == "":
				t.Errorf("%s with status %s is described, and no case meets it: add one, or the line %q with a reason to testdata/unmet.txt", o, status, name)
			case met && reason != "":
				t.Errorf("%s stands in testdata/unmet.txt and is met: take it off", name)
			}
		}
	}
	for id := range d.lenient {
		if _, ok := d.strayed.Load(id); !ok {
			t.Errorf("%s stands in testdata/lenient.txt, and its requests are as they are described: take it off", id)
		}
	}
}

// loadReasons reads a list: "id reason" on each line. A line without a reason or with an id that is not known is an
// error.
func loadReasons(t *testing.T, file string, known func(id string) bool) map[string]string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		id, reason, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if id == "" {
			continue
		}
		if !known(id) || reason == "" {
			t.Fatalf("%s: %q: want an id that there is and a reason", file, lines.Text())
		}
		list[id] = reason
	}
	return list
}
