package feed

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/engine/enginetest"
	"lapid/transport/budget"
	"lapid/transport/wire"
)

// house is a feed above an engine whose clock is set by hand.
type house struct {
	*enginetest.Rig
	t       testing.TB
	feed    *Feed
	refused atomic.Int32
}

const mebibyte = 1 << 20

// newHouse makes one; change may adjust the feed's options.
func newHouse(t testing.TB, change ...func(*Options)) *house {
	h := &house{t: t, Rig: enginetest.NewRig(t, nil)}
	h.feed = h.newFeed(change...)
	return h
}

// newFeed makes another feed above the same engine.
func (h *house) newFeed(change ...func(*Options)) *Feed {
	o := Options{
		AnswerMemory: 256 * mebibyte, SharedMemory: 512 * mebibyte, StreamLimit: time.Hour, Patience: time.Minute,
		Life: h.t.Context().Done(), Log: slog.New(slog.DiscardHandler),
		Refused: func(netip.Addr) { h.refused.Add(1) },
	}
	for _, c := range change {
		c(&o)
	}
	return New(o)
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// row adds a bouncer.
func (h *house) row(name string) *engine.BouncerRow {
	h.t.Helper()
	b := &engine.Bouncer{Name: name, AuthType: engine.AuthAPIKey}
	copy(b.KeyHash[:], name)
	_, err := h.AddBouncer(h.t.Context(), b)
	h.must(err)
	return h.View().Bouncer(name)
}

// ban adds an alert with a decision of four hours for each value.
func (h *house) ban(values ...string) {
	h.t.Helper()
	h.banFor("4h", values...)
}

func (h *house) banFor(duration string, values ...string) {
	h.t.Helper()
	at := engine.StampOf(h.Now())
	a := &engine.Alert{Scenario: "s", StartAt: at, StopAt: at}
	for _, v := range values {
		a.Decisions = append(a.Decisions, engine.NewDecision{Duration: duration, Origin: engine.OriginManual, Scenario: "s", Scope: engine.ScopeIP, Type: "ban", Value: v})
	}
	_, err := h.AddAlerts(h.t.Context(), "", []*engine.Alert{a}, h.Engine.Now())
	h.must(err)
}

// banMany stores n decisions on addresses of 10.0.0.0/8 in alerts of a thousand.
func (h *house) banMany(n int) {
	h.t.Helper()
	for i := 0; i < n; {
		var values []string
		for ; len(values) < 1000 && i < n; i++ {
			values = append(values, fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255))
		}
		h.ban(values...)
	}
}

// end ends what lies in a range, so many decisions.
func (h *house) end(prefix string, want int) {
	h.t.Helper()
	q := h.Ask()
	h.must(wire.ParseDeletion(q, []byte("range="+prefix+"&contains=false")))
	n, err := h.EndDecisions(h.t.Context(), q)
	h.must(err)
	if n != want {
		h.t.Fatalf("%d ended, not %d", n, want)
	}
}

// asker is a client by its name.
type asker string

func (a asker) Payer() Payer { return Payer{Holder: budget.Holder{Name: string(a)}} }

// asks is a poll of a row, at the newest state.
func (h *house) asks(row *engine.BouncerRow, raw string) *Poll {
	h.t.Helper()
	q := &engine.Query{Now: h.Engine.Now()}
	h.must(wire.ParseStreamQuery(q, []byte(raw)))
	return &Poll{Question: Question{Raw: []byte(raw), Query: q}, Row: row, View: h.View(), Asker: asker(row.Load().Name), MayWait: true}
}

// hear polls, reads the answer to its end, and moves the cursor.
func (h *house) hear(p *Poll) []byte {
	h.t.Helper()
	a, err := h.feed.Poll(p)
	h.must(err)
	all := a.Whole
	if a.Body != nil {
		var b buffer
		_, err := a.Body.Send(&b, false, nil)
		h.must(err)
		h.must(a.Body.Close())
		all = b
	}
	if a.Moves.Row != nil && a.Moves.Offer(nil) {
		a.Moves.Heard()
	}
	return all
}

// start begins a shared answer to one reader at first.
func (h *house) start(src *answerSource, maySolo bool) *sharedAnswer {
	e := edition{raw: string(src.raw), to: src.view.Revision()}
	b := newSharedAnswer(e, src, maySolo, budget.Hold{From: h.feed.answers.room})
	go encode(b)
	return b
}

// follow reads a shared answer.
func (h *house) follow(b *sharedAnswer, send func(piece []byte, last bool) error) error {
	return (&StreamedBody{memory: &h.feed.Memory, shared: b}).follow(send)
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// lists gives the values of both lists of an answer.
func lists(t testing.TB, body string) (fresh, deleted []string) {
	t.Helper()
	var d struct{ New, Deleted []struct{ Value string } }
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("not a delta: %v in %d bytes", err, len(body))
	}
	for _, x := range d.New {
		fresh = append(fresh, x.Value)
	}
	for _, x := range d.Deleted {
		deleted = append(deleted, x.Value)
	}
	return fresh, deleted
}

// await waits for a condition.
func (h *house) await(what string, is func() bool) {
	h.t.Helper()
	late := time.After(30 * time.Second)
	for !is() {
		select {
		case <-late:
			h.t.Fatalf("waited in vain until %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}
