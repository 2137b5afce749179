package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapid/engine"
)

// Exports of lapid.yaml are read whole, with secrets out of the environment, and what can
// never work is refused by name.
func TestDeclaredExports(t *testing.T) {
	t.Parallel()
	load := func(text string) ([]engine.Export, error) {
		file := filepath.Join(t.TempDir(), "lapid.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := loadSettings(file, variables(map[string]string{"EDGE": "a-password-of-the-edge"}))
		if err != nil {
			return nil, err
		}
		return s.DeclaredExports(7)
	}
	list, err := load(`exports:
  - name: edge.txt
    format: nginx
    family: ipv4
    aggregate: exact
    limit: 100
    order: newest
    allowlists: [office]
    when_empty: refuse
    allow_from: [192.0.2.0/24, 10.0.0.1]
    auth: {basic: {user: edge, password: $EDGE}}
  - {name: router, format: mikrotik, options: {list: blocked, replace: renew}, auth: {key: true}, allowlists: [none]}
  - {name: near, format: plain_text, path: /security/blocklist, allow_from: [10.0.0.0/8]}
  - {name: anybody, format: json, open: true, allowlists: [all]}
`)
	if err != nil || len(list) != 4 {
		t.Fatal(err, len(list))
	}
	edge := &list[0]
	if edge.Format != "nginx_deny" || edge.Family != engine.IPv4 || !edge.Aggregate || edge.Limit != 100 || edge.Order != engine.Newest || !edge.RefuseEmpty ||
		len(edge.AllowFrom) != 2 || edge.Auth != engine.ExportBasic || edge.User != "edge" || len(edge.Secrets) != 1 || edge.Secrets[0].At != 7 {
		t.Errorf("%+v", edge)
	}
	if list[1].Auth != engine.ExportKey || !list[1].NoAllowlists || len(list[1].Options) != 2 || list[2].Auth != engine.ExportAddress || list[3].Auth != engine.ExportNone || list[3].NoAllowlists {
		t.Errorf("%+v", list[1:])
	}
	for text, want := range map[string]string{
		"{name: a, format: f6, open: true}":                                           "there is no format",
		"{name: a/b, format: f5, open: true}":                                         "letters",
		"{name: a, format: f5}":                                                       "nobody may have it",
		"{name: a, format: f5, open: true, allow_from: [10.0.0.1]}":                   "lets anybody in",
		"{name: a, format: f5, auth: {token: short}}":                                 "16 characters",
		"{name: a, format: f5, auth: {key: true, token: aaaaaaaaaaaaaaaaaaaaaaaaaa}}": "one of basic",
		"{name: a, format: f5, open: true, options: {list: x}}":                       "no option",
		"{name: a, format: f5, open: true, aggregate: much}":                          "none or exact",
		"{name: a, format: f5, open: true, limit: -1}":                                "limit",
		"{name: a, format: f5, allow_from: [here]}":                                   "no address",
		"{name: a, format: f5, open: true}, {name: a, format: f5, open: true}":        "there twice",
		"{name: a, format: f5, opne: true}":                                           "opne",
	} {
		if _, err := load("exports: [" + text + "]\n"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
