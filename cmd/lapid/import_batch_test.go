package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapid/cmd/lapid/verbs"
)

// TestNamedList: a stock bouncer is told of exactly what changed on a list, by one commit,
// and of nothing when the same file comes again, also over a restart.
func TestNamedList(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.news("?startup=true")
	told := func(what string, begun, ended []string) {
		t.Helper()
		if b, e := h.news(""); !slices.Equal(b, begun) || !slices.Equal(e, ended) {
			t.Errorf("%s: %q and %q, want %q and %q", what, b, e, begun, ended)
		}
	}
	set := func(text string, args ...string) result {
		return h.do(text, append([]string{"decisions", "import", "-i", "-", "--format", "values", "--name", "drop", "--replace", "-d", "24h"}, args...)...)
	}
	first := "198.51.100.0/24\n192.0.2.1\n2001:DB8::1\n192.0.2.3\n192.0.2.1\n"
	const begins = "lists drop ban "
	h.expect(set(first, "--dry-run"), 0, "Parsing values\nList drop would have 4 entries: 4 new, 0 renewed, 0 unchanged, 0 ended, 0 allowlisted\n", "~1 entries")
	told("a dry run", nil, nil)
	h.expect(set(first), 0, "Parsing values\nList drop has 4 entries: 4 new, 0 renewed, 0 unchanged, 0 ended, 0 allowlisted\n", "~1 entries")
	told("the list", []string{begins + "192.0.2.1", begins + "192.0.2.3", begins + "198.51.100.0/24", begins + "2001:db8::1"}, nil)
	h.expect(set(strings.ReplaceAll(first, "DB8", "db8")), 0, "~0 new, 0 renewed, 4 unchanged, 0 ended", "~1 entries")
	told("the same again", nil, nil)
	_ = p.cmd.Process.Signal(os.Interrupt)
	p.wait(t)
	p = start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.expect(set(first), 0, "~4 unchanged, 0 ended", "~1 entries")
	told("the same after a restart", nil, nil)
	h.expect(set("192.0.2.1\n192.0.2.4\n2001:db8::1\n"), 0, "~1 new, 0 renewed, 2 unchanged, 2 ended", "")
	told("a change", []string{begins + "192.0.2.4"}, []string{"192.0.2.3", "198.51.100.0/24"})
	for text, want := range map[string]string{
		"":                        "~the new content of list \"drop\" is empty",
		"192.0.2.1\n":             "~has 3 decisions, and the new content has 1 entries, which is less than half",
		"192.0.2.1\n192.0.2.44":   "~the last line has no line end",
		"192.0.2.1\nx\n1.1.1.1\n": "~1 unusable entries",
	} {
		h.expect(set(text), 1, "Parsing values\n", want)
		h.expect(set(text, "--dry-run"), 1, "Parsing values\n", want)
	}
	told("what was refused", nil, nil)
	h.expect(set("192.0.2.1\nx\n192.0.2.4\n2001:db8::1\n", "--skip-invalid"), 0, "~3 unchanged, 0 ended", "~left out: 1 that cannot be used")
	h.steps([]step{{"allowlists create a -d x", 0, "~created", ""}, {"allowlists add a 192.0.2.9", 0, "~added", ""}})
	h.expect(set("192.0.2.1\n192.0.2.9\n2001:db8::1\n"), 0, "~0 new, 0 renewed, 2 unchanged, 1 ended, 1 allowlisted", "")
	told("what is allowlisted is left out", nil, []string{"192.0.2.4"})
	h.expect(set("192.0.2.9\n", "--allow-shrink"), 0, "~2 ended, 1 allowlisted", "")
	h.expect(set("192.0.2.1\n192.0.2.2\n"), 0, "~2 new", "")
	told("shrunken and set anew", []string{begins + "192.0.2.1", begins + "192.0.2.2"}, []string{"2001:db8::1"})
	h.steps([]step{
		{"decisions list --name drop -o raw", 0, "~lists,Ip:192.0.2.2,drop,ban", ""},
		{"decisions delete --name other", 1, "", "~there is no named list \"other\": there are drop"},
		{"decisions delete --name drop --dry-run", 0, "~Would delete 2 decision(s)", "~192.0.2.2"},
		{"decisions delete --name drop", 0, "", "~2 decision(s) deleted"},
		{"decisions delete --name drop", 0, "", "~0 decision(s) deleted"},
	})
	told("taken back", nil, []string{"192.0.2.1", "192.0.2.2"})
}

// TestNamedListKilled: whatever moment the server dies at, a list is the old or the new one.
func TestNamedListKilled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const many = 3000
	lists := [2]map[string]bool{{}, {}}
	for side := range lists {
		var text strings.Builder
		for i := range many {
			value := fmt.Sprintf("10.%d.%d.%d", side*(i%2), i>>8, i&255) // half of each is in both
			lists[side][value] = true
			fmt.Fprintln(&text, value)
		}
		write(t, h.dir, fmt.Sprintf("list%d.txt", side), text.String())
	}
	for round := range 8 {
		p := start(t, nil, "-c", h.file, "serve")
		h.awaitHealth(p)
		q := start(t, nil, "-c", h.file, "decisions", "import", "-i", filepath.Join(h.dir, fmt.Sprintf("list%d.txt", round%2)), "--name", "l", "--replace")
		if round%4 > 0 { // somewhere on the way
			for range rand.IntN(40) {
				_, _, _ = h.ask("GET", "/v1/decisions?ip=10.0.0.1", "")
			}
		} else {
			q.wait(t)
		}
		_ = p.cmd.Process.Kill()
		p.wait(t)
		q.wait(t)
		r := h.do("", "decisions", "list", "--name", "l", "-o", "raw")
		got := map[string]bool{}
		for _, line := range strings.Split(r.out, "\n")[1:] {
			if f := strings.Split(line, ","); len(f) > 2 {
				got[strings.TrimPrefix(f[2], "Ip:")] = true
			}
		}
		if len(got) != 0 && !equalSets(got, lists[0]) && !equalSets(got, lists[1]) || round == 0 && len(got) == 0 {
			t.Fatalf("round %d: %d values, which are neither list", round, len(got))
		}
	}
}

func equalSets(a, b map[string]bool) bool {
	for v := range a {
		if !b[v] {
			return false
		}
	}
	return len(a) == len(b)
}

// TestBatch: what an import stored is found, shown and taken back by its name.
func TestBatch(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	write(t, s.dir, "l.txt", "192.0.2.1\n192.0.2.2\n192.0.2.3\n")
	write(t, s.dir, "m.txt", "192.0.2.4\n")
	s.steps([]step{
		{"decisions import -i @DIR@/l.txt --batch-name mine --batch 1 --dry-run", 0, "~Would import 3 decisions: 3 new, 0 known already\n", ""},
		{"decisions list", 0, "No active decisions\n", ""},
		{"decisions import -i @DIR@/l.txt --batch-name mine --batch 1", 0, "~Imported 3 decisions", ""},
		{"decisions import -i @DIR@/m.txt --batch-name mine", 1, "Parsing values\n", "~there is a batch \"mine\" already"},
		{"decisions import -i @DIR@/m.txt --batch-name mine --dry-run", 1, "Parsing values\n", "~there is a batch \"mine\" already"},
		{"decisions import -i @DIR@/m.txt --batch-name mine --append", 0, "~Imported 1 decisions", ""},
		{"decisions import -i @DIR@/m.txt --append", 1, "", "~--append needs the --batch-name"},
		{"decisions import -i @DIR@/m.txt --name x", 1, "", "~--name and --replace belong together"},
		{"decisions import -i @DIR@/m.txt --replace", 1, "", "~--name and --replace belong together"},
		{"decisions import -i @DIR@/m.txt --name x --replace --batch-name y", 1, "", "~--batch-name means nothing with --name"},
		{"decisions import -i @DIR@/m.txt --allow-shrink", 1, "", "~--allow-shrink means nothing"},
		{"decisions import -i @DIR@/m.txt --batch-name other", 0, "~Imported 1 decisions", ""},
		{"decisions add -i 192.0.2.1 --dry-run", 0, "~0 new, 1 known already", ""},
		{"decisions add -i 192.0.2.1 -t captcha --dry-run -o json", 0, "~\"new\": 1", ""},
		{"decisions list --batch-name other -o raw", 0, "~cscli-import,Ip:192.0.2.4,manual", ""},
		{"decisions delete --id 2", 0, "", "~1 decision(s) deleted"},
		{"decisions delete --id 2 --dry-run", 0, "~Would delete 0 decision(s)", ""},
		{"decisions delete --id 2", 0, "", "~0 decision(s) deleted"},
		{"decisions delete --id 99 --dry-run", 1, "", "~decision with id '99' doesn't exist"},
		{"decisions delete --batch-name mine --dry-run -o json", 0, "~\"would_delete\": 3", ""},
		{"decisions delete --batch-name mine", 0, "", "~3 decision(s) deleted"},
		{"decisions delete --batch-name mine", 0, "", "~0 decision(s) deleted"},
		{"decisions delete --batch-name nine", 1, "", "~there is no batch \"nine\": there are other, mine"},
		{"decisions delete --batch-name mine --name x", 1, "", "~not both"},
		{"decisions list -o raw", 0, "~Ip:192.0.2.4", ""},
	})
	r := s.in(&verbs.Terminal{}, "decisions", "import", "-i", filepath.Join(s.dir, "l.txt"), "-o", "json")
	var got struct{ Batch string }
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || !strings.HasPrefix(got.Batch, "l.txt-") {
		t.Fatalf("%+v %v", r, err)
	}
	s.expect(s.do("", "decisions", "delete", "--batch-name", got.Batch), 0, "", "~3 decision(s) deleted")
}

// TestImportOfKinds: what an input may look like, without being told its format.
func TestImportOfKinds(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	zip := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.String()
	}
	for name, c := range map[string]struct {
		text string
		want int // decisions; below 0: it is refused
		says string
	}{
		"values":              {"# c\r\n\r\n192.0.2.1 # x\r\n  192.0.2.2\t# y\r\n", 2, ""},
		"a mark":              {"\ufeff192.0.2.1\n", 1, ""},
		"a mark and a remark": {"\ufeff# c\n192.0.2.1\n", 1, ""},
		"csv":                 {"\ufeff# c\nvalue,duration,reason\r\n# d\r\n\r\n192.0.2.1 # x,1h,a # b\r\n192.0.2.2,2h # z\n", 2, ""},
		"raw":                 {"id,source,ip,reason,action,country,as,events_count,expiration,simulated,alert_id\n1,cscli,Ip:192.0.2.1,r,ban,,,1,3h59m,false,1\n", 1, ""},
		"json":                {"# c\n[{\"value\":\"192.0.2.1\"},\n# d\n{\"value\":\"192.0.2.2\"}]\n", 2, ""},
		"ndjson":              {"{\"value\":\"192.0.2.1\"}\r\n\n# c\n{\"id\":3,\"decisions\":[{\"value\":\"192.0.2.2\",\"scope\":\"Ip\",\"type\":\"ban\",\"duration\":\"1h\"}]}", 2, ""},
		"gzip":                {zip("192.0.2.1\n"), 1, ""},
		"half a gzip":         {zip("192.0.2.1\n192.0.2.2\n")[:30], -1, "the gzip file was cut off"},
		"half a list":         {"[{\"value\":\"192.0.2.1\"},{\"val", -1, "unable to parse json"},
		"more than a list":    {"[{\"value\":\"192.0.2.1\"}] x", -1, "something follows the end of the list"},
		"half a line":         {"{\"value\":\"192.0.2.1\"}\n{\"value\":\"192.", -1, "line 2: unable to parse json"},
		"objects over lines":  {"{\n\"value\":\"192.0.2.1\"\n}\n", -1, "ndjson has one whole object on each line"},
		"another separator":   {"192.0.2.1;4h\n", -1, "values has one value on each line; --format says what it is"},
		"utf-16":              {"\xff\xfe1\x00", -1, "no text in UTF-8"},
		"nothing that is one": {"a\x00b", -1, "no text in UTF-8"},
		"nothing":             {"# only this\n", -1, "no decisions found"},
	} {
		write(t, s.dir, "input", c.text)
		dry := s.do("", "decisions", "import", "-i", filepath.Join(s.dir, "input"), "--dry-run")
		r := s.do("", "decisions", "import", "-i", filepath.Join(s.dir, "input"))
		switch {
		case dry.exit != r.exit:
			t.Errorf("%s: a dry run ends with %d, the import with %d", name, dry.exit, r.exit)
		case c.want < 0 && (r.exit == 0 || !strings.Contains(r.err, c.says)):
			t.Errorf("%s: %+v", name, r)
		case c.want >= 0 && (r.exit != 0 || !strings.HasSuffix(r.out, fmt.Sprintf("Imported %d decisions", c.want))):
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestDryRunSaysTheSame: over random states, a dry run changes nothing and says what the
// import then does.
func TestDryRunSaysTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{{"allowlists create a -d x", 0, "~created", ""}})
	chance := rand.New(rand.NewPCG(7, 7))
	value := func() string {
		if chance.IntN(4) == 0 {
			return fmt.Sprintf("10.0.%d.0/24", chance.IntN(3))
		}
		return fmt.Sprintf("10.0.%d.%d", chance.IntN(3), chance.IntN(6))
	}
	state := func() map[string]bool { // what is decided, whatever how often
		set := map[string]bool{}
		var alerts []struct {
			Decisions []struct{ Value, Type string }
		}
		_ = json.Unmarshal([]byte(s.do("", "decisions", "list", "-a", "-o", "json").out), &alerts)
		for _, a := range alerts {
			for _, d := range a.Decisions {
				set[d.Type+" "+d.Value] = true
			}
		}
		return set
	}
	type said struct {
		Would, New, Known, Repeated int
		Imported                    int
		WouldImport                 int `json:"would_import"`
		Allowlisted                 []struct{ Value string }
	}
	for round := range 12 {
		switch chance.IntN(4) {
		case 0:
			s.do("", "allowlists", "add", "a", value())
		case 1:
			s.do("", "decisions", "delete", "-v", value())
		}
		var text strings.Builder
		text.WriteString("value,type\n")
		for range chance.IntN(12) + 1 {
			fmt.Fprintf(&text, "%s,%s\n", value(), []string{"ban", "captcha"}[chance.IntN(2)])
		}
		write(t, s.dir, "in.csv", text.String())
		var dry, done said
		args := []string{"decisions", "import", "-i", filepath.Join(s.dir, "in.csv"), "-o", "json", "--batch", "3"}
		before := state()
		_ = json.Unmarshal([]byte(s.do("", append(args, "--dry-run")...).out), &dry)
		if now := state(); !equalSets(now, before) {
			t.Fatalf("round %d: a dry run changed something", round)
		}
		_ = json.Unmarshal([]byte(s.do("", args...).out), &done)
		after := state()
		if dry.WouldImport != done.Imported || len(dry.Allowlisted) != len(done.Allowlisted) ||
			dry.New != len(after)-len(before) || dry.New+dry.Known+dry.Repeated != done.Imported {
			t.Errorf("round %d: said %+v, did %+v, %d and then %d are decided, of\n%s", round, dry, done, len(before), len(after), text.String())
		}
		list := []string{"decisions", "import", "-i", filepath.Join(s.dir, "in.csv"), "-o", "json", "--name", "l", "--replace", "--allow-shrink"}
		would, did := s.do("", append(list, "--dry-run")...), s.do("", list...)
		if strings.Replace(would.out, `"dry_run": true`, `"dry_run": false`, 1) != did.out || would.exit != did.exit {
			t.Errorf("round %d: a list was to be\n%s, and became\n%s", round, would.out, did.out)
		}
	}
}
