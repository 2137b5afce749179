package console

import (
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
