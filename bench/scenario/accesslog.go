//go:build linux

package scenario

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

// AccessLog asks hits of two servers with the same tenth of a set, of which one writes a line for each
// request to a file.
func (b *Bench) AccessLog(ctx context.Context) error {
	b.say("access log: on and off")
	set := corpus.New(max(b.Size/10, 1000), Seed)
	sources := load.Filled("GET "+livePath, set.NewTable(corpus.Hit, min(asked, set.Len()), Seed), load.Tail(peers.Key))
	var list []contender
	for _, kind := range []struct {
		name     string
		settings []peers.Setting
	}{{"logged", []peers.Setting{peers.WithAccessLog}}, {"unlogged", nil}} {
		l, err := b.NewLapid(ctx, "lapid-"+kind.name, b.Programs.Lapid, kind.settings...)
		if err != nil {
			return err
		}
		if _, err := l.Start(ctx); err != nil {
			return err
		}
		defer l.Stop()
		if _, err := b.fill(ctx, l, set, 0); err != nil {
			return err
		}
		list = append(list, contender{name: kind.name, address: l.Address, server: &l.Process, sources: sources})
	}
	done, err := b.inTurn(ctx, b.Connections[0], list)
	if err != nil {
		return err
	}
	lines, err := b.accessLines("lapid-logged")
	if err != nil {
		return err
	}
	by, us, them := ratio(done[0].rounds, done[1].rounds, rateOf), done[0].Result, done[1].Result
	b.Report.Measured(rowAccessLog, by.middle, "%v, %.0f beside %.0f/s; server CPU %.1f beside %.1f µs; p99 %.2f beside %.2f ms; %.0f MB in the log",
		by, us.Rate, them.Rate, 1e6*cpuOf(us), 1e6*cpuOf(them), ms(us.P99), ms(them.P99), mb(lines))
	b.section(fmt.Sprintf("Live queries with the access log and without, %d connections", b.Connections[0]),
		[]load.Named{{Name: "on", Result: us}, {Name: "off", Result: them}}, "")
	return nil
}

// accessLines gives how long the log of requests is; none is an error.
func (b *Bench) accessLines(name string) (size int64, err error) {
	files, err := filepath.Glob(filepath.Join(b.Dir, name, "log", "crowdsec_api*"))
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			size += info.Size()
		}
	}
	if err == nil && size == 0 {
		err = fmt.Errorf("access log: %s wrote none", name)
	}
	return size, err
}
