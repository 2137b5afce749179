package conformance

import (
	"strings"
	"testing"
)

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		unordered bool
		problems  []string // how each problem begins; none: it fits
	}{
		{want: `null`, got: `null`},
		{want: `null`, got: `[]`, problems: []string{"$: want null, got []"}},
		{want: `[]`, got: `null`, problems: []string{"$: want a list, got null"}},
		{want: `{}`, got: `[]`, problems: []string{"$: want an object"}},
		{want: `1`, got: `1.0`},
		{want: `1`, got: `true`, problems: []string{"$: want 1, got true"}},
		{want: `10000000000000000001`, got: `10000000000000000000`, problems: []string{"$: want 1000"}},
		{want: `"a"`, got: `"a"`},
		{want: `"a"`, got: `"b"`, problems: []string{`$: want "a", got "b"`}},
		{want: `{"a":1,"b":2}`, got: `{"b":2,"a":1}`},
		{want: `{"a":1,"b":[{"c":3}]}`, got: `{"b":[{"c":4}],"x":0}`,
			problems: []string{"$.a: missing (want 1)", "$.b[0].c: want 3, got 4", "$.x: unexpected (got 0)"}},
		{want: `[1,2]`, got: `[2,1]`, problems: []string{"$[0]: want 1", "$[1]: want 2"}},
		{want: `[1,2]`, got: `[2,1]`, unordered: true},
		{want: `[1,1,2]`, got: `[1,2,2]`, unordered: true, problems: []string{"$[1]: no element fits 1; left: [2,2]"}},
		{want: `[1,2]`, got: `[2]`, unordered: true, problems: []string{"$[0]: want 1", "$[1]: missing"}},
		{want: `[1]`, got: `[1,2]`, problems: []string{"$[1]: unexpected (got 2)"}},
		{want: `{"a":[1,["$$int","x"]]}`, got: `{"a":[["x",5],1]}`, unordered: true},
		{want: `{"$$count":2}`, got: `[1,null]`},
		{want: `{"$$count":2}`, got: `[1]`, problems: []string{"$: want a list of 2, got 1"}},
		{want: `{"$$count":0}`, got: `null`, problems: []string{"$: want a list of 0, got null"}},
		{want: `["$$id"]`, got: `["x"]`, problems: []string{`$[0]: not a decimal id`}},
	} {
		d := difference{matcher: matcher{now: noon}, unordered: c.unordered}
		d.compare("$", value(t, c.want), value(t, c.got))
		ok := len(d.problems) == len(c.problems)
		for i := 0; ok && i < len(c.problems); i++ {
			ok = strings.HasPrefix(d.problems[i], c.problems[i])
		}
		if !ok {
			t.Errorf("want %s, got %s: problems %q, expected %q", c.want, c.got, d.problems, c.problems)
		}
	}
}

// TestManyProblems holds the bounds of a report.
func TestManyProblems(t *testing.T) {
	t.Parallel()
	long := `"` + strings.Repeat("x", 100_000) + `"`
	var d difference
	d.compare("$", value(t, "["+strings.Repeat("1,", 999)+"1]"), value(t, "["+strings.Repeat(long+",", 99)+long+"]"))
	if len(d.problems) != maxProblems {
		t.Errorf("%d problems, want %d", len(d.problems), maxProblems)
	}
	for _, p := range d.problems {
		if len(p) > 2*maxShown {
			t.Fatalf("a problem of %d bytes", len(p))
		}
	}
}

func TestMine(t *testing.T) {
	t.Parallel()
	n := &names{vars: map[string]string{"net": "12.3.4", "net6": "fd00:a:b", "u": "q000000007"}}
	for _, c := range [][2]string{
		{`null`, `[]`},
		{`"x"`, `"x"`},
		{`[{"value":"12.3.4.1"},{"value":"112.3.4.1"},{"value":"1.12.3.4"},{"value":"12.3.40.1"}]`, `[{"value":"12.3.4.1"}]`},
		{`[{"value":"fd00:a:b::1"},{"value":"fd00:a:bc::1"}]`, `[{"value":"fd00:a:b::1"}]`},
		{`[{"a":{"b":["q000000007/scn"]}},[],1]`, `[{"a":{"b":["q000000007/scn"]}}]`},
		{`{"new":["12.3.4.0/24","x"],"deleted":null,"n":1}`, `{"new":["12.3.4.0/24"],"deleted":null,"n":1}`},
	} {
		if got := string(appendValue(nil, n.mine(value(t, c[0])))); got != c[1] {
			t.Errorf("mine(%s) = %s, want %s", c[0], got, c[1])
		}
	}
}
