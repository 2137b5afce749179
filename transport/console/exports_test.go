package console

import (
	"crypto/sha512"
	"fmt"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/admin"
	"lapid/transport/export"
)

// Exports are made, changed, rotated, rendered and deleted; a secret is shown once, and what is
// wrong is said by name.
func TestExportsOverHTTP(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/decisions", `{"value":"192.0.2.7","duration":"4h"}`)
	made := b.is(201, "POST", "/admin/v1/exports", `{"name":"edge","format":"plain_text"}`)
	if made["auth"] != "basic" || made["user"] != "edge" || len(made["secret"].(string)) != 40 || made["path"] != "/exports/edge" {
		t.Errorf("made: %v", made)
	}
	for body, want := range map[string]string{
		`{"name":"edge","format":"plain_text"}`:                                    "already",
		`{"name":"x"}`:                                                             "name and format",
		`{"name":"x","format":"scroll"}`:                                           "scroll",
		`{"name":"x","format":"plain_text","password":"short"}`:                    "16 characters",
		`{"name":"x","format":"plain_text","types":["ban"],"origin":["crowdsec"]}`: "origin",
	} {
		status, text, _ := b.ask("POST", "/admin/v1/exports", b.tokens[admins], body)
		if status/100 != 4 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if got := b.is(200, "PATCH", "/admin/v1/exports/edge", `{"limit":10,"types":["ban","captcha"]}`); got["secret"] != "" || got["warnings"] == nil {
		t.Errorf("changed: %v", got)
	}
	b.is(400, "PATCH", "/admin/v1/exports/edge", `{}`)
	b.is(404, "PATCH", "/admin/v1/exports/nobody", `{"limit":1}`)
	if got := b.is(201, "POST", "/admin/v1/exports/edge/rotate", ""); len(got["secret"].(string)) != 40 || got["secret"] == made["secret"] {
		t.Errorf("rotated: %v", got)
	}
	if got := b.is(200, "GET", "/admin/v1/exports/edge", ""); got["secrets"] != 2.0 || got["limit"] != 10.0 || got["pulls"] == nil {
		t.Errorf("shown: %v", got)
	}
	b.is(200, "POST", "/admin/v1/exports/edge/rotate", `{"end":true}`)
	status, text, head := b.ask("GET", "/admin/v1/exports/edge/render", b.tokens[viewer], "")
	if status != 200 || strings.TrimSpace(text) != "192.0.2.7" || head.Get("Lapid-Entries") != "1/1" {
		t.Errorf("rendered: %d %q %q", status, text, head.Get("Lapid-Entries"))
	}
	b.is(400, "GET", "/admin/v1/exports/edge/render?page=none", "")
	if items := b.is(200, "GET", "/admin/v1/exports", "")["items"].([]any); len(items) != 1 || items[0].(map[string]any)["secrets"] != 1.0 {
		t.Errorf("listed: %v", items)
	}
	b.is(200, "DELETE", "/admin/v1/exports/edge", "")
	b.is(404, "GET", "/admin/v1/exports/edge", "")
}

// A secret is another one when the auth is, or when one is given; the same auth again leaves it as it is.
func TestExportKeepsItsSecret(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/exports", `{"name":"edge","format":"plain_text"}`)
	hash := func() (h [64]byte) {
		if list := b.rig.View().Export("edge").Secrets; len(list) == 1 {
			h = list[0].Hash
		}
		return h
	}
	for _, c := range []struct {
		body  string
		makes bool
	}{
		{`{"auth":"basic"}`, false}, {`{"auth":"basic","user":"other"}`, false}, {`{"limit":7}`, false},
		{`{"auth":"basic","password":"a-password-of-mine"}`, true}, {`{"password":"another-of-mine-x"}`, true}, {`{"auth":"basic","limit":8}`, false},
		{`{"auth":"token"}`, true}, {`{"auth":"token"}`, false}, {`{"auth":"basic"}`, true}, {`{"auth":"none"}`, true}, {`{"auth":"basic"}`, true},
	} {
		was := hash()
		got := b.is(200, "PATCH", "/admin/v1/exports/edge", c.body)
		if c.makes == (hash() == was) {
			t.Errorf("%s: another secret %v", c.body, hash() != was)
		}
		if secret, _ := got["secret"].(string); secret != "" && sha512.Sum512([]byte(secret)) != hash() || secret == "" && c.makes && hash() != [64]byte{} {
			t.Errorf("%s: %q is shown", c.body, secret)
		}
	}
}

// A list that is held back is accepted, one of lapid.yaml too, which is changed there alone.
func TestAcceptOverHTTP(t *testing.T) {
	t.Parallel()
	var lists *export.Renderings
	b := newBench(t, func(o *Options) {
		lists = export.NewRenderings(o.Engine, 1<<20, o.Logger)
		o.Verbs.Exports = lists
	})
	var a engine.Alert
	for i := range 1500 {
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: "Ip", Value: fmt.Sprintf("10.0.%d.%d", i>>8, i&255), Type: "ban", Origin: "cscli", Scenario: "s", Duration: "4h"})
	}
	a.Scenario, a.StartAt, a.StopAt, a.Source = "s", engine.StampOf(b.rig.Now()), engine.StampOf(b.rig.Now()), engine.Source{Scope: "Ip", Value: "10.0.0.1"}
	if _, err := b.rig.AddAlerts(t.Context(), "edge-1", []*engine.Alert{&a}, b.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	if err := b.rig.DeclareExports(t.Context(), []engine.Export{{Name: "edge", Format: "plain_text", Auth: engine.ExportNone}}); err != nil {
		t.Fatal(err)
	}
	pull := func(want int) {
		t.Helper()
		view, now := b.rig.View(), b.rig.Now().UnixNano()
		got, err := lists.Get(view, view.Export("edge"), &export.Asked{}, true, now, export.NewWait(nil))
		if err != nil || got.Count != want {
			t.Fatalf("%d entries, %v", got.Count, err)
		}
	}
	pull(1500)
	q := &engine.Query{}
	q.Reset()
	q.Now = b.rig.Now().UnixNano()
	if _, err := b.rig.EndDecisions(engine.As(t.Context(), engine.Actor{Kind: engine.ActorMachine, Name: "edge-1"}), q); err != nil {
		t.Fatal(err)
	}
	b.rig.Advance(time.Minute)
	pull(1500)
	if got := b.is(200, "GET", "/admin/v1/exports/edge", ""); !strings.Contains(got["attention"].(string), "held back") {
		t.Error(got["attention"])
	}
	if status, text, _ := b.ask("PATCH", "/admin/v1/exports/edge", b.tokens[admins], `{"may_shrink":true}`); status/100 != 4 || !strings.Contains(text, "lapid.yaml") {
		t.Errorf("a declared one is changed: %d %s", status, text)
	}
	if status, _, _ := b.ask("PATCH", "/admin/v1/exports/edge", b.tokens[viewer], `{"accept_shrunken":true}`); status != 403 {
		t.Errorf("a viewer accepts: %d", status)
	}
	pull(1500)
	b.is(200, "PATCH", "/admin/v1/exports/edge", `{"accept_shrunken":true}`)
	pull(0)
	b.is(404, "PATCH", "/admin/v1/exports/nobody", `{"accept_shrunken":true}`)
}

// The audit comes in pages and as a stream; a viewer sees what he did himself, and no more.
func TestAuditOverHTTP(t *testing.T) {
	t.Parallel()
	var own *engine.Engine
	b := newBench(t, func(o *Options) {
		r := enginetest.NewRig(t, func(e *engine.Options) { e.Audit = &engine.AuditOptions{} })
		own = r.Engine
		o.Engine, o.Verbs = own, admin.NewHandler(own, "test", o.Logger)
	})
	for role, name := range map[engine.Role]string{admins: "alice", viewer: "bob"} {
		if err := own.AddOperator(t.Context(), &engine.Operator{Name: name, Role: role}); err != nil {
			t.Fatal(err)
		}
		secret := admin.NewSecret()
		if _, err := own.GrantToken(t.Context(), name, &engine.OperatorToken{Hash: hashOf(secret)}); err != nil {
			t.Fatal(err)
		}
		b.tokens[role] = secret
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		b.is(201, "POST", "/admin/v1/allowlists", `{"name":"`+name+`"}`)
	}
	var targets []string
	for cursor := ""; ; {
		got := b.is(200, "GET", "/admin/v1/audit?action=allowlist&limit=2&cursor="+cursor, "")
		for _, item := range got["items"].([]any) {
			row := item.(map[string]any)
			if targets = append(targets, row["target"].(string)); row["address"] != "127.0.0.1" || row["token"] != 1.0 || row["actor"] != "alice" || row["after"] == nil {
				t.Errorf("row: %v", row)
			}
		}
		if cursor, _ = got["next"].(string); cursor == "" {
			break
		}
	}
	if got := strings.Join(targets, ""); got != "edcba" {
		t.Errorf("pages have %q", got)
	}
	status, text, head := b.ask("GET", "/admin/v1/audit/export?action=allowlist.create", b.tokens[admins], "")
	if status != 200 || strings.Count(text, "\n") != 5 || !strings.HasPrefix(text, `{"number":`) || head.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("exported: %d %s", status, text)
	}
	if status, text, _ = b.ask("GET", "/admin/v1/audit/export?format=cef&target=c", b.tokens[admins], ""); status != 200 || !strings.HasPrefix(text, "CEF:0|lapid|lapid|test|allowlist.create|") || !strings.Contains(text, " cn2=1") {
		t.Errorf("as CEF: %d %s", status, text)
	}
	if got := b.is(200, "GET", "/admin/v1/audit/verify", ""); got["whole"] != true {
		t.Errorf("verified: %v", got)
	}
	for _, path := range []string{"?since=yesterday", "?wrong=1", "/export?format=xml", "/verify?expect=1:x", "/verify?all=1", "?cursor=x"} {
		b.is(400, "GET", "/admin/v1/audit"+path, "")
	}
	if status, text, _ = b.ask("GET", "/admin/v1/audit", b.tokens[viewer], ""); status != 200 || strings.Contains(text, "alice") {
		t.Errorf("to a viewer: %d %s", status, text)
	}
	if status, text, _ = b.ask("GET", "/admin/v1/audit?actor=alice", b.tokens[viewer], ""); status != 403 {
		t.Errorf("of another, to a viewer: %d %s", status, text)
	}
	if status, _, _ = b.ask("GET", "/admin/v1/audit/verify", b.tokens[viewer], ""); status != 403 {
		t.Errorf("a viewer verifies: %d", status)
	}
}

// TestIfMatch: of an operator and of an export nothing is changed that was changed since it was looked at, over HTTP and by its page.
func TestIfMatch(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.is(201, "POST", "/admin/v1/operators", `{"name":"bob","role":"viewer"}`)
	b.is(201, "POST", "/admin/v1/exports", `{"name":"edge","format":"csv"}`)
	tagOf := func(path string) string {
		_, _, head := b.ask("GET", path, b.tokens[admins], "")
		return head.Get("ETag")
	}
	for path, edits := range map[string][]string{
		"/admin/v1/operators/bob": {`{"role":"operator"}`, `{"disabled":true}`, `{"password":"correct horse battery"}`},
		"/admin/v1/exports/edge":  {`{"limit":7}`, `{"types":["ban","captcha"]}`, `{"password":"correct-horse-battery"}`, `{"aggregate":true}`},
	} {
		for _, edit := range edits {
			tag := tagOf(path)
			if again := tagOf(path); len(tag) != 34 || again != tag {
				t.Errorf("%s has the tag %s, and then %s", path, tag, again)
			}
			for _, one := range []struct {
				match string
				want  int
			}{{`"nope"`, 412}, {"W/" + tag, 400}, {"nope", 400}, {`"nope", ` + tag, 200}, {tag, 412}, {"*", 200}} {
				if status, text, _ := b.ask("PATCH", path, b.tokens[admins], edit, "If-Match", one.match); status != one.want {
					t.Errorf("%s %s, If-Match: %s: %d %s", path, edit, one.match, status, text)
				}
			}
			if tagOf(path) == tag {
				t.Errorf("%s %s leaves the tag", path, edit)
			}
		}
	}
	tag := tagOf("/admin/v1/exports/edge")
	if status, text, _ := b.ask("PATCH", "/admin/v1/exports/edge", b.tokens[admins], `{"accept_shrunken":true}`, "If-Match", `"nope"`); status != 412 {
		t.Errorf("accepted: %d %s", status, text)
	}
	b.is(200, "PATCH", "/admin/v1/exports/edge", `{"limit":8}`)
	v := b.visitor().enter(admins)
	has(t, "an older page", v.read("POST", "/exports/edit", form([]string{"name", "edge", "format", "csv", "limit", "9", "tag", strings.Trim(tag, `"`)}), 409), "as they are now", `name="limit" value="8"`)
	has(t, "the page", v.get("/exports/edge"), `name="tag" value=`+tagOf("/admin/v1/exports/edge"))
}
