package capi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"lapid/engine"
)

func (f *fake) pull(c *Client) ([]blocklistLink, error) {
	return c.pull(engine.As(context.Background(), central), loadState(f.rig.Engine, c.session.whose()), false)
}

func (f *fake) mustPull(c *Client) {
	f.t.Helper()
	if failed, err := f.pull(c); err != nil || failed != nil {
		f.t.Fatalf("%v, %v\n%s", failed, err, &f.log)
	}
}

// links is an answer with links to lists of the fake: name, path, remediation.
func (f *fake) links(lists ...[3]string) string {
	var out []string
	for _, l := range lists {
		out = append(out, fmt.Sprintf(`{"name":%q,"url":%q,"remediation":%q,"scope":"IP","duration":"24h"}`, l[0], f.web.URL+l[1], l[2]))
	}
	return `{"new":null,"links":{"blocklists":[` + strings.Join(out, ",") + `],"allowlists":null}}`
}

func communityOf(values ...string) string {
	var out []string
	for _, v := range values {
		out = append(out, fmt.Sprintf(`{"duration":"24h","value":%q}`, v))
	}
	return `{"new":[{"scenario":"s","scope":"ip","decisions":[` + strings.Join(out, ",") + `]}],"later":{"x":[1]}}`
}

// An unchanged list is not sent again, one whose decisions end soon or whose link changed is.
func TestListIsAskedForConditionally(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.stream = f.links([3]string{"a", "/lists/a", "ban"})
	f.lists["/lists/a"] = "198.19.0.1\r\n198.19.0.2"
	f.mustPull(f.client(nil))
	if got := f.running(engine.OriginLists, "a"); len(got) != 2 {
		t.Fatalf("%q", got)
	}
	f.rig.Advance(2 * time.Hour)
	f.rig.Restart()
	f.mustPull(f.client(nil)) // 304
	f.rig.Advance(11 * time.Hour)
	f.mustPull(f.client(nil)) // more than half of the time is over
	f.stream = f.links([3]string{"a", "/lists/a", "captcha"})
	f.mustPull(f.client(nil))
	var since []string
	for _, s := range f.asked("/lists/a") {
		since = append(since, s.since)
	}
	if len(since) != 4 || since[0] != "" || since[1] == "" || since[2] != "" || since[3] != "" {
		t.Errorf("asked with %q", since)
	}
	q := f.rig.Ask()
	q.Limit = -1
	for _, d := range f.rig.View().Find(nil, q) {
		if d.Type().S != "captcha" {
			t.Errorf("%s is a %s", d.Value(), d.Type().S)
		}
	}
}

// Whatever is wrong with an answer, what was there stays, and the error says what it is.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(nil)
	f.stream = communityOf("198.18.0.1", "198.18.0.2")
	f.mustPull(c)
	endless := func(begin, piece string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, begin)
			sent := 0
			for sent < 1<<30 {
				n, err := io.WriteString(w, piece)
				if sent += n; err != nil {
					break
				}
			}
			if sent > 64<<20 {
				t.Errorf("%d bytes were taken", sent)
			}
		}
	}
	for name, c := range map[string]struct {
		fault http.HandlerFunc
		says  string
	}{
		"500":    {status(500), "answered with 500 (\"as it was told to\")"},
		"cut":    {cut(`{"new":[{"scenario":"s","scope":"ip","decisions":[{"duration":"1h","value":"198.18.0.3"}`), "broke off"},
		"half":   {says(`{"new":[{"scenario":"s"`), "broke off"},
		"html":   {says("<html>"), "invalid character"},
		"a list": {says("[]"), "an object was expected"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		}, "a redirect, which is not followed"},
		"endless": {endless(`{"new":[{"scenario":"`, strings.Repeat("x", 1<<16)), "one entry of it is longer"},
		"white":   {endless(`{"new":[{"scenario":"s"}`, strings.Repeat(" ", 1<<16)), "one entry of it is longer"},
		"headers": {func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 100))
			}
		}, "headers exceeded"},
	} {
		f.fails("/v3/decisions/stream", c.fault)
		before := f.rig.View().Revision()
		if _, err := f.pull(f.client(nil)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if f.rig.View().Revision() != before {
			t.Errorf("%s changed something", name)
		}
	}
	// An empty answer is none, and no error.
	f.fails("/v3/decisions/stream", says(""), says("{}"), says(`{"new":[],"deleted":[{"scope":"ip","decisions":["198.18.0.9"]}]}`))
	for range 3 {
		f.mustPull(c)
	}
	if got := f.running(engine.OriginCAPI, ""); len(got) != 2 {
		t.Errorf("%q run", got)
	}
}

// One list that fails does not keep the others from being fetched; of the answer what is
// incomplete is skipped.
func TestListsFailAlone(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.lists["/lists/a"], f.lists["/lists/e"], f.lists["/lists/h"] = "198.19.0.1\n", "", "<html>\n<body>\n"
	f.lists["/lists/long"] = strings.Repeat("x", 200<<10) + "\n198.19.0.7\n\n"
	f.stream = strings.Replace(f.links([3]string{"gone", "/lists/gone", "ban"}, [3]string{"cut", "/lists/cut", "ban"}, [3]string{"e", "/lists/e", "ban"},
		[3]string{"h", "/lists/h", "ban"}, [3]string{"a", "/lists/a", "ban"}, [3]string{"a", "/lists/long", "ban"}, [3]string{"long", "/lists/long", "ban"}),
		`"blocklists":[`, `"blocklists":[{"name":"half"},7,{"name":"file","url":"file:///etc/passwd","remediation":"ban","scope":"ip","duration":"24h"},
		{"name":"time","url":"http://x/","remediation":"ban","scope":"ip","duration":"soon"},`, 1)
	f.fails("/lists/gone", status(404))
	f.fails("/lists/cut", cut("198.19.0.9\n"))
	failed, err := f.pull(f.client(nil))
	var names []string
	for _, l := range failed {
		names = append(names, l.Name)
	}
	if err != nil || !slices.Equal(names, []string{"file", "time", "gone", "cut", "h"}) {
		t.Errorf("%q, %v", names, err)
	}
	if got := f.running(engine.OriginLists, ""); !slices.Equal(got, []string{"198.19.0.1", "198.19.0.7"}) {
		t.Errorf("%q run\n%s", got, &f.log)
	}
	for _, want := range []string{"incomplete=2", "two lists of the Central API have one name", "none of its 2 lines is an address or range", "lines=1"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, &f.log)
		}
	}
}

// A list is bounded however long it says it is.
func TestListIsBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.stream = f.links([3]string{"lies", "/lists/lies", "ban"}, [3]string{"flood", "/lists/flood", "ban"})
	f.fails("/lists/lies", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(1<<40))
		_, _ = io.WriteString(w, "198.19.0.1\n")
	})
	f.fails("/lists/flood", func(w http.ResponseWriter, _ *http.Request) {
		zeros := strings.Repeat("\x00", 1<<16)
		for sent := 0; sent < 1<<30; {
			n, err := io.WriteString(w, zeros)
			if sent += n; err != nil {
				return
			}
		}
		t.Error("a gigabyte was taken")
	})
	if failed, err := f.pull(f.client(nil)); err != nil || len(failed) != 2 {
		t.Errorf("%v, %v", failed, err)
	}
	if got := f.running(engine.OriginLists, ""); got != nil {
		t.Errorf("%q run", got)
	}
}

// What allowlists hold never comes in: the console's, the operator's and the whitelist.
func TestAllowlistsOfThePull(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	link := fmt.Sprintf(`"links":{"allowlists":[{"id":"7","name":"ours","description":"d","url":%q}]}}`, f.web.URL+"/lists/allow")
	f.stream = strings.Replace(communityOf("198.18.0.1", "198.18.0.2", "198.18.0.3", "198.18.4.4"), `"later":{"x":[1]}}`, link, 1)
	f.lists["/lists/allow"] = `{"value":"198.18.0.1","description":"c"}` + "\n" + `{"value":"198.18.0.2","expiration":"2001-01-01T00:00:00Z"}` + "\n" + `{"value":"?"}`
	white := func(o *Options) { o.Whitelist = []netip.Prefix{netip.MustParsePrefix("198.18.4.0/24")} }
	f.mustPull(f.client(white))
	if got := f.running(engine.OriginCAPI, ""); !slices.Equal(got, []string{"198.18.0.2", "198.18.0.3"}) {
		t.Errorf("%q run\n%s", got, &f.log)
	}
	for _, broken := range []http.HandlerFunc{status(404), says("{"), cut("")} {
		f.fails("/lists/allow", broken)
		f.mustPull(f.client(white))
		if l := f.rig.View().Allowlist("ours"); l == nil || len(l.Items) == 0 {
			t.Fatal("a list that cannot be fetched was changed")
		}
	}
	f.lists["/lists/allow"] = `{"value":"198.18.0.3","description":"x"}`
	f.mustPull(f.client(white))
	if got := f.running(engine.OriginCAPI, ""); !slices.Equal(got, []string{"198.18.0.2", "198.18.0.1"}) && !slices.Equal(got, []string{"198.18.0.1", "198.18.0.2"}) {
		t.Errorf("%q run", got)
	}
	if l := f.rig.View().Allowlist("ours"); len(l.Items) != 1 || l.Items[0].Value != "198.18.0.3" {
		t.Errorf("%+v", l)
	}
	f.stream = strings.Replace(f.stream, `"name":"ours","description":"d"`, `"name":"theirs","description":"e"`, 1)
	f.mustPull(f.client(white))
	if l := f.rig.View().ConsoleAllowlist("7"); l == nil || l.Name != "theirs" || l.Description != "e" || len(l.Items) != 1 || f.rig.View().Allowlist("ours") != nil {
		t.Errorf("a list that was renamed is %+v", l)
	}
	if err := f.rig.CreateAllowlist(context.Background(), "mine", "", f.rig.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	f.stream = strings.Replace(f.stream, `"id":"7","name":"theirs"`, `"id":"8","name":"mine"`, 1)
	f.mustPull(f.client(nil))
	if l := f.rig.View().Allowlist("mine"); len(l.Items) != 0 || !strings.Contains(f.log.String(), "another list of that name is there already") || f.rig.View().ConsoleAllowlist("8") != nil {
		t.Errorf("an operator's list was touched: %+v", l)
	}
}

// The job pulls once a machine has scenarios, then every two hours; again soon what failed.
func TestPullJob(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.stream = communityOf("198.18.0.1")
	turns := 0
	var waits []time.Duration
	c := f.client(func(o *Options) {
		o.After = func(d time.Duration) <-chan time.Time {
			waits = append(waits, d)
			switch turns++; turns {
			case 1: // waiting for scenarios
				if err := f.rig.AddMachine(ctx, &engine.Machine{ID: "m", Scenarios: "s,t"}, false); err != nil {
					t.Error(err)
				}
			case 2:
				f.fails("/v3/decisions/stream", status(500), status(500))
			case 6:
				cancel()
				return nil
			}
			f.rig.Advance(max(d, 0))
			over := make(chan time.Time)
			close(over)
			return over
		}
	})
	c.pullJob(ctx)
	want := []time.Duration{time.Second, 0, time.Minute - 15*time.Second/2, 2*time.Minute - 15*time.Second, pullEvery, pullEvery}
	if !slices.Equal(waits, want) {
		t.Errorf("waited %v, not %v\n%s", waits, want, &f.log)
	}
	if n := len(f.asked("/v3/decisions/stream")); n < 4 {
		t.Errorf("%d pulls", n)
	}
	// A start soon after that does not pull again, unless nothing of the list is there.
	waits, turns = nil, 5
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	c.pullJob(ctx)
	if len(waits) != 1 || waits[0] < time.Hour {
		t.Errorf("the next start waited %v", waits)
	}
}
