//go:build linux

package scenario

import (
	"context"
	"errors"
	"fmt"
	"math"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

// OneCore asks live queries of lapid, Redis and HAProxy, each on one core: both have one thread for it. l
// has the set, and is used where servers have one core anyway.
func (b *Bench) OneCore(ctx context.Context, l *peers.LAPI, set *corpus.Set) error {
	if len(b.ServerCPUs) > 1 {
		one := *b
		one.Yard = &peers.Yard{Dir: b.Dir, ServerCPUs: b.ServerCPUs[:1], ClientCPUs: b.ClientCPUs}
		defer one.Close()
		b = &one
		var err error
		if l, err = b.started(ctx, "lapid-one", set); err != nil {
			return err
		}
	}
	var failed error
	start := func(row string, make func(context.Context, *corpus.Set) (*peers.Server, error)) *peers.Server {
		s, err := make(ctx, set)
		if err != nil {
			b.Report.Failed(err, row)
			if !errors.Is(err, peers.ErrMissing) {
				failed = errors.Join(failed, err)
			}
			return nil
		}
		return s
	}
	redis, haproxy := start(rowRedis, b.NewRedis), start(rowHAProxy, b.NewHAProxy)
	for _, s := range []*peers.Server{redis, haproxy} {
		if s != nil {
			defer s.Stop()
		}
	}
	if redis == nil && haproxy == nil {
		return failed
	}
	return errors.Join(failed, b.oneCore(ctx, l, set, redis, haproxy))
}

// oneCore compares with those that are there.
func (b *Bench) oneCore(ctx context.Context, l *peers.LAPI, set *corpus.Set, redis, haproxy *peers.Server) error {
	worst := map[string]span{}
	var lines []load.Named
	for _, connections := range b.Connections {
		for _, kind := range []corpus.Kind{corpus.Hit, corpus.Miss} { // Redis finds no address inside a range
			title := fmt.Sprintf("%s, %d", kind, connections)
			b.say("one core: %s connections", title)
			words := set.NewTable(kind, min(asked, set.Len()), Seed)
			http := load.Filled("GET "+livePath, words, load.Tail(peers.Key))
			list := []contender{{name: "lapid", address: l.Address, server: &l.Process, sources: http}}
			if redis != nil {
				c := contender{name: rowRedis, address: redis.Address, protocol: load.RESP, server: &redis.Process, sources: load.Gets(words)}
				if kind == corpus.Miss {
					c.wanted = 404
				}
				list = append(list, c)
			}
			if haproxy != nil {
				list = append(list, contender{name: rowHAProxy, address: haproxy.Address, server: &haproxy.Process, sources: http})
			}
			done, err := b.inTurn(ctx, connections, list)
			if err != nil {
				return err
			}
			for i := range done {
				if done[i].protocol == load.HTTP {
					if err := right(kind, done[i].Result); err != nil {
						return fmt.Errorf("%s: %w", done[i].name, err)
					}
				}
				lines = append(lines, done[i].named(title)...)
				if i > 0 {
					so, ok := worst[done[i].name]
					if !ok {
						so.middle = math.Inf(1)
					}
					worst[done[i].name] = lower(so, ratio(done[0].rounds, done[i].rounds, rateOf))
				}
			}
		}
	}
	for row, s := range worst {
		b.Report.Measured(row, s.middle, "%v, worst of %d", s, 2*len(b.Connections))
	}
	b.section(fmt.Sprintf("Live queries on one core, %d decisions", set.Len()), lines, "")
	return nil
}
