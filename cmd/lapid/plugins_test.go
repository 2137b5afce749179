package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapid/transport/notify/mailtest"
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

// stockPrograms puts Debian's programs, unmodified, where any user may run them, under the
// names that plugins have.
func stockPrograms(t *testing.T, types ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lapid-plugins-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kind := range types {
		stock, err := os.ReadFile("/usr/lib/crowdsec/plugins/" + kind)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "notification-"+kind), stock, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// withPlugins has a house look for programs in a folder. Under root they run as nobody.
func (h *house) withPlugins(dir string) {
	h.t.Helper()
	text, err := os.ReadFile(h.file)
	h.must(err)
	as := "{user: '', group: ''}"
	if os.Getuid() == 0 {
		as = "{user: nobody, group: nogroup}"
	}
	h.must(os.WriteFile(h.file, []byte(strings.Replace(string(text), "{data_dir: ", "{plugin_dir: "+dir+", data_dir: ", 1)+"plugin_config: "+as+"\n"), 0o644))
}

// TestStockPrograms: each of Debian's programs is driven unmodified, in one server, and
// brings one alert to its receiver; at the end none of them is left.
func TestStockPrograms(t *testing.T) {
	t.Parallel()
	hook, chat, mails, h := newWebhook(t), newWebhook(t), mailtest.New(t), newHouse(t)
	collector := httptest.NewTLSServer(hook.Config.Handler)
	t.Cleanup(collector.Close)
	dir := stockPrograms(t, "http", "slack", "email", "splunk", "dummy")
	h.withPlugins(dir)
	const format = "format: '{{range .}}{{.Scenario}}{{end}}'\n"
	h.notifies(strings.Join([]string{
		"type: http\nname: by_http\nmethod: POST\nurl: " + hook.URL + "/\nheaders: {Authorization: http}\n",
		"type: http\nname: by_http_too\nmethod: POST\nurl: " + hook.URL + "/\nheaders: {Authorization: too}\n",
		"type: slack\nname: by_slack\nwebhook: " + chat.URL + "/\n",
		"type: splunk\nname: by_splunk\nurl: " + collector.URL + "/\ntoken: ${SPLUNK}\n",
		"type: dummy\nname: by_dummy\n",
		fmt.Sprintf("type: email\nname: by_email\ntimeout: 20s\nsmtp_host: 127.0.0.1\nsmtp_port: %d\nsmtp_username: ops\nsmtp_password: secret\n"+
			"auth_type: login\nencryption_type: starttls\nsender_email: lapid@example.org\nreceiver_emails: [a@example.org]\nemail_subject: news\n", mails.Port()),
	}, format+"---\n") + format)
	write(t, h.dir, "profiles.yaml", fmt.Sprintf(rule, "first", "ban")+"notifications: [by_http, by_http_too, by_slack, by_splunk, by_dummy, by_email]\n")
	trust := write(t, h.dir, "mail.pem", string(mails.PEM))
	h.must(os.Chmod(trust, 0o644)) // nobody reads the certificate
	h.must(os.Chmod(h.dir, 0o755))
	h.must(os.Chmod(filepath.Dir(h.dir), 0o755))
	p := start(t, []string{"SPLUNK=t0ken", "SSL_CERT_FILE=" + trust}, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	if code, said, err := h.ask("POST", "/v1/alerts", alertText("one", 0, 0)); err != nil || code != 201 {
		t.Fatalf("%d %s %v", code, said, err)
	}
	await(t, "all are told", func() bool {
		letters, _ := mails.Taken()
		return len(hook.told()) >= 3 && len(chat.told()) >= 1 && len(letters) >= 1 &&
			strings.Contains(h.scrape(), `lapid_notifications_delivered_total{notification="by_dummy"} 1`)
	})
	got := hook.told()
	slices.Sort(got)
	if text := strings.Join(got, "\n"); text != "one http\none too\n{\"event\":\"one\"} Splunk t0ken" {
		t.Errorf("%q", text)
	}
	if text := chat.told()[0]; !strings.Contains(text, `"text":"one"`) {
		t.Errorf("%q", text)
	}
	letters, _ := mails.Taken()
	if !strings.Contains(letters[0], "Subject: news") || !strings.Contains(letters[0], "one") {
		t.Errorf("%s", letters[0])
	}
	running := programsIn(t, dir)
	if len(running) != 5 { // one for each type
		t.Errorf("%d programs run: %v", len(running), running)
	}
	h.must(p.cmd.Process.Signal(os.Interrupt))
	if code := p.wait(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	if left := programsIn(t, dir); len(left) != 0 {
		t.Errorf("they are still there: %v", left)
	}
}

// programsIn are the processes that run programs of a folder.
func programsIn(t *testing.T, dir string) (list []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range all {
		if path, err := os.Readlink(link); err == nil && strings.HasPrefix(path, dir+"/") {
			list = append(list, link+" "+filepath.Base(path))
		}
	}
	return list
}

// TestKilledServersPrograms: programs end with a server that is killed.
func TestKilledServersPrograms(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	dir := stockPrograms(t, "http")
	h.withPlugins(dir)
	h.notifies("type: http\nname: ops\nformat: x\nmethod: POST\nurl: " + w.URL + "/\n")
	p := start(t, nil, "-c", h.file, "serve")
	h.awaitHealth(p)
	h.login()
	if code, said, err := h.ask("POST", "/v1/alerts", alertText("one", 0, 0)); err != nil || code != 201 {
		t.Fatalf("%d %s %v", code, said, err)
	}
	await(t, "it is told", func() bool { return len(w.told()) == 1 })
	kill(t, p)
	await(t, "the program has ended", func() bool { return len(programsIn(t, dir)) == 0 })
}

// TestPluginDirAsDebianHasIt: Debian's folder as it is holds no program under the name of a
// plugin: each is a warning, and what is built in serves.
func TestPluginDirAsDebianHasIt(t *testing.T) {
	t.Parallel()
	w, h := newWebhook(t), newHouse(t)
	h.withPlugins("/usr/lib/crowdsec/plugins")
	h.notifies("type: http\nname: ops\nformat: x\nmethod: POST\nurl: " + w.URL + "/\n")
	h.steps([]step{{"notifications test ops", 0, "~was taken", ""}})
	r := h.do("", "serve", "-t")
	if r.exit != 0 || strings.Count(r.err, "Name should be like {type-name}") != 5 {
		t.Errorf("%+v", r)
	}
}

// TestStockProgramsKeepSecrets: a stock program that fails tells its address, which no error
// of ours does.
func TestStockProgramsKeepSecrets(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.withPlugins(stockPrograms(t, "http"))
	h.notifies("type: http\nname: ops\nformat: x\nmethod: POST\nurl: http://127.0.0.1:1/hidden-path\n")
	r := h.do("", "notifications", "test", "ops")
	if r.exit != 1 || !strings.Contains(r.err, "127.0.0.1:1***") || strings.Contains(r.err, "hidden-path") {
		t.Errorf("%+v", r)
	}
}
