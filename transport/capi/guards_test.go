package capi

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

// An allowlist that is empty or lost more than half is held back, named and told, until the
// operator believes it.
func TestShrunkenAllowlist(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.stream = strings.Replace(communityOf("198.18.0.1"), `"later":{"x":[1]}}`,
		fmt.Sprintf(`"links":{"allowlists":[{"id":"7","name":"ours","description":"d","url":%q}]}}`, f.web.URL+"/lists/allow"), 1)
	line := func(n int) string { return fmt.Sprintf("{\"value\":\"203.0.113.%d\"}\n", n) }
	whole := line(1) + line(2) + line(3) + line(4) + line(5)
	f.lists["/lists/allow"] = whole
	c := f.client(nil)
	f.mustPull(c)
	items := func() int { return len(f.rig.View().ConsoleAllowlist("7").Items) }
	for _, small := range []string{"", line(1) + line(2), line(1) + line(1) + line(1), "{\"value\":\"?\"}\n"} {
		f.lists["/lists/allow"] = small
		f.mustPull(c)
		text, _ := c.o.Figures.Warning(f.rig.Now())
		if items() != 5 || !strings.Contains(text, `"allowlist ours" is held back`) || !strings.Contains(text, "capi_shrunken_lists") || len(c.o.Figures.Report().Held) != 1 {
			t.Errorf("%q: %d items, told %q", small, items(), text)
		}
	}
	if !strings.Contains(f.log.String(), `the allowlist \"ours\" of the console is held back: it has 0 items, and 5 of it are in force`) {
		t.Errorf("not said:\n%s", &f.log)
	}
	f.lists["/lists/allow"] = line(1) + line(2) + line(3)
	f.mustPull(c)
	if text, _ := c.o.Figures.Warning(f.rig.Now()); items() != 3 || text != "" {
		t.Errorf("%d items, told %q", items(), text)
	}
	f.lists["/lists/allow"] = ""
	f.mustPull(f.client(func(o *Options) { o.Shrunken = true }))
	if items() != 0 {
		t.Error("it is not believed")
	}
}

// A list that does not fit into the memory beside the others is held back, named and told.
func TestListsWithoutRoom(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.stream = strings.Replace(f.links([3]string{"a", "/lists/a", "ban"}, [3]string{"b", "/lists/b", "ban"}, [3]string{"c", "/lists/c", "ban"}),
		`"new":null`, `"new":[{"scenario":"s","scope":"ip","decisions":[{"duration":"24h","value":"198.18.0.1"}]}]`, 1)
	f.lists["/lists/a"] = "198.19.0.1\n198.19.0.2\n"
	f.lists["/lists/b"] = "198.19.1.1\n198.19.1.2\n"
	f.lists["/lists/c"] = "198.19.2.1\n198.19.2.2\n198.19.2.3\n198.19.2.4\n198.19.2.5\n"
	c := f.client(func(o *Options) { o.MostEntries = 4 })
	for range 2 {
		f.mustPull(c)
		if a, b, d := f.running(engine.OriginLists, "a"), f.running(engine.OriginLists, "b"), f.running(engine.OriginLists, "c"); len(a) != 2 || b != nil || d != nil {
			t.Errorf("%q, %q and %q run", a, b, d)
		}
		text, _ := c.o.Figures.Warning(f.rig.Now())
		for _, list := range []string{`"b"`, `"c"`} {
			if !strings.Contains(text, "the list "+list+" is held back") || !strings.Contains(text, "LAPID_MEMORY") || strings.Contains(text, "capi_shrunken_lists") {
				t.Errorf("told %q", text)
			}
		}
		f.rig.Advance(time.Minute)
	}
	f.mustPull(f.client(func(o *Options) { o.MostEntries = 10 }))
	if len(f.running(engine.OriginLists, "c")) != 5 || len(f.running(engine.OriginLists, "b")) != 2 {
		t.Errorf("they are still held back:\n%s", &f.log)
	}
}

// Of two allowlists with one id in one answer the first counts, and the second is named.
func TestTwoAllowlistsWithOneID(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.stream = fmt.Sprintf(`{"links":{"allowlists":[{"id":"7","name":"first","description":"d","url":%q},{"id":"7","name":"second","description":"d","url":%q}]}}`,
		f.web.URL+"/lists/x", f.web.URL+"/lists/y")
	f.lists["/lists/x"], f.lists["/lists/y"] = "{\"value\":\"203.0.113.1\"}\n", "{\"value\":\"203.0.113.2\"}\n"
	f.mustPull(f.client(nil))
	if l := f.rig.View().ConsoleAllowlist("7"); l.Name != "first" || l.Items[0].Value != "203.0.113.1" || !strings.Contains(f.log.String(), "list=second") {
		t.Errorf("%+v\n%s", l, &f.log)
	}
}

// A password that stands in the address is not shown.
func TestShownAddress(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{"https://a.example/": "https://a.example/", "https://u:secret@a.example/": "https://u:xxxxx@a.example/"} {
		if got := (&Credentials{URL: url}).Shown(); got != want {
			t.Errorf("%s is shown as %s", url, got)
		}
	}
}
