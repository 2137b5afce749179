//go:build linux

package scenario

import (
	"context"
	"fmt"

	"lapid/bench/load"
	"lapid/bench/peers"
)

// auditRounds is how many times as many rounds there are as of others: rounds differ by more than what is
// looked for.
const auditRounds = 7

// Audit pushes alerts to two servers, of which one keeps an audit, and compares what an alert takes of the
// processors. Rates say less: both wait for the disk.
func (b *Bench) Audit(ctx context.Context) error {
	b.say("audit: on and off")
	var list []contender
	for i, kind := range []struct {
		name     string
		settings []peers.Setting
	}{{"audited", nil}, {"unaudited", []peers.Setting{peers.WithoutAudit}}} {
		l, err := b.NewLapid(ctx, "lapid-"+kind.name, b.Programs.Lapid, kind.settings...)
		if err != nil {
			return err
		}
		if _, err := l.Start(ctx); err != nil {
			return err
		}
		defer l.Stop()
		c, err := b.writer(ctx, kind.name, l, Seed+12)
		if err != nil {
			return err
		}
		rows, missing := l.Metric(ctx, `lapid_audit_rows{series="deeds"}`)
		if audited := missing == nil && rows > 0; audited != (i == 0) {
			return fmt.Errorf("audit: %s has %.0f rows, %w", kind.name, rows, missing)
		}
		list = append(list, c)
	}
	done, err := b.inTurns(ctx, auditRounds*b.Rounds, writers, list)
	if err != nil {
		return err
	}
	by, us, them := ratio(done[0].rounds, done[1].rounds, cpuOf), done[0].Result, done[1].Result
	b.Report.Measured(rowAudit, by.middle, "%v, %.1f beside %.1f µs; %.0f beside %.0f/s", by, 1e6*cpuOf(us), 1e6*cpuOf(them), us.Rate, them.Rate)
	b.section(fmt.Sprintf("Alerts of %d writers with the audit and without", writers), []load.Named{{Name: "on", Result: us}, {Name: "off", Result: them}}, "")
	return nil
}
