package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lapid/cmd/lapid/config"
)

// readersStages are parsers of a log processor for the two files, in the words of the
// reference's own lines: what is read out of a line is told behind it.
var readersStages = map[string]string{
	"parsers/s00-raw/common.yaml": `onsuccess: next_stage
name: test/common
description: a line of crowdsec.log
filter: "evt.Line.Labels.type == 'common'"
grok:
  pattern: '^time="%{TIMESTAMP_ISO8601:stamp}" level=%{WORD:level} msg="%{DATA:text}"( \S.*)?$'
  apply_on: Line.Raw
statics:
  - {parsed: told, expression: 'evt.Parsed.level + ": " + evt.Parsed.text'}
  - {target: evt.StrTime, expression: evt.Parsed.stamp}
`,
	"parsers/s00-raw/requests.yaml": `onsuccess: next_stage
name: test/requests
description: a line of crowdsec_api.log
filter: "evt.Line.Labels.type == 'requests'"
grok:
  pattern: '^time="%{TIMESTAMP_ISO8601:stamp}" level=info msg="%{IP:source} - \[%{DATA:date}\] \\"%{WORD:verb} %{NOTSPACE:path} HTTP/%{NUMBER:version} %{NUMBER:status} %{NOTSPACE:took} \\"%{DATA:agent}\\" %{DATA:error}" module=lapi$'
  apply_on: Line.Raw
statics:
  - {parsed: told, expression: 'evt.Parsed.source + " " + evt.Parsed.verb + " " + evt.Parsed.path + " " + evt.Parsed.status + " " + evt.Parsed.error'}
  - {target: evt.StrTime, expression: evt.Parsed.stamp}
`,
	"parsers/s01-parse/told.yaml": `onsuccess: next_stage
name: test/told
description: what was read
filter: "1 == 1"
statics:
  - {meta: told, expression: evt.Parsed.told}
`,
}

// crowdsecReads has Debian's CrowdSec, which logs in here for it, read a file of the log: every
// line is one that its parser for the kind knows, and what it reads is given back.
func (h *house) crowdsecReads(kind, path string) (told string) {
	t := h.t
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{"parsers/s00-raw", "parsers/s01-parse", "scenarios", "postoverflows", "patterns", "data", "hub"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range readersStages {
		write(t, dir, name, text)
	}
	write(t, dir, "hub/.index.json", `{"parsers":{},"scenarios":{},"collections":{},"postoverflows":{}}`)
	write(t, dir, "simulation.yaml", "simulation: false\n")
	write(t, dir, "acquis.yaml", "")
	write(t, dir, "credentials.yaml", fmt.Sprintf("{url: 'http://127.0.0.1:%d', login: m, password: secret}\n", h.port))
	settings := write(t, dir, "config.yaml", fmt.Sprintf(`common: {daemonize: false, log_media: stdout, log_level: info}
config_paths: {config_dir: %[1]s, data_dir: %[1]s/data, simulation_path: %[1]s/simulation.yaml, hub_dir: %[1]s/hub, index_path: %[1]s/hub/.index.json}
crowdsec_service: {acquisition_path: %[1]s/acquis.yaml, parser_routines: 1, buckets_routines: 1, output_routines: 1}
cscli: {output: human}
db_config: {type: sqlite, db_path: %[1]s/data/db}
api: {client: {credentials_path: %[1]s/credentials.yaml}, server: {profiles_path: %[2]s/profiles.yaml}}
prometheus: {enabled: false}
`, dir, h.dir))
	cmd := exec.CommandContext(t.Context(), "cscli", "-c", settings, "explain", "--file", write(t, dir, "file.log", read(t, path)), "--type", kind, "-v")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Count(read(t, filepath.Join(dir, "file.log")), "\n")
	if n := strings.Count(string(out), "parser success"); n != lines || lines == 0 {
		t.Errorf("%d of %d lines of %s are read\n%s", n, lines, filepath.Base(path), out)
	}
	return string(out)
}

// truncated does what logrotate does at copytruncate, and has the server go on: nothing but new
// lines is in the file then, from its beginning.
func (h *house) truncated(logs string) {
	t := h.t
	t.Helper()
	requests := filepath.Join(logs, config.AccessName)
	before := read(t, requests)
	write(t, logs, config.AccessName+".1", before)
	if err := os.Truncate(requests, 0); err != nil {
		t.Fatal(err)
	}
	h.want(200, "GET", "/v1/decisions?ip=192.0.2.88", "")
	await(t, "the next line is there", func() bool { return strings.Contains(read(t, requests), "192.0.2.88") })
	if now := read(t, requests); !strings.HasPrefix(now, `time="`) || len(now) > len(before)+1000 || strings.Contains(now, "\x00") {
		t.Errorf("%q", now)
	}
}

// TestLogIsReadByCrowdSec: the two files are read by the reference's own log processor, to the
// last line, and a file that is emptied in its place is written on.
func TestLogIsReadByCrowdSec(t *testing.T) {
	t.Parallel()
	h, logs := inFiles(t, "")
	h.awaitHealth(start(t, nil, "-c", h.file, "serve"))
	h.login()
	h.want(201, "POST", "/v1/alerts", machinesAlert)
	h.want(200, "GET", "/v1/decisions?ip=203.0.113.9", "")
	h.header = map[string][]string{"X-Api-Key": {"wrong"}, "User-Agent": {"an \"agent\""}}
	h.want(403, "GET", "/v1/decisions?ip=192.0.2.1", "")
	h.header = nil
	common, requests := filepath.Join(logs, config.LogName), filepath.Join(logs, config.AccessName)
	await(t, "the last request has its lines", func() bool {
		return strings.Contains(read(t, requests), "192.0.2.1 ") && strings.Contains(read(t, common), "nobody's")
	})
	for kind, c := range map[string]struct {
		path string
		want []string
	}{
		"common": {common, []string{
			"info: (m/crowdsec) crowdsecurity/ssh-bf by ip 203.0.113.9 (FR/1234) : 1h ban on Ip 203.0.113.9", "warning: refused: a bouncer shows an API key that is nobody's",
		}},
		"requests": {requests, []string{"127.0.0.1 GET /v1/decisions?ip=203.0.113.9 200 ", "127.0.0.1 GET /v1/decisions?ip=192.0.2.1 403 access forbidden"}},
	} {
		told := h.crowdsecReads(kind, c.path)
		for _, want := range c.want {
			if !strings.Contains(told, "told : "+want) {
				t.Errorf("nothing is read as %q in\n%s", want, told)
			}
		}
	}
	h.truncated(logs)
}
