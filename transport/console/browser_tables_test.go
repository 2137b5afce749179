package console

import (
	"fmt"
	"strings"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// choosesColumns chooses which columns a table has, moves one, and goes through the rows by keys. Where there is no room, a card
// has three fields, and what the page does is at the bottom.
func choosesColumns(w *browser) {
	heads := func(want string) {
		w.t.Helper()
		w.until("document.readyState==='complete' && [...document.querySelectorAll('thead th a, thead th:not(:has(*))')].map(h => h.textContent.trim()).join(' ')===" + quoted(want))
	}
	w.size(1440, 900)
	w.open("/alerts")
	w.click("details.panel:has(#columns) summary")
	w.violations(standard)
	w.picture("columns-light-1440")
	for _, name := range []string{"from", "events", "decisions", "machine", "alert", "message"} {
		w.click("#columns input[value=" + name + "]")
	}
	w.click("#columns .main")
	heads("Scenario Source Came Message")
	w.until("document.querySelector('details:has(#columns)').open") // to go on
	w.click("#columns button[name=earlier][value=message]")
	heads("Scenario Source Message Came")
	w.open("/alerts")
	heads("Scenario Source Message Came")
	w.click("details.panel:has(#columns) summary")
	w.click("#columns button[name=usual]")
	heads("Scenario Source From Events Decisions Machine Came Alert")

	w.keys("jj")
	w.until("document.activeElement.getAttribute('aria-rowindex')==='3' && document.querySelectorAll('tbody tr[tabindex=\"0\"]').length===1")
	w.keys(kb.ArrowRight + kb.ArrowRight)
	w.until("document.activeElement.matches('td[data-label=Source] a') && document.activeElement.tabIndex===-1")
	w.keys(kb.ArrowDown)
	w.until("document.activeElement.getAttribute('aria-rowindex')==='4'")
	w.keys(kb.End)
	w.until("document.activeElement===document.querySelector('tbody tr:last-child')")

	w.size(375, 800)
	w.open("/decisions")
	w.until("document.readyState==='complete'")
	fields := "[...document.querySelectorAll('tbody tr:first-child td[data-label]')].filter(f => f.checkVisibility()).map(f => f.dataset.label).join(' ')"
	if got, err := chromedp.Run(w.ctx, chromedp.Evaluate[string](fields)); err != nil || got != "Type Scenario Remaining" {
		w.t.Errorf("a card has %q, %v", got, err)
	}
	for _, theme := range []string{"light", "dark"} {
		w.do(void("document.documentElement.dataset.theme='" + theme + "'"))
		w.picture("bottom-bar-" + theme + "-375-top")
	}
	w.do(void("scrollTo(0, document.body.scrollHeight)"))
	w.until("Math.abs(document.querySelector('main > .head > .acts').getBoundingClientRect().bottom - innerHeight) < 1")
	w.violations(standard)
	w.size(1440, 900)
}

// scrollsFar reads a list of many pages by scrolling: the page holds no more rows than it may, what is looked at stays where it is, and
// the address and the place in the list are right, there and back.
func scrollsFar(w *browser) {
	var items strings.Builder
	for i := range 700 {
		fmt.Fprintf(&items, `,{"value":"198.18.%d.%d","reason":"scroll far"}`, 64+i/250, i%250)
	}
	w.is(201, "POST", "/admin/v1/decisions/import", `{"batch":"scroll-far","items":[`+items.String()[1:]+`]}`)
	w.size(1440, 900)
	w.open("/decisions?scenario=scroll+far&limit=200")
	w.until("document.readyState==='complete' && document.querySelector('[data-rows]').getAttribute('aria-rowcount')==='701'")
	row := func(rel, at string) string {
		return "document.querySelector('tbody:" + rel + "-of-type tr:" + rel + "-child').getAttribute('aria-rowindex')===" + quoted(at)
	}
	// A wait scrolls on until it is there, as a reader does.
	scroll := func(by int, until string) {
		w.t.Helper()
		w.until(fmt.Sprintf("(window.most = Math.max(window.most ?? 0, document.querySelectorAll('[data-rows] tbody tr').length), scrollBy(0, %d), %s)", by, until))
	}
	scroll(2000, row("last", "701"))
	scroll(2000, "location.search.includes('before=600')")
	w.shows("Rows 601 to 700, 700 in all")
	w.violations(standard)
	w.do(void("document.querySelector('tbody:last-child tr:last-child input').click()")) // what is ticked is not put away
	scroll(-2000, "scrollY===0")
	scroll(-100, row("last", "701"))
	w.do(void("document.querySelector('tbody:last-child tr:last-child input').click()"))
	w.do(void("scrollBy(0, 1000)"))
	scroll(-300, "scrollY===0 && "+row("first", "2")+" && !location.search.includes('before=')")
	if most, err := chromedp.Run(w.ctx, chromedp.Evaluate[int]("window.most")); err != nil || most > 500 || most < 400 {
		w.t.Errorf("the page held %d rows, %v", most, err)
	}
	// A reload is where one was.
	w.do(void("location.reload()"))
	w.until("document.readyState==='complete' && document.querySelectorAll('[data-rows] tbody').length===1 && " + row("first", "2"))
}

// readsOn reads while others write: what has ended is struck through where it stands, what is new waits and is counted.
func readsOn(w *browser) {
	w.size(1440, 900)
	w.open("/decisions?scenario=read+on")
	w.is(201, "POST", "/admin/v1/decisions", `{"value":"198.18.9.1","reason":"read on"}`)
	w.is(201, "POST", "/admin/v1/decisions", `{"value":"198.18.9.2","reason":"read on"}`)
	w.open("/decisions?scenario=read+on")
	w.until("document.readyState==='complete' && document.querySelectorAll('tbody tr').length===2 && document.querySelector('#live').dataset.state==='live'")
	w.click("tbody tr:first-child input[name=id]")
	w.is(200, "DELETE", "/admin/v1/decisions?ip=198.18.9.1", "")
	w.is(201, "POST", "/admin/v1/decisions", `{"value":"198.18.9.3","reason":"read on"}`)
	w.until("document.querySelector('#news')?.innerText==='Show what is new: 1' && document.querySelector('tbody tr.over th')?.innerText==='198.18.9.1 over' && document.querySelectorAll('tbody tr').length===2")
	w.picture("read-on-light-1440")
	w.click("#news button")
	w.until("!document.querySelector('tbody tr.over') && document.querySelectorAll('tbody tr').length===2 && document.querySelector('tbody tr').innerText.includes('198.18.9.3')")
}

// chartsFigures looks at each figure and span; the address has both.
func chartsFigures(w *browser) {
	w.open("/?span=24h&figure=running")
	w.until("document.querySelector('#chart .uplot') && document.querySelector('#figure').value==='running' && document.querySelector('#span').value==='24h'")
	for figure, says := range map[string]string{"requests": "Pulls of streams", "running": "at the most", "decided": "Decisions ended"} {
		w.do(void("{ const f = document.querySelector('#figure'); f.value='" + figure + "'; f.dispatchEvent(new Event('change')) }"))
		w.until("document.querySelector('#chart-summary').textContent.includes(" + quoted(says) + ") && location.search.includes('figure=" + figure + "') && document.querySelectorAll('#chart-rows tr').length > 3")
		w.violations(standard)
		w.picture("chart-" + figure + "-light-1440")
	}
}
