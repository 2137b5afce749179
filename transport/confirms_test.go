package transport

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/feed"
)

// seam is between servers and the history that they share, as far as polls ask it.
type seam struct {
	cut   atomic.Bool  // nothing answers
	asked atomic.Int64 // how often it was
	away  atomic.Int64 // how long it is said not to have answered, in nanoseconds
}

// confirming makes two servers whose polls ask the history, and wait so long.
func (w *wireTest) confirming(patience time.Duration) (*nodes, *seam) {
	s, history := &seam{}, engine.NewHistoryName()
	c := newNodesWith(w.T, 2, 0, time.Second, func(c *nodes, i int, o *Options) {
		o.Loops, o.confirmPatience, o.History = w.loops, patience, history
		o.Confirmed = func() time.Duration { return time.Duration(s.away.Load()) }
		o.Confirm = func(ctx context.Context) error {
			s.asked.Add(1)
			if s.cut.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			newest, err := c.ends[i].Newest(ctx)
			if err != nil {
				return err
			}
			return o.Engine.Reach(ctx, newest)
		}
	})
	return c, s
}

// ahead is a tag that leads further than another.
func (r reply) ahead(t testing.TB, by engine.Revision) string {
	tag, ok := feed.ParseTag([]byte(r.bare()))
	if !ok {
		t.Fatalf("no tag: %q", r.bare())
	}
	tag.Revision += by
	return string(tag.Append(nil))
}

// TestPollsConfirm: beside other servers a poll that goes by its row's cursor is told what was answered anywhere
// before it came. Those that name a place, live queries and HEAD ask nobody.
func TestPollsConfirm(t *testing.T) {
	t.Parallel()
	bothWays(t, testPollsConfirm)
}

func testPollsConfirm(t *wireTest) {
	t.Parallel()
	c, s := t.confirming(time.Minute)
	writer, follower := c.houses[0], c.houses[1]
	follower.poll("?startup=true")
	for n := range 20 {
		value := fmt.Sprintf("192.0.2.%d", n)
		writer.ban(value)
		if fresh, _ := follower.poll(""); !slices.Equal(fresh, []string{value}) {
			t.Fatalf("told is %v, and banned was %s", fresh, value)
		}
	}
	writer.ban("198.51.100.1")
	told := writer.asBouncer("GET", streamPath+"?startup=true")
	if got := follower.asBouncer("GET", streamPath+"?after="+told.bare()); got.status != 200 || got.body != string(feed.EmptyAnswer) {
		t.Errorf("from where the writer has led: %d %s", got.status, got.body)
	}
	if got := follower.asBouncer("GET", streamPath+"?after="+told.ahead(t, 1000)); got.header.Get("Lapid-Stream") != "full" {
		t.Errorf("from where nobody has been: %d %v", got.status, got.header)
	}
	before := s.asked.Load()
	known := follower.asBouncer("GET", streamPath+"?after="+told.bare())
	follower.asBouncer("GET", streamPath, "If-None-Match: "+known.header.Get("ETag"))
	follower.asBouncer("HEAD", streamPath)
	follower.asBouncer("GET", "/v1/decisions?ip=192.0.2.1")
	if now := s.asked.Load(); now != before {
		t.Errorf("%d questions were asked for what needs none", now-before)
	}
	follower.poll("") // up to here
	held, _ := follower.later(streamPath + "?wait=60s")
	follower.holds(1)
	writer.ban("198.51.100.2")
	if fresh, _ := (<-held).values(t); !slices.Equal(fresh, []string{"198.51.100.2"}) {
		t.Errorf("who waits is told %v", fresh)
	}
}

// TestPollsCutOff: at a server that cannot ask nobody is told a change, and no place moves; nobody begins there
// in the first minute, and then it is told what there is.
func TestPollsCutOff(t *testing.T) {
	t.Parallel()
	bothWays(t, testPollsCutOff)
}

func testPollsCutOff(t *wireTest) {
	t.Parallel()
	c, s := t.confirming(100 * time.Millisecond)
	writer, follower := c.houses[0], c.houses[1]
	writer.ban("192.0.2.1")
	follower.eventually("a bouncer has begun", func() bool { // a machine at work may seem cut off
		got := follower.asBouncer("GET", streamPath+"?startup=true")
		return got.status == http.StatusOK && strings.Contains(got.body, "192.0.2.1")
	})
	row := follower.View().Bouncer("fw")
	follower.eventually("it has come back", func() bool {
		follower.poll("")
		_, acknowledged := row.Acknowledged()
		return acknowledged
	})
	s.cut.Store(true)
	at, _ := row.Cursor()
	writer.ban("192.0.2.2")
	c.level(follower)
	first := follower.asBouncer("GET", streamPath)
	if first.status != 200 || first.body != string(feed.EmptyAnswer) {
		t.Errorf("a poll: %d %s", first.status, first.body)
	}
	if tag, ok := feed.ParseTag([]byte(first.bare())); !ok || tag.Revision != at {
		t.Errorf("it leads to %d, and the bouncer is at %d", tag.Revision, at)
	}
	ahead := first.ahead(t, 1000)
	for _, q := range []struct {
		method, query, header string
		status                int
		tag                   string
	}{
		{"GET", streamPath + "?startup=true", "X: y", http.StatusServiceUnavailable, ""},
		{"GET", streamPath + "?wait=60s", "X: y", http.StatusOK, first.bare()},
		{"GET", streamPath + "?after=" + ahead, "X: y", http.StatusOK, ahead},
		{"GET", streamPath, `If-None-Match: "` + ahead + `"`, http.StatusNotModified, ahead},
		{"HEAD", streamPath, "X: y", http.StatusOK, ""},
		{"GET", "/v1/decisions?ip=192.0.2.2", "X: y", http.StatusOK, ""},
	} {
		got := follower.asBouncer(q.method, q.query, q.header)
		if got.status != q.status || got.status == 200 && q.tag != "" && got.body != string(feed.EmptyAnswer) || q.tag != "" && got.bare() != q.tag {
			t.Errorf("%s %s: %d %s, leads to %s", q.method, q.query, got.status, got.body, got.bare())
		}
		if got.status == http.StatusServiceUnavailable && got.header.Get("Retry-After") != "5" {
			t.Errorf("come back after %q", got.header.Get("Retry-After"))
		}
	}
	if now, _ := row.Cursor(); now != at {
		t.Errorf("the cursor went from %d to %d", at, now)
	}
	s.away.Store(int64(2 * time.Minute))
	got := follower.asBouncer("GET", streamPath+"?startup=true")
	if fresh, _ := got.values(t); got.status != 200 || len(fresh) != 2 {
		t.Errorf("who begins after a minute: %d %s", got.status, got.body)
	}
	if _, acknowledged := row.Acknowledged(); acknowledged {
		t.Error("it is said to have what it had before")
	}
	s.cut.Store(false)
	writer.ban("192.0.2.3")
	follower.eventually("the next ban is told", func() bool {
		fresh, _ := follower.poll("")
		return slices.Equal(fresh, []string{"192.0.2.3"})
	})
}
