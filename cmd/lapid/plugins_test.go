package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStockPlugin: Debian's own program, unmodified but for its name, takes the place of
// what is built in.
func TestStockPlugin(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	stock, err := os.ReadFile("/usr/lib/crowdsec/plugins/http")
	h.must(err)
	plugins := filepath.Join(h.dir, "plugins")
	h.must(os.Mkdir(plugins, 0o755))
	h.must(os.WriteFile(filepath.Join(plugins, "notification-http"), stock, 0o755))
	text, err := os.ReadFile(h.file)
	h.must(err)
	h.notifies("type: http\nname: ops\nformat: '{{range .}}{{.Scenario}}{{end}}'\nurl: " + w.URL + "\nmethod: POST\nheaders: {Authorization: plugin}\nlog_level: info\n")
	h.must(os.WriteFile(h.file, []byte(strings.Replace(string(text), "{data_dir: ", "{plugin_dir: "+plugins+", data_dir: ", 1)), 0o644))
	h.steps([]step{{"notifications test ops", 1, "", "~the plugin_config section is missing"}})
	h.must(os.WriteFile(h.file, []byte(strings.Replace(string(text), "{data_dir: ", "{plugin_dir: "+plugins+", data_dir: ", 1)+"plugin_config: {user: '', group: ''}\n"), 0o644))
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	if code, said, err := h.ask("POST", "/v1/alerts", alertText("one", 0, 0)); err != nil || code != 201 {
		t.Fatalf("%d %s %v", code, said, err)
	}
	await(t, "it is told", func() bool { return len(w.told()) == 1 })
	if got := w.told()[0]; got != "one plugin" {
		t.Errorf("%q", got)
	}
	h.must(p.cmd.Process.Signal(os.Interrupt))
	if code := p.wait(t); code != 0 {
		t.Errorf("exit %d", code)
	}
}
