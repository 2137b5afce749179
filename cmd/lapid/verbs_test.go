package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/verbs"
	"lapid/engine"
)

// site is an installation in a folder of the test, with the operator in front
// of it.
type site struct {
	t    *testing.T
	dir  string
	file string // config.yaml
}

// result is how a verb ended.
type result struct {
	exit     int
	out, err string
}

func newSite(t *testing.T, config string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.file = write(t, s.dir, "config.yaml", strings.ReplaceAll(config, "@DIR@", s.dir))
	return s
}

var nothing = config.Environment(func(string) (string, bool) { return "", false })

// siteConfig is enough for verbs; nothing listens.
const siteConfig = `config_paths: {data_dir: @DIR@}
api: {client: {credentials_path: @DIR@/credentials.yaml}}
`

// do runs a verb as the program would, with a text on standard input. It may make
// the store, and what is said of a server that does not run is left out, and so is the name
// of what was imported, which has the time in it.
func (s *site) do(stdin string, args ...string) result {
	s.t.Helper()
	r := s.in(&verbs.Terminal{In: strings.NewReader(stdin), Init: true}, args...)
	r.err = batchTold.ReplaceAllString(noServer.ReplaceAllString(r.err, ""), "")
	return r
}

var batchTold = regexp.MustCompile(`(?m)^level=info msg="batch .* takes it back"\n`)

var noServer = regexp.MustCompile(`(?m)^level=warning msg="no server is running .*\n`)

// in runs a verb in a terminal that the caller has begun.
func (s *site) in(term *verbs.Terminal, args ...string) result {
	s.t.Helper()
	var out, errs bytes.Buffer
	term.Out, term.Err, term.Env, term.Build = &out, &errs, nothing, verbs.Build{Version: version}
	exit := run(s.t.Context(), term, append([]string{"-c", s.file}, args...))
	return result{exit, out.String(), errs.String()}
}

// step is a verb and what must come of it. A text that begins with "~" has to
// occur, any other to be everything.
type step struct {
	line     string
	exit     int
	out, err string
}

func (s *site) steps(steps []step) {
	s.t.Helper()
	for _, st := range steps {
		r := s.do("", words(strings.ReplaceAll(st.line, "@DIR@", s.dir))...)
		if r.exit != st.exit || !fits(r.out, st.out, s.dir) || !fits(r.err, st.err, s.dir) {
			s.t.Errorf("%s\nexit %d, want %d\nstdout %q, want %q\nstderr %q, want %q", st.line, r.exit, st.exit, r.out, st.out, r.err, st.err)
		}
	}
}

// fits holds a text against what must come: all of it, with "~" a part of it, with
// "re:" what a regular expression finds.
func fits(got, want, dir string) bool {
	if pattern, ok := strings.CutPrefix(want, "re:"); ok {
		return regexp.MustCompile(pattern).MatchString(got)
	}
	want = strings.ReplaceAll(want, "@DIR@", dir)
	if part, ok := strings.CutPrefix(want, "~"); ok {
		return strings.Contains(got, part)
	}
	return got == want
}

// words splits a command line at blanks; "_" stands for a blank in a word.
func words(line string) []string {
	out := strings.Fields(line)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "_", " ")
	}
	return out
}

func TestMachineVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"machines list -o json", 0, "[]\n", ""},
		{"machines list -o raw", 0, "machine_id,ip_address,updated_at,validated,version,auth_type,last_heartbeat,os\n", ""},
		{"machines add", 1, "", "Error: lapid machines add: please specify a machine name to add, or use --auto\n"},
		{"machines add m1", 1, "", "~please specify a password"},
		{"machines add m1 -p x -f @DIR@/m1 -u http://lapi:8080", 0, "", "Machine 'm1' successfully added to the local API.\nAPI credentials written to '@DIR@/m1'.\n"},
		{"machines add m1 -p x -f @DIR@/m1", 1, "", "~credentials file '@DIR@/m1' already exists: please remove it, use \"--force\" or specify a different file with \"-f\""},
		{"machines add m1 -p x -f @DIR@/other", 1, "", "Error: lapid machines add: unable to create machine: user 'm1': user already exist\n"},
		{"machines add m1 -p y -f @DIR@/m1 --force", 0, "", "~Machine 'm1' successfully added"},
		{"machines add m2 -a -o json", 0, "~\"credentials_file\": \"@DIR@/credentials.yaml\"", "Machine 'm2' successfully added to the local API.\nAPI credentials written to '@DIR@/credentials.yaml'.\n"},
		{"machines add two_words -p x -f /dev/null", 0, "", "~Machine 'two words' successfully added"},
		{"machines add m3 -p x -f -", 0, "", "~login: m3\npassword: x\n"},
		{"machines add m4 -f - -p " + strings.Repeat("p", 73), 1, "", "~password too long (max 72 characters)"},
		{"machines add m4 -f - -i", 1, "", "Error: lapid machines add: EOF\n"},
		{"machines validate m1", 0, "", "level=info msg=\"machine 'm1' validated successfully\"\n"},
		{"machines validate m1 -o raw", 0, "", ""},
		{"machines validate nope", 1, "", "Error: lapid machines validate: unable to validate machine: machine not found\n"},
		{"machines validate", 1, "", "Error: lapid machines validate: expected is NAME, but none was given; see \"lapid machines validate --help\"\n"},
		{"machines inspect m1", 0, "~| Machine: m1", ""},
		{"machines inspect m1 -H -o json", 0, "{}\n", ""},
		{"machines inspect m1 --hub -o raw", 0, "type,name,status,version\n", ""},
		{"machines inspect m1 -o raw", 1, "", "Error: lapid machines inspect: output format 'raw' not supported for this command\n"},
		{"machines inspect nope", 1, "", "Error: lapid machines inspect: unable to read machine data 'nope': user 'nope': user doesn't exist\n"},
		{"machines delete m3 nope m2", 1, "", "level=info msg=\"machine 'm3' deleted successfully\"\nError: lapid machines delete: unable to delete machine: 'nope' does not exist\n"},
		{"machines delete nope m2 --ignore-missing -o raw", 0, "", ""},
		{"machines prune -d 10m --force", 0, "No machines to prune.\n", ""},
		{"machines prune -d 0s --force", 1, "", "~EOF"},
		{"machines prune -d soon", 1, "", "~invalid duration 'soon'"},
		{"machines list", 0, "~ m1 ", ""},
	})
	text, err := os.ReadFile(filepath.Join(s.dir, "m1"))
	if err != nil || string(text) != "url: http://127.0.0.1:8080\nlogin: m1\npassword: \"y\"\n" {
		t.Errorf("credentials: %q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(s.dir, "m1")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials have mode %v, %v", info.Mode(), err)
	}
	setup, err := config.Load(s.file, nothing)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := setup.Credentials(); err != nil || c.Login != "m2" || len(c.Password) != 64 {
		t.Errorf("made-up credentials: %+v, %v", c, err)
	}
	if r := s.do("y\n", "machines", "prune", "-d", "0s", "--force"); r.exit != 0 || !strings.Contains(r.out, " m1 ") ||
		!strings.Contains(r.err, "successfully deleted 2 machines\n") {
		t.Errorf("prune: %+v", r)
	}
	if r := s.do("n\n", "machines", "prune", "-d", "0s"); r.exit != 0 || !strings.Contains(r.out, "Nothing was changed") {
		t.Errorf("declined prune: %+v", r)
	}
}

func TestBouncerVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"bouncers list -o json", 0, "[]\n", ""},
		{"bouncers add b1 -k abc", 0, "API key for 'b1':\n\n   abc\n\nPlease keep this key since you will not be able to retrieve it!\n", ""},
		{"bouncers add b2 -k abc -o raw", 1, "", "Error: lapid bouncers add: unable to create bouncer: this API key is, or was, that of the bouncer 'b1': choose another\n"},
		{"bouncers add b2 -k def -o raw", 0, "def", ""},
		{"bouncers add b3 -k ghi -o json --shared", 0, `"ghi"`, ""},
		{"bouncers add b1", 1, "", "Error: lapid bouncers add: unable to create bouncer: bouncer b1 already exists\n"},
		{"bouncers add", 1, "", "Error: lapid bouncers add: expected is NAME, but none was given; see \"lapid bouncers add --help\"\n"},
		{"bouncers list -o raw", 0, "name,ip,revoked,last_pull,type,version,auth_type\nb1,,validated,,,,api-key\nb2,,validated,,,,api-key\nb3,,validated,,,,api-key\n", ""},
		{"bouncers list -o json", 0, "~    \"name\": \"b1\",\n", ""},
		{"bouncers inspect b1", 0, "~ Bouncer: b1 ", ""},
		{"bouncers inspect b1 -o json", 0, "~\"name\": \"b1\"", ""},
		{"bouncers inspect b1 -o raw", 1, "", "~output format 'raw' not supported for this command"},
		{"bouncers inspect nope", 1, "", "Error: lapid bouncers inspect: unable to read bouncer data 'nope': ent: bouncer not found\n"},
		{"bouncers delete b2 nope b3", 1, "", "level=info msg=\"bouncer 'b2' deleted successfully\"\nError: lapid bouncers delete: unable to delete bouncer nope: ent: bouncer not found\n"},
		{"bouncers delete nope b3 --ignore-missing", 0, "", "level=info msg=\"bouncer 'b3' deleted successfully\"\n"},
		{"bouncers prune -d 1h --force", 0, "No bouncers to prune.\n", ""},
		{"bouncers prune -d 1m --force", 1, "", "~EOF"},
	})
	if r := s.do("y\ny\n", "bouncers", "prune", "-d", "0s"); r.exit != 0 || !strings.Contains(r.err, "successfully deleted 1 bouncers\n") {
		t.Errorf("prune: %+v", r)
	}
}

func TestExportVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	const kept = "~its secret stays"
	s.steps([]step{
		{"exports add edge --format csv --password of-this-list-alone -o raw", 0, "of-this-list-alone", ""},
		{"exports edit edge --auth basic", 0, "", kept}, {"exports edit edge --auth basic --user other --limit 5", 0, "", kept},
		{"exports edit edge --auth token", 0, "re:^Token for 'edge':\n\n   [a-z2-7]{40}\n\nPlease keep it", "~is served at"}, {"exports edit edge --auth token", 0, "", kept}, {"exports edit edge --auth token -o raw", 0, "", ""},
		{"exports edit edge --auth token --password another-of-this-list -o raw", 0, "another-of-this-list", ""},
		{"exports edit edge --auth token --password short", 1, "", "~16 characters or more and no blanks; leave it out"},
		{"exports edit edge", 1, "", "~nothing is to be changed"},
		{"exports edit edge --origins ,", 1, "", "~--origins: ',' has an empty word"}, {"exports add other --format csv --types ban,,captcha", 1, "", "~--types: 'ban,,captcha' has an empty word"},
		{"exports edit edge --accept-shrunken", 0, "", "~no list of export 'edge' was held back"}, {"exports accept edge", 0, "", "~no list of export 'edge' was held back"},
		{"exports accept nope", 1, "", "~there is no export 'nope': their names are shown by lapid exports list"}, {"exports accept", 1, "", "~expected is NAME"},
	})
}

func TestDecisionVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	header := strings.Join(listHeader, ",") + "\n"
	s.steps([]step{
		{"machines add machine-a -p x", 0, "", "~successfully added"},
		{"decisions list", 0, "No active decisions\n", ""},
		{"decisions list -o json", 0, "[]\n", ""},
		{"decisions list -o raw", 0, header, ""},
		{"decisions add", 1, "", "Error: lapid decisions add: missing arguments, a value is required (--ip, --range or --scope and --value)\n"},
		{"decisions add -i 1.2.3.4", 0, "", "level=info msg=\"Decision successfully added\"\n"},
		{"decisions add -r 1.2.3.0/24 -R why -t captcha -o raw", 0, "", ""},
		{"decisions add --scope username -v bob -d 2d", 0, "", "~successfully added"},
		{"decisions add -i 1.2.3.4 -d foo", 1, "", "~API error: decision duration 'foo': time: invalid duration \"foo\": unable to parse duration"},
		{"decisions add --scope ip -v foo", 1, "", "~invalid ip address 'foo'"},
		{"decisions list -i foo", 1, "", "Error: lapid decisions list: foo is not a valid ip\n"},
		{"decisions list", 0, "~manual 'ban' from 'machine-a'", ""},
		{"decisions list -i 1.2.3.4 -o raw", 0, "~Ip:1.2.3.4,manual 'ban' from 'machine-a',ban,,,1,", ""},
		{"decisions list -m -o raw", 0, "~,machine-a\n", ""},
		{"decisions list --type nope", 0, "No active decisions\n", ""},
		{"decisions list --origin CAPI", 0, "No active decisions\n", ""},
		{"decisions add -i 1.2.3.4 -o raw", 0, "", ""},
		{"decisions list", 0, "~1 duplicated entries skipped\n", ""},
		{"decisions delete", 1, "", "Error: lapid decisions delete: at least one filter or --all must be specified; see \"lapid decisions delete --help\"\n"},
		{"decisions delete --id foo", 1, "", "~id 'foo' is not an integer: "},
		{"decisions delete --id 99999", 1, "", "Error: lapid decisions delete: unable to delete decision: API error: decision with id '99999' doesn't exist: unable to delete\n"},
		{"decisions delete -i 9.9.9.9", 0, "", "level=info msg=\"0 decision(s) deleted\"\n"},
		{"decisions delete -i 1.2.3.4", 0, "", "~left)\"\nlevel=info msg=\"'decisions restore 7' takes it back\"\nlevel=info msg=\"3 decision(s) deleted\"\n"},
		{"decisions delete -v bob -o json", 0, "~\"deleted\": ", ""},
		{"decisions add -i 198.51.100.77 -d 1h -R why -o json", 0, `re:^{\n "scope": "Ip",\n "value": "198.51.100.77",\n "type": "ban",\n "duration": "1h",\n "reason": "why",\n "revision": [1-9][0-9]*\n}\n$`, ""},
		{"decisions delete -i 198.51.100.77 -o json", 0, "{\n \"deleted\": 1\n}\n", ""},
		{"decisions delete --all", 0, "", "level=info msg=\"0 decision(s) deleted\"\n"},
	})
}

func TestAlertVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"alerts list", 0, "No active alerts\n", ""},
		{"alerts list -o json", 0, "[]", ""},
		{"decisions add -i 1.2.3.4 -R one -o raw", 0, "", ""},
		{"decisions add -i 1.2.3.5 -R two -o raw", 0, "", ""},
		{"decisions add -i 1.2.3.6 -R three -o raw", 0, "", ""},
		{"alerts list -l 1 -o raw", 0, "~3,Ip,1.2.3.6,three,,,ban:1,", ""},
		{"alerts list -s one -o raw", 0, "~1,Ip,1.2.3.4,one,,,ban:1,", ""},
		{"alerts list --kind capi", 0, "No active alerts\n", ""},
		{"alerts list --since 1h --type ban -m", 0, "~ N/A ", ""},
		{"alerts list --until 1d", 0, "No active alerts\n", ""},
		{"alerts list --since soon", 1, "", "~while parsing duration: time: invalid duration \"soon\""},
		{"alerts inspect", 1, "", "~expected is ID..., but none was given; see "},
		{"alerts inspect foo", 1, "", "Error: lapid alerts inspect: bad alert id foo\n"},
		{"alerts inspect 99999", 1, "", "Error: lapid alerts inspect: can't find alert with id 99999: API error: object not found\n"},
		{"alerts inspect 1 2", 0, "~ - Scope:Value  : Ip:1.2.3.5\n", ""},
		{"alerts inspect 1 -o raw", 0, "~machineid: N/A\n", ""},
		{"alerts inspect 1 -o json", 0, "~  \"scenario\": \"one\",\n", ""},
		{"alerts delete", 1, "", "~at least one filter or --all must be specified"},
		{"alerts delete --id x", 1, "", "~API error: alert_id must be valid integer"},
		{"alerts delete --id 99999", 1, "", "~API error: ent: alert not found"},
		{"alerts delete --id 1", 0, "", "level=info msg=\"alert 1 of Ip:1.2.3.4 (one, 1 decision(s))\"\nlevel=info msg=\"1 alert(s) deleted\"\n"},
		{"alerts flush --max-items 1 --max-age 0s", 0, "", "level=info msg=\"Flushing alerts. !! This may take a long time !!\"\nlevel=info msg=\"Alerts flushed\"\n"},
		{"alerts list -o raw", 0, "~1.2.3.5", ""}, // its decision runs
		{"decisions delete -i 1.2.3.5 -o raw", 0, "", ""},
		{"alerts delete -s two", 0, "", "~of Ip:1.2.3.5 (two, 1 decision(s))\"\nlevel=info msg=\"1 alert(s) deleted\"\n"},
		{"alerts delete --all", 0, "", "~level=info msg=\"1 alert(s) deleted\"\n"},
	})
}

func TestAllowlistVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	write(t, s.dir, "items.csv", "comment,value,expiration\nroof,192.0.2.1,12h\ncellar,192.0.2.2,\n")
	write(t, s.dir, "bad.csv", "value,expiration\n192.0.2.9,soon\n")
	s.steps([]step{
		{"allowlists create a1", 1, "", "Error: lapid allowlists create: required flag(s) \"description\" not set\n"},
		{"allowlists create a1 -d c", 0, "allowlist 'a1' created successfully\n", ""},
		{"allowlists create a1 -d c", 1, "", "Error: lapid allowlists create: allowlist 'a1' already exists\n"},
		{"decisions add -i 7.7.7.7 -o raw", 0, "", ""},
		{"allowlists add nope 7.7.7.7", 1, "", "Error: lapid allowlists add: allowlist 'nope' not found\n"},
		{"allowlists add a1 7.7.7.7 8.0.0.0/8 -d c", 0, "added 2 values to allowlist a1\n1 decisions deleted by allowlists\n", ""},
		{"allowlists add a1 7.7.7.7", 0, "no new values for allowlist\n", "level=warning msg=\"value 7.7.7.7 already in allowlist\"\n"},
		{"allowlists add a1 zzz 9.9.9.9", exitFails, "added 1 values to allowlist a1\n", "level=error msg=\"invalid ip address 'zzz'\"\nError: lapid allowlists add: 1 of 2 values are no addresses or ranges, and were left out\n"},
		{"allowlists add a1 zzz", exitFails, "no new values for allowlist\n", "~1 of 1 values are no addresses"},
		{"allowlists add a1 1.1.1.1 -e soon", 1, "", "~invalid expiration 'soon'"},
		{"allowlists check 7.7.7.7 1.1.1.1 9.9.9.9", 0, "7.7.7.7 is allowlisted by item 7.7.7.7 from a1 (c)\n1.1.1.1 is not allowlisted\n", ""},
		{"allowlists check 8.8.0.0/16", 0, "8.8.0.0/16 is allowlisted by item 8.0.0.0/8 from a1 (c)\n", ""},
		{"allowlists check zzz", 1, "", "~API error: invalid ip address 'zzz'"},
		{"decisions add -i 7.7.7.7", 1, "", "Error: lapid decisions add: 7.7.7.7 is allowlisted by item 7.7.7.7 from a1 (c), use --bypass-allowlist to add the decision anyway\n"},
		{"decisions add -i 7.7.7.7 -B -o raw", 0, "", ""},
		{"allowlists import a1 -i @DIR@/items.csv", 0, "added 2 values to allowlist a1\n", ""},
		{"allowlists import a1 -i @DIR@/bad.csv", 1, "", "~line 2: invalid expiration 'soon'"},
		{"allowlists inspect a1 -o raw", 0, "~a1,c,192.0.2.2,cellar,never,", ""},
		{"allowlists inspect nope", 1, "", "Error: lapid allowlists inspect: unable to get allowlist: API error: allowlist 'nope' not found\n"},
		{"allowlists remove a1 7.7.7.7 5.5.5.5", 0, "removed 1 values from allowlist a1", ""},
		{"allowlists remove nope 7.7.7.7", 1, "", "~allowlist 'nope' not found"},
		{"allowlists list -o json", 0, "~    \"name\": \"a1\",\n", ""},
		{"allowlists delete a1", 0, "allowlist 'a1' deleted successfully\n", ""},
		{"allowlists delete a1", 1, "", "Error: lapid allowlists delete: allowlist 'a1' not found\n"},
		{"allowlists list -o json", 0, "[]\n", ""},
	})
}

func TestOtherVerbs(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig+"prometheus: {enabled: true, listen_port: 1}\n")
	s.steps([]step{
		{"version", 0, "~lapid " + version, ""},
		{"frobnicate", 1, "", "Error: lapid: unknown command \"frobnicate\"; see \"lapid --help\"\n"},
		{"bouncer", 0, "~Available Commands:", ""},
		{"bouncesr", 1, "", "Error: lapid: unknown command \"bouncesr\"; did you mean \"bouncers\"?\n"},
		{"machines frobnicate", 1, "", "Error: lapid machines: unknown command \"frobnicate\" for \"lapid machines\"; there are add, delete, inspect, list, prune, validate\n"},
		{"machines lst", 1, "", "Error: lapid machines: unknown command \"lst\" for \"lapid machines\"; did you mean \"list\"?\n"},
		{"machines list --frob", 1, "", "Error: lapid machines list: unknown flag: --frob; see \"lapid machines list --help\"\n"},
		{"machines list -q", 1, "", "Error: lapid machines list: unknown shorthand flag: 'q' in -q; see \"lapid machines list --help\"\n"},
		{"decisions add --duraton 4h", 1, "", "Error: lapid decisions add: unknown flag: --duraton; did you mean --duration?\n"},
		{"machines list --ouput json", 1, "", "Error: lapid machines list: unknown flag: --ouput; did you mean --output?\n"},
		{"machines validate -o json", 1, "", "Error: lapid machines validate: expected is NAME, but none was given; see \"lapid machines validate --help\"\n"},
		{"machines validate -o raw", 1, "", "Error: lapid machines validate: expected is NAME, but none was given; see \"lapid machines validate --help\"\n"},
		{"decisions delete -o json", 1, "", "Error: lapid decisions delete: at least one filter or --all must be specified; see \"lapid decisions delete --help\"\n"},
		{"machines list -o loud", 1, "", "Error: lapid machines list: output format 'loud' unknown: use human, json or raw\n"},
		{"metrics show nope", 1, "", "Error: lapid metrics show: unknown metrics type: nope\n"},
		{"metrics show bouncer", 1, "", "Error: lapid metrics show: unknown metrics type: bouncer; did you mean bouncers?\n"},
		{"metrics show bouncers", 0, "No bouncer metrics found.\n", ""},
		{"metrics", exitFails, "", "~Error: lapid metrics: no server is running (nobody listens on @DIR@/lapid/admin.sock), and its figures are in its memory alone: start it first\n"},
		{"metrics show -o json", exitFails, "~\"lapi-machine\": {}", "~no server is running (nobody listens on "},
		{"metrics show lapi", exitFails, "", "~no server is running (nobody listens on "},
		{"metrics -o raw", 1, "", "~output format 'raw' not supported for this command"},
		{"metrics list", 0, "~| lapi-machine ", ""},
		{"metrics list -o json", 0, "~\"type\": \"alerts\"", ""},
		{"config show", 0, "~@DIR@/lapid/store", ""},
		{"config show -o raw", 0, "~store,@DIR@/lapid/store\n", ""},
		{"config show-yaml", 0, "~data_dir: @DIR@\n", ""},
		{"lapi status", 1, "", "~credentials"},
		{"completion bash", 0, "~lapid", ""},
		{"completion zsh", 0, "~lapid", ""},
		{"completion fish", 0, "~lapid", ""},
		{"man @DIR@/man", 0, "", ""},
		{"serve --frob", 2, "", "~unknown flag: --frob"},
		{"serve stray", 1, "", "Error: lapid serve: no arguments are expected, but \"stray\" was given; see \"lapid serve --help\"\n"},
		{"version extra", 1, "", "Error: lapid version: no arguments are expected, but \"extra\" was given; see \"lapid version --help\"\n"},
		{"quickstart extra", 1, "", "Error: lapid quickstart: no arguments are expected, but \"extra\" was given; see \"lapid quickstart --help\"\n"},
		{"machines add a b", 1, "", "Error: lapid machines add: expected is [NAME], but 2 arguments were given; see \"lapid machines add --help\"\n"},
	})
	pages, err := filepath.Glob(filepath.Join(s.dir, "man/*.8"))
	if err != nil || len(pages) < 30 {
		t.Errorf("%d man pages, %v", len(pages), err)
	}
	off := newSite(t, siteConfig)
	off.steps([]step{{"metrics", 1, "", "Error: lapid metrics: prometheus is not enabled, can't show metrics\n"}})
}

// TestDaemonLine: the command lines of the reference's server, and those that
// only look like them.
func TestDaemonLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"": false, "-c F": true, "-c F -no-cs": true, "-t": true, "-version": true, "--version": true, "-c=F -t -error": true,
		"-c F serve": false, "serve": false, "-c F bouncers list": false, "-h": false, "--help": false, "-bogus": true,
		"-c F -o json": false, "-dsn file://x -type syslog": true, "-c": true,
	} {
		if _, got := daemonArgs(words(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
	s := newSite(t, siteConfig)
	s.steps([]step{
		{"-bogus", 2, "", "~flag provided but not defined: -bogus"},
		{"-version", 0, "~lapid " + version, ""},
		{"-t", 1, "", "level=fatal msg=\"@DIR@/config.yaml:2:6: you must run at least the API Server or crowdsec: api.server is off or missing here; listen_uri in lapid.yaml switches it on for lapid alone\"\n"},
		{"-no-api", 1, "", "level=fatal msg=\"you must run at least the API Server or crowdsec\"\n"},
	})
	d, err := parseDaemon(words("-c F -no-cs -no-capi -debug -error -dsn x"))
	if err != nil || d.file != "F" || d.level != "error" || len(d.foreign) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestDryTest: -t makes no folder, and says what is wrong.
func TestDryTest(t *testing.T) {
	t.Parallel()
	s := newSite(t, `config_paths: {data_dir: @DIR@/data}
api:
  server:
    listen_uri: 127.0.0.1:0
    profiles_path: @DIR@/profiles.yaml
db_config: {flush: {max_items: 10}}
`)
	profiles := write(t, s.dir, "profiles.yaml", "name: p\nfilters: ['true']\ndecisions: [{type: ban, duration: 1h}]\n")
	s.steps([]step{
		{"-t", 0, "", "~msg=\"Configuration test done\""},
		{"-t -error", 0, "", ""},
		{"serve -t", 0, "", "~msg=\"Configuration test done\""},
	})
	if err := os.WriteFile(profiles, []byte("name: p\nfilters: ['nonsense(']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.steps([]step{{"serve -t", 1, "", "~profiles.yaml:2:11: error compiling filter of 'p'"}})
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 2 {
		t.Errorf("the test left something behind: %v, %v", entries, err)
	}
}

// TestSilentStore: a store that somebody holds without answering is not opened,
// and the verb says so.
func TestSilentStore(t *testing.T) {
	t.Parallel()
	s := newSite(t, siteConfig)
	setup, err := config.Load(s.file, nothing)
	if err != nil {
		t.Fatal(err)
	}
	held, err := engine.Open(setup.EngineOptions(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	var out bytes.Buffer
	term := &verbs.Terminal{In: strings.NewReader(""), Out: &out, Err: &out, Env: nothing, Patience: time.Millisecond}
	exit := run(t.Context(), term, []string{"-c", s.file, "bouncers", "list"})
	if exit != exitFails || !strings.Contains(out.String(), "folder is in use by process "+strconv.Itoa(os.Getpid())) || !strings.Contains(out.String(), "but nothing answers on "+setup.Socket()) {
		t.Errorf("exit %d: %s", exit, out.String())
	}
}

// write puts a file into a folder of the test and gives its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
