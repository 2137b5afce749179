package console

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
)

// What a bouncer may see and for how long it is held are the same wherever they are said: by the API, the page and the verb.
func TestBouncerEdits(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	v := b.visitor().enter(admins)
	b.is(201, "POST", "/admin/v1/allowlists", `{"name":"office"}`)
	added := b.is(201, "POST", "/admin/v1/bouncers", `{"name":"fw","sight":{"origins":["nobody"],"max-entries":5},"hold":"25s"}`)
	if text, _ := json.Marshal(added["warnings"]); !strings.Contains(string(text), "nothing here gives decisions the origin 'nobody'") {
		t.Errorf("warned of %s", text)
	}
	sight := func(want string) {
		t.Helper()
		got, wanted := map[string]any{}, map[string]any{}
		shown := b.is(200, "GET", "/admin/v1/bouncers/fw", "")
		got["hold"], got["sight"] = shown["hold"], shown["sight"]
		if err := json.Unmarshal([]byte(want), &wanted); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("%v, want %v", got, wanted)
		}
	}
	sight(`{"hold":"25s","sight":{"origins":["nobody"],"max-entries":5,"priority":"local-first"}}`)

	b.is(200, "PATCH", "/admin/v1/bouncers/fw", `{"sight":{"origins":[],"not-origins":["lists","CAPI"],"scopes":["RANGE","ip"],"types":["ban"],"scenarios-containing":["a,b"],
		"not-containing":["probing"],"allowlist":["office"],"priority":"longest","max-duration":"7d","min-duration":"1m","canonical":true},"hold":"off"}`)
	whole := `{"hold":"off","sight":{"not-origins":["CAPI","lists"],"scopes":["Ip","Range"],"types":["ban"],"scenarios-containing":["a,b"],"not-containing":["probing"],
		"allowlist":["office"],"max-entries":5,"priority":"longest","max-duration":"168h0m0s","min-duration":"1m0s","canonical":true}}`
	sight(whole)
	page := v.get("/bouncers/fw")
	has(t, "its page", page, `value="CAPI, lists"`, `value="168h0m0s"`, `<option value="longest" selected>`, "max-entries 5", "Polls are held</dt><dd>never", "None yet.")
	fields := []string{"name", "fw", "origins", "", "not-origins", "CAPI, lists", "scopes", "Ip, Range", "types", "ban", "scenarios-containing", "a,b", "not-containing", "probing", "allowlist", "office",
		"priority", "longest", "max-duration", "168h0m0s", "min-duration", "1m0s", "hold", "off"}
	edited := func(change ...string) []string {
		out := append([]string{}, fields...)
		for i := 0; i < len(change); i += 2 {
			out = append(out, change[i], change[i+1])
		}
		return out
	}
	has(t, "a change of one", v.send("/bouncers/edit", edited("max-entries", "1 000", "canonical", "yes")...), "fw is changed", "max-entries 1000")
	b.is(200, "PATCH", "/admin/v1/bouncers/fw", `{"sight":{"scenarios-containing":["a,b"],"max-entries":5}}`)
	for text, field := range map[string][]string{"no number of decisions": {"max-entries", "many"}, "&#34;1,5&#34; is no number of": {"max-entries", "1,5"}, "there is no allowlist": {"max-entries", "5", "allowlist", "nope"},
		"not-origins: &#39;,&#39; has an empty word": {"not-origins", ","}, "not-containing: &#39;a,,b&#39; has an empty word": {"not-containing", "a,,b"}} {
		f := form(edited("canonical", "yes"))
		for i := 0; i < len(field); i += 2 {
			f.Set(field[i], field[i+1])
		}
		f.Set("types", "captcha")
		has(t, text, v.read(http.MethodPost, "/bouncers/edit", f, 400), text, `value="captcha"`, field[len(field)-1])
	}
	sight(whole)
	_, _, head := b.ask("GET", "/admin/v1/bouncers/fw", b.tokens[viewer], "")
	tag := head.Get("ETag")
	for match, want := range map[string]int{`"nope"`: 412, "W/" + tag: 400, "nope": 400, `"nope", ` + tag: 200, "*": 200, "": 400} {
		if status, text, _ := b.ask("PATCH", "/admin/v1/bouncers/fw", b.tokens[admins], `{"hold":"off"}`, "If-Match", match); status != want {
			t.Errorf("If-Match: %s: %d %s", match, status, text)
		}
	}
	for _, ask := range [][2]string{{"DELETE", "/admin/v1/bouncers/fw"}, {"POST", "/admin/v1/bouncers/fw/rotate"}, {"POST", "/admin/v1/reload"}} {
		if status, text, _ := b.ask(ask[0], ask[1], b.tokens[admins], "", "If-Match", tag); status != 400 || !strings.Contains(text, "not heeded") {
			t.Errorf("%s with If-Match: %d %s", ask, status, text)
		}
	}
	b.is(400, "POST", "/admin/v1/bouncers", "{\"name\":\"q\xff\"}")
	has(t, "its page", v.get("/bouncers/fw"), `name="tag" value=`+tag)
	b.is(200, "PATCH", "/admin/v1/bouncers/fw", `{"sight":{"max-entries":6}}`)
	old := form(edited("max-entries", "5", "canonical", "yes", "tag", strings.Trim(tag, `"`)))
	has(t, "an older page", v.read(http.MethodPost, "/bouncers/edit", old, 409), "as they are now", `name="max-entries" value="6"`)
	old.Set("see_all", "yes")
	v.read(http.MethodPost, "/bouncers/edit", old, 409)
	b.is(200, "PATCH", "/admin/v1/bouncers/fw", `{"sight":{"max-entries":5}}`)
	if text, _ := json.Marshal(b.is(200, "PATCH", "/admin/v1/bouncers/fw", `{"sight":{"types":["ban "],"origins":["lists"]}}`)["warnings"]); !strings.Contains(string(text), "it sees nothing") || strings.Contains(string(text), "types") {
		t.Errorf("warned of %s", text)
	}
	b.is(200, "PATCH", "/admin/v1/bouncers/fw", `{"sight":{"origins":[]}}`)
	sight(whole)
	has(t, "all of it", v.send("/bouncers/edit", "name", "fw", "see_all", "yes"), "fw is changed", "everything")
	sight(`{"hold":"off","sight":null}`)
	has(t, "a priority alone", v.read(http.MethodPost, "/bouncers/edit", form([]string{"name", "fw", "priority", "newest", "hold", "off"}), 400), "priority newest orders nothing without max-entries")
	b.is(200, "PATCH", "/admin/v1/bouncers/fw", `{"hold":"default"}`)
	sight(`{"hold":null,"sight":null}`)

	for body, says := range map[string]string{
		`{}`: "say what is to change", `{"hold":"61s"}`: "hold: '61s' must be a duration up to 60s", `{"sight":{"max-entries":-1}}`: "1 or more", `{"sight":{"priority":"best"}}`: "choose local-first", `{"sight":{"priority":"longest"}}`: "without max-entries",
		`{"sight":{"max-duration":"1s"}}`: "must be 10s or more", `{"sight":{"colour":1}}`: "colour", `{"sight":{"types":[" "]}}`: "types has an empty word", `{"sight":{"allowlist":["nope"]}}`: "no allowlist 'nope'",
	} {
		if status, text, _ := b.ask("PATCH", "/admin/v1/bouncers/fw", b.tokens[admins], body); status != 400 || !strings.Contains(text, says) || strings.Contains(text, "--") {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if status, text, _ := b.ask("POST", "/admin/v1/bouncers", b.tokens[admins], `{"name":"other","sight":{"priority":"newest"}}`); status != 400 || !strings.Contains(text, "without max-entries") {
		t.Errorf("added with a priority alone: %d %s", status, text)
	}
	b.is(404, "PATCH", "/admin/v1/bouncers/nobody", `{"see_all":true}`)
}

// A bouncer that is looked at alone says how its last polls went and what they asked for; a row that was made from its key stands with it.
func TestBouncerPolls(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	key := b.is(201, "POST", "/admin/v1/bouncers", `{"name":"fw"}`)["key"].(string)
	_, hash, err := bouncerKey(key)
	if err != nil {
		t.Fatal(err)
	}
	now := b.rig.Now().UnixNano()
	if _, err := b.rig.AddBouncer(t.Context(), &engine.Bouncer{Name: "fw@192.0.2.9", AuthType: engine.AuthAPIKey, KeyHash: engine.KeyHash(hash), AutoCreated: true, CreatedAt: now, UpdatedAt: now}); err != nil {
		t.Fatal(err)
	}
	row := b.rig.View().Bouncer("fw")
	b.rig.NotePoll(row, &engine.PollNote{At: now, To: 1, Kind: engine.PollFull, Bytes: 17}, []byte("scopes=ip&"), &engine.Query{Dedup: true})
	b.rig.NotePoll(row, &engine.PollNote{At: now, From: 1, To: 2, Placed: true, Kind: engine.PollDelta, Bytes: -1}, nil, nil)
	shown := b.is(200, "GET", "/admin/v1/bouncers/fw", "")
	polls := shown["polls"].([]any)
	if first := polls[0].(map[string]any); len(polls) != 2 || shown["asks"] != "scopes=ip" || first["bytes"] != nil || first["from"] != 1. || first["end"] != "delta" {
		t.Errorf("shown: %v", shown)
	}
	v := b.visitor().enter(viewer)
	has(t, "its page", v.get("/bouncers/fw"), "scopes=ip", "in pieces", "17 bytes")
	if text := v.get("/bouncers/fw"); strings.Contains(text, "<form method=\"post\" action=\"/bouncers") {
		t.Error("a viewer is offered what only an admin may")
	}
	has(t, "the list", v.get("/bouncers"), "1 more from its key", "fw@192.0.2.9")
	page := b.visitor().enter(admins).get("/bouncers/fw@192.0.2.9")
	if has(t, "a row of its key", page, "It sees what fw sees"); strings.Contains(page, "/bouncers/edit") {
		t.Error("a row that was made from a key is offered to be edited")
	}
	if status, text, _ := b.ask("PATCH", "/admin/v1/bouncers/fw@192.0.2.9", b.tokens[admins], `{"hold":"1s"}`); status != 409 || !strings.Contains(text, "edit 'fw' instead") {
		t.Errorf("a row of a key: %d %s", status, text)
	}
	if _, err := b.server.options.Verbs.ClientOf(&admin.Remote{Name: "admin-1"}).EditBouncer(t.Context(), &admin.EditedBouncer{Name: "nobody", Edit: admin.BouncerEdit{SeeAll: true}}); err == nil {
		t.Error("a bouncer that is not there was edited")
	}
}

// Bouncers and machines that have gone silent are shown first, and deleted by name: who comes by meanwhile is spared.
func TestPrunes(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	for _, name := range []string{"fw", "awake"} {
		b.is(201, "POST", "/admin/v1/bouncers", `{"name":"`+name+`"}`)
		b.is(201, "POST", "/admin/v1/machines", `{"name":"`+name+`"}`)
	}
	b.rig.Advance(25 * time.Hour)
	v := b.visitor().enter(admins)
	for _, noun := range []string{"bouncers", "machines"} {
		v.read(http.MethodPost, "/"+noun+"/prune", form([]string{"silence", "24h"}), 400)
		has(t, noun+" that are silent", v.send("/"+noun+"/prune", "silence", "24h", "do", "try"), `name="silent" value="fw"`, "these 2")
		if out := b.is(200, "POST", "/admin/v1/"+noun+"/prune", `{"silence":"24h","dry_run":true}`); out["count"] != 2. || out["dry_run"] != true {
			t.Errorf("%s that would go: %v", noun, out)
		}
	}
	now := b.rig.Now().UnixNano()
	b.rig.Heartbeat("awake", now)
	b.is(200, "DELETE", "/admin/v1/bouncers/awake", "")
	b.is(201, "POST", "/admin/v1/bouncers", `{"name":"awake"}`)
	for _, noun := range []string{"bouncers", "machines"} {
		has(t, "pruned "+noun, v.send("/"+noun+"/prune", "silence", "24h", "silent", "fw", "silent", "awake"), "1 deleted")
		b.is(404, "GET", "/admin/v1/"+noun+"/fw", "")
		b.is(200, "GET", "/admin/v1/"+noun+"/awake", "")
		has(t, "none", v.send("/"+noun+"/prune", "silence", "24h", "do", "try"), "None of them")
	}
}
