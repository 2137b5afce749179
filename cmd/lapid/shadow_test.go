package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lapid/transport/shadow"
)

var shadowFor = flag.Duration("shadow", 0, "how long TestShadow has traffic pass; 0: a few rounds")

// shadowed is Debian's crowdsec with a shadow in front of it, and clients that know the shadow alone.
type shadowed struct {
	*house
	old   *reference
	p     *process
	at    string // http://host:port of the shadow
	extra []string
}

// newShadowed takes over what the old server has, and starts the shadow.
func newShadowed(t *testing.T, extra ...string) *shadowed {
	t.Helper()
	s := &shadowed{house: emptyHouse(t), old: newReference(t), extra: extra}
	config := strings.Replace(read(t, s.old.file), "use_wal: false", "use_wal: true", 1)
	write(t, s.old.dir, "config.yaml", config)
	write(t, s.dir, "profiles.yaml", referenceProfiles)
	s.old.cscli("machines", "add", "edge", "-p", "secret", "-f", filepath.Join(s.old.dir, "credentials.yaml"), "-u", fmt.Sprintf("http://127.0.0.1:%d", s.old.port))
	for _, name := range []string{"stream", "live", "both", "hook"} {
		s.old.cscli("bouncers", "add", name, "-k", "key-"+name)
	}
	s.old.begin()
	s.old.cscli("decisions", "add", "-i", "192.0.2.1", "-d", "24h", "-R", "before")
	s.old.cscli("decisions", "add", "-r", "198.18.0.0/16", "-t", "captcha")
	s.expect(s.do("", "movein", "--from", "sqlite:"+s.old.db), exitGood, "", "~2 new alerts, 2 new decisions")
	s.at = fmt.Sprintf("http://127.0.0.1:%d", freePort(t))
	s.begin()
	// From here on the stock commands go through the shadow.
	login := read(t, filepath.Join(s.old.dir, "credentials.yaml"))
	write(t, s.old.dir, "credentials.yaml", strings.Replace(login, fmt.Sprintf("http://127.0.0.1:%d", s.old.port), s.at, 1))
	return s
}

// begin starts the shadow.
func (s *shadowed) begin() {
	s.t.Helper()
	args := append([]string{"-c", s.file, "shadow", "--upstream", fmt.Sprintf("http://127.0.0.1:%d", s.old.port), "--listen", strings.TrimPrefix(s.at, "http://"),
		"--quiet", "300ms", "--metrics", fmt.Sprintf("127.0.0.1:%d", s.metrics)}, s.extra...)
	s.p = start(s.t, nil, args...)
	await(s.t, "the shadow is ready", func() bool {
		select {
		case <-s.p.ended:
			s.t.Fatalf("it has ended: %v\n%s", s.p.err, s.p.out)
		default:
		}
		return strings.Contains(s.p.out.String(), "lapid is ready")
	})
}

// report is what the verb tells.
func (s *shadowed) report() *shadow.Report {
	s.t.Helper()
	r := s.do("", "shadow", "report", "-o", "json")
	report := &shadow.Report{}
	if err := json.Unmarshal([]byte(r.out), report); err != nil {
		s.t.Fatalf("%v: %+v", err, r)
	}
	return report
}

// level waits until nothing is in the queue.
func (s *shadowed) level() *shadow.Report {
	s.t.Helper()
	var r *shadow.Report
	await(s.t, "the queue is empty", func() bool {
		r = s.report()
		n := int64(0)
		for _, one := range r.Routes {
			if !strings.Contains(one.Route, "hold") {
				n += one.Requests - one.Dropped - one.Equal - one.Explained - one.Unexplained
				for _, k := range one.Skipped {
					n -= k
				}
			}
		}
		return r.Waiting == 0 && n <= 0
	})
	return r
}

// client is one program that asks the shadow.
type client struct {
	s     *shadowed
	web   *http.Client
	key   string
	token string
}

func (s *shadowed) client(key string) *client {
	c := &client{s: s, key: key, web: &http.Client{Timeout: deadline, Transport: &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	s.t.Cleanup(c.web.CloseIdleConnections)
	return c
}

// ask sends one request; base is who is asked.
func (c *client) ask(ctx context.Context, base, method, path, body string) (int, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("User-Agent", "test/1")
	if c.key != "" {
		r.Header.Set("X-Api-Key", c.key)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	w, err := c.web.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	return w.StatusCode, string(text), err
}

func (c *client) do(method, path, body string) (int, string) {
	c.s.t.Helper()
	code, text, err := c.ask(c.s.t.Context(), c.s.at, method, path, body)
	if err != nil && c.s.t.Context().Err() == nil {
		c.s.t.Errorf("%s %s: %v", method, path, err)
	}
	return code, text
}

// as does what machines do: a 401 has it log in again, and a locked database try again.
func (c *client) as(method, path, body string) (int, string) {
	for range 200 {
		code, text := c.do(method, path, body)
		switch {
		case code == http.StatusUnauthorized:
			var login struct{ Token string }
			_, text := c.do("POST", "/v1/watchers/login", `{"machine_id":"edge","password":"secret","scenarios":["s"]}`)
			if err := json.Unmarshal([]byte(text), &login); err != nil {
				c.s.t.Errorf("login: %s", text)
			}
			c.token = login.Token
		case code == 500 && strings.Contains(text, "locked"):
		default:
			return code, text
		}
	}
	c.s.t.Errorf("%s %s never goes well", method, path)
	return 0, ""
}

// oldAlert is an alert of a log processor about one address, with a decision of its own or without.
func oldAlert(value, decisions string) string {
	now := time.Now().UTC().Format(time.RFC3339)
	return fmt.Sprintf(`[{"scenario":"s/%[1]s","scenario_hash":"h","scenario_version":"1","message":"m","capacity":5,"leakspeed":"1s","events_count":2,"simulated":false,"remediation":true,
"start_at":%[2]q,"stop_at":%[2]q,"source":{"scope":"Ip","value":%[1]q,"ip":%[1]q},"events":[{"timestamp":%[2]q,"meta":[{"key":"k","value":"v"}]}],"decisions":[%[3]s]}]`, value, now, decisions)
}

// holds is what a polling bouncer holds.
type holds struct {
	c   *client
	set map[string]bool
}

// poll takes one answer in.
func (h *holds) poll(base, path string) {
	code, text, err := h.c.ask(h.c.s.t.Context(), base, "GET", path, "")
	if err != nil || code != 200 {
		h.c.s.t.Errorf("%s: %d %.200s %v", path, code, text, err)
		return
	}
	var answer struct {
		New, Deleted []struct{ Type, Scope, Value string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		h.c.s.t.Errorf("%s: %v", text, err)
	}
	if strings.Contains(path, "startup=true") {
		h.set = map[string]bool{}
	}
	for _, d := range answer.Deleted {
		delete(h.set, d.Type+d.Scope+d.Value)
	}
	for _, d := range answer.New {
		h.set[d.Type+d.Scope+d.Value] = true
	}
}

// traffic has clients of every kind ask, until over is closed; each does at least so many rounds.
//
// The polling bouncer does not ask while something is stored or ended: the reference would never tell it of that.
// Each asks as often as many of its kind do, and no more than the old server can answer: what it has not
// answered yet has to be passed on before lapid and it can change places.
func (s *shadowed) traffic(rounds int, over <-chan struct{}, stream *holds, next *atomic.Int64) {
	var all sync.WaitGroup
	var still sync.RWMutex
	run := func(every time.Duration, round func(i int)) {
		all.Go(func() {
			pace := time.NewTicker(every)
			defer pace.Stop()
			for i := 0; ; i++ {
				<-pace.C
				select {
				case <-over:
					if i >= rounds {
						return
					}
				case <-s.t.Context().Done():
					return
				default:
				}
				round(i)
			}
		})
	}
	for range 2 {
		c := s.client("")
		var mine []string
		run(100*time.Millisecond, func(i int) {
			n := next.Add(1)
			value := fmt.Sprintf("203.0.%d.%d", n>>8&255, n&255)
			own := ""
			if i%3 == 0 {
				own = fmt.Sprintf(`{"duration":"%dh","origin":"test","scenario":"s","scope":"Ip","type":"ban","value":%q}`, i%9+1, value)
			}
			still.RLock()
			code, text := c.as("POST", "/v1/alerts", oldAlert(value, own))
			still.RUnlock()
			if code != 201 {
				s.t.Errorf("a push: %d %s", code, text)
			}
			mine = append(mine, value)
			if i%2 == 1 {
				still.RLock()
				defer still.RUnlock()
			}
			switch i % 4 {
			case 1:
				c.as("DELETE", "/v1/decisions?ip="+mine[0], "")
				mine = mine[1:]
			case 2:
				c.as("GET", "/v1/alerts?limit=0&value="+mine[0], "")
				c.as("GET", "/v1/heartbeat", "")
			case 3:
				_, text := c.as("GET", "/v1/alerts?scenario=s/"+mine[0], "")
				var list []struct{ Decisions []struct{ ID int64 } }
				if err := json.Unmarshal([]byte(text), &list); err == nil && len(list) > 0 && len(list[0].Decisions) > 0 {
					c.as("DELETE", fmt.Sprintf("/v1/decisions/%d", list[0].Decisions[0].ID), "")
				}
			}
		})
	}
	live := s.client("key-live")
	run(50*time.Millisecond, func(i int) {
		n := next.Load()
		live.do("GET", fmt.Sprintf("/v1/decisions?ip=203.0.%d.%d", n>>8&255, n&255), "")
		live.do("GET", "/v1/decisions?ip=198.18.3.4&type=captcha", "")
		live.do("HEAD", "/v1/decisions/stream", "")
		live.do([]string{"GET", "PUT", "GET", "GET"}[i%4], []string{"/v1/decisions?ip=zz", "/v1/alerts", "/nowhere", "/v1/decisions/"}[i%4], "")
	})
	run(200*time.Millisecond, func(int) {
		still.Lock()
		stream.poll(s.at, "/v1/decisions/stream")
		still.Unlock()
	})
	both := &holds{c: s.client("key-both")}
	run(200*time.Millisecond, func(i int) { both.poll(s.at, "/v1/decisions/stream?startup=true") })
	all.Wait()
}

// hook starts Debian's custom bouncer, whose hook writes down what it is called with.
func (s *shadowed) hook() (calls string) {
	dir := s.t.TempDir()
	calls = write(s.t, dir, "calls", "")
	program := write(s.t, dir, "hook", fmt.Sprintf("#!/bin/sh\necho \"$1 $2\" >>%s\n", calls))
	if err := os.Chmod(program, 0o700); err != nil {
		s.t.Fatal(err)
	}
	config := write(s.t, dir, "bouncer.yaml", fmt.Sprintf("bin_path: %s\nfeed_via_stdin: false\npiddir: %s\nupdate_frequency: 200ms\ncache_retention_duration: 10s\ndaemonize: false\nlog_mode: stdout\nlog_level: info\napi_url: %s/\napi_key: key-hook\nprometheus:\n  enabled: false\n", program, dir, s.at))
	p := &process{cmd: exec.Command("crowdsec-custom-bouncer", "-c", config), out: &safeBuffer{}, ended: make(chan struct{})}
	p.begin(s.t)
	await(s.t, "the hook was called for what was moved in", func() bool { return strings.Contains(read(s.t, calls), "add 192.0.2.1") })
	return calls
}

// stock has the stock command do what an operator does.
func (s *shadowed) stock(value string) {
	s.t.Helper()
	again := func(args ...string) {
		for range 200 {
			out, err := exec.Command("cscli", append([]string{"-c", s.old.file}, args...)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "locked") {
				if err != nil {
					s.t.Errorf("cscli %v: %v %s", args, err, out)
				}
				return
			}
		}
	}
	again("decisions", "add", "-i", value, "-d", "2h")
	again("decisions", "list")
	again("alerts", "list")
	again("alerts", "inspect", "1")
	again("decisions", "delete", "-i", value)
	again("decisions", "add", "-r", "198.51.100.0/24", "-t", "captcha")
}

// TestShadow has real and other clients pass through a shadow in front of Debian's crowdsec: nothing differs without a
// known reason, and bouncers hold the right set after lapid has answered one of them, all of them, and none again.
func TestShadow(t *testing.T) {
	t.Parallel()
	s := newShadowed(t)
	calls := s.hook()
	stream := &holds{c: s.client("key-stream")}
	stream.poll(s.at, "/v1/decisions/stream?startup=true")
	over := make(chan struct{})
	var all sync.WaitGroup
	var next atomic.Int64
	all.Go(func() { s.traffic(12, over, stream, &next) })
	for i, who := range []string{"theirs", "ours --bouncers stream,live,hook", "ours", "theirs"} {
		if i > 0 {
			await(t, "the one who answers changes", func() bool {
				r := s.do("", append([]string{"shadow", "answer"}, strings.Fields(who)...)...)
				return r.exit == exitGood || !strings.Contains(r.err, "try again") && fail(t, r)
			})
		}
		if i == 3 {
			close(over) // the custom bouncer asks the old server again
			all.Wait()
		}
		s.stock(fmt.Sprintf("192.0.2.%d", 10+i))
		if *shadowFor > 0 {
			select {
			case <-time.After(*shadowFor / 4):
			case <-t.Context().Done():
			}
		}
	}
	s.quiet(stream)
	r := s.level()
	for _, one := range r.Routes {
		for _, k := range one.Kinds {
			for _, e := range k.Examples {
				e.Theirs.Body, e.Ours.Body = fmt.Sprintf("%.300s", e.Theirs.Body), fmt.Sprintf("%.300s", e.Ours.Body)
				t.Errorf("%s: %d %s: %+v", one.Route, k.Count, k.Kind, e)
			}
		}
	}
	if r.Void != "" || r.LostCount != 0 || !r.Good() {
		t.Errorf("void %q, lost %d %+v", r.Void, r.LostCount, r.Lost)
	}
	s.expect(s.do("", "shadow", "report"), exitGood, "~POST /v1/alerts", "")
	s.rightSets(stream, calls)
	s.figures()
	if err := s.p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.p.wait(t); code != exitGood {
		t.Errorf("SIGTERM ends with %d", code)
	}
}

func fail(t *testing.T, r result) bool {
	t.Errorf("%+v", r)
	return true
}

// quiet polls until what the bouncer holds was compared after a time without writes.
func (s *shadowed) quiet(stream *holds) {
	compared := func() (n int64) {
		for _, one := range s.report().Routes {
			if strings.Contains(one.Route, "hold") {
				n = one.Requests
			}
		}
		return n
	}
	s.level()
	before := compared()
	await(s.t, "what it holds is compared", func() bool {
		stream.poll(s.at, "/v1/decisions/stream")
		return compared() >= before+3
	})
}

// rightSets holds what bouncers have against what the two servers have.
func (s *shadowed) rightSets(stream *holds, calls string) {
	s.t.Helper()
	fresh := &holds{c: s.client("key-both")}
	fresh.poll(fmt.Sprintf("http://127.0.0.1:%d", s.old.port), "/v1/decisions/stream?startup=true")
	for name := range fresh.set {
		if !stream.set[name] {
			s.t.Errorf("the polling bouncer has not got %s", name)
		}
	}
	for name := range stream.set {
		if !fresh.set[name] {
			s.t.Errorf("the polling bouncer still has %s", name)
		}
	}
	var missing []string
	defer func() {
		if s.t.Failed() {
			s.t.Logf("the custom bouncer has not got %v; it was told of\n%s", missing, read(s.t, calls))
		}
	}()
	await(s.t, "the custom bouncer holds the right set", func() bool {
		has := map[string]bool{}
		for line := range strings.Lines(read(s.t, calls)) {
			verb, value, _ := strings.Cut(strings.TrimSpace(line), " ")
			has[value] = verb == "add"
		}
		missing = nil
		for name := range fresh.set {
			value := name[strings.LastIndexAny(name, "pe")+1:]
			if !has[value] && !strings.HasPrefix(value, "203.0.") { // of those the old server may have missed some
				missing = append(missing, value)
			}
		}
		return missing == nil
	})
}

// figures looks at the metrics.
func (s *shadowed) figures() {
	s.t.Helper()
	w, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", s.metrics))
	if err != nil {
		s.t.Fatal(err)
	}
	defer w.Body.Close()
	text, _ := io.ReadAll(w.Body)
	for _, want := range []string{"lapid_shadow_void 0\n", `lapid_shadow_unexplained_total{route="POST /v1/alerts"} 0`, `lapid_shadow_answer_seconds{route="GET /v1/decisions",server="ours",quantile="0.99"}`, "cs_active_decisions{"} {
		if !strings.Contains(string(text), want) {
			s.t.Errorf("metrics lack %s", want)
		}
	}
}

// TestShadowOfAnotherHand: what is made at the old server itself is explained, and taking its database over again brings lapid
// level beside the shadow.
func TestShadowOfAnotherHand(t *testing.T) {
	t.Parallel()
	s := newShadowed(t)
	direct := s.client("")
	base := fmt.Sprintf("http://127.0.0.1:%d", s.old.port)
	_, text, err := direct.ask(t.Context(), base, "POST", "/v1/watchers/login", `{"machine_id":"edge","password":"secret"}`)
	var login struct{ Token string }
	if err != nil || json.Unmarshal([]byte(text), &login) != nil {
		t.Fatalf("%s %v", text, err)
	}
	direct.token = login.Token
	if code, text, err := direct.ask(t.Context(), base, "POST", "/v1/alerts", oldAlert("203.0.113.77", "")); code != 201 {
		t.Fatalf("%d %s %v", code, text, err)
	}
	live := s.client("key-live")
	asks := func() *shadow.RouteReport {
		live.do("GET", "/v1/decisions?ip=203.0.113.77", "")
		r := s.level()
		at := slices.IndexFunc(r.Routes, func(one shadow.RouteReport) bool { return one.Route == "GET /v1/decisions" })
		return &r.Routes[at]
	}
	if one := asks(); one.Explained != 1 || one.Unexplained != 0 {
		t.Errorf("%+v", one)
	}
	s.expect(s.do("", "movein", "--from", "sqlite:"+s.old.db), exitGood, "", "~1 new alerts, 1 new decisions")
	s.expect(s.do("", "shadow", "reset"), exitGood, "", "~the comparison begins anew")
	if one := asks(); one.Equal != 1 {
		t.Errorf("%+v", one)
	}
	// A token that the machine had before the shadow was there is good at both.
	if code, text := direct.do("POST", "/v1/alerts", oldAlert("203.0.113.78", "")); code != 201 {
		t.Errorf("%d %s", code, text)
	}
	if r := s.level(); !r.Good() {
		t.Errorf("%+v", r)
	}
}

// TestShadowFaults kills each of the three, overflows, and sends garbage: what follows is said, and nothing is told
// to be the same that may not be.
func TestShadowFaults(t *testing.T) {
	t.Parallel()
	s := newShadowed(t)
	c := s.client("key-live")
	s.old.p.cmd.Process.Kill()
	<-s.old.p.ended
	if code, text := c.do("GET", "/v1/decisions", ""); code != 502 || !strings.Contains(text, "the server behind this shadow") {
		t.Errorf("%d %s", code, text)
	}
	s.expect(s.do("", "shadow", "answer", "ours"), exitGood, "", "~lapid answers everybody")
	if code, text := c.do("GET", "/v1/decisions?ip=192.0.2.1", ""); code != 200 || !strings.Contains(text, "192.0.2.1") {
		t.Errorf("%d %s", code, text)
	}
	if code, text := c.as("POST", "/v1/alerts", oldAlert("203.0.113.9", "")); code != 201 {
		t.Errorf("%d %s", code, text)
	}
	s.old.begin()
	await(t, "the old server was told", func() bool {
		_, text, err := c.ask(t.Context(), fmt.Sprintf("http://127.0.0.1:%d", s.old.port), "GET", "/v1/decisions?ip=203.0.113.9", "")
		return err == nil && strings.Contains(text, "203.0.113.9")
	})
	if r := s.report(); r.Void == "" || r.Good() {
		t.Errorf("requests were lost, and the comparison is not void: %+v", r)
	}
	kill(t, s.p)
	s.begin()
	s.expect(s.do("", "shadow", "report"), exitFails, "", "~the last run of the shadow ended before everything had reached both servers")
	s.expect(s.do("", "shadow", "reset"), exitGood, "", "~begins anew")
	s.expect(s.do("", "shadow", "answer", "theirs", "--bouncers", "x"), exitFails, "", "~no bouncer is called")
	if code, text := c.do("GET", "/v1/decisions?ip=203.0.113.9", ""); code != 200 || !strings.Contains(text, "203.0.113.9") {
		t.Errorf("%d %s", code, text)
	}
	if r := s.level(); !r.Good() {
		t.Errorf("%+v", r)
	}
}
