package console

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdpage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/audit"
)

// pictures names a folder for a picture of each page, in both themes and two widths. Without it none is made.
const pictures = "LAPID_CONSOLE_PICTURES"

//go:embed testdata/axe/axe-4.14.1.min.js
var axe string

// hostile is what an alert may bring: each of it is text on every page.
var hostile = []string{
	`<script>window.pwned=1</script>`, `"><img src=x onerror="window.pwned=1">`, `' onmouseover='window.pwned=1`, `javascript:window.pwned=1`,
	`</title></textarea><svg onload=window.pwned=1>`, "{{.Name}}${window.pwned=1}", "a\u202eb\x1b[31m\u2028c", `<a href="javascript:window.pwned=1">x</a>`, `" hx-get="/x" hx-trigger="load`,
	strings.Repeat("long-", 80),
}

// browser is one Chromium with one tab, whose faults fail the test.
type browser struct {
	*bench
	ctx     context.Context
	mu      sync.Mutex
	faults  []string
	current string // what is done, for faults

	requests, bytes int // that were sent, and what came for them
}

func newBrowser(b *bench) *browser {
	b.t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		b.t.Fatal("this test drives Debian's chromium: apt-get install chromium")
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(b.t.TempDir()), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("force-prefers-reduced-motion", true)}
	options = append(append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...), options...)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	b.t.Cleanup(cancel)
	ctx, end := chromedp.NewContext(ctx)
	b.t.Cleanup(end)
	ctx, late := context.WithTimeout(ctx, 5*time.Minute+time.Duration(*morphs)*time.Second)
	b.t.Cleanup(late)
	w := &browser{bench: b, ctx: ctx}
	if err := chromedp.Listen(ctx, w.hear); err != nil {
		b.t.Fatal(err)
	}
	return w
}

// hear notes what must not happen: a refusal by the policy, an exception, a dialog, a request to elsewhere.
func (w *browser) hear(event any) {
	fault := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if text := e.Entry.Text; strings.Contains(text, "Content Security Policy") || e.Entry.Source == "security" {
			fault = "policy: " + text
		}
	case *runtime.EventExceptionThrown:
		text, _ := json.Marshal(e.ExceptionDetails)
		fault = "exception: " + string(text)
	case *cdpage.EventJavascriptDialogOpening:
		fault = "dialog: " + e.Message
	case *network.EventLoadingFinished:
		w.mu.Lock()
		w.bytes += int(e.EncodedDataLength)
		w.mu.Unlock()
	case *network.EventRequestWillBeSent:
		w.mu.Lock()
		w.requests++
		w.mu.Unlock()
		if u := e.Request.URL; !strings.HasPrefix(u, w.url) && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "about:") {
			fault = "elsewhere: " + u
		}
	}
	if fault != "" {
		w.mu.Lock()
		w.faults = append(w.faults, w.current+": "+fault)
		w.mu.Unlock()
	}
}

// step names what follows, and fails for what went wrong before.
func (w *browser) step(name string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.faults {
		w.t.Error(f)
	}
	w.faults, w.current = nil, name
}

func (w *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		w.t.Fatalf("%s: %v\n%s", w.current, err, w.text())
	}
}

func (w *browser) open(path string) { w.t.Helper(); w.do(chromedp.Navigate(w.url + path)) }

func (w *browser) size(width, height int64) {
	w.t.Helper()
	w.do(chromedp.EmulateViewport(width, height))
}

// until waits for an expression to be true, also over the loading of another page.
func (w *browser) until(expression string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	for ctx.Err() == nil {
		if ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")")); err == nil && ok {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	w.t.Fatalf("%s: never %s\n%s", w.current, expression, w.text())
}

// patience is how long the browser may take for one thing, on whatever machine.
const patience = 30 * time.Second

// text is what the page says, for messages.
func (w *browser) text() string {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href+' '+document.body.innerText.slice(0,1500)"))
	return fmt.Sprint(text, " ", err)
}

// shows waits for a text on a page.
func (w *browser) shows(text string) {
	w.t.Helper()
	quoted, _ := json.Marshal(text)
	w.until("document.readyState==='complete' && document.body.innerText.includes(" + string(quoted) + ")")
}

// fill writes into a field, and click uses a button, as people do. leave waits for the page that a click leads to.
func (w *browser) fill(selector, text string) {
	w.t.Helper()
	w.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

func (w *browser) click(selector string) {
	w.t.Helper()
	w.do(chromedp.Click(chromedp.CSS(selector)))
}

func (w *browser) keys(text string) { w.t.Helper(); w.do(chromedp.KeyEvent(text)) }

// violations are what axe finds on the page as it is.
func (w *browser) violations(only string) { w.t.Helper(); w.violationsIn("html", only) }

// violationsIn are those in a part of it.
func (w *browser) violationsIn(part, only string) {
	w.t.Helper()
	if there, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool]("typeof axe==='object'")); err != nil || !there {
		w.do(void(axe))
	}
	found, err := chromedp.Run(w.ctx, chromedp.Evaluate[[]string](`axe.run(document.querySelector("`+part+`"), {runOnly: `+only+`, resultTypes: ["violations"]}).then(r => r.violations.flatMap(v => v.nodes.map(n => v.id + ": " + n.target.join(" ") + " " + n.failureSummary.slice(0, 300))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		w.t.Fatalf("%s: axe: %v", w.current, err)
	}
	for _, f := range found {
		w.t.Errorf("%s: %s", w.current, f)
	}
}

// picture keeps a picture of the page as it is, where a folder for them is named.
func (w *browser) picture(name string) {
	dir := os.Getenv(pictures)
	if dir == "" {
		return
	}
	image, err := chromedp.Run(w.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), image, 0o600)
	}
	if err != nil {
		w.t.Error(err)
	}
}

// seed stores what pages show: usual things, and hostile ones.
func (w *browser) seed() {
	t, rig := w.t, w.rig
	t.Helper()
	ctx, now := t.Context(), rig.Now().UnixNano()
	if err := rig.AddMachine(ctx, &engine.Machine{ID: "edge-1", Validated: true, IP: "198.51.100.7", Version: "v1.7.0", CreatedAt: now}, false); err != nil {
		t.Fatal(err)
	}
	if err := rig.AddMachine(ctx, &engine.Machine{ID: "edge-2", IP: "198.51.100.8", CreatedAt: now}, false); err != nil {
		t.Fatal(err)
	}
	rig.Heartbeat("edge-1", now)
	alert := func(scenario, message, value, country, as string, meta []engine.Meta, events int) {
		a := &engine.Alert{Scenario: scenario, Message: message, ScenarioVersion: "0.3", Leakspeed: "10s", Capacity: 5, EventsCount: int32(events), Remediation: true, CreatedAt: now,
			StartAt: engine.StampOf(time.Unix(0, now-int64(9*time.Minute)).UTC()), StopAt: engine.StampOf(time.Unix(0, now).UTC()), Meta: meta,
			Source: engine.Source{Scope: "Ip", Value: value, IP: value, Cn: country, AsName: as, AsNumber: "64500", Range: "192.0.2.0/24"}}
		for i := range events {
			at := time.Unix(0, now-int64(time.Duration(events-i)*time.Minute)/2).UTC()
			a.Events = append(a.Events, engine.Event{Timestamp: engine.StampOf(at), Meta: append([]engine.Meta{{Key: "source_ip", Value: value}, {Key: "log_type", Value: "ssh_failed-auth"}}, meta...)})
		}
		a.Decisions = []engine.NewDecision{{Duration: "4h", Origin: engine.OriginCrowdsec, Scenario: scenario, Scope: "Ip", Type: "ban", Value: value}}
		if _, err := rig.AddAlerts(ctx, "edge-1", []*engine.Alert{a}, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 24 {
		scenario := []string{"crowdsecurity/ssh-bf", "crowdsecurity/http-probing", "crowdsecurity/http-crawl-non_statics"}[i%3]
		alert(scenario, fmt.Sprintf("Ip 192.0.2.%d performed '%s'", i+1, scenario), fmt.Sprintf("192.0.2.%d", i+1), []string{"FR", "DE", "US"}[i%3], "Example Networks", nil, 6)
	}
	for i, text := range hostile {
		alert(text, text, fmt.Sprintf("203.0.113.%d", i+1), text[:2], text, []engine.Meta{{Key: text, Value: text}}, 2)
	}
	rates := &w.server.rates
	rates.mu.Lock() // the server looks at them already
	for i := range int64(180) {
		rates.minutes = append(rates.minutes, rate{at: now/int64(time.Second) - (180-i)*60, running: i % 40, of: [rateCount]uint32{rateAlerts: uint32(i / 25), rateBegun: 3}})
	}
	rates.mu.Unlock()
	v := w.visitor().enter(admins)
	v.send("/bouncers/add", "name", "edge-fw", "shared", "yes")
	rig.NoteReport("edge-fw", &engine.Report{At: now, Active: 34, HasActive: true, Holds: []engine.Figure{{Name: "active_decisions", Origin: "crowdsec", Unit: "ip", Value: 34}},
		Figures: []engine.Figure{{Name: "dropped", Origin: "crowdsec", Unit: "packet", Value: 12345}, {Name: "dropped", Origin: "crowdsec", Unit: "byte", Value: 7e6}, {Name: "processed", Unit: "packet", Value: 9876543}}})
	v.send("/allowlists/create", "name", "office", "description", hostile[1])
	v.send("/exports/add", "name", "edge", "format", "csv", "auth", "token")
	v.send("/allowlists/items/add", "name", "office", "values", "198.51.100.0/24", "comment", hostile[0])
}

// shownPages are the pages that everybody may see and that are looked at in each theme and width.
var shownPages = []struct{ name, path string }{
	{"overview", "/"}, {"activity", "/activity"}, {"decisions", "/decisions"}, {"decisions-none", "/decisions?scenario=nothing"}, {"decision-new", "/decisions/add"}, {"decisions-import", "/decisions/import"}, {"decision", "/decisions/3"}, {"decisions-matching", "/decisions/end-matching?country=DE"}, {"alerts-matching", "/alerts/delete-matching"}, {"alerts", "/alerts"}, {"alert", "/alerts/25"},
	{"why", "/why?target=192.0.2.7"}, {"bouncers", "/bouncers"}, {"bouncer", "/bouncers/edge-fw"}, {"machines", "/machines"}, {"allowlists", "/allowlists"}, {"allowlist", "/allowlists/office"}, {"exports", "/exports"}, {"export", "/exports/edge?preview=yes"},
	{"audit", "/audit"}, {"health", "/health-page"}, {"cluster", "/cluster"}, {"settings", "/settings"}, {"failure", "/nothing"},
}

// The console in a real browser: what people do, by mouse and by keyboard, on every page and in both themes. Neither the policy
// nor axe finds anything, nothing is asked of elsewhere, and what alerts bring is text.
func TestBrowser(t *testing.T) {
	t.Parallel()
	rig := enginetest.NewRig(t, func(e *engine.Options) { e.Audit = &engine.AuditOptions{} })
	w := newBrowser(newBenchOn(t, rig, func(o *Options) {
		auditor := audit.New(&audit.Options{Engine: o.Engine, Logger: o.Logger})
		o.BasePath, o.Verbs.Cluster, o.Audit, o.Verbs.Settle = "/lapid", aCluster, auditor.Note, auditor.Settle
	}))
	w.seed()
	for _, journey := range []struct {
		name string
		run  func(*browser)
	}{
		{"log in", logsIn}, {"looks", looksAtPages}, {"looks of others", looksAsOthers}, {"first load", loads}, {"ban and unban", bans}, {"import", imports}, {"allow", allows}, {"columns", choosesColumns}, {"silence", silencesLine}, {"all that match", endsAll}, {"add a bouncer", addsBouncer}, {"edit a bouncer", editsBouncer}, {"exports", makesExports}, {"live", goesLive}, {"pause", pauses}, {"keyboard", usesKeys}, {"palette", usesPalette}, {"stays open", staysOpen}, {"many", showsMany}, {"read on", readsOn}, {"scroll far", scrollsFar}, {"charts", chartsFigures}, {"session over", losesSession},
	} {
		w.step(journey.name)
		journey.run(w)
		if t.Failed() {
			break
		}
	}
	w.step("end")
}

func logsIn(w *browser) {
	w.size(1440, 900)
	w.open("/decisions?type=ban")
	w.shows("Log in to this server")
	w.violations(standard)
	for _, width := range []int64{375, 1440} {
		w.size(width, 900)
		w.picture(fmt.Sprintf("login-light-%d", width))
	}
	w.fill("#name", "admin-1")
	w.fill("#password", "wrong"+kb.Enter)
	w.shows("are not (or no longer) those of an operator")
	w.fill("#password", password+kb.Enter)
	w.until("location.search==='?type=ban' && document.querySelector('table')")
	if cookie, err := chromedp.Run(w.ctx, chromedp.Evaluate[string]("document.cookie")); err != nil || cookie != "" {
		w.t.Errorf("scripts see the cookie %q, %v", cookie, err)
	}
}

const standard = `["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa"]`

// looksAtPages visits every page: axe in the light theme and the wide width, its contrasts in the dark one, no sideways scrolling at 320.
func looksAtPages(w *browser) {
	w.t.Helper()
	for _, p := range shownPages {
		w.step(p.name)
		w.size(1440, 900)
		w.open(p.path)
		if w.until("document.querySelector('h1')"); p.name == "overview" {
			w.until("document.querySelector('#chart .uplot')")
		}
		for _, theme := range []string{"light", "dark"} {
			w.do(void("document.documentElement.dataset.theme='" + theme + "'"))
			rules := standard
			if theme == "dark" {
				rules = `{type: "rule", values: ["color-contrast"]}`
			}
			w.violations(rules)
			if os.Getenv(pictures) != "" {
				// Lines are drawn again in the colours of the theme.
				w.do(void("document.querySelector('#chart .uplot')?.classList.add('old'); document.querySelector('#span')?.dispatchEvent(new Event('change'))"))
				w.until("!document.querySelector('#chart .old')")
				for _, width := range []int64{375, 1440} {
					w.size(width, 900)
					w.picture(fmt.Sprintf("%s-%s-%d", p.name, theme, width))
				}
				w.size(1440, 900)
			}
		}
		w.do(void("document.documentElement.dataset.theme='light'"))
		w.goesThrough(p.name)
		w.size(320, 800)
		w.violations(`{type: "rule", values: ["target-size"]}`)
		if wide, err := chromedp.Run(w.ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth")); err != nil || wide > 320 {
			w.t.Errorf("%s is %d wide where there are 320: %v", p.name, wide, err)
		}
		if pwned, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool]("'pwned' in window")); err != nil || pwned {
			w.t.Errorf("%s runs what an alert brought: %v", p.name, err)
		}
	}
	w.size(1440, 900)
	w.step("hostile alerts")
	for i := range hostile {
		w.open(fmt.Sprintf("/alerts/%d", 25+i))
		w.until("document.querySelector('.timeline, dl.facts')")
		if bad, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool]("'pwned' in window || document.querySelector('main script, main img, main [onload], main [onerror], main [onmouseover], main [hx-get], main a[href^=\"javascript:\"]')!==null")); err != nil || bad {
			w.t.Errorf("what alert %d brings is more than text: %v", 25+i, err)
		}
	}
}

func void(expression string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := chromedp.Evaluate[*runtime.RemoteObject](expression)(ctx, target)
		return chromedp.Void{}, err
	}
}

func bans(w *browser) {
	w.open("/decisions")
	w.click("[data-key=n]")
	w.until("document.querySelector('#value')")
	w.fill("#value", "198.18.0.7")
	w.fill("#reason", "seen by eye")
	w.click("button[value=try]")
	w.shows("It would begin")
	w.click("form .main")
	w.shows("198.18.0.7 is decided")
	w.until("!location.search.includes('said')") // a reload does not say it again
	w.open("/why?target=198.18.0.7")
	w.shows("seen by eye")
	w.until("document.querySelector('.verdict.decided')")
	w.click("td button[name=id]")
	w.shows("has ended")
	w.until("document.querySelector('.verdict:not(.decided)')")
	w.click("#notices button")
	w.shows("is decided")
	w.open("/decisions?scenario=seen+by+eye")
	w.until("document.querySelectorAll('input[name=id]').length===1")
	w.click("input[name=id]")
	w.shows("Ticked decisions: 1")
	w.click(".picked .bad")
	w.shows("Nothing matches")
}

// imports looks at a list first, then does it, and takes it back.
func imports(w *browser) {
	w.open("/decisions")
	w.click("a[href$='/decisions/import']")
	w.until("document.querySelector('#list')")
	w.fill("#list", "198.18.3.1\nnonsense\n198.18.3.2\n192.0.2.7")
	w.click("main form .main")
	w.shows("Import 3, leave 1 out")
	w.shows("line 2")
	for _, theme := range []string{"light", "dark"} {
		w.do(void("document.documentElement.dataset.theme='" + theme + "'"))
		w.violations(standard)
		for _, width := range []int64{375, 1440} {
			w.size(width, 900)
			w.picture(fmt.Sprintf("import-found-%s-%d", theme, width))
		}
	}
	w.fill("#batch", "by-hand")
	w.click("button[name=skip]")
	w.shows("3 decisions are imported, as the batch by-hand")
	w.click("#notices button")
	w.shows("3 decisions of the batch by-hand have ended")
}

func allows(w *browser) {
	w.open("/why?target=192.0.2.9")
	w.until("document.querySelector('.verdict.decided')")
	w.click("details.panel summary")
	w.fill("#comment", "a partner")
	w.click("details.panel .main")
	w.shows("1 decisions have ended")
	w.open("/allowlists/office")
	w.shows("a partner")
}

func endsAll(w *browser) {
	w.open("/decisions?country=DE")
	w.click(".picked a")
	w.shows("8 decisions match")
	w.click("main form .bad")
	w.shows("8 decisions have ended")
	w.open("/alerts/delete-matching")
	w.until("document.querySelector('#typed')")
	w.click("main form .bad") // the browser asks for the number
	w.fill("#typed", "1"+kb.Enter)
	w.shows("nothing was done")
}

func addsBouncer(w *browser) {
	w.open("/bouncers")
	w.click("details.panel summary")
	w.fill("#name", "edge-2-fw")
	w.click("details.panel .main")
	w.until("document.querySelector('#secret')")
	w.picture("secret-light-1440")
	secret, err := chromedp.Run(w.ctx, chromedp.Evaluate[string]("document.querySelector('#secret').textContent"))
	if err != nil || len(secret) < 32 {
		w.t.Errorf("the key is %q, %v", secret, err)
	}
	w.open("/bouncers")
	w.shows("edge-2-fw")
	if kept, _ := chromedp.Run(w.ctx, chromedp.Evaluate[bool]("document.documentElement.innerHTML.includes("+quoted(secret)+")")); kept {
		w.t.Error("the key is shown twice")
	}
	w.click("button[value=edge-2-fw][data-confirm]")
	w.until("document.querySelector('#sure[open]')")
	w.picture("sure-light-1440")
	w.click("#sure button[value=yes]")
	w.shows("Deleted: edge-2-fw")
}

// editsBouncer changes what one sees, by its page, and lets it see everything again.
func editsBouncer(w *browser) {
	w.open("/bouncers")
	w.click("a[href$='/bouncers/edge-fw']")
	w.until("document.querySelector('#f-origins')")
	w.fill("#f-origins", "crowdsec, nobody")
	w.fill("#f-max-entries", "many")
	w.click("form.stack .main")
	w.shows("is no number of decisions")
	w.until("document.querySelector('#f-origins').value==='crowdsec, nobody'") // nothing is typed twice
	w.do(void("document.querySelector('#f-max-entries').value=''"))
	w.fill("#f-max-entries", "1000")
	w.fill("#f-hold", "25s"+kb.Enter)
	w.shows("edge-fw is changed")
	w.shows("nothing here gives decisions the origin 'nobody'")
	w.shows("max-entries 1000")
	w.picture("bouncer-changed-light-1440")
	w.click("button[name=see_all]")
	w.until("document.readyState==='complete' && !document.querySelector('button[name=see_all]') && document.body.innerText.includes('edge-fw is changed')")
}

// makesExports adds a list for a device, changes it, gives it another secret, and deletes it.
func makesExports(w *browser) {
	w.open("/exports")
	w.click("details.panel summary")
	w.fill("#name", "router")
	w.click("details.panel .main")
	w.until("document.querySelector('#secret')")
	w.open("/exports/router")
	w.until("document.querySelector('#f-limit')")
	w.fill("#f-limit", "many")
	w.click("main form .main")
	w.shows("is no number of entries")
	w.do(void("document.querySelector('#f-limit').value=''"))
	w.fill("#f-limit", "1000")
	w.click("main form .main")
	w.shows("router is changed")
	w.until("document.querySelector('#f-limit').value==='1000'")
	w.click("form[action$='/exports/rotate'] button")
	w.until("document.querySelector('#secret')")
	w.click("a.button[href$='/exports/router']")
	w.until("document.querySelector('button[name=end]')")
	w.click("button[name=end]")
	w.until("document.querySelector('#sure[open]')")
	w.click("#sure button[value=yes]")
	w.shows("Only the newest secret is good")
	w.click("button[data-confirm^='Delete router']")
	w.until("document.querySelector('#sure[open]')")
	w.click("#sure button[value=yes]")
	w.shows("router is deleted")
}

func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// goesLive sees what others do, without a word from this page.
func goesLive(w *browser) {
	w.open("/decisions")
	w.until("document.querySelector('#live').dataset.state==='live'")
	w.ban("198.18.1.1")
	w.shows("198.18.1.1")
	w.click("input[name=id]") // who is at work is not disturbed
	w.ban("198.18.1.2")
	w.shows("Show what is new")
	w.click("#news button")
	w.shows("198.18.1.2")
	if ticked, err := chromedp.Run(w.ctx, chromedp.Evaluate[int]("document.querySelectorAll('input[name=id]:checked').length")); err != nil || ticked != 1 {
		w.t.Errorf("%d are ticked after news: %v", ticked, err)
	}
}

func (w *browser) ban(value string) {
	w.t.Helper()
	w.is(201, "POST", "/admin/v1/decisions", `{"value":`+quoted(value)+`}`)
}

func usesKeys(w *browser) {
	w.open("/")
	w.until("document.querySelector('#keys')")
	w.keys(kb.Tab)
	w.until("document.activeElement.className==='skip'")
	w.keys("?")
	w.until("document.querySelector('#keys[open]')")
	w.picture("keys-light-1440")
	w.keys(kb.Escape)
	w.until("!document.querySelector('#keys[open]')")
	w.keys("g")
	w.keys("d")
	w.until("location.pathname.endsWith('/decisions') && document.readyState==='complete'")
	w.keys("/")
	w.until("document.activeElement.id==='search'")
	w.do(void("document.activeElement.value=''")) // a key that is sent like this is written too, though the page took it
	w.keys("192.0.2.3" + kb.Enter)
	// Keys are heard once the page is whole, with its scripts.
	w.until("document.readyState==='complete' && location.search.includes('192.0.2.3') && document.querySelectorAll('tbody tr').length===1")
	w.keys("j")
	w.until("document.activeElement.tagName==='TR'")
	w.keys("x")
	w.until("document.querySelector('input[name=id]').checked")
	w.keys(kb.Enter)
	w.until("document.readyState==='complete' && document.querySelector('h1').textContent.startsWith('Decision ')")
	w.keys("e")
	w.until("document.activeElement.id==='ask'")
}

// pauses counts what is missed meanwhile.
func pauses(w *browser) {
	w.open("/activity")
	w.until("document.querySelector('#live').dataset.state==='live'")
	w.click("#pause")
	w.shows("Nothing missed so far")
	w.ban("198.18.1.3")
	w.shows("1 of decisions")
	w.violations(standard)
	w.picture("paused-light-1440")
	w.until("!document.querySelector('#rows').innerText.includes('198.18.1.3')")
	w.click("#pause")
	w.shows("198.18.1.3")
	w.until("document.querySelector('#gap').hidden")
}

// usesPalette goes where it wants by keys alone.
func usesPalette(w *browser) {
	ctrlK := func() {
		w.t.Helper()
		w.do(chromedp.KeyEvent("k", chromedp.KeyModifiers(chromedp.ModifierCtrl)))
		w.until("document.querySelector('#palette').open && document.activeElement.id==='palette-wish'")
	}
	w.open("/decisions?origin=cscli")
	w.until("document.readyState==='complete'")
	w.open("/bouncers")
	w.until("document.readyState==='complete' && !document.querySelector('#palette-open').hidden")
	ctrlK()
	w.violations(standard)
	for _, width := range []int64{375, 1440} {
		w.size(width, 900)
		w.picture(fmt.Sprintf("palette-light-%d", width))
	}
	w.do(void("document.documentElement.dataset.theme='dark'"))
	w.violations(`{type: "rule", values: ["color-contrast"]}`)
	w.picture("palette-dark-1440")
	w.keys(kb.Escape)
	w.until("!document.querySelector('#palette').open")
	ctrlK()
	w.keys("mach" + kb.Enter)
	w.until("document.readyState==='complete' && location.pathname.endsWith('/machines') && !document.querySelector('#palette-open').hidden")
	ctrlK()
	w.keys("cscli" + kb.ArrowDown + kb.ArrowUp + kb.Enter)
	w.until("document.readyState==='complete' && location.search==='?origin=cscli' && !document.querySelector('#palette-open').hidden")
	ctrlK()
	w.keys("192.0.2.7")
	w.until("document.querySelector('#palette-list [aria-selected=true]').textContent==='Why 192.0.2.7'")
	w.keys(kb.Enter)
	w.until("document.readyState==='complete' && location.pathname.endsWith('/why') && location.search==='?target=192.0.2.7'")
	ctrlK()
	w.keys("no such place")
	w.shows("Nothing has that name")
	w.keys(kb.Enter + kb.Escape)
}

// losesSession has a session end: the page says so, and stays as it is.
func losesSession(w *browser) {
	w.open("/decisions")
	w.until("document.querySelector('#live').dataset.state==='live'")
	w.rig.Advance(idleAtMost + time.Second)
	w.ban("198.18.2.1")
	w.until("document.querySelector('#over[open]')")
	w.picture("over-light-1440")
}
