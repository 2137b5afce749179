package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// sightRow is what a test looks at of a bouncer in JSON.
type sightRow struct {
	Name, Hold string
	Sight      map[string]any
}

func (s *site) sightOf(name string) (row sightRow) {
	s.t.Helper()
	r := s.do("", "bouncers", "inspect", name, "-o", "json")
	if err := json.Unmarshal([]byte(r.out), &row); err != nil || r.exit != 0 {
		s.t.Fatalf("%+v %v", r, err)
	}
	return row
}

// TestSightVerbs says by the verbs what a bouncer may see, flag by flag, before any server has
// started, and takes it away again.
func TestSightVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"allowlists create office -d x", 0, "~created", ""},
		{"bouncers add fw -k key -o raw --origins crowdsec,cscli --hold 25s", 0, "key", ""},
		{"bouncers add quiet -k key2 -o raw --hold off --origins nobody", 0, "key2", "~nothing here gives decisions the origin 'nobody'"},
	})
	list := func(words ...any) []any { return words }
	sight := map[string]any{"origins": list("crowdsec", "cscli")}
	if got := s.sightOf("fw"); got.Hold != "25s" || !reflect.DeepEqual(got.Sight, sight) {
		t.Errorf("as added: %+v", got)
	}
	if got := s.sightOf("quiet"); got.Hold != "off" {
		t.Errorf("as added: %+v", got)
	}
	for _, e := range []struct {
		flag, value string
		is          any // nil: nothing
	}{
		{"origins", "lists,CAPI,lists", list("CAPI", "lists")},
		{"not-origins", "console", list("console")},
		{"scopes", "RANGE, ip", list("Ip", "Range")},
		{"types", "ban", list("ban")},
		{"scenarios-containing", "ssh,http", list("http", "ssh")},
		{"not-containing", "probing", list("probing")},
		{"allowlist", "office", list("office")},
		{"max-entries", "1000", 1000.0},
		{"priority", "longest", "longest"},
		{"max-duration", "7d", "168h0m0s"},
		{"min-duration", "1m", "1m0s"},
		{"canonical", "true", true},
		{"max-entries", "", nil},
		{"max-entries", "1000", 1000.0},
		{"types", "", nil},
		{"max-duration", "", nil},
		{"min-duration", "0", nil},
		{"canonical", "false", nil},
		{"origins", "", nil},
	} {
		if r := s.do("", "bouncers", "edit", "fw", "--"+e.flag+"="+e.value); r.exit != 0 || !strings.Contains(r.err, "bouncer 'fw' edited") {
			t.Fatalf("--%s=%s: %+v", e.flag, e.value, r)
		}
		if e.flag == "max-entries" {
			sight["priority"] = "local-first"
		}
		if sight[e.flag] = e.is; e.is == nil {
			delete(sight, e.flag)
			if e.flag == "max-entries" {
				delete(sight, "priority")
			}
		}
		if got := s.sightOf("fw"); got.Hold != "25s" || !reflect.DeepEqual(got.Sight, sight) {
			t.Errorf("--%s=%s: %+v, want %+v", e.flag, e.value, got, sight)
		}
	}
	s.steps([]step{
		{"bouncers inspect fw", 0, "~max-entries 1000", ""},
		{"bouncers add blind -k key3 -o raw --types BAN --scopes IP,IPS", 0, "key3", "~no decision here has 'BAN' of the types so far, letter by letter: usual are ban, captcha, throttle"},
		{"bouncers edit blind --scopes IP,IPS", 0, "", "~no decision here has 'IPS' of the scopes so far, letter by letter: usual are Ip, Range, AS, Country"},
		{"bouncers edit blind --see-all --origins cscli", 0, "", "~edited"},
		{"bouncers edit blind --not-origins cscli", 0, "", "~it sees nothing"},
		{"bouncers edit fw --hold off --see-all --types captcha", 0, "", "~edited"},
		{"bouncers inspect fw", 0, "~types captcha", ""},
		{"bouncers edit fw --see-all --hold default", 0, "", "~edited"},
		{"bouncers inspect fw", 0, "~everything", ""},
	})
	if got := s.sightOf("fw"); got.Hold != "" || got.Sight != nil {
		t.Errorf("all taken away: %+v", got)
	}
}

// TestSightsRefused: what cannot be meant is refused with what to do, and changes nothing.
func TestSightsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{{"bouncers add fw -k key -o raw --types ban --hold 25s", 0, "key", ""}})
	for line, says := range map[string]string{
		"fw":                                      "nothing is to be changed",
		"nobody --types ban":                      "bouncer not found",
		"fw --hold 61s":                           "a duration up to 60s such as 25s, or off, or default",
		"fw --hold -1s":                           "a duration up to 60s",
		"fw --hold soon":                          "a duration up to 60s",
		"fw --max-entries -1":                     "1 or more",
		"fw --max-entries many":                   "must be a number",
		"fw --priority newest":                    "priority newest orders nothing without max-entries",
		"fw --priority best":                      "choose local-first, newest, longest",
		"fw --max-duration 1s":                    "must be 10s or more",
		"fw --max-duration -1h":                   "a duration such as 1h",
		"fw --min-duration x":                     "a duration such as 1h",
		"fw --types ,":                            "--types: ',' has an empty word",
		"fw --origins crowdsec,,cscli":            "--origins: 'crowdsec,,cscli' has an empty word: leave it out; an empty value without any comma takes the filter away",
		"fw --scopes ip,":                         "--scopes: 'ip,' has an empty word",
		"fw --allowlist nope":                     "there is no allowlist 'nope': make it first",
		"fw --canonical=perhaps":                  "perhaps",
		"fw --max-duration 1h --min-duration 2h":  "the first must not be longer",
		"fw --types " + strings.Repeat("x", 1025): "1024 are the most",
		"fw --scopes MANY":                        "64 are the most",
	} {
		if strings.Contains(line, "MANY") {
			words := make([]string, 65)
			for i := range words {
				words[i] = fmt.Sprint("s", i)
			}
			line = "fw --scopes " + strings.Join(words, ",")
		}
		r := s.do("", append([]string{"bouncers", "edit"}, strings.Fields(line)...)...)
		if r.exit == 0 || !strings.Contains(r.err, says) {
			t.Errorf("%.80s: %+v, want %q", line, r, says)
		}
		if got := s.sightOf("fw"); got.Hold != "25s" || !reflect.DeepEqual(got.Sight, map[string]any{"types": []any{"ban"}}) {
			t.Fatalf("%.80s has changed it: %+v", line, got)
		}
	}
	if r := s.do("", "bouncers", "add", "other", "--allowlist", "nope"); r.exit == 0 || !strings.Contains(r.err, "make it first") {
		t.Errorf("%+v", r)
	}
	if r := s.do("", "bouncers", "inspect", "other"); r.exit == 0 {
		t.Error("a bouncer that was refused is there")
	}
}

// TestSightsAreObeyed edits a bouncer while a server runs: stream and live query obey, what
// the client asks never widens it, and a restart keeps it.
func TestSightsAreObeyed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "serve", "-c", h.file)
	h.awaitHealth(p)
	for _, d := range []string{"-i 192.0.2.1 -t ban", "-i 192.0.2.2 -t captcha", "-r 198.51.100.0/24 -t ban"} {
		if r := h.do("", append([]string{"decisions", "add"}, strings.Fields(d)...)...); r.exit != 0 {
			t.Fatal(r)
		}
	}
	const one, two, wide = "192.0.2.1", "192.0.2.2", "198.51.100.0/24"
	polls := func(query string, begun, ended []string) {
		t.Helper()
		short := func(list []string) (values []string) {
			for _, l := range list {
				values = append(values, l[strings.LastIndexByte(l, ' ')+1:])
			}
			slices.Sort(values)
			return values
		}
		n, d := h.news(query)
		if n, d = short(n), short(d); !slices.Equal(n, begun) || !slices.Equal(d, ended) {
			t.Errorf("%q tells %v and ends %v, want %v and %v", query, n, d, begun, ended)
		}
	}
	edit := func(flags string, follows ...string) {
		t.Helper()
		r := h.do("", append([]string{"bouncers", "edit", "b"}, strings.Fields(flags)...)...)
		for _, name := range append(follows, "bouncer 'b' edited") {
			if r.exit != 0 || !strings.Contains(r.err, name) {
				t.Fatalf("%+v, want %q", r, name)
			}
		}
	}
	lives := func(value string, found bool) {
		t.Helper()
		if code, text, err := h.ask("GET", "/v1/decisions?ip="+value, ""); err != nil || code != 200 || strings.Contains(text, `"duration"`) != found {
			t.Errorf("%s: %d %s %v, want it found: %v", value, code, text, err, found)
		}
	}
	polls("?startup=true", []string{one, two, wide}, nil)
	edit("--types ban")
	polls("", nil, []string{two})
	lives(one, true)
	lives(two, false)
	polls("?startup=true&scopes=ip", []string{one}, nil)
	polls("?startup=true&scopes=ip,range", []string{one, wide}, nil)
	polls("?startup=true", []string{one, wide}, nil)
	if code, text, err := h.ask("GET", "/v1/decisions?type=captcha", ""); err != nil || code != 200 || strings.Contains(text, two) {
		t.Errorf("what is asked for widens: %d %s %v", code, text, err)
	}
	edit("--scopes ip --types=")
	polls("", []string{two}, []string{wide})
	lives("198.51.100.7", false)
	edit("--max-entries 1 --priority newest --scopes=")
	polls("", []string{wide}, []string{one, two})
	lives(one, true) // it is no bound of live queries
	if _ = p.cmd.Process.Signal(syscall.SIGTERM); p.wait(t) != 0 {
		t.Fatal("it did not end well")
	}
	edit("--types ban --priority longest --hold 25s") // while nothing runs
	p = start(t, nil, "serve", "-c", h.file)
	h.awaitHealth(p)
	want := map[string]any{"types": []any{"ban"}, "max-entries": 1.0, "priority": "longest"}
	if got := h.sightOf("b"); got.Hold != "25s" || !reflect.DeepEqual(got.Sight, want) {
		t.Errorf("after a restart: %+v", got)
	}
	edit("--see-all --hold off")
	polls("?startup=true", []string{one, two, wide}, nil)
	polls("?wait=60s", nil, nil) // answered at once
}
