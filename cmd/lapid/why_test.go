package main

import (
	"encoding/json"
	"strings"
	"testing"

	"lapid/engine"
)

// why asks a running server, as JSON.
func (h *house) why(args ...string) *engine.Why {
	h.t.Helper()
	r := h.do("", append([]string{"why", "-o", "json"}, args...)...)
	a := &engine.Why{}
	if err := json.Unmarshal([]byte(r.out), a); r.exit != 0 || err != nil {
		h.t.Fatalf("why %v: %+v, %v", args, r, err)
	}
	return a
}

// TestWhy: a real server, a decision from its report to its end in each way, and a bouncer that polls
// meanwhile; then the store itself.
func TestWhy(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	says := func(target, want string) {
		t.Helper()
		if a := h.why(target); !strings.Contains(a.Verdict, want) {
			t.Errorf("why %s says\n%s\nwant\n%s", target, a.Verdict, want)
		}
	}
	poll := func(path string) { t.Helper(); h.want(200, "GET", "/v1/decisions/stream"+path, "") }
	says("192.0.2.7", "192.0.2.7 is not decided against, and no decision on it is kept.")
	h.steps([]step{{"decisions add -i 192.0.2.7 -d 4h -o raw", 0, "", ""}, {"decisions add -r 192.0.2.0/24 -d 8h -o raw", 0, "", ""}})
	says("192.0.2.7", "is banned until ")
	says("192.0.2.7", "0 of 1 bouncer has been told, 1 never asked.")
	poll("?startup=true")
	poll("")
	if a := h.why("192.0.2.7"); !a.Decided || a.Bouncers.Count[engine.StandingTold] != 1 || a.Decisions.Count != 2 || !a.Decisions.First[0].Wider {
		t.Errorf("%+v", a)
	}
	says("decision:1", "by decision 2 on 192.0.2.0/24 (cscli)") // what lasts longer is named
	h.steps([]step{
		{"decisions delete --id 2 -o raw", 0, "~", ""},
		{"allowlists create office -d ours", 0, "~", ""},
		{"allowlists add office 192.0.2.7 -d desk", 0, "~", ""},
	})
	says("192.0.2.7", "allowlist office covers it (192.0.2.7), and has ended decision 1; 1 of 1 bouncer has not been told that it ended.")
	poll("")
	says("192.0.2.7", "has ended decision 1.")
	if a := h.why("192.0.2.8"); a.Before.Count != 1 || a.Before.First[0].EndedBy != "operator" || !strings.HasPrefix(a.Before.First[0].Ending, "it was deleted by operator ") {
		t.Errorf("%+v", a.Before)
	}
	h.want(201, "POST", "/v1/alerts", machinesAlert)
	h.want(200, "DELETE", "/v1/decisions?ip=203.0.113.9", "")
	says("203.0.113.9", "it was deleted by machine m.")
	h.want(201, "POST", "/v1/alerts", machinesAlert)
	id := h.why("203.0.113.9").Decisions.First[0].Alert
	h.steps([]step{{"alerts delete --id " + jsonText(id), 0, "~", "~"}})
	says("203.0.113.9", "its alert was deleted by operator ")
	h.steps([]step{
		{"decisions add -i 198.51.100.1 -d 1s -o raw", 0, "", ""},
		{"why bob", 1, "", "~such as username:bob"},
		{"why 999", 1, "", "~decision 999 is not known: the highest number that was given is "},
		{"why 192.0.2.7 --bouncer nobody", 1, "", "~there is no bouncer 'nobody'"},
		{"why 192.0.2.7 --at never", 1, "", "~is no moment"},
		{"why 192.0.2.7 -o raw", 1, "", "~not supported"},
		{"why 192.0.2.7", 0, "~\n Allowlisted: 1 ", ""},
		{"why 192.0.2.7 --at 2h", 0, "~the oldest alert that is kept is of ", ""},
	})
	await(t, "the ban runs out", func() bool { return !h.why("198.51.100.1").Decided })
	says("198.51.100.1", "its time was over.")
	_ = p.cmd.Process.Kill()
	p.wait(t)
	says("198.51.100.1", "its time was over.") // from the store itself
	says("192.0.2.7", "allowlist office covers it (192.0.2.7), and has ended decision 1")
}

func jsonText(v any) string { b, _ := json.Marshal(v); return string(b) }
