package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/verbs"
	"lapid/transport/visible"
)

// hostile is what a stranger writes where a name is expected: escapes of both
// control sets, marks of direction, signs without a width, and line ends that
// begin a line of the stranger's own.
const hostile = "x\x1b[31m\x07\u009b1m\u0085\u202e\u2066\u200f\u061c\u200b\u2060\ufeff\u00ad\u3164\U000e0041\x7f\r\nFAKE\ttab\u2028FAKE"

// hostileByte is the same as far as a header may hold it.
const hostileByte = "x\u009b1m\u202e\u200b\u00ad"

// foul says what is wrong with something that people read.
func foul(text string) string {
	if !utf8.ValidString(text) {
		return "it is no UTF-8"
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "FAKE") {
			return fmt.Sprintf("a line of the stranger's own: %+q", line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return !visible.Shown(r) && r != '\t' }); i >= 0 {
			return fmt.Sprintf("%+q at %d of %+q", line[i:min(i+4, len(line))], i, line)
		}
	}
	return ""
}

// strangers fills a house by its API, as far as strangers and their machines
// can, and by the operator's hand where only he can.
func (h *house) strangers() {
	h.t.Helper()
	q := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	x := q(hostile)
	h.want(201, "POST", "/v1/watchers", fmt.Sprintf(`{"machine_id":%s,"password":"secret"}`, x))
	for _, id := range []string{hostile, "m"} { // the first is not validated: its refusal is logged
		code, text, err := h.ask("POST", "/v1/watchers/login", fmt.Sprintf(`{"machine_id":%s,"password":"secret"}`, q(id)))
		var said struct{ Token string }
		_ = json.Unmarshal([]byte(text), &said)
		if h.token = said.Token; err != nil || id == "m" && code != 200 {
			h.t.Fatalf("login: %d %s %v", code, text, err)
		}
	}
	h.want(401, "POST", "/v1/watchers/login", fmt.Sprintf(`{"machine_id":%s,"password":"wrong"}`, x))
	h.want(201, "POST", "/v1/alerts", fmt.Sprintf(`[{"scenario":%[1]s,"scenario_hash":%[1]s,"scenario_version":%[1]s,"message":%[1]s,
		"kind":%[1]s,"capacity":0,"leakspeed":"0","events_count":1,"simulated":false,"start_at":"now","stop_at":"now","remediation":true,
		"labels":[%[1]s],"meta":[{"key":%[1]s,"value":%[1]s},{"key":"k","value":%[3]s}],
		"events":[{"timestamp":%[1]s,"meta":[{"key":%[1]s,"value":%[1]s}]}],
		"source":{"scope":%[1]s,"value":%[1]s,"cn":"FR","as_name":%[1]s,"as_number":%[1]s},
		"decisions":[{"type":%[1]s,"scope":%[1]s,"value":%[1]s,"duration":"4h","origin":%[1]s,"scenario":%[1]s},
			{"type":"ban","scope":"Ip","value":"192.0.2.1","duration":"4h","origin":%[2]s,"scenario":%[1]s}]}]`, x, q("o"+hostile), q(`["`+`\u001b[1m","b"]`)))
	report := func(kind, more string) string {
		return fmt.Sprintf(`{%[2]q:[{"version":%[1]s,"utc_startup_timestamp":1,"os":{"name":%[1]s,"version":%[1]s,"family":%[1]s},
			"feature_flags":[%[1]s,"y"],%[3]s,"metrics":[{"meta":{"window_size_seconds":1,"utc_now_timestamp":1},"items":[
			{"name":"dropped","value":1,"unit":"byte","labels":{"origin":%[1]s,"source":%[1]s,"datasource_type":%[1]s,"acquis_type":%[1]s}},
			{"name":"read","value":1,"unit":"line","labels":{"source":%[1]s}},
			{"name":"parsed","value":1,"unit":"line","labels":{"source":%[1]s,"parser":%[1]s,"stage":%[1]s}},
			{"name":%[1]s,"value":1,"unit":%[1]s,"labels":{%[1]s:%[1]s}}]}]}]}`, x, kind, more)
	}
	h.header = http.Header{"X-Api-Key": nil}
	h.want(201, "POST", "/v1/usage-metrics", report("log_processors", fmt.Sprintf(
		`"hub_items":{"collections":[{"name":%[1]s,"version":%[1]s,"status":%[1]s}],%[1]s:[{"name":%[1]s,"version":%[1]s,"status":%[1]s}]},"datasources":{%[1]s:1}`, x)))
	h.token = ""
	h.header = http.Header{"User-Agent": {hostileByte + "/" + hostileByte}}
	h.want(200, "GET", "/v1/decisions/stream?startup=true", "")
	h.want(404, "GET", "/nowhere/%1b%0aFAKE?\u202e\u009b", "")
	h.want(201, "POST", "/v1/usage-metrics", report("remediation_components", fmt.Sprintf(`"type":%[1]s,"name":%[1]s`, x)))
}

// want sends a request and expects a status.
func (h *house) want(code int, method, path, body string) {
	h.t.Helper()
	if got, text, err := h.ask(method, path, body); err != nil || got != code {
		h.t.Fatalf("%s %s: %d %s %v, want %d", method, path, got, text, err, code)
	}
}

// leaves are the verbs, each with its nouns before it.
func leaves(c *cobra.Command, path string) []string {
	var out []string
	for _, verb := range c.Commands() {
		if verb.HasSubCommands() {
			out = append(out, leaves(verb, path+verb.Name()+" ")...)
		} else {
			out = append(out, path+verb.Name())
		}
	}
	return out
}

// TestHostileWords: whatever strangers have written everywhere, no verb sends a
// terminal anything but what is seen, and so does no line of the log.
func TestHostileWords(t *testing.T) {
	t.Parallel()
	for name, log := range map[string]string{"text": "log_format: text", "json": "log_format: json", "file": "log_media: file, log_dir: @DIR@"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			text, err := os.ReadFile(h.file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, h.dir, "config.yaml", string(text)+"common: {log_level: debug, "+strings.ReplaceAll(log, "@DIR@", h.dir)+"}\n")
			p := start(t, []string{"LAPID_ACCESS_LOG=true"}, "-c", h.file, "serve")
			h.awaitHealth(p)
			h.strangers()
			h.walkVerbs()
			_ = p.cmd.Process.Signal(os.Interrupt)
			if code := p.wait(t); code != 0 {
				t.Errorf("exit %d", code)
			}
			texts := map[string]string{"stdout": p.out.String()}
			for _, name := range []string{config.LogName, config.AccessName} {
				if b, err := os.ReadFile(filepath.Join(h.dir, name)); err == nil {
					texts[name] = string(b)
				}
			}
			said := ""
			for name, text := range texts {
				if what := foul(text); what != "" {
					t.Errorf("%s: %s", name, what)
				}
				said += text
			}
			if !strings.Contains(said, `u202e`) || !strings.Contains(said, "/nowhere/") {
				t.Error("the log says nothing of the strangers")
			}
		})
	}
}

// unseen is hostile without a control character, which names may not hold.
const unseen = "x\u202e\u2066\u200f\u061c\u200b\ufeff\u00ad\u3164"

// verbLines are what is tried of each verb; X stands for hostile, U for unseen. The
// last of them remove what the others show.
var verbLines = []string{
	"notifications list", "notifications inspect X", "notifications test X", "notifications reinject 1 -a X", "notifications reinject X",
	"version", "config show", "config show --key X", "config show-yaml", "lapi status", "lapi register --machine X -f -", "lapi register --machine nobody -u X -f X", "capi status", "capi status X", "capi register -u X -f X", "capi register -u http://127.0.0.1:1/ -f X",
	"papi status", "papi status X", "papi sync", "papi sync X", "console status", "console status X", "console enable X", "console disable X", "console enroll X", "console enroll -u X X", "console enroll -e X X", "console enroll --quick --name X -t X", "metrics", "metrics list", "metrics show bouncers", "metrics show X",
	"machines list", "machines inspect X", "machines inspect m", "machines inspect --hub m", "machines validate nobodyX",
	"machines add X2 -a -f -", "machines add X2 -a -f -", "bouncers add X", "bouncers add X", "bouncers edit X --types X,X --not-containing X", "bouncers edit X --origins X --hold X", "bouncers edit X --hold 25s", "bouncers edit nobodyX --see-all", "bouncers edit b --allowlist X", "bouncers edit b --priority X", "bouncers edit b --max-entries X", "bouncers edit b --max-duration X", "bouncers edit b --canonical=X", "bouncers edit b --scopes X,X --origins X", "bouncers add X3 --types X --allowlist X",
	"bouncers list", "bouncers inspect X", "bouncers inspect b", "bouncers edit b --see-all", "bouncers rotate b -k X", "bouncers rotate nobodyX", "bouncers rotate b --grace X", "bouncers wait X --revision 1", "bouncers wait --all --decision 1 --timeout 0s",
	"operators list", "operators add X --role viewer -p long-enough-1", "operators add U --role viewer -p long-enough-1", "operators add U --role X", "operators inspect U", "operators inspect X",
	"operators edit U --role X", "operators edit nobodyX --disable", "operators token U --comment X", "operators token U --comment U -o raw", "operators token U --expires X", "operators list", "operators inspect U",
	"operators revoke U X", "operators revoke U 1", "operators revoke X 1", "operators link U", "operators link X", "operators delete X", "operators delete U",
	"bouncers add U", "bouncers list", "bouncers inspect U", "bouncers delete U", "allowlists create U -d U", "allowlists inspect U", "allowlists list", "allowlists delete U",
	"allowlists create X -d X", "allowlists add X 192.0.2.77 X -d X", "allowlists add X 192.0.2.77 -d X", "allowlists list", "allowlists inspect X",
	"allowlists check 192.0.2.77", "allowlists check X", "allowlists import X -i @DIR@/items.csv", "allowlists remove X X", "allowlists remove X 192.0.2.1",
	"decisions add --scope X --value X --reason X --type X", "decisions add --ip X", "decisions add --ip 192.0.2.77 --reason X",
	"decisions import -i @DIR@/bad.csv", "decisions import -i @DIR@/good.csv", "decisions import -i @DIR@/allowed.csv", "decisions list", "decisions list -a", "decisions list -m",
	"decisions import -i @DIR@/good.csv --batch-name X", "decisions import -i @DIR@/good.csv --name X --replace", "decisions list --batch-name X", "decisions delete --batch-name X --dry-run", "decisions delete --name X",
	"why X", "why X:X", "why 192.0.2.77", "why --bouncer X 192.0.2.77", "why decision:1", "why alert:1 --all", "why --at X 192.0.2.77",
	"activity list", "activity list --actor X", "activity list --address X", "activity list --kind X", "activity list --cursor X", "activity list --since X",
	"audit list", "audit list --actor X --target X", "audit list --since X", "audit export", "audit export --format cef", "audit export --format X", "audit verify", "audit verify --expect X",
	"exports add X --format plain_text --auth none", "exports add e1 --format X --auth none", "exports add e1 --format mikrotik --auth none --origins X --scenarios-containing X", "exports list", "exports inspect e1", "exports inspect X",
	"cluster keys X X", "cluster keys", "cluster init", "cluster init --again", "cluster init X", "cluster status", "cluster status X", "cluster hand", "cluster hand X", "cluster forget X", "cluster check", "cluster check X", "cluster log", "cluster log X", "cluster log -n 0", "cluster alone", "cluster alone X", "cluster quickstart X", "cluster quickstart --port 0 --dir X", "cluster X",
	"secret rotate", "secret rotate --now", "secret rotate X", "secret X", "exports edit e1 --types X", "exports edit X --types ban", "exports accept X", "exports accept e1", "exports render e1", "exports render X", "exports rotate e1", "exports rotate X", "exports delete X", "exports delete e1",
	"decisions list --scope X --value X", "alerts list", "alerts list -m", "alerts list --scenario X", "alerts list --since X", "alerts inspect 1",
	"alerts inspect --details 1", "alerts inspect X", "alerts inspect 4711", "backup @DIR@/X", "backup @DIR@/bad.csv", "restore X", "restore @DIR@/bad.csv",
	"movein --from X", "movein --dry-run --from sqlite:X", "movein --dry-run --from sqlite:@DIR@/crowdsec.db", "movein status", "movein status X",
	"shadow --upstream X", "shadow --upstream http://127.0.0.1:1 --listen X", "shadow X", "shadow report", "shadow report X", "shadow answer X", "shadow answer ours --bouncers X", "shadow reset",
	"profiles test", "profiles test -s X --scope X -v X --country X --meta X=X -m X", "profiles test -f @DIR@/bad.csv", "profiles test -f X", "profiles test -i X", "ready", "ready X", "openapi", "openapi X", "health", "health X", "doctor", "doctor X", "doctor --backups X", "doctor --deep", "docs", "docs X", "docs push", "check", "check X", "check @DIR@/bad.csv", "man @DIR@/man", "completion bash", "completion zsh", "completion fish", "completion powershell",
	"quickstart X", "serve X", "serve -t", "X", "machines X", "--X", "machines list --X", "-X", "-o X version",
	"decisions restore X", "decisions restore 1", "decisions extend --value X -d +4h", "decisions extend --id X -d 4h", "decisions extend --value X -d X", "decisions delete --value X", "decisions delete --id X", "alerts delete --scenario X", "alerts delete --id X", "alerts flush", "alerts flush --max-age X",
	"bouncers prune -d 3m --force", "bouncers prune -d X", "machines prune -d 3m --force", "machines prune --not-validated-only --force", "machines prune -d X",
	"bouncers delete nobodyX", "bouncers delete X", "machines delete nobodyX", "machines delete X2", "allowlists delete nobodyX", "allowlists delete X",
}

// spoil makes a database of the reference's with hostile words in a folder.
func spoil(t *testing.T, dir string) {
	t.Helper()
	db := sqliteFixture(t, "1.7")
	words := fmt.Sprintf("CAST(x'%x' AS TEXT)", hostile)
	c := exec.Command("sqlite3", "-bail", db, "UPDATE decisions SET origin = "+words+" || id, until = "+words+" WHERE id < 5; UPDATE decisions SET origin = "+words+
		"; UPDATE machines SET password = "+words+"; UPDATE allow_list_items SET value = "+words)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(db, filepath.Join(dir, "crowdsec.db")); err != nil {
		t.Fatal(err)
	}
}

// walkVerbs runs every verb in every format; what stands in raw output, values
// of others included, is for programs and stays.
func (h *house) walkVerbs() {
	h.t.Helper()
	write(h.t, h.dir, "items.csv", "comment,value,expiration\n\""+hostile+"\",192.0.2.1,12h\n\""+hostile+"\",\""+hostile+"\",\n")
	write(h.t, h.dir, "bad.csv", "value,duration,scope\n\""+hostile+"\",4h,ip\n192.0.2.1,\""+hostile+"\",ip\n")
	write(h.t, h.dir, "good.csv", "value,reason,scope\n\""+hostile+"\",\""+hostile+"\",\""+hostile+"\"\n")
	write(h.t, h.dir, "allowed.csv", "value,reason\n192.0.2.77,\""+hostile+"\"\n")
	spoil(h.t, h.dir)
	tried := map[string]bool{}
	for _, line := range verbLines {
		for _, output := range []string{config.Human, config.JSON, config.Raw} {
			args := strings.Fields(line)
			for i := range args {
				args[i] = strings.NewReplacer("@DIR@", h.dir, "X", hostile, "U", unseen).Replace(args[i])
			}
			if !strings.HasPrefix(line, "-o") {
				args = append(args, "-o", output)
			}
			r := h.do("n\n", args...)
			tried[verbOf(h.t, line)] = true
			if what := foul(r.err); what != "" {
				h.t.Errorf("%s -o %s: stderr: %s", line, output, what)
			}
			if what := foul(r.out); what != "" && output != config.Raw {
				h.t.Errorf("%s -o %s: stdout: %s", line, output, what)
			}
			first := strings.TrimSpace(r.out)
			if output == config.JSON && r.exit == 0 && (strings.HasPrefix(first, "{") || strings.HasPrefix(first, "[")) && !json.Valid([]byte(r.out)) {
				h.t.Errorf("%s: no JSON: %+q", line, r.out)
			}
		}
	}
	for _, verb := range leaves(rootCommand(&verbs.Terminal{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}), "") {
		if !tried[verb] && verb != "help" {
			h.t.Errorf("the verb %q is not tried", verb)
		}
	}
}

// verbOf is the verb of a line, without its arguments.
func verbOf(t *testing.T, line string) string {
	t.Helper()
	c, _, err := rootCommand(&verbs.Terminal{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}).Find(strings.Fields(line))
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(c.CommandPath(), "lapid ")
}

// TestSafeCSV: with the flag no cell is a formula; without it cells are what
// they are.
func TestSafeCSV(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	for _, name := range []string{"=1+1", "+1", "-1", "@x", "plain"} {
		if r := s.do("", "bouncers", "add", "-o", "raw", "--", name); r.exit != 0 {
			t.Fatalf("%q: %s", name, r.err)
		}
	}
	plain, safe := s.do("", "bouncers", "list", "-o", "raw").out, s.do("", "bouncers", "list", "-o", "raw", "--safe-csv").out
	for _, name := range []string{"=1+1", "+1", "-1", "@x"} {
		if !strings.Contains(plain, name+",") && !strings.Contains(plain, `"`+name+`",`) {
			t.Errorf("%q is not itself in\n%s", name, plain)
		}
		if !strings.Contains(safe, "'"+name+",") {
			t.Errorf("%q has no apostrophe in\n%s", name, safe)
		}
	}
	if !strings.Contains(safe, "\nplain,") {
		t.Errorf("a plain name is changed in\n%s", safe)
	}
}
