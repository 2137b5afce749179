package console

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/audit"
)

// A line of what needs attention is silenced for a while, for all who look, and is told of again when that is over or somebody ends it.
// A restart knows it still.
func TestSilences(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var noted []audit.Note
	b := newBench(t, func(o *Options) {
		o.Audit = func(n audit.Note) {
			mu.Lock()
			defer mu.Unlock()
			noted = append(noted, n)
		}
		o.Surroundings = func() Surroundings { return Surroundings{Reloaded: true, DiskFree: 9 << 30, DiskSize: 100 << 30} }
	})
	v, other := b.visitor().enter(operator), b.visitor().enter(viewer)
	const line, calm = "The disk of the store is nearly full", "Nothing else: all is as it should be"
	has(t, "the line", v.get("/"), line, `name="key" value="disk"`, `value="24h"`)
	if page := other.get("/"); strings.Contains(page, "/attention/silence") {
		t.Error("a viewer may silence")
	}
	text := line + ": 9.0 GiB are free of 100.0 GiB"
	has(t, "silenced", v.send("/attention/silence", "key", "disk", "for", "4h"), "Nobody is told for 4h", calm, "1 silenced", text, "By operator-1", ">Undo<")
	has(t, "to others too", other.get("/"), calm, "1 silenced")
	has(t, "undone", v.send("/attention/tell", "key", "disk"), "It is told again", `name="key" value="disk"`)
	has(t, "twice", v.read(http.MethodPost, "/attention/tell", form([]string{"key", "disk"}), 400), "is not silenced any more")
	for _, span := range []string{"", "soon", "0", "-4h", "59m", "31d"} {
		has(t, span, v.read(http.MethodPost, "/attention/silence", form([]string{"key", "disk", "for", span}), 400), "such as 4h or 7d, from 1h to 30d")
	}
	v.read(http.MethodPost, "/attention/silence", form([]string{"key", strings.Repeat("k", longestSilenced+1), "for", "4h"}), 400)
	for _, key := range []string{"memory", "no.such:line", "bouncer.silent:edge@later", "\xff"} { // what is not told
		has(t, key, v.read(http.MethodPost, "/attention/silence", form([]string{"key", key, "for", "4h"}), 400), "is not told any more")
	}
	v.send("/attention/silence", "key", "disk", "for", "1h")
	v.send("/attention/silence", "key", "disk", "text", hostile[0], "for", "4h") // anew, for longer; the words are the server's
	if page := v.get("/"); !strings.Contains(page, "1 silenced") || !strings.Contains(page, text) || strings.Contains(page, "&lt;script&gt;") {
		t.Errorf("who silences chooses the words: %.3000s", page)
	}

	again := silences{engine: b.rig.Engine}
	if list := again.inForce(); len(list) != 1 || list[0].Key != "disk" || list[0].By != "operator-1" || time.Duration(list[0].Until-list[0].At) != 4*time.Hour {
		t.Errorf("after a restart there are %+v", list)
	}
	b.rig.Advance(4 * time.Hour)
	v.enter(operator)
	has(t, "when it is over", v.get("/"), line, `name="key" value="disk"`)

	for i := range mostSilences {
		if err := again.begin(t.Context(), silence{Key: fmt.Sprint(i), Text: "t", By: "carol", Until: b.rig.Now().Add(time.Hour).UnixNano()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := again.begin(t.Context(), silence{Key: "one more", Until: b.rig.Now().Add(time.Hour).UnixNano()}); err == nil {
		t.Error("there is no bound")
	}
	mu.Lock()
	defer mu.Unlock()
	var deeds []string
	for _, n := range noted {
		if strings.HasPrefix(n.Action, "attention.") {
			deeds = append(deeds, n.Action+" "+n.Target+" "+n.Outcome+" "+n.By.Name)
		}
	}
	if got := strings.Join(deeds, ", "); !strings.HasPrefix(got, "attention.silence disk ok operator-1, attention.tell disk ok operator-1, attention.silence disk ok") {
		t.Errorf("the audit was told of %s", got)
	}
}

// Nothing is silenced where nothing may be changed; what is stored and cannot be read hides nothing.
func TestSilencesAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.ReadOnly = true })
	for _, path := range []string{"/attention/silence", "/attention/tell"} {
		if status, text, _ := b.ask("POST", path, b.tokens[admins], "key=disk&text=t&for=4h", "Accept", "text/html", "Content-Type", "application/x-www-form-urlencoded"); status != http.StatusForbidden || !strings.Contains(text, "read_only") {
			t.Errorf("%s where nothing may be changed: %d %.300s", path, status, text)
		}
	}
	for _, text := range []string{"", "nonsense", `[{"key":7}]`, `{}`} {
		if err := b.rig.KeepReadings(t.Context(), []engine.Reading{{Series: silenceSeries, Value: []byte(text)}}, nil); err != nil {
			t.Fatal(err)
		}
		if l := (silences{engine: b.rig.Engine}); len(l.inForce()) != 0 {
			t.Errorf("%q hides something", text)
		}
	}
}

// silencesLine silences what the first page says, and has it told again.
func silencesLine(w *browser) {
	w.size(1440, 900)
	w.open("/")
	w.shows("edge-2 waits for validation")
	w.click(".attention .hush summary")
	w.violations(standard)
	for _, theme := range []string{"light", "dark"} {
		w.do(void("document.documentElement.dataset.theme='" + theme + "'"))
		for _, width := range []int64{375, 1440} {
			w.size(width, 900)
			w.picture(fmt.Sprintf("silence-%s-%d", theme, width))
		}
	}
	w.click(".attention .hush button[value='4h']")
	w.shows("Nobody is told for 4h")
	w.shows("1 silenced")
	w.click("#main section details.more summary")
	w.violations(standard)
	w.picture("silenced-light-1440")
	w.click(".attention .hush button")
	w.shows("It is told again")
	w.shows("edge-2 waits for validation")
}
