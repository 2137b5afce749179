package capi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/capi/capitest"
)

// patience hands out contexts that end when the test says so, as if their time was over.
type patience struct {
	mu     sync.Mutex
	given  []time.Duration
	cancel []context.CancelFunc
}

func (p *patience) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	over := func() { cancel(context.DeadlineExceeded) }
	p.mu.Lock()
	defer p.mu.Unlock()
	p.given, p.cancel = append(p.given, d), append(p.cancel, over)
	return ctx, over
}

// over ends the one that was handed out last.
func (p *patience) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel[len(p.cancel)-1]()
}

// faulty are answers of all kinds that are none, to a question whose answer begins so. round
// is an address that leads to itself.
func faulty(p *patience, round, begin string) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"500":          capitest.Status(500),
		"404":          capitest.Status(404),
		"cut":          capitest.Cut(begin),
		"silent":       capitest.Silent(p.over),
		"byte by byte": capitest.Drip(begin, sync.OnceFunc(p.over)),
		"a page":       capitest.Says("<html>\n<body>please log in</body>\n"),
		"moved":        capitest.Redirect(308, "http://127.0.0.1:1/"),
		"for ever":     capitest.Redirect(302, round),
		"endless heads": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", mostHeaders+4096))
		},
		"a packed lie": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, begin)
		},
	}
}

// TestFaultsTakeNothingOver: whatever is wrong with an answer, what is in force stays as it
// is, the others go on, and the next pull finds everything as it should be.
func TestFaultsTakeNothingOver(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := &patience{}
	round := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }))
	t.Cleanup(round.Close)
	links := f.links([3]string{"a", "/lists/a", "ban"}, [3]string{"b", "/lists/b", "ban"})
	links = strings.Replace(links, `"allowlists":null`, fmt.Sprintf(`"allowlists":[{"id":"1","name":"ours","description":"d","url":%q}]`, f.web.URL+"/lists/ours"), 1)
	f.stream = strings.Replace(links, `"new":null`, `"new":[{"scenario":"s","scope":"ip","decisions":[{"duration":"24h","value":"198.18.0.1"},{"duration":"24h","value":"198.18.0.2"}]}]`, 1)
	f.lists = map[string]string{"/lists/a": "198.19.0.1\n198.19.0.2\n", "/lists/b": "198.19.1.1\n", "/lists/ours": `{"value":"203.0.113.9"}` + "\n"}
	c := f.client(func(o *Options) { o.Within = p.within })
	force := func() ([]blocklistLink, error) {
		return c.pull(engine.As(context.Background(), central), loadState(f.rig.Engine, c.session.whose()), true)
	}
	state := func() string {
		return fmt.Sprint(f.running(engine.OriginCAPI, ""), f.running(engine.OriginLists, ""), f.rig.View().Allowlist("ours").Items)
	}
	if failed, err := force(); err != nil || failed != nil {
		t.Fatal(failed, err)
	}
	good := state()
	for _, q := range []struct{ path, begin string }{
		{"/v3/decisions/stream", `{"new":[{"scenario":"s","scope":"ip","decisions":[{"duration":"24h","value":"198.18.0.9"}`},
		{"/lists/a", "198.19.0.9\n198.19.0."}, {"/lists/ours", `{"value":"203.0.113.`},
	} {
		for name, fault := range faulty(p, round.URL, q.begin) {
			f.fails(q.path, fault)
			failed, err := force()
			if (q.path == "/v3/decisions/stream") != (err != nil) || (q.path == "/lists/a") != (len(failed) == 1) {
				t.Errorf("%s, %s: %v, %v", q.path, name, failed, err)
			}
			if now := state(); now != good {
				t.Errorf("%s, %s: in force is %s, was %s", q.path, name, now, good)
			}
		}
	}
	for name, fault := range faulty(p, round.URL, `{"code":200,"expire":"2099-01-01T00:00:00Z","token":"`) {
		f.rig.Advance(2 * time.Hour) // the token is over
		f.fails("/v3/watchers/login", slices.Repeat([]http.HandlerFunc{fault}, 5)...)
		if _, err := force(); err == nil {
			t.Errorf("login, %s: no error", name)
		}
		f.mu.Lock()
		delete(f.faults, "/v3/watchers/login")
		f.mu.Unlock()
		if now := state(); now != good {
			t.Errorf("login, %s: in force is %s", name, now)
		}
	}
	if failed, err := force(); err != nil || failed != nil || state() != good {
		t.Error(failed, err, state())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range p.given {
		if d <= 0 || d > pullPatience {
			t.Errorf("an exchange may take %v", d)
		}
	}
}

// TestLongAnswersAreBounded: an answer that never ends is given up at its bound, packed or
// not, and what is in force stays.
func TestLongAnswersAreBounded(t *testing.T) {
	t.Parallel()
	const gigabyte = 1 << 30
	var sent int64
	told := func(n int64) { sent = n }
	begin := func(text string, rest http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text); rest(w, r) }
	}
	for _, c := range []struct {
		name, path, says string
		answer           http.HandlerFunc
		most             int64 // bytes that go out before the answer is given up; packed ones are few anyway
	}{
		{"blanks", "/v3/decisions/stream", "one entry of it is longer", capitest.Huge(" ", gigabyte, false, told), 16 << 20},
		{"packed blanks", "/v3/decisions/stream", "one entry of it is longer", capitest.Huge(" ", gigabyte, true, told), 2 * gigabyte},
		{"entries that are skipped", "/v3/decisions/stream", "it is longer than 256 MiB",
			begin(`{"new":[{"scenario":"s","scope":"ip","decisions":[{"value":"x"}`, capitest.Huge(`,{"value":"`+strings.Repeat("x", 64<<10)+`"}`, gigabyte, false, told)), 300 << 20},
		{"one value", "/v3/decisions/stream", "one entry of it is longer", begin(`{"x":"`, capitest.Huge("x", gigabyte, false, told)), 16 << 20},
		{"no lines", "/lists/a", "it is longer than 128 MiB", capitest.Huge("x", gigabyte, true, told), 2 * gigabyte},
		{"empty lines", "/lists/a", "it is longer than 128 MiB", capitest.Huge("\n", gigabyte, true, told), 2 * gigabyte},
		{"a metrics answer", "/v3/metrics/", "", capitest.Huge("x", gigabyte, false, told), 16 << 20},
		{"an error", "/v3/metrics/", "was answered with 500", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(500)
			capitest.Huge("x", gigabyte, false, told)(w, r)
		}, 16 << 20},
	} {
		f := newFake(t)
		f.lists["/lists/a"] = "198.19.0.1\n"
		f.stream = f.links([3]string{"a", "/lists/a", "ban"})
		client := f.client(nil)
		f.mustPull(client)
		done := make(chan struct{})
		f.fails(c.path, func(w http.ResponseWriter, r *http.Request) { defer close(done); c.answer(w, r) })
		var err error
		switch c.path {
		case "/v3/metrics/":
			err = client.session.ask(t.Context(), &request{method: http.MethodPost, path: "v3/metrics/", body: client.present()})
		case "/lists/a":
			_, err = client.fetch(t.Context(), f.web.URL+c.path, time.Time{}, func([]byte) error { return nil })
		default:
			_, err = f.pull(client)
		}
		if fmt.Sprint(err) == "<nil>" != (c.says == "") || !strings.Contains(fmt.Sprint(err), c.says) && c.says != "" {
			t.Errorf("%s: %v", c.name, err)
		}
		if <-done; sent > c.most {
			t.Errorf("%s: %d bytes were taken", c.name, sent)
		}
		if got := f.running(engine.OriginLists, "a"); len(got) != 1 {
			t.Errorf("%s: %v in force", c.name, got)
		}
	}
}

// TestTokenStaysWithTheService: neither a redirect of the service nor one of a link takes the
// token, or the address of a list, to another host.
func TestTokenStaysWithTheService(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var mu sync.Mutex
	var elsewhere []*http.Request
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		elsewhere = append(elsewhere, r.Clone(context.Background()))
		for _, problem := range capitest.Check(r, nil, false) {
			t.Error(problem)
		}
		_, _ = io.WriteString(w, "198.19.0.1\n")
	}))
	t.Cleanup(other.Close)
	f.lists["/lists/a"] = "198.19.0.1\n"
	f.stream = f.links([3]string{"a", "/lists/a?signature=secret", "ban"})
	c := f.client(nil)
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, path := range []string{"/v3/decisions/stream", "/v3/watchers/login"} {
			f.fails(path, capitest.Redirect(code, other.URL+"/v3/anything"))
			var refused *Refusal
			if _, err := f.pull(c); !errors.As(err, &refused) || refused.Status != code {
				t.Errorf("%s, %d: %v", path, code, err)
			}
			c.session.token = token{}
			f.mu.Lock()
			f.faults[path] = nil
			f.mu.Unlock()
		}
	}
	if elsewhere != nil {
		t.Fatalf("the other host was asked: %v", elsewhere)
	}
	f.fails("/lists/a", capitest.Redirect(302, other.URL+"/mirror"))
	f.mustPull(c)
	if len(elsewhere) != 1 || elsewhere[0].URL.Path != "/mirror" {
		t.Errorf("%v", elsewhere)
	}
	f.fails("/lists/a", capitest.Redirect(302, "http://127.0.0.1:1/gone?signature=secret"))
	f.rig.Advance(13 * time.Hour) // so that it is fetched whole
	if failed, err := f.pull(c); err != nil || len(failed) != 1 {
		t.Error(failed, err)
	}
	if text := f.log.String(); strings.Contains(text, "signature") || strings.Contains(text, "passw0rd") {
		t.Error(text)
	}
}

// TestEndIsNotDelayed: an end waits for nothing but the last signals, and for those at most
// lastPatience; where the service was failing already, not at all.
func TestEndIsNotDelayed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	p := &patience{}
	waits := make(chan struct{})
	c := f.client(func(o *Options) {
		o.Within = p.within
		o.After = func(time.Duration) <-chan time.Time { // no turn comes: it is the end that sends
			select {
			case waits <- struct{}{}:
			default:
			}
			return nil
		}
	})
	run := func() (end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); c.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	end := run()
	for at, noted := f.rig.Bookmark(pushMark).At(); !noted; at, noted = f.rig.Bookmark(pushMark).At() {
		_ = at
		<-waits
	}
	f.report(nil, "last")
	end()
	if names, _ := f.signals(); !slices.Equal(names, []string{"last"}) {
		t.Errorf("the end has sent %v\n%s", names, &f.log)
	}
	if given := p.given[len(p.given)-1]; !slices.Contains(p.given, lastPatience) {
		t.Errorf("the end may take %v", given)
	}
	end = run()
	f.report(nil, "later")
	f.fails("/v3/signals", capitest.Silent(p.over))
	end() // returns though the service is silent: its time is over
	end = run()
	end()
	names, _ := f.signals()
	if !slices.Equal(slices.Compact(names), []string{"last", "later"}) {
		t.Errorf("sent: %v", names)
	}
}

// TestOutageOfADay: what was reported during a day without the service comes when it is back,
// in order and each once, though the server starts again in the middle; the pauses are
// bounded.
func TestOutageOfADay(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.rig.Advance(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := f.rig.Now()
	down := true
	n, restarts := 0, 0
	var waits []time.Duration
	change := func(o *Options) {
		o.After = func(d time.Duration) <-chan time.Time {
			waits = append(waits, d)
			f.rig.Advance(d)
			if f.rig.Now().Sub(began) < 24*time.Hour {
				f.report(nil, fmt.Sprint("s", n))
				n++
				f.fails("/v3/signals", capitest.Status([]int{500, 503, 429, 502}[n%4]))
			} else if down {
				down = false
				f.mu.Lock()
				f.faults = map[string][]http.HandlerFunc{}
				f.seen = nil
				f.mu.Unlock()
			} else if names, _ := f.signals(); len(names) >= n {
				cancel()
			} else if restarts++; restarts > 100 {
				t.Errorf("%d of %d have come", len(names), n)
				cancel()
			}
			over := make(chan time.Time)
			close(over)
			return over
		}
	}
	f.client(change).pushJob(ctx)
	if names, _ := f.signals(); !slices.Equal(names, numbered(0, n)) {
		t.Errorf("%d of %d have come: %v", len(names), n, names)
	}
	if n < 200 || n > 1000 {
		t.Errorf("it was tried %d times in a day", n)
	}
	for _, d := range waits {
		if d > 5*time.Minute {
			t.Errorf("a pause of %v", d)
		}
	}
}

// TestPullPauses: a pull that fails is tried again after 1 to 30 minutes, growing, and one
// that went well after two hours, give or take five minutes; a start within 90 minutes after
// it waits for the rest of that time.
func TestPullPauses(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	if err := f.rig.AddMachine(t.Context(), &engine.Machine{ID: "m", Scenarios: "s"}, false); err != nil {
		t.Fatal(err)
	}
	f.stream = communityOf("198.18.0.1")
	bad := 7
	var pauses []time.Duration
	run := func(most int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		pauses = nil
		f.client(func(o *Options) {
			o.Jitter = func(time.Duration) time.Duration { return 0 }
			o.After = func(d time.Duration) <-chan time.Time {
				if d > 0 {
					pauses = append(pauses, d.Round(time.Second))
					f.rig.Advance(d)
				}
				if len(pauses) >= most {
					cancel()
				}
				over := make(chan time.Time)
				close(over)
				return over
			}
		}).pullJob(ctx)
	}
	f.fails("/v3/decisions/stream", slices.Repeat([]http.HandlerFunc{capitest.Status(500)}, bad)...)
	run(8)
	m := time.Minute
	if want := []time.Duration{m, 2 * m, 4 * m, 8 * m, 16 * m, 30 * m, 30 * m, 115 * m}; !slices.Equal(pauses, want) {
		t.Errorf("%v, not %v", pauses, want)
	}
	asked := len(f.asked("/v3/decisions/stream"))
	if asked != bad+1 {
		t.Errorf("%d pulls", asked)
	}
	f.mustPull(f.client(nil))
	f.rig.RestartAt(89 * time.Minute)
	run(1)
	if len(pauses) != 1 || pauses[0] != 26*m {
		t.Errorf("after a restart within the time: %v", pauses)
	}
	f.mustPull(f.client(nil))
	asked = len(f.asked("/v3/decisions/stream"))
	f.rig.RestartAt(91 * time.Minute)
	run(1)
	if len(f.asked("/v3/decisions/stream")) != asked+1 {
		t.Errorf("after a restart later: %v, %d pulls", pauses, len(f.asked("/v3/decisions/stream"))-asked)
	}
}
