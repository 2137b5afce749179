package transport

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"lapid/engine"
)

// A bouncer whose client goes away from three polls in a row is not held; an answer between
// them begins the count anew.
func TestGiveUps(t *testing.T) {
	t.Parallel()
	var g giveUps
	row := engine.NewGuest(&engine.Bouncer{Name: "fw", Hold: 25_000})
	for _, gone := range []bool{true, true, false, true, true} {
		if g.ended(row, gone, slog.New(slog.DiscardHandler)); g.resting(row) {
			t.Fatal("it rests too early")
		}
	}
	g.ended(row, true, slog.New(slog.DiscardHandler))
	if !g.resting(row) {
		t.Error("it is held though it gives up")
	}
}

// TestImpatientClients: a stock client that gives up before its poll is answered, for its
// bouncer is held for longer than it waits, is not held after three times; it misses nothing.
func TestImpatientClients(t *testing.T) {
	t.Parallel()
	bothWays(t, testImpatientClients)
}

func testImpatientClients(t *wireTest) {
	for name, patience := range map[string]time.Duration{"npm": 200 * time.Millisecond, "lua": 300 * time.Millisecond} {
		t.Run(name, func(t *wireTest) {
			t.Parallel()
			h := newHouse(t, nil)
			h.hold(25 * time.Second)
			h.poll("")
			impatient := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
			row := h.View().Bouncer("fw")
			gaveUp := 0
			for ; !h.server.giveUps.resting(row); gaveUp++ { // a busy machine may not have held it yet
				if body, err := h.stockPoll(t.Context(), impatient); err == nil && !h.server.giveUps.resting(row) {
					t.Fatalf("it is not held: %s", body)
				}
				h.holds(0)
			}
			if gaveUp < giveUpsAtMost {
				t.Errorf("it rests after %d polls", gaveUp)
			}
			h.ban("192.0.2.1") // while nobody asks
			patient := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			body, err := h.stockPoll(t.Context(), patient)
			h.must(err)
			if fresh, _ := lists(t, body); !slices.Equal(fresh, []string{"192.0.2.1"}) {
				t.Errorf("what it gave up is lost: %s", body)
			}
			body, err = h.stockPoll(t.Context(), patient)
			h.must(err)
			if fresh, _ := lists(t, body); fresh != nil {
				t.Errorf("it is told again: %s", body)
			}
			// Who asks in so many words is held all the same.
			held, _ := h.later("/v1/decisions/stream", "Prefer: wait=60")
			h.holds(1)
			h.ban("192.0.2.2")
			if fresh, _ := (<-held).values(t); !slices.Equal(fresh, []string{"192.0.2.2"}) {
				t.Errorf("held: %v", fresh)
			}
		})
	}
}

// hold says for how long the polls of the house's bouncer are held.
func (h *house) hold(d time.Duration) {
	h.t.Helper()
	hold := engine.HoldOff
	if d > 0 {
		var err error
		hold, err = engine.HoldFor(d)
		h.must(err)
	}
	_, err := h.EditBouncer(h.t.Context(), "fw", func(b *engine.Bouncer) error { b.Hold = hold; return nil })
	h.must(err)
}

// stockPoll polls as a client does that knows of nothing but the contract.
func (h *house) stockPoll(ctx context.Context, client *http.Client) (string, error) {
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+"/v1/decisions/stream", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("X-Api-Key", testKey)
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	return string(body), err
}

// TestHoldOfARow: polls are held because the row says so, and answered by news and by a
// server that ends; with off they are held for nobody who asks.
func TestHoldOfARow(t *testing.T) {
	t.Parallel()
	bothWays(t, testHoldOfARow)
}

func testHoldOfARow(t *wireTest) {
	t.Parallel()
	h := newHouse(t, nil)
	const stream = "/v1/decisions/stream"
	h.poll("")
	h.hold(0)
	for _, got := range []reply{h.asBouncer("GET", stream+"?wait=60s"), h.asBouncer("GET", stream, "Prefer: wait=60")} {
		if got.status != 200 || got.header.Get("Preference-Applied") != "" {
			t.Errorf("off: %d %v", got.status, got.header)
		}
	}
	h.hold(25 * time.Second)
	if got := h.asBouncer("GET", stream+"?wait=0"); got.status != 200 {
		t.Errorf("who does not want to wait: %d", got.status)
	}
	held, _ := h.later(stream)
	h.holds(1)
	h.ban("192.0.2.1")
	if fresh, _ := (<-held).values(t); !slices.Equal(fresh, []string{"192.0.2.1"}) {
		t.Errorf("news: %v", fresh)
	}
	other, _ := h.later(stream + "?origins=nobody")
	h.holds(1)
	held, _ = h.later(stream) // it is told the ban again, where that was not heard yet
	h.eventually("both have asked", func() bool { return h.server.feed.Usage().Held == 2 || len(held) == 1 })
	h.must(h.server.Shutdown(t.Context()))
	for _, one := range []asked{held, other} {
		if got := <-one; got.status != 200 {
			t.Errorf("at the end: %d %s", got.status, got.body)
		}
	}
}
