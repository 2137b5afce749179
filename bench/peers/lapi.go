//go:build linux

package peers

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"lapid/bench/load"
)

// Names and secrets of a yard's Local API. They open nothing outside it.
const (
	machine  = "bench"
	password = "bench-password"
	// Key is the API key of a bouncer that is there from the beginning.
	Key = "bench-key-0123456789abcdef012345"
	// agent is a User-Agent of the two parts that a login wants.
	agent = "bench/1"

	configFile = "config.yaml"
)

//go:embed config.yaml
var config string

//go:embed profiles.yaml
var profiles string

// LAPI is a Local API with its folder: lapid or the reference. It may be
// started and stopped again and again. Everything of it lies below one
// folder of the Yard.
type LAPI struct {
	*Server          // nil until Start
	Env     []string // besides this process's, from the next Start on
	yard    *Yard
	name    string
	serve   []string // command line of the server
	cli     []string // and of its operator's program
	dir     string
	address string
	metrics string
	scheme  string
	client  *http.Client
	token   string
}

// Setting changes the files of a Local API, by name, before they are written; dir is its folder.
type Setting func(dir string, files map[string]string)

// WithAccessLog has each request written to a file: its lines are information, which else is not logged here.
func WithAccessLog(dir string, files map[string]string) {
	config := strings.ReplaceAll(files[configFile], "log_level: warning", "log_level: info")
	files[configFile] = strings.Replace(config, "log_media: stdout", "log_media: file\n  log_dir: "+filepath.Join(dir, "log"), 1)
}

// WithoutAudit writes no audit.
func WithoutAudit(_ string, files map[string]string) { files["lapid.yaml"] = "audit: {off: true}\n" }

// withTLS is a server of TLS alone, which takes certificates of clients. The configuration ends within
// api.server.
func withTLS(own *Certificates) Setting {
	return func(_ string, files map[string]string) {
		files[configFile] += fmt.Sprintf("    tls:\n      cert_file: %s\n      key_file: %s\n      ca_cert_path: %s\n      bouncers_allowed_ou: [%s]\n",
			own.ServerFile, own.KeyFile, own.CAFile, unit)
	}
}

// NewLapid makes a folder for the lapid program at a path, with a bouncer's Key
// and a machine. A name is used once.
func (y *Yard) NewLapid(ctx context.Context, name, program string, settings ...Setting) (*LAPI, error) {
	return y.newLAPI(ctx, name, settings, func(file string) (serve, cli []string) {
		cli = []string{program, "-c", file, "--init"}
		return append(cli[:3:3], "serve"), cli
	})
}

// NewSecureLapid makes one that speaks TLS.
func (y *Yard) NewSecureLapid(ctx context.Context, name, program string) (*LAPI, error) {
	own, err := y.Certificates()
	if err != nil {
		return nil, err
	}
	l, err := y.NewLapid(ctx, name, program, withTLS(own))
	if err == nil {
		l.scheme, l.client = "https", &http.Client{Transport: &http.Transport{TLSClientConfig: load.ClientTLS(nil)}}
	}
	return l, err
}

// NewReference does the same for Debian's crowdsec: SQLite with WAL, no log
// processor.
func (y *Yard) NewReference(ctx context.Context, name string) (*LAPI, error) {
	return y.newLAPI(ctx, name, nil, func(file string) (serve, cli []string) {
		return []string{"crowdsec", "-c", file, "-no-cs"}, []string{"cscli", "-c", file}
	})
}

// newLAPI writes the configuration, which both programs read, and adds machine and
// bouncer with the program's own verbs.
func (y *Yard) newLAPI(ctx context.Context, name string, settings []Setting, commands func(file string) (serve, cli []string)) (*LAPI, error) {
	l := &LAPI{yard: y, name: name, dir: filepath.Join(y.Dir, name), scheme: "http", client: http.DefaultClient}
	var err error
	if l.address, err = free(); err == nil {
		l.metrics, err = free()
	}
	if err != nil {
		return nil, err
	}
	_, port, _ := strings.Cut(l.metrics, ":")
	text := strings.NewReplacer("@DIR@", l.dir, "@LISTEN@", l.address, "@METRICS@", port).Replace(config)
	files := map[string]string{
		configFile: text, "profiles.yaml": profiles, "hub/.index.json": "{}",
		"simulation.yaml": "", "console.yaml": "", "acquis.yaml": "", "data/.keep": "", "log/.keep": "",
	}
	for _, set := range settings {
		set(l.dir, files)
	}
	for file, text := range files {
		file = filepath.Join(l.dir, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	l.serve, l.cli = commands(filepath.Join(l.dir, configFile))
	credentials := filepath.Join(l.dir, "credentials.yaml")
	for _, verb := range [][]string{
		{"machines", "add", machine, "-p", password, "-f", credentials, "-u", "http://" + l.address, "--force"},
		{"bouncers", "add", "bench", "-k", Key},
	} {
		if err := l.CLI(ctx, verb...); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Start runs the server and waits until it answers a bouncer. It gives the
// time that took. Whether the store is empty or has ten million decisions:
// that is what restarts are measured by.
func (l *LAPI) Start(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	s, err := l.yard.start(l.name, l.address, l.Env, l.serve...)
	if err != nil {
		return 0, err
	}
	l.Server = s
	if err := s.await(ctx, l.answers); err != nil {
		return 0, err
	}
	return time.Since(begin), nil
}

// answers is a probe: a bouncer may ask.
func (l *LAPI) answers(ctx context.Context) error {
	_, err := l.Get(ctx, "/v1/decisions?ip=192.0.2.1")
	return err
}

// CLI runs one of the operator's verbs.
func (l *LAPI) CLI(ctx context.Context, verb ...string) error {
	_, err := l.Said(ctx, verb...)
	return err
}

// Said runs one and gives what it printed.
func (l *LAPI) Said(ctx context.Context, verb ...string) (string, error) {
	return l.yard.run(ctx, append(l.cli[:len(l.cli):len(l.cli)], verb...)...)
}

// Cost runs one of the operator's verbs and tells what that took. program is this one: it has a verb
// for it, so that the peak is that of a small process and what it started.
func (l *LAPI) Cost(ctx context.Context, program string, verb ...string) (*Cost, error) {
	text, err := l.yard.run(ctx, append(append([]string{program, "cost"}, l.cli...), verb...)...)
	if err != nil {
		return nil, err
	}
	c := new(Cost)
	return c, json.Unmarshal([]byte(text), c)
}

// Import loads a CSV file through the operator's program, and gives the time it
// took.
func (l *LAPI) Import(ctx context.Context, file string) (time.Duration, error) {
	begin := time.Now()
	err := l.CLI(ctx, "decisions", "import", "-i", file)
	return time.Since(begin), err
}

// Get asks as the bouncer with Key and gives the body of an answer with status 200.
// The whole body is read, since an answer counts only then.
func (l *LAPI) Get(ctx context.Context, path string) (body []byte, err error) {
	r, err := l.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Api-Key", Key)
	w, err := l.client.Do(r)
	err = answer(w, err, http.StatusOK, func(w *http.Response) error {
		body, err = io.ReadAll(w.Body)
		return err
	})
	return body, err
}

// Post pushes alerts, a JSON list, as the machine. It returns when they are
// stored.
func (l *LAPI) Post(ctx context.Context, alerts []byte) error {
	token, err := l.Token(ctx)
	if err != nil {
		return err
	}
	r, err := l.request(ctx, http.MethodPost, "/v1/alerts", alerts)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	w, err := l.client.Do(r)
	return answer(w, err, http.StatusCreated, discard)
}

// Token logs in, once, and gives the machine's token. A token is good for an
// hour, longer than any run.
func (l *LAPI) Token(ctx context.Context) (string, error) {
	if l.token != "" {
		return l.token, nil
	}
	r, err := l.request(ctx, http.MethodPost, "/v1/watchers/login", fmt.Appendf(nil, `{"machine_id":%q,"password":%q,"scenarios":[]}`, machine, password))
	if err != nil {
		return "", err
	}
	w, err := l.client.Do(r)
	var login struct{ Token string }
	err = answer(w, err, http.StatusOK, func(w *http.Response) error { return json.NewDecoder(w.Body).Decode(&login) })
	l.token = login.Token
	return l.token, err
}

// request is one with the User-Agent that logins ask for.
func (l *LAPI) request(ctx context.Context, method, path string, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, l.scheme+"://"+l.address+path, bytes.NewReader(body))
	if err == nil {
		r.Header.Set("User-Agent", agent)
	}
	return r, err
}

// Metric reads a figure without labels from the server's metrics.
func (l *LAPI) Metric(ctx context.Context, name string) (n float64, err error) {
	text, err := l.show(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("%s shows no %s", l.name, name)
}

// Live is the memory that a Go server has after collections, in bytes: what is in use of
// its heap, and stacks. What the collector leaves unused is not in it, nor what lies between
// objects, which who comes later may take.
func (l *LAPI) Live(ctx context.Context) (bytes int64, err error) {
	if _, err := l.show(ctx, "/debug/pprof/heap?gc=1&debug=1"); err != nil { // what pools keep goes with the second
		return 0, err
	}
	text, err := l.show(ctx, "/debug/pprof/heap?gc=1&debug=1")
	for line := range strings.Lines(text) {
		for _, name := range []string{"# HeapAlloc = ", "# Stack = "} {
			var n int64
			if rest, found := strings.CutPrefix(line, name); found {
				if _, err := fmt.Sscan(rest, &n); err != nil {
					return 0, fmt.Errorf("%s: %q: %w", l.name, line, err)
				}
				bytes += n
			}
		}
	}
	return bytes, err
}

// Place gives where a bouncer is when it is told everything that its cursor leads to: the
// ETag of the answer, without its quotes.
func (l *LAPI) Place(ctx context.Context, key, path string) (string, error) {
	r, err := l.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("X-Api-Key", key)
	w, err := l.client.Do(r)
	err = answer(w, err, http.StatusOK, discard)
	if err != nil {
		return "", err
	}
	return strings.Trim(w.Header.Get("ETag"), `"`), nil
}

// Events opens an event stream as the bouncer with Key. It ends with ctx; the caller closes
// it.
func (l *LAPI) Events(ctx context.Context, path string) (io.ReadCloser, error) {
	r, err := l.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Api-Key", Key)
	r.Header.Set("Accept", "text/event-stream")
	w, err := l.client.Do(r)
	if err != nil {
		return nil, err
	}
	if w.StatusCode != http.StatusOK {
		_ = w.Body.Close()
		return nil, fmt.Errorf("%s: status %d", path, w.StatusCode)
	}
	return w.Body, nil
}

// show asks beside the API, where metrics are.
func (l *LAPI) show(ctx context.Context, path string) (text string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.metrics+path, nil)
	if err != nil {
		return "", err
	}
	w, err := http.DefaultClient.Do(r)
	err = answer(w, err, http.StatusOK, func(w *http.Response) error {
		all, err := io.ReadAll(w.Body)
		text = string(all)
		return err
	})
	return text, err
}

// Data gives the folder that the server's store is below.
func (l *LAPI) Data() string { return filepath.Join(l.dir, "data") }

// discard reads an answer to its end.
func discard(w *http.Response) error {
	_, err := io.Copy(io.Discard, w.Body)
	return err
}
