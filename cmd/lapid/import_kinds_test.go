package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// listHeader is the first line of "decisions list -o raw".
var listHeader = []string{"id", "source", "ip", "reason", "action", "country", "as", "events_count", "expiration", "simulated", "alert_id"}

// TestImportOfNothing: a fetch that failed stops the job, unless nothing is meant.
func TestImportOfNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	for _, c := range []struct{ format, text string }{
		{"values", ""}, {"values", "# all comments\n\n"}, {"csv", ""}, {"csv", "value,reason\n"}, {"json", ""}, {"json", "[]"}, {"json", "null"},
		{"json", `[{"id":1,"decisions":null}]`}, {"csv", strings.Join(listHeader, ",") + "\n"},
	} {
		line := []string{"decisions", "import", "-i", "-", "--format", c.format}
		if r := s.do(c.text, line...); r.exit != exitFails || r.err != "Error: lapid decisions import: no decisions found\n" {
			t.Errorf("%s %q: %+v", c.format, c.text, r)
		}
		if r := s.do(c.text, append(line, "--allow-empty")...); r.exit != exitGood || !strings.HasSuffix(r.out, "\nImported 0 decisions") {
			t.Errorf("%s %q with --allow-empty: %+v", c.format, c.text, r)
		}
	}
	if r := s.do("", "alerts", "list", "-o", "json"); r.out != "[]" {
		t.Errorf("something was stored: %s", r.out)
	}
}

// TestImportOfLists: public lists have comments, blank lines and ranges.
func TestImportOfLists(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	list := "# a list\r\n\r\n192.0.2.1\r\n198.51.100.0/24 # a range\n  2001:db8::/48\n\n#192.0.2.9\n192.0.2.2\t# told twice\n"
	if r := s.do(list, "decisions", "import", "-i", "-", "--format", "values", "-d", "forever"); r.exit != 0 || !strings.HasSuffix(r.out, "Imported 4 decisions") {
		t.Fatalf("%+v", r)
	}
	r := s.do("", "decisions", "list", "-o", "raw")
	for _, want := range []string{"Ip:192.0.2.1,", "Range:198.51.100.0/24,", "Range:2001:db8::/48,", "Ip:192.0.2.2,"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%s is missing in\n%s", want, r.out)
		}
	}
	if !strings.Contains(r.out, ",2562047h0m0s,") && !strings.Contains(r.out, ",2562046h59m5") {
		t.Errorf("it is not for ever:\n%s", r.out)
	}
	if r := s.do("user # one\n", "decisions", "import", "-i", "-", "--format", "values", "--scope", "username"); r.exit != 0 {
		t.Errorf("%+v", r)
	}
}

// rows are what decides about decisions in a list of ours, sorted.
func (s *site) rows() []string {
	s.t.Helper()
	r := s.do("", "decisions", "list", "-a", "-o", "raw")
	all, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, row := range all[1:] {
		out = append(out, row[2]+" "+row[3]+" "+row[4]+" "+row[8][:len("2562047h")])
	}
	slices.Sort(out)
	return out
}

// TestImportOfOwnList: what decisions list prints can be imported again, without
// what is over or simulated, and so can what cscli printed.
func TestImportOfOwnList(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"decisions add -i 192.0.2.1 -R one,_two -d 100d", 0, "", "~successfully"},
		{"decisions add -r 2001:db8::/32 -t captcha -d forever", 0, "", "~successfully"},
		{"decisions add --scope username -v bob:x -R why -d 3000h", 0, "", "~successfully"},
	})
	want := s.rows()
	for _, format := range []string{"raw", "json"} {
		other := newSite(t, siteConfig)
		kind := map[string]string{"raw": "csv", "json": "json"}[format]
		list := s.do("", "decisions", "list", "-a", "-o", format).out
		if r := other.do(list, "decisions", "import", "-i", "-", "--format", kind); r.exit != 0 || r.err != "" {
			t.Errorf("%s: %+v", format, r)
		}
		got := other.rows()
		if len(got) != 3 || strings.Join(got, "\n")[:20] != strings.Join(want, "\n")[:20] {
			t.Errorf("%s: %q, want %q", format, got, want)
		}
		for i := range got {
			if g, w := strings.Fields(got[i]), strings.Fields(want[i]); !slices.Equal(g[:len(g)-1], w[:len(w)-1]) {
				t.Errorf("%s: %q, want %q", format, got[i], want[i])
			}
		}
	}
	for _, name := range []string{"decisions_list_all.csv", "decisions_list_all.json", "decisions_list_machine.csv"} {
		other := newSite(t, siteConfig)
		r := other.do("", "decisions", "import", "-i", filepath.Join("verbs/testdata/cscli", name))
		if r.exit != 0 || strings.Contains(r.err, "warning") || len(other.rows()) == 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	past := strings.Join(listHeader, ",") + "\n1,cscli,Ip:192.0.2.1,x,ban,,,1,-3s,false,1\n2,cscli,Ip:192.0.2.2,x,ban,,,1,0s,false,1\n" +
		"3,cscli,Ip:192.0.2.3,x,ban,,,1,1h0m0s,true,1\n4,cscli,Ip:192.0.2.4,x,ban,,,1,1h0m0s,false,1\n"
	other := newSite(t, siteConfig)
	r := other.do(past, "decisions", "import", "-i", "-", "--format", "csv")
	if r.exit != 0 || !strings.HasSuffix(r.out, "Imported 1 decisions") || r.err != "level=info msg=\"left out: 2 that are over, 1 simulated\"\n" {
		t.Errorf("%+v", r)
	}
	over := `[{"decisions":[{"id":1,"value":"192.0.2.1","scope":"Ip","type":"ban","duration":"-1h0m0s"}]}]`
	if r := other.do(over, "decisions", "import", "-i", "-", "--format", "json"); r.exit != 1 || !strings.HasSuffix(r.err, "no decisions found (left out: 1 that are over)\n") {
		t.Errorf("%+v", r)
	}
}

// TestImportRefuses what can never work, and names what it does not understand.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	write(t, s.dir, "bad.csv", "value,durationn,duration,xyz\n192.0.2.1,,0,\n192.0.2.2,,-4h,\n192.0.2.3,,999999d,\n192.0.2.4,,forever,\n")
	write(t, s.dir, "odd.json", `[{"value":"192.0.2.1","durationn":"1h"},{"Value":"192.0.2.2","reason":"decisions"}]`)
	write(t, s.dir, "good.csv", "value\n192.0.2.1\n")
	r := s.do("", "decisions", "import", "-i", filepath.Join(s.dir, "bad.csv"))
	want := `level=warning msg="'durationn' means nothing here and is ignored; did you mean 'duration'?"
level=warning msg="'xyz' means nothing here and is ignored (known are duration, reason, scope, type, value)"
level=error msg="line 2: duration '0' is over at once: give one of a second or more, such as 4h"
level=error msg="line 3: duration '-4h' is over at once: give one of a second or more, such as 4h"
level=error msg="line 4: duration '999999d' is too long: the longest are 106751d and 2562047h; 'forever' stands for it"
Error: lapid decisions import: 3 unusable entries in bad.csv, nothing was imported
`
	if r.exit != exitFails || r.err != want {
		t.Errorf("%d %s", r.exit, r.err)
	}
	s.steps([]step{
		{"decisions import -i @DIR@/odd.json", 0, "Parsing json\nImported 2 decisions", "level=warning msg=\"'durationn' means nothing here and is ignored; did you mean 'duration'?\"\n"},
		{"decisions import -i @DIR@ --format csv", 1, "", "Error: lapid decisions import: @DIR@ is a directory: give a file, or - for standard input\n"},
		{"decisions import -i @DIR@/good.csv -d 0", 1, "", "~is over at once"},
		{"decisions import -i @DIR@/good.csv -d 999999d", 1, "", "~is too long"},
		{"decisions import -i @DIR@/good.csv -t Ban", 1, "", "~no bouncer acts on the type 'Ban': write it as 'ban'"},
		{"decisions import -i @DIR@/good.csv --scope Ipp", 0, "~Imported 1", "~scope 'Ipp' is none that bouncers know: did you mean Ip?"},
	})
}

// TestImportJudgesWords: what decisions add refuses or doubts of a scope, a type and a
// value is refused or doubted in a list as well, wherever it stands there.
func TestImportJudgesWords(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	write(t, s.dir, "bad.csv", "value,scope,type\n192.0.2.0/24,Ip,\n192.0.2.0/24,ip,\n192.0.2.1,Range,\n192.0.2.1,range,\n192.0.2.2,,Ban\n")
	write(t, s.dir, "bad.json", `[{"value":"192.0.2.0/24","scope":"Ip"},{"value":"192.0.2.1","scope":"Range"},{"value":"192.0.2.1","type":"CAPTCHA"}]`)
	write(t, s.dir, "list.csv", strings.Join(listHeader, ",")+"\n1,cscli,Ip:192.0.2.0/24,x,ban,,,1,1h,false,1\n2,cscli,Ip:192.0.2.2,x,Ban,,,1,1h,false,1\n")
	write(t, s.dir, "odd.csv", "value,scope,type\nx,Ipp,captch\ny,Ipp,captch\n")
	write(t, s.dir, "odd.json", `[{"value":"z","scope":"Rangee","type":"bann"}]`)
	write(t, s.dir, "one.csv", "value\n192.0.2.1\n")
	write(t, s.dir, "net.csv", "value\n192.0.2.0/24\n")
	s.steps([]step{
		{"decisions import -i @DIR@/bad.csv", 1, "Parsing csv\n", `level=error msg="line 2: 192.0.2.0/24 is not a valid ip"
level=error msg="line 3: 192.0.2.0/24 is not a valid ip"
level=error msg="line 4: 192.0.2.1 is not a valid range"
level=error msg="line 5: 192.0.2.1 is not a valid range"
level=error msg="line 6: no bouncer acts on the type 'Ban': write it as 'ban'"
Error: lapid decisions import: 5 unusable entries in bad.csv, nothing was imported
`},
		{"decisions import -i @DIR@/bad.json", 1, "Parsing json\n", `level=error msg="item 1: 192.0.2.0/24 is not a valid ip"
level=error msg="item 2: 192.0.2.1 is not a valid range"
level=error msg="item 3: no bouncer acts on the type 'CAPTCHA': write it as 'captcha'"
Error: lapid decisions import: 3 unusable entries in bad.json, nothing was imported
`},
		{"decisions import -i @DIR@/list.csv", 1, "Parsing csv\n", `level=error msg="line 2: 192.0.2.0/24 is not a valid ip"
level=error msg="line 3: no bouncer acts on the type 'Ban': write it as 'ban'"
Error: lapid decisions import: 2 unusable entries in list.csv, nothing was imported
`},
		{"decisions import -i @DIR@/one.csv --scope Range", 1, "Parsing csv\n", "~line 2: 192.0.2.1 is not a valid range"},
		{"decisions import -i @DIR@/net.csv --scope ip", 1, "Parsing csv\n", "~line 2: 192.0.2.0/24 is not a valid ip"},
		{"decisions import -i @DIR@/one.csv -d 1ns", 1, "", "~is over at once"},
		{"decisions list -a", 0, "No active decisions\n", ""},
		{"decisions import -i @DIR@/odd.csv", 0, "~Imported 2", `level=warning msg="line 2: type 'captch' is none that bouncers know: did you mean captcha?"
level=warning msg="line 2: scope 'Ipp' is none that bouncers know: did you mean Ip?"
`},
		{"decisions import -i @DIR@/odd.json", 0, "~Imported 1", `level=warning msg="item 1: type 'bann' is none that bouncers know: did you mean ban?"
level=warning msg="item 1: scope 'Rangee' is none that bouncers know: did you mean Range?"
`},
		{"decisions import -i @DIR@/net.csv", 0, "~Imported 1", ""},
	})
}

// TestImportJSON: a program gets one object.
func TestImportJSON(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{{"allowlists create a -d x", 0, "~created", ""}, {"allowlists add a 192.0.2.2", 0, "~added", ""}})
	r := s.do("192.0.2.1\n192.0.2.2\n", "decisions", "import", "-i", "-", "--format", "values", "-o", "json")
	var got struct {
		Imported    int
		Alerts      []uint64
		Allowlisted []struct{ Value string }
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.exit != 0 || r.err != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got.Imported != 1 || len(got.Alerts) != 1 || len(got.Allowlisted) != 1 || got.Allowlisted[0].Value != "192.0.2.2" {
		t.Errorf("%s", r.out)
	}
}

// TestInterruptedImport: Ctrl-C says what was stored, and that is taken back as it
// says.
func TestInterruptedImport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	var list strings.Builder
	const many = 50_000
	for i := range many {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	write(t, h.dir, "many.txt", list.String())
	q := start(t, nil, "-c", h.file, "decisions", "import", "-i", filepath.Join(h.dir, "many.txt"), "--format", "values", "--batch", "1")
	alerts := func() []string {
		return regexp.MustCompile(`(?m)^[0-9]+,`).FindAllString(h.do("", "alerts", "list", "-l", "0", "-o", "raw").out, -1)
	}
	await(t, "something is stored", func() bool { return len(alerts()) > 0 })
	if err := q.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code := q.wait(t)
	said := regexp.MustCompile(`interrupted: (\d+) of 50000 decisions are stored, as alerts [0-9,-]+; "lapid -c \S+ alerts delete --id ([0-9,-]+)" takes them back`).
		FindStringSubmatch(q.out.String())
	if code != exitInterrupted || said == nil {
		t.Fatalf("exit %d: %s", code, q.out)
	}
	if n := len(alerts()); fmt.Sprint(n) != said[1] {
		t.Errorf("%s are said to be stored, %d are", said[1], n)
	}
	h.steps([]step{{"alerts delete --id " + said[2], 0, "", "~level=info msg=\"" + said[1] + " alert(s) deleted\"\n"}})
	if n := len(alerts()); n != 0 {
		t.Errorf("%d are left", n)
	}
}
