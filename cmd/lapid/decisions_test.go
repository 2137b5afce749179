package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"lapid/cmd/lapid/verbs"
)

// TestAddRefuses what can never work, in the reference's words where it has some.
func TestAddRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	says := func(text string) string { return "Error: lapid decisions add: " + text + "\n" }
	s.steps([]step{
		{"decisions add --ip 192.0.2.0/24", 1, "", says("192.0.2.0/24 is not a valid ip")},
		{"decisions add --ip nonsense", 1, "", says("nonsense is not a valid ip")},
		{"decisions add --range 192.0.2.1", 1, "", says("192.0.2.1 is not a valid range")},
		{"decisions add --scope ip -v 192.0.2.0/24", 1, "", says("192.0.2.0/24 is not a valid ip")},
		{"decisions add --scope Range -v 192.0.2.1", 1, "", says("192.0.2.1 is not a valid range")},
		{"decisions list --ip 192.0.2.0/24", 1, "", "Error: lapid decisions list: 192.0.2.0/24 is not a valid ip\n"},
		{"decisions delete --range 192.0.2.1", 1, "", "Error: lapid decisions delete: 192.0.2.1 is not a valid range\n"},
		{"decisions add -i 192.0.2.1 -d 0", 1, "", says("API error: decision duration '0' is over at once: give one of a second or more, such as 4h")},
		{"decisions add -i 192.0.2.1 -d 1ns", 1, "", "~is over at once"},
		{"decisions add -i 192.0.2.1 -d 0.0001s", 1, "", "~is over at once"},
		{"decisions add -i 192.0.2.1 -r 192.0.2.0/24", 1, "", says("give one of --ip and --range, not both")},
		{"decisions add -i 192.0.2.1 -v 192.0.2.2", 1, "", says("give one of --ip, --range and --value: a decision is about one thing")},
		{"decisions delete -r 192.0.2.0/24 -i 192.0.2.1", 1, "", "~give one of --ip and --range"},
		{"decisions delete --id 1 -i 192.0.2.1", 1, "", "~--id names one decision: it cannot be narrowed by --ip"},
		{"decisions delete --id 1 --batch-name nix --dry-run", 1, "", "~narrowed by --batch-name"},
		{"decisions delete --id 1 --all", 1, "", "~narrowed by --all"},
		{"--init decisions add -i 192.0.2.1 --dry-run", 1, "", "~--dry-run stores nothing, and --init would make a store"},
		{"decisions add -i 192.0.2.1 -d -4h", 1, "", "~is over at once"},
		{"decisions add -i 192.0.2.1 -d 999999d", 1, "", says("API error: decision duration '999999d' is too long: the longest are 106751d and 2562047h; 'forever' stands for it")},
		{"decisions add -i 192.0.2.1 -d 99999999h", 1, "", "~is too long"},
		{"decisions add -i 192.0.2.1 --type=", 1, "", says("a decision needs a type: ban, captcha, throttle")},
		{"decisions add -i 192.0.2.1 --type Ban", 1, "", says("no bouncer acts on the type 'Ban': write it as 'ban'")},
		{"decisions add --scope Ipp -v x -t captch", 0, "", "level=warning msg=\"scope 'Ipp' is none that bouncers know: did you mean Ip?\"\nlevel=warning msg=\"type 'captch' is none that bouncers know: did you mean captcha?\"\nlevel=info msg=\"Decision successfully added\"\n"},
		{"decisions add --scope username -v bob -t mfa", 0, "", "level=info msg=\"Decision successfully added\"\n"},
		{"decisions add -i 192.0.2.1 -d forever", 0, "", "~successfully added"},
		{"decisions list -i 192.0.2.1 -o raw", 0, "~,256204", ""},
	})
	for _, value := range []string{"a\nb", "a\x00", "\xff", "a\x7f"} {
		if r := s.do("", "decisions", "add", "--scope", "username", "-v", value); r.exit != exitFails || !strings.Contains(r.err, "API error: the value") {
			t.Errorf("%q: %+v", value, r)
		}
	}
}

// TestNamesAreUsable: what no header, URL or file can carry is refused where it is
// written.
func TestNamesAreUsable(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"bouncers", "add", " "}, "the bouncer's name must not be empty"},
		{[]string{"machines", "add", " ", "-a", "-f", "-"}, "the machine's name must not be empty"},
		{[]string{"bouncers", "add", "b", "-k", "x\n"}, "the API key begins or ends with a blank or a line end, which no header carries"},
		{[]string{"bouncers", "add", "b", "-k", " x"}, "the API key begins or ends with a blank"},
		{[]string{"bouncers", "add", "b", "-k", "a\tb"}, "holds a control character"},
		{[]string{"bouncers", "add", "b", "-k", strings.Repeat("k", 4097)}, "the API key has 4097 bytes, and at most 4096 fit into a request"},
		{[]string{"bouncers", "add", "b", "-k", "\xff"}, "is no text in UTF-8"},
		{[]string{"bouncers", "add", "b", "-k", ""}, "the API key must not be empty: leave --key away to have one made up"},
		{[]string{"bouncers", "add", ""}, "the bouncer's name must not be empty"},
		{[]string{"bouncers", "add", "a\nb"}, "the bouncer's name \"a\\nb\" holds a control character"},
		{[]string{"bouncers", "add", "\xff"}, "is no text in UTF-8"},
		{[]string{"machines", "add", "a\x1b[31m", "-p", "x", "-f", "-"}, "the machine's name"},
		{[]string{"machines", "add", "", "-p", "x", "-f", "-"}, "please specify a machine name to add"},
		{[]string{"allowlists", "create", "", "-d", "x"}, "the allowlist's name must not be empty"},
		{[]string{"allowlists", "create", "a/b", "-d", "x"}, "has a meaning in URLs"},
		{[]string{"allowlists", "create", "a?b", "-d", "x"}, "has a meaning in URLs"},
		{[]string{"allowlists", "create", "..", "-d", "x"}, "has a meaning in URLs"},
		{[]string{"allowlists", "create", "a\nb", "-d", "x"}, "holds a control character"},
	} {
		if r := s.do("", c.args...); r.exit != exitFails || !strings.Contains(r.err, c.says) {
			t.Errorf("%q: %+v\nwant %s", c.args, r, c.says)
		}
	}
	write(t, s.dir, "lapid.yaml", "max_header_bytes: 4KiB\n")
	if r := s.do("", "bouncers", "add", "b", "-k", strings.Repeat("k", 2049)); r.exit != exitFails || !strings.Contains(r.err, "the API key has 2049 bytes, and max_header_bytes has room for 2048") {
		t.Errorf("%+v", r)
	}
	for _, list := range []string{"bouncers", "machines", "allowlists"} {
		if r := s.do("", list, "list", "-o", "json"); r.out != "[]\n" {
			t.Errorf("%s: %s", list, r.out)
		}
	}
}

// TestListConcerns: a list of what concerns an address is no list of its alerts.
func TestListConcerns(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.do("192.0.2.1\n192.0.2.2\n192.0.2.0/24\n2001:db8::1\n", "decisions", "import", "-i", "-", "--format", "values")
	s.do("[{\"value\":\"192.0.2.9\",\"type\":\"captcha\"},{\"value\":\"192.0.2.8\"}]", "decisions", "import", "-i", "-", "--format", "json")
	for line, want := range map[string]string{
		"-i 192.0.2.1": "Range:192.0.2.0/24 Ip:192.0.2.1", "-r 192.0.2.0/30 --contained": "Ip:192.0.2.1 Ip:192.0.2.2", "-i 2001:db8::1": "Ip:2001:db8::1",
		"-t captcha": "Ip:192.0.2.9", "-t captcha -i 192.0.2.8": "", "--origin cscli": "", "-i 198.51.100.1": "",
	} {
		r := s.do("", append(words("decisions list -o raw"), words(line)...)...)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")[1:]
		for _, value := range strings.Fields(want) {
			if !strings.Contains(r.out, ","+value+",") {
				t.Errorf("%s: %s is missing:\n%s", line, value, r.out)
			}
		}
		if len(lines) != len(strings.Fields(want)) {
			t.Errorf("%s: %s", line, r.out)
		}
	}
}

// TestExtendSays what runs until another time, and what stays as it is.
func TestExtendSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"decisions add -i 192.0.2.1 -d 4h -R ssh", 0, "", "~successfully"},
		{"decisions extend -i 192.0.2.1", 1, "", "~say what becomes of their end"},
		{"decisions extend -i 192.0.2.1 -d 0", 1, "", "~is no extension"},
		{"decisions extend -d +4h", 1, "", "~say which decisions are meant"},
		{"decisions extend --contained -d +4h", 1, "", "~say which decisions are meant"},
		{"decisions extend --id 0 -d +4h", 1, "", "~0"},
		{"decisions extend --id 1 -t ban -d +4h", 1, "", "~cannot be narrowed by --type"},
		{"decisions extend -i 192.0.2.1 -d +4h --dry-run", 0, "Would extend 1 decision(s)\n", "~ban of Ip:192.0.2.1 (decision 1, ssh, "},
		{"decisions extend --id 1 -d +4h", 0, "", "~1 decision(s) extended"},
		{"decisions list -o raw", 0, "~\n2,cscli,Ip:192.0.2.1,ssh,ban,", ""},
		{"decisions extend --id 2 -d -8h", 0, "", "~1 would be over: left as they are"},
		{"decisions extend -t ban -d 20m -o json", 0, "~\"count\": 1", ""},
		{"decisions list -o raw", 0, "~\n3,cscli,Ip:192.0.2.1,ssh,ban,", ""},
		{"audit list --action decision.extend -o raw", 0, "~decision.extend", ""},
	})
}

// TestRestoreSays what runs again, by the revision that the deletion has named.
func TestRestoreSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	named := regexp.MustCompile(`'decisions restore (\d+)' takes it back`)
	ends := func(args ...string) string {
		t.Helper()
		r := s.do("", append([]string{"decisions", "delete"}, args...)...)
		m := named.FindStringSubmatch(r.err)
		if r.exit != 0 || m == nil {
			t.Fatalf("%v: %+v", args, r)
		}
		return m[1]
	}
	s.steps([]step{
		{"decisions add -i 192.0.2.1 -d 4h -R ssh", 0, "", "~successfully"},
		{"decisions add -i 192.0.2.2 -d 4h -R ssh", 0, "", "~successfully"},
	})
	at := ends("-t", "ban")
	s.steps([]step{
		{"decisions restore " + at + " --dry-run", 0, "Would restore 2 decision(s)\n", ""},
		{"decisions restore " + at, 0, "", "~2 decision(s) restored"},
		{"decisions restore " + at + " -o json", 0, "~\"running\": 2", ""},
		{"decisions restore 1", 1, "", "~no decision that is stored was ended by an operator at that revision"},
		{"decisions restore soon", 1, "", "~a revision is a number"},
	})
	s.steps([]step{
		{"decisions restore " + ends("--id", "3"), 0, "", "~1 decision(s) restored"},
		{"decisions list -o raw", 0, "~\n5,cscli,Ip:192.0.2.1,ssh,ban,", ""},
		{"audit list --action decision.restore -o raw", 0, "~decision.restore,2 decisions", ""},
	})
}

// TestDeleteSays what it deleted, and asks before it is very much.
func TestDeleteSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"decisions add -r 0.0.0.0/0 -R everybody", 0, "", "~successfully"},
		{"decisions delete -i 192.0.2.1", 0, "", "~msg=\"ban of Range:0.0.0.0/0 (decision 1, everybody, "},
	})
	var list strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&list, "10.0.%d.%d\n", i>>8, i&255)
	}
	fill := func() { s.do(list.String(), "decisions", "import", "-i", "-", "--format", "values") }
	fill()
	r := s.do("", "decisions", "delete", "--all")
	if strings.Count(r.err, " left)") != 10 || !strings.Contains(r.err, "level=info msg=\"... and 991 more\"\n") || !strings.HasSuffix(r.err, " takes it back\"\nlevel=info msg=\"1001 decision(s) deleted\"\n") {
		t.Errorf("%s", r.err)
	}
	fill()
	person := func(answer string, args ...string) result {
		return s.in(&verbs.Terminal{In: strings.NewReader(answer), Person: true}, append(words("decisions delete --all"), args...)...)
	}
	if r := person("n\n"); r.exit != 0 || !strings.Contains(r.err, "All these 1001 decisions will be deleted. Continue? [y/N]") || !strings.Contains(r.out, "Nothing was changed") {
		t.Errorf("%+v", r)
	}
	if r := person("", "--yes"); r.exit != 0 || !strings.Contains(r.err, "1001 decision(s) deleted") {
		t.Errorf("%+v", r)
	}
	s.do("192.0.2.1\n", "decisions", "import", "-i", "-", "--format", "values")
	alerts := func(answer string, args ...string) result {
		return s.in(&verbs.Terminal{In: strings.NewReader(answer), Person: true}, append(words("alerts delete --all"), args...)...)
	}
	if r := alerts("n\n"); r.exit != 0 || !strings.Contains(r.err, "All alerts that match will be deleted") || strings.Contains(r.err, "alert(s) deleted") {
		t.Errorf("%+v", r)
	}
	if r := person(""); r.exit != 0 || !strings.Contains(r.err, "1 decision(s) deleted") {
		t.Errorf("few need no question: %+v", r)
	}
	if r := alerts("", "--yes"); r.exit != 0 || !strings.Contains(r.err, "alert(s) deleted") {
		t.Errorf("%+v", r)
	}
}
