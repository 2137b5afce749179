package console

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"lapid/engine"
	"lapid/transport/console/site"
)

// Of both `make console` has more: how often the rows of a page that stays open are replaced, and how many decisions there are.
var (
	morphs = flag.Int("console.morphs", 8, "replace the rows of a page that stays open so many times")
	many   = flag.Int("console.many", 20_000, "look at so many decisions, 1000000 at most")
)

// looksAsOthers visits the pages as those who may do less, for what is in their frame, which is everybody's. What looks to them as to
// somebody before is not looked at again.
func looksAsOthers(w *browser) {
	w.t.Helper()
	seen := map[string]bool{}
	looksOf := func(role engine.Role, path string) string {
		_, text, _ := w.ask("GET", path, w.tokens[role], "", "Accept", "text/html")
		return withoutNames.ReplaceAllString(text, "")
	}
	for _, p := range shownPages {
		seen[looksOf(admins, p.path)] = true
	}
	for _, role := range []engine.Role{operator, viewer} {
		w.entersAs(role)
		for _, p := range shownPages {
			if looks := looksOf(role, p.path); !seen[looks] {
				seen[looks] = true
				w.step(p.name + " as " + role.String())
				w.open(p.path)
				w.until("document.readyState==='complete' && document.querySelector('h1')")
				w.violationsIn("main", standard)
			}
		}
	}
	w.entersAs(admins)
}

// withoutNames are what of a page differs with whoever looks at it, and when.
var withoutNames = regexp.MustCompile(`(viewer|operator|admin)-1 · (viewer|operator|admin)|revision [\d\x{202f}]+|data-live="\d+"|[A-Z2-7]{26}|[\d.]+ [KM]iB of memory`)

// entersAs logs in as another.
func (w *browser) entersAs(role engine.Role) {
	w.t.Helper()
	if _, err := chromedp.Call(w.ctx, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		w.t.Fatal(err)
	}
	w.open("/login")
	w.until("document.querySelector('#name')")
	w.fill("#name", role.String()+"-1")
	w.fill("#password", password+kb.Enter)
	w.until("document.readyState==='complete' && document.body.innerText.includes('" + role.String() + "-1')")
}

// stop is where the focus was, on its way through a page by the Tab key.
type stop struct {
	Name    string  `json:"name"`
	Part    string  `json:"part"` // header, nav, main or footer
	Ring    float64 `json:"ring"` // the width of its outline
	Covered bool    `json:"covered"`
	Late    bool    `json:"late"` // it stands before the stop before it
}

// stops notes where the focus comes by.
const stops = `window.stops=[]; document.addEventListener("focusin", (e) => {
  const t=e.target, s=getComputedStyle(t), b=t.getBoundingClientRect(), last=window.stops.at(-1);
  const at=document.elementFromPoint(Math.min(Math.max(b.left+b.width/2,0),innerWidth-1), Math.min(Math.max(b.top+Math.min(b.height,40)/2,0),innerHeight-1));
  const name=(t.getAttribute("aria-label")||t.labels?.[0]?.innerText||t.innerText||t.name||t.id||t.tagName).trim().replace(/\s+/g," ").slice(0,60);
  window.stops.push({name: t.tagName.toLowerCase()+" "+name, part: t.closest("header,nav,main,footer")?.tagName.toLowerCase()||"", ring: s.outlineStyle==="none"?0:parseFloat(s.outlineWidth),
    covered: !(at && (t.contains(at) || at.contains(t))), late: !!last && !!(window.lastStop.compareDocumentPosition(t)&Node.DOCUMENT_POSITION_PRECEDING)});
  window.lastStop=t;
});`

// tabbable are those that the Tab key is to come by, in the order of the page.
const tabbable = `[...document.querySelectorAll("a[href],button,input:not([type=hidden]),select,textarea,summary,[tabindex]")].filter((e) => e.tabIndex>=0 && !e.disabled && e.checkVisibility() && !e.closest("dialog:not([open])") && !(e.closest("details:not([open])") && !e.matches("details>summary")))`

// skips is the first stop of each page.
const skips = "a Skip to the content"

// goesThrough tabs through a page: the order is that of the page, from the link that skips to its end and out of it; each stop
// has a ring of 2 px and is not covered.
func (w *browser) goesThrough(name string) {
	w.t.Helper()
	w.do(void(stops))
	want, err := chromedp.Run(w.ctx, chromedp.Evaluate[int](tabbable+".length"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys(strings.Repeat(kb.Tab, want))
	list, err := chromedp.Run(w.ctx, chromedp.Evaluate[[]stop]("window.stops"))
	if err != nil {
		w.t.Fatal(err)
	}
	if begin := slices.IndexFunc(list, func(s stop) bool { return s.Name == skips }); begin >= 0 { // a page may begin within, with a field
		list = slices.Concat(list[begin:], list[:begin])
		list[0].Late = false
	}
	var told strings.Builder
	fmt.Fprintf(&told, "%s: %d stops\n", name, len(list))
	for i, s := range list {
		fmt.Fprintf(&told, "  %-7s %s\n", s.Part, s.Name)
		if s.Ring < 2 || s.Covered || s.Late {
			w.t.Errorf("%s: stop %d: %+v", w.current, i, s)
		}
	}
	if len(list) != want || want < 3 || list[0].Name != skips {
		w.t.Errorf("%s: %d stops, want %d, the first of which skips to the content\n%s", w.current, len(list), want, told.String())
	}
	if dir := os.Getenv(pictures); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name+"-focus.txt"), []byte(told.String()), 0o600); err != nil {
			w.t.Error(err)
		}
	}
}

// What a tab may cost: bytes for the first page with all it needs, and by how much a page may jump while it is loaded.
const (
	mostFirst = 120 << 10
	mostJump  = 0.05
)

// loads asks for the first page with nothing kept in the browser.
func loads(w *browser) {
	w.t.Helper()
	w.open("/settings")
	w.until("document.readyState==='complete'")
	if _, err := chromedp.Call(w.ctx, network.ClearBrowserCache, cdp.Empty{}); err != nil {
		w.t.Fatal(err)
	}
	_, before := w.asked()
	w.open("/")
	w.until("document.querySelector('#chart .uplot')")
	if n, bytes := w.asked(); bytes-before > mostFirst || bytes == before {
		w.t.Errorf("the first page takes %d bytes (%d requests since the beginning), at most %d", bytes-before, n, mostFirst)
	}
	jump, err := chromedp.Run(w.ctx, chromedp.Evaluate[float64](`new Promise((told) => { let sum=0; new PerformanceObserver((l) => { for (const e of l.getEntries()) if (!e.hadRecentInput) sum+=e.value; }).observe({type: "layout-shift", buffered: true}); requestAnimationFrame(() => setTimeout(() => told(sum))); })`, chromedp.EvalAwaitPromise))
	if err != nil || jump >= mostJump {
		w.t.Errorf("the first page jumps by %v, %v", jump, err)
	}
}

// asked is how many requests the browser has sent, and how many bytes it got.
func (w *browser) asked() (requests, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests, w.bytes
}

// freshEvery is how often a page asks for its rows at most, as app.js has it.
const freshEvery = 5 * time.Second

// staysOpen has a page be open in live mode while decisions come, over hours as its clock has it: rows are asked for one
// time each five seconds at most, nothing else is, and neither the document nor its memory grows.
func staysOpen(w *browser) {
	w.t.Helper()
	for i := range 50 {
		w.ban(fmt.Sprintf("198.19.0.%d", i))
	}
	w.open("/decisions?limit=50")
	w.until("document.querySelector('#live').dataset.state==='live' && document.querySelectorAll('#rows tbody tr').length===50")
	w.do(void("window.ahead=0; Date.now=((real) => () => real()+window.ahead)(Date.now); window.rowsSeen=0; new MutationObserver(() => window.rowsSeen++).observe(document.querySelector('main'), {childList: true, subtree: true}); document.querySelector('.side a').focus()"))
	next := func(i int) {
		value := fmt.Sprintf("198.19.%d.%d", 1+i/250, 1+i%250)
		w.do(void("window.ahead+=6000"))
		w.ban(value)
		w.shows(value)
	}
	for i := range 3 {
		next(i)
	}
	before := w.weight()
	requests, bytes := w.asked()
	for i := range *morphs {
		next(3 + i)
	}
	after := w.weight()
	n, got := w.asked()
	if n -= requests; n > 2**morphs {
		w.t.Errorf("%d requests for %d rows that came", n, *morphs)
	}
	if each := (got - bytes) / *morphs; each > mostFirst {
		w.t.Errorf("%d bytes each time rows come", each)
	}
	for name, grows := range map[string]float64{"Nodes": 1.1, "JSEventListeners": 1.1, "JSHeapUsedSize": 1.25} {
		if after[name] > grows*before[name]+2 && (name != "JSHeapUsedSize" || after[name] > before[name]+1<<20) {
			w.t.Errorf("%s is %v after %d times, and was %v", name, after[name], *morphs, before[name])
		}
	}
	if kept, err := chromedp.Run(w.ctx, chromedp.Evaluate[bool]("document.activeElement===document.querySelector('.side a') && document.querySelectorAll('#rows tbody tr').length===50")); err != nil || !kept {
		w.t.Errorf("the focus is lost, or rows are more: %v", err)
	}
	w.do(void("document.addEventListener('lapid:news', (e) => { window.heard=e.detail.revision; })"))
	requests, _ = w.asked()
	begun := time.Now()
	for i := range 30 {
		w.ban(fmt.Sprintf("198.19.200.%d", i))
	}
	w.until(fmt.Sprintf("window.heard>=%d", w.rig.View().Revision()))
	if n, _ := w.asked(); n-requests > 2+int(time.Since(begun)/freshEvery) {
		w.t.Errorf("%d requests within %v", n-requests, time.Since(begun))
	}
}

// weight is what the page has in memory, after what is not used was thrown away.
func (w *browser) weight() map[string]float64 {
	w.t.Helper()
	if _, err := chromedp.Call(w.ctx, performance.Enable, performance.EnableParams{}); err != nil {
		w.t.Fatal(err)
	}
	for range 2 {
		if _, err := chromedp.Call(w.ctx, heapprofiler.CollectGarbage, cdp.Empty{}); err != nil {
			w.t.Fatal(err)
		}
	}
	list, err := chromedp.Call(w.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, m := range list.Metrics {
		out[m.Name] = m.Value
	}
	return out
}

// showsMany has a page of very many decisions: it holds no more than its rows, and says how many there are.
func showsMany(w *browser) {
	w.t.Helper()
	var list strings.Builder
	for i := range *many {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	if status, text, _ := w.ask("POST", "/admin/v1/decisions/import/list?batch=many", w.tokens[admins], list.String(), "Content-Type", "text/plain"); status != 201 {
		w.t.Fatalf("%d %.300s", status, text)
	}
	_, before := w.asked()
	w.open("/decisions?origin=cscli-import&limit=500")
	for page := range 3 {
		w.until("document.readyState==='complete' && !window.left && document.querySelectorAll('#rows tbody tr').length===500")
		if weighs := w.weight(); weighs["Nodes"] > 500*mostNodes {
			w.t.Errorf("page %d of %d decisions has %v nodes", page, *many, weighs["Nodes"])
		}
		w.shows(site.Count(*many) + " in all")
		w.do(void("window.left=true"))
		w.click("a[rel=next]")
	}
	w.until("document.readyState==='complete' && !window.left")
	if _, bytes := w.asked(); bytes-before > 4*500*mostRow {
		w.t.Errorf("four pages of 500 rows are %d bytes", bytes-before)
	}
}

// What a row may cost: nodes of the document, with its share of what is around, and bytes.
const mostNodes, mostRow = 120, 2500
