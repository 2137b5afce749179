package console

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"lapid/engine"
)

// histories are a few figures of each minute of the last day, for the charts of people who have no
// Prometheus. A restart forgets them. It costs a look at the counters each minute, and 48 KiB.
type histories struct {
	mu   sync.Mutex
	rows []figures // the newest last, mostMinutes at most
}

// figures are those of one moment.
type figures struct {
	at int64 // Unix nanoseconds
	of [seriesCount]int64
}

// The series. Those that count are told by how much they grew in the minute before.
const (
	seriesRunning   = iota // decisions that run and were made here
	seriesAlerts           // alerts that were stored
	seriesDecisions        // decisions that began
	seriesCommits          // commits
	seriesCount
)

// mostMinutes is a day.
const mostMinutes = 24 * 60

// note appends the figures of a moment.
func (h *histories) note(f figures) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rows) == mostMinutes {
		h.rows = append(h.rows[:0], h.rows[1:]...)
	}
	h.rows = append(h.rows, f)
}

// since is what is known of the last while.
func (h *histories) since(d time.Duration) *histories {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := &histories{}
	n := min(len(h.rows), int(d/time.Minute))
	out.rows = append(out.rows, h.rows[len(h.rows)-n:]...)
	return out
}

// column is one series, in order of time: as it stood, or how much it grew.
func (h *histories) column(series int) (list []int64) {
	for i := range h.rows {
		v := h.rows[i].of[series]
		if series != seriesRunning {
			if i == 0 {
				continue
			}
			v = max(v-h.rows[i-1].of[series], 0)
		}
		list = append(list, v)
	}
	return list
}

// spark is a series as the points of a line, 100 wide and 30 high; "" for less than three moments.
func (h *histories) spark(series int) string {
	list := h.column(series)
	if len(list) < 3 {
		return ""
	}
	most, least := int64(1), int64(0)
	for _, v := range list {
		most = max(most, v)
	}
	var b strings.Builder
	for i, v := range list {
		fmt.Fprintf(&b, "%.1f,%.1f ", float64(i)*100/float64(len(list)-1), 29-28*float64(v-least)/float64(most-least))
	}
	return strings.TrimSpace(b.String())
}

// keepHistories notes figures each minute until ctx ends.
func (s *Server) keepHistories(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		s.histories.note(figuresOf(s.options.Engine))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func figuresOf(e *engine.Engine) (f figures) {
	f.at = e.Now()
	m := e.Metrics()
	for _, c := range m.Running {
		if !elsewhere(c.Origin) {
			f.of[seriesRunning] += c.N
		}
	}
	alert, decision := e.View().LastNumbers()
	f.of[seriesAlerts], f.of[seriesDecisions], f.of[seriesCommits] = int64(alert), int64(decision), int64(m.Commits)
	return f
}

// figuresRoute gives the figures of the last day, as charts take them: moments in seconds, then a list for
// each series.
func (s *Server) figuresRoute(q *request) error {
	h := s.histories.since(24 * time.Hour)
	out := struct {
		At        []int64 `json:"at"`
		Running   []int64 `json:"running"`
		Alerts    []int64 `json:"alerts"`
		Decisions []int64 `json:"decisions"`
	}{[]int64{}, h.column(seriesRunning), h.column(seriesAlerts), h.column(seriesDecisions)}
	for i := range h.rows {
		out.At = append(out.At, h.rows[i].at/int64(time.Second))
	}
	if len(out.Running) > 0 { // the first minute's growth is not known
		out.At, out.Running = out.At[1:], out.Running[1:]
	}
	return q.answer(200, out)
}
