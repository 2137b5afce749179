// What scripts add to pages that work without: live rows, keys, confirmation, charts, copying.
const body = document.body;
const base = body.dataset.base ?? "";
const one = (q, from = document) => from.querySelector(q);
const all = (q, from = document) => [...from.querySelectorAll(q)];
const kept = {
  get: (k) => { try { return localStorage.getItem("lapid." + k); } catch { return null; } },
  set: (k, v) => { try { localStorage.setItem("lapid." + k, v); } catch { /* a browser that keeps nothing */ } },
  drop: (k) => { try { localStorage.removeItem("lapid." + k); } catch { /* likewise */ } },
};

// An address without what was said: a reload need not say it again.
const here = new URL(location.href);
if (here.searchParams.has("said")) {
  here.searchParams.delete("said");
  history.replaceState(history.state, "", here);
}

// Forms: ask before what cannot be taken back; send once.
const sure = one("#sure");
let asker = null;
document.addEventListener("click", (e) => {
  const b = e.target.closest("[data-confirm]");
  if (!b || !sure || b === asker) return;
  e.preventDefault();
  one("#sure-text").textContent = b.dataset.confirm;
  asker = b;
  sure.returnValue = "";
  sure.showModal();
});
sure?.addEventListener("close", () => {
  const b = asker;
  asker = null;
  if (sure.returnValue === "yes") b.form.requestSubmit(b); else b?.focus();
});
document.addEventListener("submit", (e) => {
  if (e.defaultPrevented || e.target.method !== "post") return;
  if (e.target.dataset.sent) { e.preventDefault(); return; }
  e.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => all("form[data-sent]").forEach((f) => delete f.dataset.sent));

// Secrets are copied by a button where the browser allows it.
for (const b of all("[data-copy]")) {
  if (!navigator.clipboard) continue;
  b.hidden = false;
  b.addEventListener("click", async () => {
    await navigator.clipboard.writeText(one(b.dataset.copy).textContent);
    b.textContent = "Copied";
  });
}

// Ticks: how many, all at once, a span with Shift.
let lastTick = null;
function ticks() { return all("#rows input[name=id]"); }
function told() {
  const at = one("[data-picked]");
  const n = ticks().filter((t) => t.checked).length;
  if (at) {
    at.textContent = `Ticked decisions: ${n}`;
    at.parentElement.classList.toggle("some", n > 0);
  }
  const button = one("[data-pick-all]");
  if (button) button.hidden = ticks().length === 0;
}
document.addEventListener("click", (e) => {
  if (e.target.closest("[data-pick-all]")) {
    const set = ticks().some((t) => !t.checked);
    ticks().forEach((t) => { t.checked = set; });
    told();
    return;
  }
  if (!e.target.matches?.("#rows input[name=id]")) return;
  const list = ticks();
  if (e.shiftKey && lastTick && list.includes(lastTick)) {
    const [a, b] = [list.indexOf(lastTick), list.indexOf(e.target)].sort((x, y) => x - y);
    for (let i = a; i <= b; i++) list[i].checked = e.target.checked;
  }
  lastTick = e.target;
  told();
});
told();

// Rows: of each table one is a stop of the keyboard, and arrows lead to others. Of what a row offers only its first cell
// is a stop; arrows to the right and left lead through all of it.
const rows = (table = one("[data-rows]")) => (table ? all("tbody tr", table) : []);
const offers = (row) => all("a[href], button, input, select, summary", row).filter((c) => !c.disabled && c.checkVisibility());
function rove() {
  for (const table of all("[data-rows]")) {
    const list = rows(table);
    const stop = list.find((r) => r.tabIndex === 0) ?? list[0];
    for (const r of list) {
      r.tabIndex = r === stop ? 0 : -1;
      all("a[href], button, input, select, summary", r).forEach((c) => { if (!r.cells[0].contains(c)) c.tabIndex = -1; });
    }
  }
}
function toRow(row) {
  if (!row) return;
  rows(row.closest("table")).forEach((r) => { r.tabIndex = r === row ? 0 : -1; });
  row.focus();
}
function move(by) {
  const row = document.activeElement.closest?.("[data-rows] tbody tr");
  const list = rows(row?.closest("table"));
  const at = row ? list.indexOf(row) + by : Math.max(list.findIndex((r) => r.tabIndex === 0), 0);
  toRow(list[Math.min(Math.max(at, 0), list.length - 1)]);
}
function within(row, by) {
  const list = offers(row);
  const at = list.indexOf(document.activeElement) + by;
  if (at < 0) row.focus(); else list[Math.min(at, list.length - 1)]?.focus();
}
rove();

// Long lists: scrolling past the end of a page brings the next one, scrolling back the one before. No more than mostRows are
// kept: the page that is farthest goes, unless something in it is ticked or has the focus. What is looked at stays where it is, and the address
// is that of the page that is.
const mostRows = 500;
const longList = () => one("[data-rows][aria-rowcount]");
const ways = new WeakMap(); // of a page: its address, and the ways on
let bringing = false;
function knowPage(part, from, url) {
  const nav = one(".pages", from);
  const to = (rel) => one(`a[rel=${rel}]`, nav ?? from)?.getAttribute("href");
  ways.set(part, { url, nav, next: to("next"), prev: to("prev") });
  return part;
}
async function fetchPage(url) {
  const r = await fetch(url, { headers: { "Lapid-Background": "1", "Hx-Request": "true" } });
  if (r.status === 401) { one("#over")?.showModal(); return null; }
  return r.ok ? new DOMParser().parseFromString(await r.text(), "text/html") : null;
}
async function bring(rel) {
  const table = longList();
  const parts = [...table.tBodies];
  for (const part of parts) if (!ways.has(part)) knowPage(part, document, location.href);
  const edge = rel === "next" ? parts.at(-1) : parts[0];
  const url = ways.get(edge)[rel];
  if (!url || bringing) return;
  const far = rel === "next" ? parts : parts.toReversed();
  let n = rows(table).length + edge.rows.length;
  const goes = [];
  for (let i = 0; n > mostRows; i++) {
    if (far[i] === edge || one("input:checked", far[i]) || far[i].contains(document.activeElement)) return;
    n -= far[i].rows.length;
    goes.push(far[i]);
  }
  bringing = true;
  try {
    const doc = await fetchPage(url);
    const part = doc && one("[data-rows][aria-rowcount] tbody", doc);
    if (!part || !edge.isConnected) return;
    knowPage(part, doc, new URL(url, location.href).href);
    const was = edge.getBoundingClientRect().top;
    if (rel === "next") edge.after(part); else edge.before(part);
    goes.forEach((g) => g.remove());
    scrollBy(0, edge.getBoundingClientRect().top - was);
    one("#rows > .pages")?.replaceWith(ways.get([...table.tBodies].at(-1)).nav);
    rove();
    told();
  } catch { /* the links at the end still lead there */ } finally { bringing = false; }
}
let scrolled = scrollY;
addEventListener("scroll", () => requestAnimationFrame(() => {
  const down = scrollY > scrolled;
  const up = scrollY < scrolled;
  scrolled = scrollY;
  const table = longList();
  if (!table) return;
  const { top, bottom } = table.getBoundingClientRect();
  if (down && bottom < innerHeight + 600) bring("next");
  if (up && top > -600) bring("prev");
  const seen = [...table.tBodies].find((part) => part.getBoundingClientRect().bottom > innerHeight / 2);
  const url = seen && ways.get(seen)?.url;
  if (url && url !== location.href) history.replaceState(history.state, "", url);
}), { passive: true });

// Keys.
const keys = one("#keys");
const keysOff = one("#keys-off");
const opener = one("#keys-open");
if (keys) {
  opener.hidden = false;
  opener.addEventListener("click", () => keys.showModal());
  keysOff.checked = kept.get("keys") === "off";
  keysOff.addEventListener("change", () => kept.set("keys", keysOff.checked ? "off" : "on"));
}
const places = { o: "/", d: "/decisions", a: "/alerts", b: "/bouncers", m: "/machines", l: "/allowlists" };
let led = 0;
const go = (path) => { location.href = base + path; };
const follow = (q) => { const a = one(q); if (a) { a.click(); return true; } return false; };
document.addEventListener("keydown", (e) => {
  const typing = e.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (e.ctrlKey || e.metaKey || e.altKey || !keys || document.querySelector("dialog[open]")) return;
  const row = e.target.closest("[data-rows] tbody tr");
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e6, End: 1e6 }[e.key];
  if (row && !typing && step) { e.preventDefault(); move(step); return; }
  if (row && !typing && (e.key === "ArrowRight" || e.key === "ArrowLeft")) { e.preventDefault(); within(row, e.key === "ArrowRight" ? 1 : -1); return; }
  if (row && e.target === row) {
    if (e.key === "Enter") { (row.querySelector("th a, td a") ?? row).click(); return; }
    if (e.key === " " || e.key === "x") { e.preventDefault(); row.querySelector("input[name=id]")?.click(); return; }
  }
  if (typing || keysOff.checked) return;
  if (Date.now() - led < 1500 && places[e.key]) { e.preventDefault(); go(places[e.key]); return; }
  led = 0;
  const does = {
    "/": () => (one("#search") ?? one("#ask"))?.focus(), "e": () => one("#ask").focus(), "g": () => { led = Date.now(); }, "?": () => keys.showModal(),
    "n": () => follow("[data-key='n']"), "#": () => follow("[data-key='#']"), "[": () => follow("a[rel=prev]") || follow("a[rel=first]"), "]": () => follow("a[rel=next]"),
    "j": () => move(1), "k": () => move(-1), "p": () => pause(!paused), "t": () => theme(),
  }[e.key];
  if (does) { e.preventDefault(); does(); }
});
async function theme() {
  const next = { "": "light", light: "dark", dark: "" }[document.documentElement.dataset.theme ?? ""];
  const r = await fetch(base + "/looks", { method: "POST", body: new URLSearchParams({ theme: next }), redirect: "manual" });
  if (r.ok || r.type === "opaqueredirect") {
    document.documentElement.dataset.theme = next;
    charts();
  }
}

// The palette: a place to go to, by its name. Pages, the last filters, and why an address is banned.
const palette = one("#palette");
const wish = one("#palette-wish");
const mostRecent = 8;
const lists = { "/decisions": "Decisions", "/alerts": "Alerts", "/activity": "Activity", "/audit": "Audit" };
function recent() {
  try {
    const list = JSON.parse(kept.get("recent") ?? "[]");
    return Array.isArray(list) ? list.filter((r) => typeof r === "string" && lists[r.split("?")[0]]) : [];
  } catch { return []; }
}
// A filter is kept in this browser until somebody logs out.
function remember() {
  const path = here.pathname.slice(base.length);
  const filter = new URLSearchParams(here.search);
  for (const name of [...filter.keys()]) if (name === "cursor" || name === "limit" || !filter.get(name)) filter.delete(name);
  if (!lists[path] || !filter.size) return;
  const now = `${path}?${filter}`;
  kept.set("recent", JSON.stringify([now, ...recent().filter((r) => r !== now)].slice(0, mostRecent)));
}
if (!palette) kept.drop("recent"); else remember();
function choices(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const list = all(".side a").map((a) => ({ name: a.textContent, to: a.getAttribute("href") }));
  for (const r of recent()) {
    const [path, query] = r.split("?");
    list.push({ name: `${lists[path]}: ${[...new URLSearchParams(query)].map(([k, v]) => (k === "q" ? v : `${k} ${v}`)).join(", ")}`, to: base + r });
  }
  const found = list.filter((c) => words.every((w) => c.name.toLowerCase().includes(w)));
  const target = text.trim();
  if (/^[0-9a-f.:]*[.:][0-9a-f.:]*(\/\d+)?$/i.test(target) || /^(decision|alert):\d+$/.test(target)) found.unshift({ name: `Why ${target}`, to: `${base}/why?${new URLSearchParams({ target })}` });
  return found;
}
let offered = [];
let chosen = 0;
function choose(n) {
  chosen = offered.length ? (n + offered.length) % offered.length : -1;
  all("#palette-list [role=option]").forEach((o, i) => {
    o.setAttribute("aria-selected", i === chosen);
    if (i === chosen) o.scrollIntoView({ block: "nearest" });
  });
  if (chosen < 0) wish.removeAttribute("aria-activedescendant"); else wish.setAttribute("aria-activedescendant", `palette-${chosen}`);
}
function offerPlaces() {
  offered = choices(wish.value);
  one("#palette-list").replaceChildren(...offered.map((c, i) => {
    const o = document.createElement("li");
    o.id = `palette-${i}`;
    o.setAttribute("role", "option");
    o.textContent = c.name;
    o.addEventListener("click", () => { location.href = c.to; });
    return o;
  }));
  one("#palette-none").hidden = offered.length > 0;
  choose(0);
}
function openPalette() {
  wish.value = "";
  offerPlaces();
  palette.showModal();
}
if (palette) {
  const button = one("#palette-open");
  button.hidden = false;
  button.addEventListener("click", openPalette);
  wish.addEventListener("input", offerPlaces);
  wish.addEventListener("keydown", (e) => {
    if (e.key === "ArrowDown" || e.key === "ArrowUp") { e.preventDefault(); choose(chosen + (e.key === "ArrowDown" ? 1 : -1)); }
    if (e.key === "Enter") { e.preventDefault(); if (offered[chosen]) location.href = offered[chosen].to; }
  });
  document.addEventListener("keydown", (e) => {
    if (e.key.toLowerCase() !== "k" || !(e.ctrlKey || e.metaKey) || e.altKey || e.shiftKey) return;
    e.preventDefault();
    if (palette.open) palette.close(); else if (!document.querySelector("dialog[open]")) openPalette();
  });
}

// Live: news of the history; rows are asked for anew when some concern them.
const shown = one("#live");
let source = null;
let paused = false;
let fails = 0;
let hiddenFor = 0;
let poll = 0;
let wanted = false;
function say(state, text) { if (shown) { shown.dataset.state = state; shown.textContent = text; } }
// What is missed while it is paused is counted, and told where a page has a place for it.
let missed = {};
let newest = Number(body.dataset.live ?? 0);
let pausedAt = 0;
function pause(on) {
  paused = on;
  const button = one("#pause");
  if (button) button.textContent = on ? "Go on" : "Pause";
  if (on) { missed = {}; pausedAt = newest; say("off", "paused"); tellGap(); return; }
  say("live", "live");
  tellGap();
  if (wanted) refresh();
}
function tellGap() {
  const gap = one("#gap");
  if (!gap) return;
  gap.hidden = !paused;
  const list = Object.entries(missed).map(([kind, n]) => `${n} of ${kind}s`);
  gap.textContent = `Paused at revision ${pausedAt}. ${list.length ? `Missed since: ${list.join(", ")}.` : "Nothing missed so far."}`;
}
const pauser = one("#pause");
if (pauser) {
  pauser.hidden = false;
  pauser.addEventListener("click", () => pause(!paused));
}
function listen() {
  if (!shown || source) return;
  source = new EventSource(base + "/events");
  source.onopen = () => { fails = 0; clearInterval(poll); poll = 0; if (!paused) say("live", "live"); };
  source.onerror = () => {
    if (!paused) say("lost", "reconnecting");
    if (++fails === 3 && !poll) poll = setInterval(() => refresh(), 10_000);
    if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, 10_000); }
  };
  source.addEventListener("reset", () => refresh());
  source.onmessage = (m) => {
    const news = JSON.parse(m.data);
    newest = news.revision;
    if (paused) {
      for (const [what, n] of Object.entries(news)) if (what !== "revision") missed[what] = (missed[what] ?? 0) + n;
      tellGap();
    }
    const kind = one("#rows")?.dataset.refresh;
    if (kind === "any" || news[kind]) refresh();
    document.dispatchEvent(new CustomEvent("lapid:news", { detail: news }));
  };
}
// Someone who reads, ticks or types is not disturbed: what is new waits behind a button.
function busy() {
  const r = one("#rows");
  return !r || scrollY > 120 || ticks().some((t) => t.checked) || r.contains(document.activeElement) || one("#rows details[open]:not(:first-of-type)") || here.searchParams.has("cursor") || longList()?.tBodies.length > 1;
}
// One who looks at live rows asks for them no more often than this, however much happens.
const freshEvery = 5000;
let asking = false;
let asked = 0;
let charted = 0;
async function refresh(force) {
  if (!one("#rows")) return;
  const early = asked + freshEvery - Date.now();
  if (!force && !paused && early > 0) { if (!wanted) { wanted = true; setTimeout(refresh, early); } return; }
  if (paused || asking || (!force && busy())) { wanted = true; if (!paused && !asking) peek(); return; }
  asking = true;
  wanted = false;
  asked = Date.now();
  one("#rows").setAttribute("aria-busy", "true");
  try {
    const r = await fetch(location.href, { headers: { "Lapid-Background": "1", "Hx-Request": "true" } });
    if (r.status === 401) { one("#over")?.showModal(); source?.close(); source = null; return; }
    if (!r.ok) return;
    const text = await r.text();
    await window.htmx.swap({ text, target: "#rows", swap: "outerMorph", select: "#rows", sourceElement: one("#rows") });
    one("#news")?.remove();
    told();
    rove();
    if (Date.now() - charted > 60_000) charts(); // what they show is of whole minutes
  } catch { say("lost", "server away"); } finally {
    asking = false;
    one("#rows")?.removeAttribute("aria-busy");
    if (wanted) setTimeout(refresh, 1000);
  }
}
// What is new is counted, and what has ended meanwhile is struck through where it stands. Of a list that goes on behind the page nothing
// is known of its last rows, which may only have been pushed off it.
async function peek() {
  offer();
  const table = longList();
  asked = Date.now();
  if (!table || table.tBodies.length > 1 || here.searchParams.has("cursor") || bringing) return;
  const doc = await fetchPage(location.href).catch(() => null);
  const fresh = doc && one("#rows", doc) && longList() === table ? new Set(all("[data-rows][aria-rowcount] tbody tr", doc).map((r) => r.id)) : null;
  if (!fresh) return;
  const shown = rows(table);
  const last = one("a[rel=next]", doc) ? shown.findLastIndex((r) => fresh.has(r.id)) : shown.length - 1;
  for (const r of shown.slice(0, last + 1)) {
    if (fresh.has(r.id) || r.classList.contains("over")) continue;
    r.classList.add("over");
    const said = document.createElement("span");
    said.className = "tag";
    said.textContent = "over";
    one("th", r).append(" ", said);
  }
  const known = new Set(shown.map((r) => r.id));
  const n = [...fresh].filter((id) => !known.has(id)).length;
  const b = one("#news button");
  if (b && n) b.textContent = `Show what is new: ${n}`;
}
function offer() {
  if (one("#news")) return;
  const box = document.createElement("div");
  box.id = "news";
  box.className = "news";
  box.setAttribute("role", "status");
  const b = document.createElement("button");
  b.type = "button";
  b.className = "main";
  b.textContent = "Show what is new";
  b.addEventListener("click", () => {
    box.remove();
    const first = longList()?.tBodies.length > 1 && one("a[rel=first]");
    if (first) first.click(); else refresh(true);
  });
  box.append(b);
  one("#rows").before(box);
}
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenFor);
  if (!document.hidden) { listen(); return; }
  hiddenFor = setTimeout(() => { source?.close(); source = null; say("off", "asleep"); }, 300_000);
});
if (body.dataset.live) listen();

// Charts: uPlot is fetched where one is shown. Which figures of what time are in the address.
let plot = null;
const zone = document.documentElement.dataset.zone || "UTC";
const clockForm = { hour: "2-digit", minute: "2-digit", timeZone: zone };
const dayForm = { month: "2-digit", day: "2-digit", ...clockForm };
const lineColours = ["--accent", "--amber", "--green", "--red", "--soft"];
const lineDashes = [[], [6, 4], [2, 3], [10, 3, 2, 3], [1, 5]];
// figures are the lines of each choice, out of what the server answers.
const figures = {
  decided: (f) => [["Decisions added", f.decisions_begun], ["Alerts", f.alerts], ["Decisions ended", f.decisions_ended]],
  running: (f) => [["Running decisions", f.decisions_running]],
  requests: (f) => [["Live queries", f.live_queries], ["Pulls of streams", f.stream_pulls], ["Live queries that found something", f.live_hits]],
  scenarios: (f) => f.scenarios.slice(0, lineColours.length).map((one) => [one.name || "(no scenario)", one.alerts]),
};
function loadPlot(at) {
  return new Promise((done, failed) => {
    const s = document.createElement("script");
    s.src = at.dataset.plot;
    s.onload = done;
    s.onerror = failed;
    document.head.append(s);
    const l = document.createElement("link");
    l.rel = "stylesheet";
    l.href = at.dataset.plotStyle;
    document.head.append(l);
  });
}
async function charts() {
  const at = one("#charts");
  if (!at) return;
  charted = Date.now();
  const r = await fetch(`${at.dataset.charts}?since=${one("#span").value}`, { headers: { "Lapid-Background": "1" } });
  if (!r.ok) return;
  const f = await r.json();
  const lines = figures[one("#figure").value](f);
  if (f.at.length < 3 || !lines.length) {
    if (plot || here.searchParams.has("span")) {
      at.hidden = false;
      plot?.destroy();
      plot = null;
      one("#chart-summary").textContent = "Nothing of this is known yet: figures are kept from the server's first start on.";
    }
    return;
  }
  at.hidden = false;
  if (!window.uPlot) await loadPlot(at);
  draw(f, lines);
  tell(f, lines);
}
function draw(f, lines) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const clock = (t) => new Date(t * 1000).toLocaleString("en-GB", f.step_seconds < 3600 ? clockForm : dayForm);
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
  const box = one("#chart");
  plot?.destroy();
  plot = new window.uPlot({
    width: box.clientWidth, height: 240, axes: [{ ...axis, space: 90, values: (u, list) => list.map(clock) }, axis], scales: { y: { range: (u, low, high) => [0, Math.max(high * 1.1, 1)] } }, cursor: { drag: { x: false, y: false } },
    series: [{ label: zone, value: (u, t) => (t ? clock(t) : "–") }, ...lines.map(([label], i) => ({ points: { show: false }, label, stroke: colour(lineColours[i]), width: 2, dash: lineDashes[i] }))],
  }, [f.at, ...lines.map(([, list]) => list)], box);
}
// tell says the same in words and as a table.
function tell(f, lines) {
  const each = f.step_seconds < 3600 ? "minute" : "hour";
  const running = one("#figure").value === "running";
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  one("#chart").setAttribute("aria-label", `${lines.map(([label]) => label).join(", ")}, for each ${each}; the table below has the same`);
  one("#chart-summary").textContent = running ? `${lines[0][1].at(-1)} at the end, ${Math.max(...lines[0][1])} at the most, in the ${f.at.length} ${each}s shown.`
    : `${lines.map(([label, list]) => `${label}: ${sum(list)}`).join("; ")}; in the ${f.at.length} ${each}s shown, for each ${each}.`;
  const line = (head, cells) => {
    const tr = document.createElement("tr");
    for (const [j, v] of cells.entries()) {
      const cell = document.createElement(j && !head ? "td" : "th");
      if (j) cell.className = "number";
      if (head) cell.scope = "col"; else if (!j) cell.scope = "row";
      cell.textContent = v;
      tr.append(cell);
    }
    return tr;
  };
  const clock = (t) => new Date(t * 1000).toLocaleString("en-GB", dayForm);
  one("#chart-head").replaceChildren(line(true, [`Each ${each}`, ...lines.map(([label]) => label)]));
  one("#chart-rows").replaceChildren(...f.at.map((t, i) => line(false, [clock(t), ...lines.map(([, list]) => list[i])])));
}
for (const id of ["span", "figure"]) {
  const choice = one(`#${id}`);
  if (!choice) continue;
  const wish = here.searchParams.get(id);
  if ([...choice.options].some((o) => o.value === wish)) choice.value = wish;
  choice.addEventListener("change", () => {
    here.searchParams.set(id, choice.value);
    history.replaceState(history.state, "", here);
    charts();
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", charts); // a line has the colours of when it was drawn
addEventListener("resize", () => { if (plot) plot.setSize({ width: one("#chart").clientWidth, height: 240 }); });
charts();
