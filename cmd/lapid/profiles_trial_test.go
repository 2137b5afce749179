package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/verbs"
)

// trialProfiles escalate, are simulated or not, and tell somebody.
const trialProfiles = `name: quiet
filters: ['Alert.GetScenario() == "quiet"']
on_success: break
---
name: told
filters: ['Alert.Remediation']
notifications: [ops, nobody]
---
name: escalate
filters:
- Alert.Remediation == true && Alert.GetScope() == "Ip" && Alert.GetScenario() contains "ssh"
- Alert.Source.Cn in ["DE", "FR"]
decisions: [{type: ban, duration: 4h}]
duration_expr: Sprintf('%dh', (GetDecisionsCount(Alert.GetValue()) + 1) * 4)
notifications: [ops]
on_success: break
---
name: odd
filters: ['Alert.GetScenario() == "odd" and int(Alert.GetMeta("n")) > 3']
decisions: [{type: captcha, duration: 1h}]
`

// TestProfilesTest: the verb says what the server then does, without a store, on one, and beside a server whose
// history it asks, and nothing comes of it.
func TestProfilesTest(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	write(t, h.dir, "profiles.yaml", trialProfiles)
	write(t, h.dir, "config.yaml.local", "config_paths: {notification_dir: "+h.dir+"/told}")
	if err := os.Mkdir(h.dir+"/told", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, h.dir+"/told", "ops.yaml", "type: file\nname: ops\nformat: '{{.|toJson}}'\nlog_path: "+h.dir+"/told.txt\n")
	trial := func(line string) (o config.Trial, r result) {
		t.Helper()
		r = h.in(&verbs.Terminal{In: strings.NewReader("")}, words("profiles test -o json "+line)...)
		if err := json.Unmarshal([]byte(r.out), &o); r.out != "" && err != nil {
			t.Fatalf("%s: %v %+v", line, err, r)
		}
		return o, r
	}
	o, r := trial("-s crowdsecurity/ssh-bf -i 192.0.2.7 --country DE")
	if r.exit != exitGood || o.History || !o.Stored || len(o.Decisions) != 2 || o.Decisions[0].Duration != "4h0m0s" || o.Decisions[0].Type != "ban" ||
		len(o.Notify) != 2 || !o.Notify[0].Undecided || o.Notify[1].Undecided || o.Notify[1].Type != "file" {
		t.Errorf("%+v %+v", o, r)
	}
	if p := o.Profiles; !p[2].Decides || !p[2].Stops || p[3].Reached || p[0].Matched || p[1].Decides || p[1].Unsent[0] != "nobody" ||
		p[2].Filters[1].Parts[0] != (config.TracedPart{Text: "Alert.Source.Cn", Value: `"DE"`}) {
		t.Errorf("%+v", p)
	}
	h.steps([]step{
		{"machines add m -p secret -f @DIR@/credentials.yaml", 0, "", "~added"},
		{"decisions add --ip 192.0.2.7", 0, "", "~successfully"},
		{"allowlists create office -d x", 0, "~created", ""},
		{"allowlists add office 198.51.100.0/24", 0, "~added", ""},
	})
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	write(t, h.dir, "alert.json", strings.Replace(alertText("ssh", 0, 0), `"decisions":[]`, `"decisions":null`, 1))
	for _, c := range []struct {
		line string
		so   func(o *config.Trial, r result) bool
	}{
		{"-s ssh -i 192.0.2.7", func(o *config.Trial, _ result) bool {
			return o.History && len(o.Decisions) == 1 && o.Decisions[0].Duration == "8h0m0s" && strings.Contains(o.Profiles[2].Durations[0].Parts[0].Text, "GetDecisionsCount")
		}},
		{"-s ssh -i 198.51.100.9", func(o *config.Trial, _ result) bool {
			return strings.Contains(o.Allowlisted, "office") && !o.Stored && !o.Profiles[0].Reached
		}},
		{"-s quiet -i 192.0.2.7", func(o *config.Trial, _ result) bool { return o.Stored && o.Profiles[0].Stops && len(o.Decisions) == 0 }},
		{"-s odd -i 192.0.2.7 --remediation=false --meta n=x", func(o *config.Trial, r result) bool {
			return r.exit == exitFails && strings.Contains(o.Refused, "int(") && !o.Stored && strings.Contains(r.err, "would refuse")
		}},
		{"-s odd -i 192.0.2.7 --remediation=false --meta n=5 --simulated", func(o *config.Trial, _ result) bool {
			return o.Simulated && len(o.Decisions) == 1 && o.Decisions[0].Type == "captcha" && len(o.Notify) == 0
		}},
		{"--scope ip -v nonsense -s ssh", func(o *config.Trial, _ result) bool { return !o.Stored && o.Discarded == 1 && len(o.Notify) == 0 }},
		{"-f " + h.dir + "/alert.json", func(o *config.Trial, _ result) bool {
			return len(o.Decisions) == 1 && o.Decisions[0].Value == "203.0.113.9"
		}},
		{"-f " + h.file, func(_ *config.Trial, r result) bool {
			return r.exit == exitFails && strings.Contains(r.err, "is no alert")
		}},
		{"-s x", func(_ *config.Trial, r result) bool {
			return r.exit == exitFails && strings.Contains(r.err, "make one with")
		}},
		{"-s x -f y", func(_ *config.Trial, r result) bool {
			return r.exit == exitFails && strings.Contains(r.err, "give one of both")
		}},
	} {
		if o, r := trial(c.line); !c.so(&o, r) {
			t.Errorf("%s: %+v\n%+v", c.line, o, r)
		}
	}
	h.expect(h.do("", words("profiles test -s ssh -i 192.0.2.7")...), exitGood, "~Nothing was stored, and nothing was sent.\n", "~names the notification 'nobody'")
	// And the server does as the verb has said.
	h.login()
	h.want(201, "POST", "/v1/alerts", strings.NewReplacer("203.0.113.9", "192.0.2.7", `"decisions":[]`, `"decisions":null`).Replace(alertText("ssh", 0, 0)))
	h.expect(h.do("", words("decisions list --ip 192.0.2.7 -o raw")...), exitGood, "re:crowdsec,Ip:192.0.2.7,ssh,ban,,,1,(8h0m0s|7h59m)", "")
	// Files count as they are now, and a mistake has its place.
	write(t, h.dir, "profiles.yaml", "name: x\nfilters: [Alert.Nonsense]\n")
	h.expect(h.do("", words("profiles test -s ssh -i 192.0.2.7")...), exitFails, "", "~profiles.yaml:2:")
}
