//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
	"lapid/bench/report"
)

// calm is the part of the ceiling's rate at which latencies are compared: high
// enough to be work, low enough that neither falls behind.
const calm = 0.5

const livePath = "/v1/decisions?ip="

// Beside are the servers that answer live queries beside lapid. Nginx may be
// nil.
type Beside struct {
	Ceiling *peers.Ceiling
	Nginx   *peers.Nginx
	NoNginx error // why there is none
}

// liveWorst gathers the worst ratio of each row.
type liveWorst struct{ ceiling, p99, nginx span }

// newLiveWorst takes every ratio for worse.
func newLiveWorst() liveWorst {
	low, high := span{middle: math.Inf(1)}, span{middle: math.Inf(-1)}
	return liveWorst{ceiling: low, p99: high, nginx: low}
}

// Live asks for hits, misses and addresses inside a range, over some and over many
// connections. When one of these fails the figures of the others are entered all the
// same.
func (b *Bench) Live(ctx context.Context, l *peers.LAPI, set *corpus.Set, beside *Beside) error {
	worst := newLiveWorst()
	var lines []load.Named
	var groups []report.Group
	var failed error
	for _, connections := range b.Connections {
		for _, kind := range corpus.Kinds {
			title := fmt.Sprintf("%s, %d", kind, connections)
			b.say("live: %s connections", title)
			done, err := b.liveOne(ctx, l, set, beside, kind, connections)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s connections: %w", title, err))
				continue
			}
			worst.take(done)
			g := report.Group{Name: title}
			for _, m := range done {
				lines = append(lines, m.named(title)...)
				g.Bars = append(g.Bars, report.Bar{Name: m.name, Value: m.Rate})
			}
			if len(groups) == 0 {
				b.Report.Plot("latency", latencies(done))
			}
			groups = append(groups, g)
		}
	}
	if len(groups) > 0 {
		b.liveRows(&worst, len(groups), beside)
		b.Report.Plot("live", report.Bars(fmt.Sprintf("live queries at %d decisions: kind, connections", set.Len()), "/s", groups))
		b.section(fmt.Sprintf("Live queries, %d decisions", set.Len()), lines, "")
	}
	return failed
}

func (b *Bench) liveRows(worst *liveWorst, of int, beside *Beside) {
	b.Report.Measured(rowLive, worst.ceiling.middle, "%v, worst of %d", worst.ceiling, of)
	b.Report.Measured(rowLiveP99, worst.p99.middle, "%v, worst of %d, each at half of the ceiling's rate", worst.p99, of)
	if beside.Nginx != nil {
		b.Report.Measured(rowNginx, worst.nginx.middle, "%v, worst of %d", worst.nginx, of)
	}
}

// named gives the lines of a table.
func (m *measured) named(title string) []load.Named {
	lines := []load.Named{{Name: title + ": " + m.name, Result: m.Result}}
	if m.open != nil {
		lines = append(lines, load.Named{Name: title + ": " + m.name + " paced", Result: m.open})
	}
	return lines
}

// liveOne measures one kind over one number of connections: all contenders in turn,
// then lapid and the ceiling at one rate. The first is lapid, the second the ceiling.
func (b *Bench) liveOne(ctx context.Context, l *peers.LAPI, set *corpus.Set, beside *Beside, kind corpus.Kind, connections int) ([]measured, error) {
	words := set.NewTable(kind, min(asked, set.Len()), Seed)
	http := load.Filled("GET "+livePath, words, load.Tail(peers.Key))
	us := contender{name: "lapid", address: l.Address, server: &l.Process, sources: http}
	first, err := b.ask(ctx, connections, us, &load.Plan{Warmup: b.Warmup, Length: b.Length})
	if err != nil {
		return nil, err
	}
	if err := right(kind, first); err != nil {
		return nil, err
	}
	body := []byte(strings.Repeat("x", int(first.Body/first.Requests)))
	if err := beside.Ceiling.Set(ctx, peers.Live, body); err != nil {
		return nil, err
	}
	list := []contender{us, {name: "ceiling", address: beside.Ceiling.Address, server: &beside.Ceiling.Process, sources: http}}
	if s := beside.Nginx; s != nil {
		list = append(list, contender{name: "nginx", address: s.Address, server: &s.Process, sources: http})
	}
	done, err := b.inTurn(ctx, connections, list)
	if err != nil {
		return nil, err
	}
	return done, b.paced(ctx, connections, done[:2], calm*done[1].Rate)
}

// paced asks all at one rate, round after round; of each the round counts whose
// p99 is in the middle.
func (b *Bench) paced(ctx context.Context, connections int, list []measured, rate float64) error {
	for range b.Rounds {
		for i := range list {
			m := &list[i]
			r, err := b.ask(ctx, connections, m.contender, &load.Plan{Rate: rate, Warmup: b.Warmup, Length: b.Open})
			if err != nil {
				return err
			}
			m.paced = append(m.paced, r)
		}
	}
	for i := range list {
		list[i].open = middleBy(list[i].paced, p99Of)
	}
	return nil
}

// right refuses answers that cannot be those to questions of a kind.
func right(kind corpus.Kind, r *load.Result) error {
	if kind == corpus.Miss && r.Empty != r.Requests || kind != corpus.Miss && r.Empty != 0 {
		return fmt.Errorf("live queries of kind %s: %d of %d answers are empty", kind, r.Empty, r.Requests)
	}
	return nil
}

func (w *liveWorst) take(done []measured) {
	us, limit := done[0], done[1]
	w.ceiling = lower(w.ceiling, ratio(us.rounds, limit.rounds, rateOf))
	w.p99 = higher(w.p99, ratio(us.paced, limit.paced, p99Of))
	for _, nginx := range done[2:] {
		w.nginx = lower(w.nginx, ratio(us.rounds, nginx.rounds, rateOf))
	}
}

// latencies draws the paced runs: how long, up to which part of all.
func latencies(done []measured) []byte {
	var lines []report.Line
	parts := []float64{1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000}
	for _, m := range done {
		if m.open == nil {
			continue
		}
		line := report.Line{Name: m.name}
		for _, part := range parts {
			line.X = append(line.X, part)
			line.Y = append(line.Y, max(ms(m.open.Latency.Quantile(1-1/part)), 0.001))
		}
		lines = append(lines, line)
	}
	return report.Lines("latency of hits at half of the ceiling's rate", "ms", lines,
		map[float64]string{1: "least", 2: "50 %", 10: "90 %", 100: "99 %", 1000: "99.9 %", 10000: "99.99 %"})
}
