package stream

import (
	"reflect"
	"strings"
	"testing"

	"lapid/engine"
)

// What nodes hold is compared at the newest revision that one told of; only more than half of those alive say that another is odd. One that
// is not alive is named, and then it is not said of all nodes that they hold the same.
func TestCompare(t *testing.T) {
	t.Parallel()
	node := func(name string, rev engine.Revision, digest string) Known {
		k := Known{Node: name, Alive: true}
		if rev > 0 {
			k.Compared = &Compared{rev, digest}
		}
		return k
	}
	gone := node("z", 9, "s:4")
	gone.Alive = false
	for name, c := range map[string]struct {
		nodes []Known
		want  *Comparison
		said  bool
		whole bool
	}{
		"nobody told":           {[]Known{node("a", 0, ""), gone}, nil, false, false},
		"alike":                 {[]Known{node("a", 7, "s:1"), node("b", 7, "s:1"), gone}, &Comparison{Revision: 7, Alike: [][]string{{"a", "b"}}, Away: []string{"z"}}, false, false},
		"one is odd":            {[]Known{node("a", 7, "s:2"), node("b", 7, "s:1"), node("c", 7, "s:1")}, &Comparison{Revision: 7, Alike: [][]string{{"b", "c"}, {"a"}}, Odd: []string{"a"}}, true, false},
		"two, no majority":      {[]Known{node("a", 7, "s:2"), node("b", 7, "s:1")}, &Comparison{Revision: 7, Alike: [][]string{{"a"}, {"b"}}}, true, false},
		"no majority of all":    {[]Known{node("a", 7, "s:2"), node("b", 7, "s:1"), node("c", 0, "")}, &Comparison{Revision: 7, Alike: [][]string{{"a"}, {"b"}}, Untold: []string{"c"}}, true, false},
		"an earlier comparison": {[]Known{node("a", 6, "s:2"), node("b", 7, "s:1"), node("c", 7, "s:1")}, &Comparison{Revision: 7, Alike: [][]string{{"b", "c"}}, Untold: []string{"a"}}, false, false},
		"another seal":          {[]Known{node("a", 7, "s:1"), node("b", 7, "r:2")}, &Comparison{Revision: 7, Alike: [][]string{{"a", "b"}}}, false, true},
	} {
		got := compare(c.nodes)
		if !reflect.DeepEqual(got, c.want) || (got.said() != "") != c.said || got != nil && got.Whole() != c.whole {
			t.Errorf("%s: %+v, which says %q; want %+v", name, got, got.said(), c.want)
		}
	}
}

// Digests of one seal are compared, those of another, and of nodes that tell none, are not; what differs is named with the nodes.
func TestUnlike(t *testing.T) {
	t.Parallel()
	one, err := ParseSeal([]byte(NewSealLine()))
	if err != nil {
		t.Fatal(err)
	}
	other, err := ParseSeal([]byte(NewSealLine()))
	if err != nil {
		t.Fatal(err)
	}
	a, b := one.Digest("profiles", []byte("x")), one.Digest("profiles", []byte("y"))
	if a != one.Digest("profiles", []byte("x")) || !Differ(a, b) || Differ(a, a) || Differ(a, other.Digest("profiles", []byte("y"))) || Differ(a, "") || Differ("", b) || a == one.Digest("notifications", []byte("x")) {
		t.Errorf("%s and %s", a, b)
	}
	node := func(name, digest string) Node {
		n := Node{Known: Known{Node: name}, Alive: true, Writes: name == "b"}
		if digest != "" {
			n.Digests = map[string]string{"profiles": digest}
		}
		return n
	}
	if said := unlike([]Node{node("a", a), node("b", b), node("c", b), node("d", "")}); len(said) != 1 || !strings.HasPrefix(said[0], "profiles: not the same at node a as at node b") {
		t.Errorf("%q", said)
	}
	if said := unlike([]Node{node("a", a), node("b", a), node("d", "")}); said != nil {
		t.Errorf("%q", said)
	}
}
