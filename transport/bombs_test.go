package transport

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// bomb is a body that is small for what it might become.
type bomb struct{ name, path, body string }

// bombs are about as large as said, in bytes.
func (h *house) bombs(size int) []bomb {
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit+",", size/(len(unit)+1)) + unit + tail
	}
	whole := strings.Trim(h.alertText("192.0.2.1"), "[]")
	alert := whole[:strings.Index(whole, `"decisions"`)]
	report := `{"log_processors":[{"version":"","utc_startup_timestamp":1,"hub_items":{},"datasources":{},"metrics":[`
	window := `"meta":{"utc_now_timestamp":1,"window_size_seconds":1}`
	return []bomb{
		{"lists", "/v1/alerts", fill(`[`, `[]`, `]`)},
		{"nulls", "/v1/alerts", fill(`[`, `null`, `]`)},
		{"objects", "/v1/alerts", fill(`[`, `{}`, `]`)},
		{"alerts", "/v1/alerts", fill(`[`, alert+`"x":1}`, `]`)},
		{"decisions", "/v1/alerts", fill(`[`+alert+`"decisions":[`, `{}`, `]}]`)},
		{"events", "/v1/alerts", fill(`[`+strings.Replace(alert, `"events":[],`, ``, 1)+`"events":[`, `{"timestamp":"","meta":[]}`, `]}]`)},
		{"meta", "/v1/alerts", fill(`[`+alert+`"meta":[`, `{}`, `]}]`)},
		{"labels", "/v1/alerts", fill(`[`+alert+`"labels":[`, `""`, `]}]`)},
		{"unknown", "/v1/alerts", fill(`[`+alert+`"x":[`, `{}`, `]}]`)},
		{"deep lists", "/v1/alerts", strings.Repeat("[", size)},
		{"deep objects", "/v1/alerts", strings.Repeat(`{"a":`, size/5)},
		{"deep unknown lists", "/v1/alerts", `[{"x":` + strings.Repeat("[", size/2) + strings.Repeat("]", size/2) + `}]`},
		{"a long number", "/v1/alerts", `[{"capacity":` + strings.Repeat("1", size) + `}]`},
		{"a long exponent", "/v1/usage-metrics", report + `{` + window + `,"items":[{"name":"","unit":"","value":1e` + strings.Repeat("1", size) + `}]}]}]}`},
		{"escapes", "/v1/alerts", `[` + alert + `"message":"` + strings.Repeat(`\ud800`, size/6) + `"}]`},
		{"blanks", "/v1/alerts", strings.Repeat(" ", size) + "[]"},
		{"targets", "/v1/allowlists/check", fill(`{"targets":[`, `""`, `]}`)},
		{"good targets", "/v1/allowlists/check", fill(`{"targets":[`, `"::"`, `]}`)},
		{"entries", "/v1/usage-metrics", fill(`{"log_processors":[`, `{}`, `]}`)},
		{"metrics", "/v1/usage-metrics", fill(report, `{"items":[],`+window+`}`, `]}]}`)},
		{"empty metrics", "/v1/usage-metrics", fill(report, `{}`, `]}]}`)},
		{"no metrics", "/v1/usage-metrics", fill(report, `null`, `]}]}`)},
		{"items", "/v1/usage-metrics", fill(report+`{`+window+`,"items":[`, `{"name":"","unit":"","value":1}`, `]}]}]}`)},
		{"empty items", "/v1/usage-metrics", fill(report+`{`+window+`,"items":[`, `{}`, `]}]}]}`)},
		{"names", "/v1/usage-metrics", fill(report+`{`+window+`,"items":[{"name":"","unit":"","value":1,"labels":{`, `"":""`, `}}]}]}]}`)},
		{"flags", "/v1/usage-metrics", fill(strings.TrimSuffix(report, `"metrics":[`)+`"feature_flags":[`, `""`, `]}]}`)},
		{"hub items", "/v1/usage-metrics", fill(report[:strings.Index(report, `},"data`)]+`"x":[`, `{}`, `]},"datasources":{}}]}`)},
		{"data sources", "/v1/usage-metrics", fill(report[:strings.Index(report, `},"metr`)], `"":1`, `}}]}`)},
	}
}

// TestBombs sends each bomb while nothing else runs, and holds that what is made
// for it, garbage and the store's share included, is a small multiple of the body
// and of what the budget counts for its elements.
func TestBombs(t *testing.T) { // not in parallel: it measures the process
	h := newHouse(t, nil)
	for _, b := range h.bombs(1 << 20) {
		most := 32*len(b.body) + 4*perElement*strings.Count(b.body, ",")
		took, got := h.setOff(b)
		t.Logf("%s: %d, %.1f times the body", b.name, got.status, float64(took)/float64(len(b.body)))
		if took > most {
			t.Errorf("%s: %d bytes made of %d, more than %d", b.name, took, len(b.body), most)
		}
	}
	h.wants(h.ask("GET", "/health", ""), 200, `{"status":"up"}`)
	if n := h.server.front.MemoryInUse(); n != 0 {
		t.Errorf("%d bytes of the budget are lost", n)
	}
}

// setOff sends a bomb and gives what was allocated meanwhile.
func (h *house) setOff(b bomb) (took int, got reply) {
	h.t.Helper()
	text := []byte(request("POST", b.path, bearer+h.token(), fmt.Sprintf("Content-Length: %d", len(b.body))) + b.body)
	c, r := h.dial()
	defer c.Close()
	var from, to runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&from)
	_, err := c.Write(text)
	h.must(err)
	answer, err := http.ReadResponse(r, nil)
	h.must(err)
	body, err := io.ReadAll(answer.Body)
	h.must(err)
	runtime.ReadMemStats(&to)
	return int(to.TotalAlloc - from.TotalAlloc), reply{answer.StatusCode, string(body), answer.Header}
}

// TestLargestBombs sends lists as long as a body may be. What would take more
// than the whole budget is refused as too large, and what the refusal costs is
// the body.
func TestLargestBombs(t *testing.T) { // not in parallel: it measures the process
	h := newHouse(t, nil)
	for _, b := range h.bombs(largeBody - 4096) {
		switch b.name {
		case "lists", "objects", "meta", "labels", "targets", "hub items":
		default:
			continue
		}
		took, got := h.setOff(b)
		t.Logf("%s: %d, %d MB", b.name, got.status, took>>20)
		if got.status != 400 || !strings.Contains(got.body, "too large") || took > 4*len(b.body) {
			t.Errorf("%s: %d %.100s, %d MB made of %d", b.name, got.status, got.body, took>>20, len(b.body)>>20)
		}
	}
	nested := strings.Repeat(" ", largeBody+1)
	for range 4 {
		nested = packed(nested)
	}
	got := h.asMachine("POST", "/v1/alerts", nested, "Content-Encoding: gzip, gzip, gzip, gzip")
	h.wants(got, 400, `{"message":"http: request body too large"}`)
}

// TestBombsTogether sends more at once than there is room for: those without
// room are told to come back, nobody waits, and nothing is left of it.
func TestBombsTogether(t *testing.T) {
	t.Parallel()
	bothWays(t, testBombsTogether)
}

func testBombsTogether(t *wireTest) {
	t.Parallel()
	const room = 24 << 20
	h := newHouse(t, func(b *build) { b.server.BodyMemory = room })
	body := `{"targets":[` + strings.Repeat(`"::",`, 50_000) + `"::"]}` // counts as 6.5 MB
	token := bearer + h.token()
	var all sync.WaitGroup
	var done, busy atomic.Int32
	for range 16 {
		all.Go(func() {
			for {
				got := h.ask("POST", "/v1/allowlists/check", body, token)
				if used := h.server.front.MemoryInUse(); used > room {
					// Those who are about to be refused are counted for a moment.
					h.eventually("the budget holds", func() bool { return h.server.front.MemoryInUse() <= room })
				}
				switch {
				case got.status == 200:
					done.Add(1)
					return
				case got.status != 503 || got.header.Get("Retry-After") == "":
					t.Errorf("%d %s", got.status, got.body)
					return
				}
				busy.Add(1)
			}
		})
	}
	all.Wait()
	t.Logf("%d were told to come back before %d got through", busy.Load(), done.Load())
	if n := h.server.front.MemoryInUse(); n != 0 {
		t.Errorf("%d bytes of the budget are lost", n)
	}
}
