package transport

import (
	"context"
	"log/slog"

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
	events     eventCounting
	refusals   refusals
	denials    *denials
	deletions  deletions
	complaints complaints
	giveUps    giveUps
	access     *accessLog // nil: none
}

func newCore(o *Options) *core {
	c := &core{options: *o, engine: o.Engine, gate: o.Gate, log: o.Logger, denials: newDenials(o.Logger), exports: o.Exports}
	if c.exports == nil {
		c.exports = export.NewRenderings(o.Engine, o.ExportMemory, o.Logger)
	}
	c.refusals.log, c.deletions.log, c.complaints.log = o.Logger, o.Logger, o.Logger
	if o.AccessLog != nil {
		c.access = newAccessLog(o.AccessLog, o.Logger)
	}
	return c
}

// patience is a context for what a request may wait for besides the disk.
func (c *core) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.life, loginPatience)
}
