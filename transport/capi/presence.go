package capi

import (
	"context"
	"hash/fnv"
	"net/http"
	"time"

	"lapid/engine"
)

const (
	presenceEvery  = 30 * time.Minute
	presenceSpread = 15 * time.Minute // of the first period
	presenceLook   = 20 * time.Second // at the names of machines
	mostPresent    = 50_000           // machines, and bouncers, that are told
)

// presence is who is here: the sign of life of this server.
type presence struct {
	Version  string           `json:"apil_version"`
	Machines []presentMachine `json:"machines"`
	Bouncers []presentBouncer `json:"bouncers"`
}

type presentMachine struct {
	Name       string `json:"name,omitempty"`
	Version    string `json:"version,omitempty"`
	LastPush   string `json:"last_push,omitempty"`
	LastUpdate string `json:"last_update,omitempty"`
}

type presentBouncer struct {
	Named    string `json:"custom_name,omitempty"`
	Type     string `json:"name,omitempty"`
	Version  string `json:"version,omitempty"`
	LastPull string `json:"last_pull,omitempty"`
}

// presenceJob tells who is here: at once, every half hour, and when a machine comes or goes.
func (c *Client) presenceJob(ctx context.Context) {
	again := pauses{first: time.Minute, longest: 30 * time.Minute}
	due, known := c.o.Now(), c.machineNames()
	period := c.around(presenceEvery, presenceSpread)
	for failing := false; ctx.Err() == nil; {
		names := c.machineNames()
		if now := c.o.Now(); !now.Before(due) || (names != known || c.session.stale.Load()) && !failing {
			err := c.session.ask(ctx, &request{method: http.MethodPost, path: "v3/metrics/", body: c.present()})
			c.went(ctx, JobMetrics, err)
			if failing = err != nil; failing {
				wait := again.failed(c.o.Jitter)
				due = now.Add(wait)
				c.warn(ctx, "the Central API is not told of machines and bouncers yet", "error", err, "again_in", wait.Round(time.Second).String())
			} else {
				again.well()
				due, period, known = now.Add(period), presenceEvery, names
			}
		}
		if c.session.pause(ctx, presenceLook) != nil {
			return
		}
	}
}

// machineNames is a number that is another one when a machine came or went.
func (c *Client) machineNames() uint64 {
	h := fnv.New64a()
	c.o.Engine.View().EachMachine(func(m *engine.Machine) bool {
		_, _ = h.Write(append([]byte(m.ID), 0))
		return true
	})
	return h.Sum64()
}

func (c *Client) present() *presence {
	p := &presence{Version: c.o.Version, Machines: []presentMachine{}, Bouncers: []presentBouncer{}}
	v := c.o.Engine.View()
	v.EachMachine(func(m *engine.Machine) bool {
		pushed := m.LastPush
		if pushed == 0 {
			pushed = m.CreatedAt
		}
		p.Machines = append(p.Machines, presentMachine{m.ID, m.Version, moment(pushed), moment(max(m.UpdatedAt, m.LastHeartbeat))})
		return len(p.Machines) < mostPresent
	})
	v.EachBouncer(func(r *engine.BouncerRow) bool {
		b := r.Load()
		one := presentBouncer{Named: b.Name, LastPull: moment(r.LastPull())}
		if b.Software != nil {
			one.Type, one.Version = b.Type, b.Version
		}
		p.Bouncers = append(p.Bouncers, one)
		return len(p.Bouncers) < mostPresent
	})
	return p
}

// moment spells a time of the engine; "" is never.
func moment(at int64) string {
	if at == 0 {
		return ""
	}
	return time.Unix(0, at).UTC().Format(time.RFC3339)
}
