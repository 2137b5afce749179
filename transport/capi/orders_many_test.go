package capi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"
)

// backlog serves orders as the service does: those after since_time, the newest first.
func (f *fake) backlog(at func(i int) int64, many, padding int) http.HandlerFunc {
	pad := make([]byte, padding)
	for i := range pad {
		pad[i] = 'x'
	}
	return func(w http.ResponseWriter, r *http.Request) {
		q, _ := url.ParseQuery(r.URL.RawQuery)
		since, _ := strconv.ParseInt(q.Get("since_time"), 10, 64)
		_, _ = io.WriteString(w, `{"timestamp":`+fmt.Sprint(at(many-1))+`,"events":[`)
		comma := ""
		for i := range slices.Backward(make([]struct{}, many)) {
			if at(i) <= since {
				continue
			}
			data, _ := json.Marshal(fmt.Sprintf(`{"header":{"operation_type":"none","operation_cmd":"%d %s","source":{"user":"u"}}}`, i, pad))
			_, _ = fmt.Fprintf(w, `%s{"id":"00000000-0000-4000-8000-%012d","timestamp":%d,"data":%s}`, comma, i, at(i), data)
			comma = ","
		}
		_, _ = io.WriteString(w, `]}`)
	}
}

// More orders than are carried out at once, in number or bytes, all come, each once, also
// where they have one time or one that is still to come.
func TestOrdersBeyondOneAnswer(t *testing.T) {
	t.Parallel()
	begun := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	far := time.Date(2900, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for name, c := range map[string]struct {
		at            func(i int) int64
		many, padding int
	}{
		"each its time": {func(i int) int64 { return begun + int64(i) }, 2*mostOrders + 5, 0},
		"one time":      {func(int) int64 { return begun }, 2*mostOrders + 5, 0},
		"no time":       {func(int) int64 { return 0 }, mostOrders + 5, 0},
		"large":         {func(i int) int64 { return begun + int64(i) }, 40, 1 << 20},
		"in the future": {func(int) int64 { return far }, mostOrders + 5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.extra = enrolled
			client := f.client(func(o *Options) { o.Logger = nil })
			answer := f.backlog(c.at, c.many, c.padding)
			p := client.newPoller()
			for range 6 {
				f.fails(pollPath, answer)
				if _, err := p.turn(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n := client.o.Orders.Invalid(); n != int64(c.many) {
				t.Errorf("%d of %d were looked at", n, c.many)
			}
			if now := f.rig.Now().UnixMilli(); p.since > now || f.client(nil).loadSince() > now {
				t.Errorf("it goes on at %d, and now it is %d", p.since, now)
			}
			f.fails(pollPath, slices.Repeat([]http.HandlerFunc{answer}, 6)...)
			done, err := client.SyncOrders(t.Context(), false)
			if err != nil || done.Invalid != c.many {
				t.Errorf("all again: %+v, %v", done, err)
			}
		})
	}
}
