package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"lapid/cmd/lapid/verbs"
)

// An operator is added, edited, given tokens and deleted; what is secret is printed once.
func TestOperatorVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"operators list -o json", 0, "[]\n", ""},
		{"operators add alice", 1, "", "~with --role viewer, operator or admin"},
		{"operators add alice --role king", 1, "", "~not \"king\""},
		{"operators add a/b --role viewer", 1, "", "~has a meaning in URLs"},
		{"operators add alice --role admin -p short", 1, "", "~a password has 10 to 1024 bytes, and this one 5"},
		{"operators add alice --role admin -p long-enough-1", 0, "", "~added successfully, as admin"},
		{"operators add alice --role viewer -p long-enough-1", 1, "", "~operator 'alice' already exists"},
		{"operators add bob --role viewer", 0, "~Password of operator 'bob':", ""},
		{"operators edit alice", 1, "", "~nothing is to be changed"},
		{"operators edit nobody --disable", 1, "", "~there is no operator 'nobody'"},
		{"operators edit alice --disable --role operator", 0, "", "~no operator is an admin any more"},
		{"operators inspect alice -o json", 0, "~\"disabled\": true", ""},
		{"operators edit alice --enable --no-password", 0, "", "~edited successfully"},
		{"operators list -o raw", 0, "name,role,password,disabled,tokens,last_login\nalice,operator,false,false,0,-\nbob,viewer,true,false,0,-\n", ""},
		{"operators token nobody", 1, "", "~there is no operator 'nobody'"},
		{"operators token bob --expires soon", 1, "", "~--expires is a duration such as 90d, or never"},
		{"operators token bob --expires 90d --comment grafana", 0, "~API token for 'bob':", ""},
		{"operators inspect bob", 0, "~grafana", ""},
		{"operators link bob", 1, "", "~there is no console to log in to: set console.listen"},
		{"operators revoke bob 7", 1, "", "~there is no token bob/7"},
		{"operators revoke bob x", 1, "", "~\"x\" is no number of a token"},
		{"operators revoke bob 1", 0, "", "~revoked successfully"},
		{"operators delete bob nobody", 1, "", "~there is no operator 'nobody'"},
		{"operators delete bob --ignore-missing", 0, "", ""},
		{"operators edit alice --role admin", 0, "", "~edited successfully"},
		{"operators delete alice", 0, "", "~'lapid operators add NAME --role admin' makes one"},
		{"operators add alice --role operator -p long-enough-1", 0, "", "~added successfully"},
	})
	first, second := s.do("", "operators", "token", "alice", "-o", "raw"), s.do("", "operators", "token", "alice", "-o", "json", "--expires", "never")
	var token string
	if err := json.Unmarshal([]byte(second.out), &token); err != nil || !strings.HasPrefix(token, "lapid_") {
		t.Errorf("%q: %v", second.out, err)
	}
	if text := strings.TrimSuffix(first.out, "\n"); len(text) != len(token) || text == token {
		t.Errorf("a token alone is %q", first.out)
	}
	if shown := s.do("", "operators", "inspect", "alice", "-o", "json").out; strings.Contains(shown, token) || !strings.Contains(shown, `"expires_at": null`) {
		t.Errorf("an operator is shown as %s", shown)
	}
}

// Over HTTP the verbs say what they say over the socket, byte for byte; what a role may not do is
// told, and after a kill all is as it was.
func TestRemoteVerbs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	port := freePort(t)
	write(t, h.dir, "lapid.yaml", fmt.Sprintf("console: {listen: '127.0.0.1:%d', base_path: /ops}\n", port))
	tokens := map[string]string{}
	for _, role := range []string{"viewer", "operator", "admin"} {
		h.steps([]step{{"operators add " + role + " --role " + role + " -p long-enough-1", 0, "", "~added successfully"}})
		tokens[role] = write(t, h.dir, role+".token", h.do("", "operators", "token", role, "-o", "raw").out)
	}
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	here := func(args ...string) result {
		return h.in(&verbs.Terminal{In: strings.NewReader("")}, args...)
	}
	there := func(role string, args ...string) result {
		return here(append([]string{"--remote", fmt.Sprintf("http://127.0.0.1:%d/ops", port), "--token-file", tokens[role]}, args...)...)
	}
	for _, line := range []string{
		"decisions add --ip 192.0.2.7 --duration 400d", "allowlists create office -d ours", "allowlists add office 198.51.100.0/24", "exports add edge --format plain_text -o raw", "bouncers add fw -k 123456 -o raw",
		"machines add edge-1 -p secret -f - -u http://lapi:8080",
	} {
		if r := there("admin", strings.Fields(line)...); r.exit != 0 {
			t.Fatalf("%s: %+v", line, r)
		}
	}
	for _, line := range []string{
		"decisions list", "decisions list -o raw", "alerts list", "alerts inspect 1", "machines list -o raw", "bouncers list -o json", "bouncers inspect fw",
		"allowlists list", "allowlists inspect office -o json", "allowlists check 198.51.100.7", "operators list -o json", "operators inspect admin", "why 192.0.2.7",
		"bouncers inspect nobody", "decisions delete --id 4711", "decisions delete --ip 192.0.2.7 --dry-run", "machines validate nobody", "exports list", "exports list -o json", "exports inspect edge", "exports render edge",
		"audit list --deeds", "audit list --deeds -o json", "audit export --deeds --format cef",
	} {
		var one, two result
		await(t, "both say the same: "+line, func() bool { // some of it counts seconds
			one, two = here(strings.Fields(line)...), there("admin", strings.Fields(line)...)
			return one == two || line == "operators list -o json" || line == "operators inspect admin" // each request of one is a login
		})
		if one.exit != two.exit {
			t.Errorf("%s: %+v, over HTTP %+v", line, one, two)
		}
	}
	for _, c := range []struct{ role, line, want string }{
		{"viewer", "decisions add --ip 192.0.2.8", "this needs the role operator, and 'viewer' is viewer"},
		{"operator", "bouncers delete fw", "this needs the role admin, and 'operator' is operator"},
		{"admin", "operators delete admin", "operator 'admin' is the last admin: give another operator the role admin first"},
		{"admin", "operators edit admin --disable", "is the last admin"},
		{"viewer", "metrics", "metrics does not work with --remote"}, {"viewer", "serve", "serve does not work with --remote"},
		{"admin", "machines add edge-2 --auto -f -", "please say with --url"},
	} {
		if r := there(c.role, strings.Fields(c.line)...); r.exit == 0 || !strings.Contains(r.err, c.want) {
			t.Errorf("%s: %+v", c.line, r)
		}
	}
	if r := here("--token-file", tokens["admin"], "machines", "list"); r.exit == 0 || !strings.Contains(r.err, "belong to --remote") {
		t.Errorf("a token without a console: %+v", r)
	}
	link := here("operators", "link", "admin", "-o", "raw").out
	if !strings.HasPrefix(link, fmt.Sprintf("http://127.0.0.1:%d/ops/login?link=lapid_", port)) {
		t.Errorf("a link is %q", link)
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	await(t, "the console is up again", func() bool { return there("viewer", "machines", "list").exit == 0 })
	if r := there("operator", "decisions", "delete", "--ip", "192.0.2.7"); r.exit != 0 {
		t.Errorf("an operator's deletion after the kill: %+v", r)
	}
	if r := here("why", "192.0.2.7"); !strings.Contains(r.out, "operator operator") {
		t.Errorf("who it was is not told: %s", r.out)
	}
}
