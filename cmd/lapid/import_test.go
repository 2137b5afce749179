package main

import (
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	write(t, s.dir, "imp.csv", "value,duration,other,type,reason\n203.0.113.50,24h,x,,scanner\n203.0.113.51,,x,captcha,\n")
	write(t, s.dir, "imp.json", `[{"value":"203.0.113.60","scope":"ip"},{"value":"10.0.0.0/8","scope":"Range","extra":1}]`)
	write(t, s.dir, "bad.csv", "value,duration\n1.1.1.1,1h\nzzz,1h\n2.2.2.2,soon\n,1h\n")
	write(t, s.dir, "bad.json", `[{"value":"1.1.1.1"},{"value":7},{"scope":"ip"}]`)
	write(t, s.dir, "broken.json", `[{"value":"1.1.1.1"},`)
	write(t, s.dir, "list.txt", "198.51.100.1\n 198.51.100.2 \n")
	write(t, s.dir, "bad.txt", "1.1.1.1;1h\n")
	write(t, s.dir, "blank.txt", "198.51.100.1\n\n")
	write(t, s.dir, "headless.csv", "1.2.3.4\n")
	s.steps([]step{
		{"decisions import", 1, "", "~required flag(s) \"input\" not set"},
		{"decisions import -i @DIR@/bad.txt", 1, "Parsing values\n", "~1 unusable entries in bad.txt, nothing was imported (it was read as values, by its beginning: values has one value on each line; --format says what it is)"},
		{"decisions import -i @DIR@/imp.csv", 0, "Parsing csv\nImported 2 decisions", "level=warning msg=\"'other' means nothing here and is ignored (known are duration, reason, scope, type, value)\"\n"},
		{"decisions list -o raw", 0, `re:cscli-import,Ip:203\.0\.113\.50,scanner,ban,,,2,(24h0m0s|23h5[0-9]m[0-9]+s),false,1\n`, ""},
		{"decisions list -o raw", 0, `re:cscli-import,Ip:203\.0\.113\.51,manual,captcha,,,2,(4h0m0s|3h5[0-9]m[0-9]+s),false,1\n`, ""},
		{"alerts list -o raw", 0, "~1,,,import imp.csv: 2 IPs,,,ban:1 captcha:1,", ""},
		{"decisions import -i @DIR@/imp.json -d 1d -R bulk --batch 1", 0, "Parsing json\nbatch size: 1\nImported 2 decisions", "level=warning msg=\"'extra' means nothing here and is ignored (known are duration, reason, scope, type, value)\"\n"},
		{"decisions list -o raw", 0, `re:Range:10\.0\.0\.0/8,bulk,ban,,,1,(24h0m0s|23h5[0-9]m[0-9]+s),false,3\n`, ""},
		{"decisions import -i @DIR@/list.txt --format values", 0, "Parsing values\nImported 2 decisions", ""},
		{"decisions import -i @DIR@/blank.txt --format values", 0, "Parsing values\nImported 1 decisions", ""},
		{"decisions import -i @DIR@/bad.csv", 1, "Parsing csv\n", "level=error msg=\"line 3: invalid ip address 'zzz'\"\nlevel=error msg=\"line 4: duration 'soon': time: invalid duration \\\"soon\\\"\"\nlevel=error msg=\"line 5: missing 'value'\"\nError: lapid decisions import: 3 unusable entries in bad.csv, nothing was imported\n"},
		{"decisions import -i @DIR@/bad.json", 1, "Parsing json\n", "~item 3: missing 'value'"},
		{"decisions import -i @DIR@/broken.json", 1, "Parsing json\n", "~unable to parse json"},
		{"decisions import -i @DIR@/headless.csv", 1, "Parsing csv\n", "~the header line has no column 'value'"},
		{"decisions import -i @DIR@/none.csv", 1, "", "~none.csv"},
		{"decisions import -i @DIR@/imp.csv --format xml", 1, "", "~unknown format 'xml'"},
		{"decisions import -i @DIR@/imp.csv --batch -1", 1, "", "~batch size"},
		{"allowlists create a1 -d c", 0, "~created", ""},
		{"allowlists add a1 203.0.113.50 -d HQ", 0, "~added 1", ""},
		{"decisions import -i @DIR@/imp.csv", 0, "Parsing csv\nValue 203.0.113.50 is allowlisted by [203.0.113.50 from a1 (HQ)]\nImported 1 decisions", "~'other' means nothing here"},
	})
	if r := s.do("192.0.2.77\n", "decisions", "import", "-i", "-", "--format", "values"); r.exit != 0 || r.out != "Parsing values\nImported 1 decisions" {
		t.Errorf("standard input: %+v", r)
	}
	if r := s.do("", "alerts", "list", "-o", "raw"); !strings.Contains(r.out, "import stdin: 1 IPs") {
		t.Errorf("the alert of a piped import: %s", r.out)
	}
}

// TestLargeImport: many more values than one chunk holds, all of them stored,
// chunk by chunk.
func TestLargeImport(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	var list strings.Builder
	const many = 25_000
	for i := range many {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	write(t, s.dir, "many.txt", list.String())
	s.steps([]step{
		{"decisions import -i @DIR@/many.txt --format values", 0, "Parsing values\nYou are about to add 25000 decisions, this may take a while\nImported 25000 decisions", ""},
		{"alerts list -o raw", 0, "~import many.txt: 5000 IPs", ""},
	})
	r := s.do("", "decisions", "list", "-o", "raw")
	rows, err := csv.NewReader(strings.NewReader(r.out)).ReadAll()
	if err != nil || len(rows) != many+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	seen := map[string]bool{}
	for _, row := range rows[1:] {
		seen[row[2]] = true
	}
	if len(seen) != many {
		t.Errorf("%d different values", len(seen))
	}
}
