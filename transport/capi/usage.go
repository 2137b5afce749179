package capi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"lapid/engine"
)

const (
	usageEvery  = 30 * time.Minute
	usageSpread = 15 * time.Minute // of the first period
	usageSecret = "capi.usage"     // up to when reports were sent
	// mostUsage is how many bytes of reports are sent at once; the rest goes next.
	mostUsage  = 8 << 20
	windowSize = 1800 // seconds, as the contract has it
)

// usageSent is what a restart has to know.
type usageSent struct {
	UpTo int64 `json:"up_to"` // reports received by then are done with, Unix nanoseconds
}

// usageReport is what is sent of everybody's metrics.
type usageReport struct {
	Server     usageServer       `json:"lapi"`
	Processors []*usageProcessor `json:"log_processors"`
	Components []*usageComponent `json:"remediation_components"`
}

type usageBase struct {
	Flags   []string          `json:"feature_flags"`
	Metrics []json.RawMessage `json:"metrics"`
	OS      usageOS           `json:"os"`
	Startup *int64            `json:"utc_startup_timestamp"` // not known
	Version string            `json:"version"`
}

type usageOS struct {
	Family  string `json:"family"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

type usageServer struct {
	usageBase
	Console []string `json:"console_options"`
}

type usageProcessor struct {
	usageBase
	Name       string                    `json:"name"`
	LastPush   int64                     `json:"last_push"`   // Unix seconds
	LastUpdate int64                     `json:"last_update"` // Unix seconds
	Sources    map[string]int64          `json:"datasources"`
	Hub        map[string][]usageHubItem `json:"hub_items"`
}

type usageHubItem struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Status  string `json:"status"`
}

type usageComponent struct {
	usageBase
	Name     string `json:"name"`
	Type     string `json:"type"`
	LastPull int64  `json:"last_pull"` // Unix seconds
}

// usageJob sends the reports of usage metrics that were not sent yet, every half hour.
// What fails is sent again with the next turn.
func (c *Client) usageJob(ctx context.Context) {
	if c.o.NoUsage {
		return
	}
	again := pauses{first: time.Minute, longest: 30 * time.Minute}
	for wait := c.around(usageEvery, usageSpread); c.session.pause(ctx, wait) == nil; {
		more, err := c.sendUsage(ctx)
		c.went(ctx, JobUsage, err)
		switch {
		case err != nil:
			wait = again.failed(c.o.Jitter)
			c.warn(ctx, "usage metrics wait: the Central API does not take them", "error", err, "again_in", wait.Round(time.Second).String())
		case more:
			wait = time.Second
		default:
			wait = usageEvery
			again.well()
		}
	}
}

// sendUsage sends what is there, up to mostUsage, and tells whether there is more. 422 is
// delivered: the same would be refused again.
func (c *Client) sendUsage(ctx context.Context) (more bool, err error) {
	e := c.o.Engine
	var sent usageSent
	_ = json.Unmarshal(e.View().Secret(usageSecret), &sent) // else everything that is kept is sent
	upTo, more, err := c.usageSpan(ctx, sent.UpTo)
	if err != nil {
		return false, err
	}
	report, err := c.usage(ctx, sent.UpTo, upTo)
	if err != nil {
		return false, err
	}
	err = c.session.ask(ctx, &request{method: http.MethodPost, path: "v3/usage-metrics", body: report})
	var refused *Refusal
	if errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity {
		c.log.Warn("usage metrics are refused by the Central API and left out", "error", err)
		err = nil
	}
	if err != nil {
		return false, err
	}
	b, err := json.Marshal(usageSent{upTo})
	if err != nil {
		return false, err
	}
	return more, e.KeepSecret(ctx, usageSecret, b)
}

// usageSpan finds the moment up to which reports are sent now: all that are there, or as
// many as are not too long together.
func (c *Client) usageSpan(ctx context.Context, after int64) (upTo int64, more bool, err error) {
	now := c.o.Now().UnixNano()
	upTo = now
	for _, kind := range []engine.UsageKind{engine.UsageMachine, engine.UsageBouncer} {
		size, last := 0, int64(0)
		for u, err := range c.o.Engine.Usage(ctx, kind, "") {
			if err != nil {
				return 0, false, err
			}
			if u.ReceivedAt <= after || u.ReceivedAt > upTo {
				continue
			}
			if size += len(u.Payload); size > mostUsage/2 && last != 0 && u.ReceivedAt > last {
				upTo, more = last, true
				break
			}
			last = u.ReceivedAt
		}
	}
	return upTo, more, nil
}

// usage is the report of all that was received in a span. Every machine and bouncer is in
// it, also without metrics.
func (c *Client) usage(ctx context.Context, after, upTo int64) (*usageReport, error) {
	r := &usageReport{Processors: []*usageProcessor{}, Components: []*usageComponent{}}
	window, err := json.Marshal(map[string]any{"items": []any{}, "meta": map[string]int64{"utc_now_timestamp": c.o.Now().Unix(), "window_size_seconds": windowSize}})
	if err != nil {
		return nil, err
	}
	r.Server = usageServer{usageBase{Flags: []string{}, Metrics: []json.RawMessage{window}, Version: c.o.Version}, []string{c.o.Console.options()}}
	bases := map[engine.UsageKind]map[string]*usageBase{engine.UsageMachine: {}, engine.UsageBouncer: {}}
	v := c.o.Engine.View()
	v.EachMachine(func(m *engine.Machine) bool {
		p := newProcessor(m)
		bases[engine.UsageMachine][m.ID] = &p.usageBase
		r.Processors = append(r.Processors, p)
		return len(r.Processors) < mostPresent
	})
	v.EachBouncer(func(row *engine.BouncerRow) bool {
		b := newComponent(row)
		bases[engine.UsageBouncer][b.Name] = &b.usageBase
		r.Components = append(r.Components, b)
		return len(r.Components) < mostPresent
	})
	for kind, of := range bases {
		for u, err := range c.o.Engine.Usage(ctx, kind, "") {
			if err != nil {
				return nil, err
			}
			base := of[u.Name]
			if base == nil || u.ReceivedAt <= after || u.ReceivedAt > upTo {
				continue
			}
			var metrics []json.RawMessage
			if json.Unmarshal(u.Payload, &metrics) == nil {
				base.Metrics = append(base.Metrics, metrics...)
			}
		}
	}
	return r, nil
}

func newBase(flags []string, os engine.OS, version string) usageBase {
	if len(flags) == 0 {
		flags = []string{""} // as the contract has it
	}
	return usageBase{Flags: flags, Metrics: []json.RawMessage{}, OS: usageOS{os.Family, os.Name, os.Version}, Version: version}
}

func newProcessor(m *engine.Machine) *usageProcessor {
	p := &usageProcessor{
		usageBase: newBase(m.FeatureFlags, m.OS, m.Version), Name: m.ID,
		LastPush: seconds(m.LastPush), LastUpdate: seconds(max(m.UpdatedAt, m.LastHeartbeat)),
		Sources: map[string]int64{}, Hub: map[string][]usageHubItem{},
	}
	for _, s := range m.DataSources {
		p.Sources[s.Name] = s.N
	}
	for kind, items := range m.HubItems {
		list := make([]usageHubItem, len(items))
		for i, it := range items {
			list[i] = usageHubItem(it)
		}
		p.Hub[kind] = list
	}
	return p
}

func newComponent(row *engine.BouncerRow) *usageComponent {
	b := row.Load()
	sw := b.Software
	if sw == nil {
		sw = &engine.Software{}
	}
	return &usageComponent{usageBase: newBase(sw.FeatureFlags, sw.OS, sw.Version), Name: b.Name, Type: sw.Type, LastPull: seconds(row.LastPull())}
}

// seconds of a time of the engine; 0 is never.
func seconds(at int64) int64 { return at / int64(time.Second) }

// options are the names of what is on, as usage metrics tell them.
func (o *Console) options() string {
	var on []string
	for _, option := range []struct {
		name string
		on   bool
	}{{"custom", o.Custom}, {"tainted", o.Tainted}, {"manual", o.Manual}, {"console_management", o.Management}, {"context", o.Context}} {
		if option.on {
			on = append(on, option.name)
		}
	}
	return strings.Join(on, ",")
}
