//go:build linux

package scenario

import (
	"context"
	"fmt"

	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	streamPath = "/v1/decisions/stream"
	// primePath moves a bouncer's cursor to now and sends next to nothing.
	primePath = streamPath + "?startup=true&scopes=none"
)

// emptyDelta is what a stream answers when nothing has changed.
var emptyDelta = []byte(`{"new": [], "deleted": []}`)

// polls has each connection ask for a path with a key of its own.
func polls(path string, keys []string) load.Sources {
	return load.PerConnection(len(keys), func(dst []byte, i int) []byte {
		return append(append(append(dst, "GET "...), path...), load.Tail(keys[i])...)
	})
}

// EmptyDelta has many bouncers, each with its key and its connection, poll when
// there is nothing new.
func (b *Bench) EmptyDelta(ctx context.Context, l *peers.LAPI, ceiling *peers.Ceiling) error {
	b.say("empty delta: %d bouncers", b.Bouncers)
	keys, err := l.AddBouncers(ctx, "empty", b.Bouncers)
	if err != nil {
		return err
	}
	us := contender{name: "lapid", address: l.Address, server: &l.Process, sources: polls(primePath, keys)}
	if _, err := b.ask(ctx, len(keys), us, &load.Plan{Each: 1}); err != nil {
		return err
	}
	us.sources = polls(streamPath, keys)
	first, err := b.ask(ctx, len(keys), us, &load.Plan{Each: 1})
	if err != nil {
		return err
	}
	if first.Body != uint64(len(emptyDelta)*len(keys)) {
		return fmt.Errorf("empty delta: %d answers have %d bytes", first.Requests, first.Body)
	}
	if err := ceiling.Set(ctx, peers.Stream, emptyDelta); err != nil {
		return err
	}
	done, err := b.inTurn(ctx, len(keys), []contender{us, {
		name: "ceiling", address: ceiling.Address, server: &ceiling.Process, sources: us.sources,
	}})
	if err != nil {
		return err
	}
	by := ratio(done[0].rounds, done[1].rounds, rateOf)
	b.Report.Measured(rowEmpty, by.middle, "%v, %.0f of %.0f/s", by, done[0].Rate, done[1].Rate)
	b.section(fmt.Sprintf("Empty delta, %d bouncers on as many connections", len(keys)),
		[]load.Named{{Name: "lapid", Result: done[0].Result}, {Name: "ceiling", Result: done[1].Result}}, "")
	return nil
}
