package console

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/admin"
	"lapid/transport/audit"
)

// Who logs in and out, and who is refused for whatever reason, is told to the audit, with the
// address and, where there was one, the token's number; what is written names both.
func TestAudited(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []string
	b := newBench(t, func(o *Options) {
		o.Audit = func(n audit.Note) {
			mu.Lock()
			defer mu.Unlock()
			if n.Address != "127.0.0.1" || n.At == 0 {
				t.Errorf("from %q at %d", n.Address, n.At)
			}
			token := ""
			if n.Token != 0 {
				token = " token 1"
			}
			told = append(told, n.By.String()+" | "+n.Action+" | "+n.Target+" | "+n.Outcome+token)
		}
	})
	link := admin.NewSecret()
	h := hashOf(link)
	if err := b.rig.ChangeOperator(t.Context(), "viewer-1", func(o *engine.Operator) error {
		o.Link = engine.OperatorLink{Hash: h, ExpiresAt: b.rig.Now().UnixNano() + 1e10}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	expired := b.grant("viewer-1", 1)
	login := func(body string) string {
		_, _, head := b.ask("POST", "/admin/v1/login", "", body)
		return head.Get("Set-Cookie")
	}
	cookie := login(`{"name":"viewer-1","password":"` + password + `"}`)
	login(`{"name":"viewer-1","password":"wrong"}`)
	login(`{"link":"` + link + `"}`)
	login(`{"link":"` + link + `"}`)
	b.ask("POST", "/admin/v1/logout", "", "", "Cookie", cookie)
	b.ask("GET", "/admin/v1/status", "", "", "Cookie", cookie)
	b.ask("GET", "/admin/v1/status", "made-up", "")
	b.ask("GET", "/admin/v1/status", expired, "")
	b.ask("DELETE", "/admin/v1/bouncers/fw", b.tokens[operator], "")
	b.ask("POST", "/admin/v1/verbs/machines/add", b.tokens[viewer], "{}")
	want := []string{
		"named-operator viewer-1 | operator.login | password | ok",
		"viewer-1 | operator.login | password | refused: wrong credentials",
		"named-operator viewer-1 | operator.login | link | ok",
		" | operator.login | link | refused: not, or no longer, good",
		"named-operator viewer-1 | operator.logout | session | ok",
		" | operator.enter | session | refused: it is over",
		" | operator.enter | token | refused: unknown token",
		"viewer-1 | operator.enter | token | refused: expired token token 1",
		"named-operator operator-1 | bouncer.delete |  | refused: role operator token 1",
		"named-operator viewer-1 | machine.add |  | refused: role viewer token 1",
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(told, want) {
		t.Errorf("told:\n%q\nnot:\n%q", told, want)
	}
}

// What an operator writes over HTTP has its address and token in the audit, by either way in, and
// rows that were noted are there when the audit is listed.
func TestWritesAreAudited(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { // another engine, which keeps an audit
		r := enginetest.NewRig(t, func(e *engine.Options) { e.Audit = &engine.AuditOptions{} })
		if err := r.AddOperator(t.Context(), &engine.Operator{Name: "alice", Role: admins}); err != nil {
			t.Fatal(err)
		}
		o.Engine, o.Verbs = r.Engine, admin.NewHandler(r.Engine, "test", o.Logger)
		auditor := audit.New(&audit.Options{Engine: r.Engine, Logger: o.Logger})
		o.Audit, o.Verbs.Settle = auditor.Note, auditor.Settle
	})
	secret := admin.NewSecret()
	if _, err := b.server.options.Engine.GrantToken(t.Context(), "alice", &engine.OperatorToken{Hash: hashOf(secret)}); err != nil {
		t.Fatal(err)
	}
	b.ask("POST", "/admin/v1/allowlists", secret, `{"name":"office"}`)
	b.ask("POST", "/admin/v1/verbs/allowlists/delete", secret, `{"Name":"office"}`)
	b.server.options.Audit(audit.Note{At: b.server.options.Engine.Now(), Action: "operator.login", Outcome: "ok", Deed: true})
	status, text, _ := b.ask("POST", "/admin/v1/verbs/audit/list", secret, `{"Limit":3}`)
	var actions []string
	for line := range strings.Lines(text) {
		var row struct{ Item *engine.AuditRow }
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Item == nil {
			continue
		}
		if actions = append(actions, row.Item.Action); row.Item.Revision != 0 && (row.Item.Address != "127.0.0.1" || row.Item.Token != 1) {
			t.Errorf("%s: from %q with token %d", row.Item.Action, row.Item.Address, row.Item.Token)
		}
	}
	if want := []string{"operator.login", "allowlist.delete", "allowlist.create"}; status != 200 || !slices.Equal(actions, want) {
		t.Errorf("%d: %q, not %q: %s", status, actions, want, text)
	}
}
