package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/persist"
	"lapid/transport/auth"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// bare is an ETag without its quotes.
func (r reply) bare() string { return strings.Trim(r.header.Get("ETag"), `"`) }

// values are what an answer of the stream tells.
func (r reply) values(t testing.TB) (fresh, deleted []string) { return lists(t, r.body) }

// TestPlaces: every answer of the stream says where it leads to, and who says that back
// is told what came since, wherever the cursor of its row is.
func TestPlaces(t *testing.T) {
	t.Parallel()
	bothWays(t, testPlaces)
}

func testPlaces(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	ask := func(query string, header ...string) reply {
		t.Helper()
		return h.asBouncer("GET", "/v1/decisions/stream"+query, header...)
	}
	told := func(got reply, status int, kind, fresh, deleted string) {
		t.Helper()
		if got.status != status || got.header.Get("Lapid-Stream") != kind {
			t.Fatalf("got %d %v %s, want %d %s", got.status, got.header, got.body, status, kind)
		}
		if status != http.StatusOK {
			return
		}
		if new, gone := got.values(t); strings.Join(new, " ") != fresh || strings.Join(gone, " ") != deleted {
			t.Fatalf("got %s, want %s and %s", got.body, fresh, deleted)
		}
	}
	h.ban("192.0.2.1")
	first := ask("")
	told(first, 200, "full", "192.0.2.1", "")
	if tag := first.header.Values("ETag"); len(tag) != 1 || len(tag[0]) != len(first.bare())+2 {
		t.Fatalf("the tag is %q", tag)
	}
	same := "If-None-Match: " + first.header.Get("ETag")
	unchanged := ask("", same)
	told(unchanged, 304, "delta", "", "")
	if unchanged.body != "" || unchanged.bare() != first.bare() {
		t.Errorf("%v %q", unchanged.header, unchanged.body)
	}
	told(ask("?after="+first.bare()), 200, "delta", "", "")
	h.ban("192.0.2.2")
	h.wants(h.asMachine("DELETE", "/v1/decisions?value=192.0.2.1", ""), 200, `{"nbDeleted":"1"}`)
	for range 2 {
		told(ask("", same), 200, "delta", "192.0.2.2", "192.0.2.1")
		told(ask("?after="+url.QueryEscape(first.bare())), 200, "delta", "192.0.2.2", "192.0.2.1")
	}
	last := ask("?after=" + first.bare()).bare()
	told(ask("?after="+last), 200, "delta", "", "")
	told(ask(""), 200, "delta", "192.0.2.2", "192.0.2.1") // its cursor stayed where it was
	told(ask(""), 200, "delta", "", "")
	told(ask("?after="+first.bare()), 200, "delta", "192.0.2.2", "192.0.2.1")

	// Of a list the first that fits; proxies that pack answers weaken tags.
	told(ask("", `If-None-Match: "x", W/"`+first.bare()+`", "`+last+`"`), 200, "delta", "192.0.2.2", "192.0.2.1")
	told(ask("", `If-None-Match: "abcdefgh-1-0000000000000000",W/"`+last+`"`), 304, "delta", "", "")
	told(ask("", `If-None-Match: "x"`, `If-None-Match: "`+last+`"`), 304, "delta", "", "")

	// What is no place of this history and question is told everything.
	future, _ := feed.ParseTag([]byte(last))
	future.Revision += 1000
	other := future
	other.History = engine.NewHistoryName()
	for _, lost := range []string{string(future.Append(nil)), string(other.Append(nil))} {
		told(ask("?after="+lost), 200, "full", "192.0.2.2", "192.0.2.1")
		told(ask("", `If-None-Match: "`+lost+`"`), 200, "full", "192.0.2.2", "192.0.2.1")
	}
	told(ask("?scopes=ip&after="+last), 200, "full", "192.0.2.2", "192.0.2.1")
	for _, odd := range []string{"*", `""`, "x", `"` + last, last, `"` + last + `0"`, `w/"` + last + `"`} {
		told(ask("", "If-None-Match: "+odd), 200, "full", "192.0.2.2", "192.0.2.1")
	}
	filtered := ask("?scopes=ip&startup=true")
	told(ask("?scopes=ip&after="+filtered.bare()), 200, "delta", "", "")
	told(ask("?startup=false&scopes=ip", "If-None-Match: "+filtered.header.Get("ETag")), 304, "delta", "", "")

	// With startup a place does not count, and is looked at all the same.
	told(ask("?startup=true&after="+last), 200, "full", "192.0.2.2", "192.0.2.1")
	told(ask("?startup=true", `If-None-Match: "`+last+`"`), 200, "full", "192.0.2.2", "192.0.2.1")
	for _, query := range []string{"?after=", "?after=x", "?startup=true&after=" + last + "0", "?after=%22" + last + "%22"} {
		if got := ask(query); got.status != 400 || !strings.Contains(got.body, "after") {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	if got := ask("?after="+last, same); got.status != 400 || !strings.Contains(got.body, "send one of them") {
		t.Errorf("both: %d %s", got.status, got.body)
	}
	if got := h.asBouncer("HEAD", "/v1/decisions/stream", same); got.status != 200 || got.header.Get("ETag") != "" {
		t.Errorf("HEAD: %d %v", got.status, got.header)
	}
}

// TestPlacesOfLongAnswers: also what is sent in pieces says where it leads to.
func TestPlacesOfLongAnswers(t *testing.T) {
	t.Parallel()
	bothWays(t, testPlacesOfLongAnswers)
}

func testPlacesOfLongAnswers(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	before := h.asBouncer("GET", "/v1/decisions/stream").bare()
	h.banMany(4000)
	got, _ := h.raw("GET /v1/decisions/stream?startup=true HTTP/1.0\r\nX-Api-Key: " + testKey + "\r\n\r\n")
	if got.bare() == "" || got.header.Get("Lapid-Stream") != "full" {
		t.Errorf("%v", got.header)
	}
	for query, kind := range map[string]string{"?startup=true": "full", "?after=" + before: "delta"} {
		long := h.asBouncer("GET", "/v1/decisions/stream"+query)
		if fresh, _ := long.values(t); len(fresh) != 4000 || long.header.Get("Lapid-Stream") != kind || long.bare() != got.bare() {
			t.Errorf("%s: %d decisions, %v", query, len(fresh), long.header)
		}
		if next := h.asBouncer("GET", "/v1/decisions/stream", "If-None-Match: "+long.header.Get("ETag")); next.status != 304 {
			t.Errorf("%s: then %d", query, next.status)
		}
	}
}

// TestTagForm: a tag is read back as it was written, and nothing else is one.
func TestTagForm(t *testing.T) {
	t.Parallel()
	for _, tag := range []feed.Tag{
		{History: engine.NewHistoryName()}, {History: engine.NewHistoryName(), Revision: 1<<64 - 1, Question: 1<<64 - 1},
		{History: engine.HistoryName([]byte("abcd2345")), Revision: 10, Question: 0xfedcba9876543210},
	} {
		text := string(tag.Append(nil))
		if got, ok := feed.ParseTag([]byte(text)); !ok || got != tag {
			t.Errorf("%s is read as %v", text, got)
		}
		for _, bad := range []string{text + "0", text[:len(text)-1], text[1:], "A" + text[1:], strings.Replace(text, "-", "-0", 1), strings.Replace(text, "-", "-+", 1), strings.ToUpper(text), " " + text, text[:9] + text[10:]} {
			if got, ok := feed.ParseTag([]byte(bad)); ok && string(got.Append(nil)) != bad {
				t.Errorf("%s is read as %v", bad, got)
			}
		}
	}
}

var placeSeed = flag.Uint64("placeseed", 0, "the seed of TestAnyPlace; 0: a new one")

// TestAnyPlace has clients of their own and of shared keys poll by cursor and by place
// through a random history with lost answers, ends in good order, power failures and
// restores: whoever has heard an answer holds what a fresh full state of the same question
// tells.
func TestAnyPlace(t *testing.T) {
	t.Parallel()
	seed := *placeSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	s := newSite(t, rand.New(rand.NewPCG(seed, 0)))
	var all []*placed
	for i := range 12 {
		c := &placed{site: s, key: fmt.Sprint("key-", i%4), way: i % 3, question: []string{"", "origins=cscli", "scenarios_containing=odd", "scopes=ip"}[i%4], holds: map[string]bool{}}
		if c.way == byCursor {
			c.key = fmt.Sprint("own-", i)
		}
		all = append(all, c)
	}
	rounds := 250
	if raced {
		rounds = 60
	}
	for range rounds {
		s.happens()
		for range 3 {
			all[s.chance.IntN(len(all))].poll(s.chance.IntN(4) == 0)
		}
	}
	for _, c := range all {
		c.poll(false)
	}
	t.Logf("%d answers were full, %d deltas, %d unchanged", s.full, s.deltas, s.unchanged)
	if s.deltas == 0 || s.unchanged == 0 || s.full > s.deltas+s.unchanged {
		t.Error("places are not taken")
	}
}

// site is a house that is torn down and built again.
type site struct {
	*house
	chance                  *rand.Rand
	close                   func()
	backups                 [][]byte
	restored                int
	full, deltas, unchanged int
}

func newSite(t testing.TB, chance *rand.Rand) *site {
	s := &site{house: &house{t: t}, chance: chance}
	s.Rig = enginetest.NewRig(t, func(o *engine.Options) { o.FS, o.History = persist.NewCrashFS(), 60 })
	s.addMachine(testMachine, true)
	for i := range 12 {
		s.addBouncer(fmt.Sprint("fw", i), fmt.Sprint("own-", i), false)
		if i < 4 {
			s.addBouncer(fmt.Sprint("group", i), fmt.Sprint("key-", i), true)
		}
	}
	s.addBouncer("judge", "judge", false)
	s.open()
	t.Cleanup(func() { s.close() })
	return s
}

// open has a server on the engine as it is now, close ends it.
func (s *site) open() {
	s.t.Helper()
	var err error
	s.gate, err = auth.NewGate(s.Engine, &auth.Options{Secret: testSecret})
	s.must(err)
	name, err := s.NameHistory(context.Background())
	s.must(err)
	s.server, err = New(&Options{Listen: "127.0.0.1:0", Engine: s.Engine, Gate: s.gate, History: name})
	s.must(err)
	s.must(s.server.Listen())
	s.url = "http://" + s.server.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = s.server.Run(ctx) })
	s.close = func() {
		cancel()
		done.Wait()
		http.DefaultClient.CloseIdleConnections()
	}
}

// happens changes something, or all of it.
func (s *site) happens() {
	s.t.Helper()
	value := func() string { return fmt.Sprintf("10.0.%d.%d", s.chance.IntN(2), s.chance.IntN(64)) }
	switch n := s.chance.IntN(40); {
	case n == 0:
		s.close()
		s.Restart()
		s.open()
	case n == 1:
		s.close()
		s.Crash()
		s.open()
	case n == 2:
		var b bytes.Buffer
		_, _, err := s.Backup(s.t.Context(), &b)
		s.must(err)
		s.backups = append(s.backups, b.Bytes())
	case n == 3 && len(s.backups) > 0:
		s.close()
		s.Stop()
		s.restored++
		s.Options.Dir = fmt.Sprint("restored", s.restored)
		_, err := engine.Restore(&s.Options, engine.Actor{}, bytes.NewReader(s.backups[s.chance.IntN(len(s.backups))]))
		s.must(err)
		s.Start()
		s.open()
	case n < 10:
		s.Advance(time.Duration(s.chance.IntN(40)) * time.Minute)
	case n < 18:
		q := s.Ask()
		s.must(wire.ParseDeletion(q, []byte("value="+value())))
		_, err := s.EndDecisions(s.t.Context(), q)
		s.must(err)
	case n < 36:
		at := engine.StampOf(s.Now())
		a := &engine.Alert{Scenario: "s", StartAt: at, StopAt: at}
		for range []int{1, 2, 20}[s.chance.IntN(3)] {
			a.Decisions = append(a.Decisions, engine.NewDecision{
				Duration: []string{"20m", "4h", "30h", "-1h"}[s.chance.IntN(4)], Origin: []string{"cscli", "crowdsec"}[s.chance.IntN(2)],
				Scenario: []string{"odd", "even"}[s.chance.IntN(2)], Scope: engine.ScopeIP, Type: "ban", Value: value(),
			})
		}
		_, err := s.AddAlerts(s.t.Context(), "", []*engine.Alert{a}, s.Engine.Now())
		s.must(err)
	}
}

// The ways in which a client polls.
const (
	byCursor = iota
	byParameter
	byHeader
)

// placed is a client that believes what it hears.
type placed struct {
	*site
	key      string
	way      int
	question string
	tag      string // where it is; "": nowhere
	holds    map[string]bool
}

// poll asks for what came since; of an answer that is lost nothing is heard.
func (c *placed) poll(lost bool) {
	c.t.Helper()
	query, header := "?"+c.question, []string{"X-Api-Key: " + c.key}
	switch {
	case c.way == byParameter && c.tag != "":
		query += "&after=" + strings.Trim(c.tag, `"`)
	case c.way == byHeader && c.tag != "":
		header = append(header, "If-None-Match: "+c.tag)
	case c.way != byCursor:
		query += "&startup=true"
	}
	got := c.ask("GET", "/v1/decisions/stream"+query, "", header...)
	if lost && c.way != byCursor {
		return
	}
	switch kind := got.header.Get("Lapid-Stream"); {
	case got.status == http.StatusNotModified:
		c.unchanged++
	case got.status != http.StatusOK || kind != "full" && kind != "delta":
		c.t.Fatalf("%s: %d %v %s", query, got.status, got.header, got.body)
	default:
		c.believe(got, kind)
	}
	c.tag = got.header.Get("ETag")
	judge := c.ask("GET", "/v1/decisions/stream?startup=true&"+c.question, "", "X-Api-Key: judge")
	if want := targets(c.t, judge.body, "new"); !maps.Equal(c.holds, want) {
		c.t.Fatalf("after %s with %s it holds %v, and a full state is %v", query, header, slices.Sorted(maps.Keys(c.holds)), slices.Sorted(maps.Keys(want)))
	}
}

func (c *placed) believe(got reply, kind string) {
	if kind == "full" {
		c.full++
		clear(c.holds)
	} else {
		c.deltas++
		for target := range targets(c.t, got.body, "deleted") {
			delete(c.holds, target)
		}
	}
	maps.Copy(c.holds, targets(c.t, got.body, "new"))
}

// targets are what one list of an answer is about.
func targets(t testing.TB, body, list string) map[string]bool {
	t.Helper()
	var all map[string][]struct{ Scope, Value, Type string }
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	set := map[string]bool{}
	for _, d := range all[list] {
		set[d.Scope+" "+d.Value+" "+d.Type] = true
	}
	return set
}
