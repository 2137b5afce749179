package transport

import (
	"context"
	"log/slog"
	"net/netip"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/export"
	"lapid/transport/feed"
)

// core is what handlers work with. It is set before the first request comes.
type core struct {
	options Options
	engine  *engine.Engine
	gate    *auth.Gate
	feed    *feed.Feed
	exports *export.Renderings
	log     *slog.Logger
	life    context.Context // ends when requests must not wait any longer
	known   int64           // the memory for the bodies of those who are known, in bytes

	// What is counted and told.
	counting   counting
	logins     loginCounts
	events     eventCounting
	refusals   refusals
	denials    *denials
	deletions  deletions
	complaints complaints
	giveUps    giveUps
	confirms   *confirms  // nil: the history is this server's alone
	access     *accessLog // nil: none
}

func newCore(o *Options) *core {
	c := &core{options: *o, engine: o.Engine, gate: o.Gate, log: o.Logger, denials: newDenials(o.Logger), exports: o.Exports}
	c.confirms = newConfirms(o)
	if c.exports == nil {
		c.exports = export.NewRenderings(o.Engine, o.ExportMemory, o.Logger)
	}
	c.refusals.log, c.deletions.log, c.complaints.log = o.Logger, o.Logger, o.Logger
	if o.AccessLog != nil {
		c.access = newAccessLog(o.AccessLog, o.Logger)
	}
	return c
}

// denied passes on that a caller was not let in. A token that is over is no fault: its
// machine logs in again. Addresses of one /64 of IPv6 are one.
func (c *core) denied(now int64, why auth.Reason, from netip.Addr, who string) {
	if c.options.Denied != nil && why != auth.ExpiredToken {
		if place := auth.PlaceOf(from); from.Is6() && place.IsValid() {
			from = place.Addr()
		}
		c.options.Denied(now, why, from, who)
	}
}

// patience is a context for what a request may wait for besides the disk.
func (c *core) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.life, loginPatience)
}
