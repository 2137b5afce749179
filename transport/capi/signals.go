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
	pushMark   = "capi.push" // the bookmark's name
	pushEvery  = 10 * time.Second
	pushSpread = 7 * time.Second // of the first turn
	// lastPatience is how long an end waits for the last signals.
	lastPatience = 5 * time.Second
	// mostDecisions is how many decisions of one alert are told.
	mostDecisions = 1000
)

// Console is what is shared with the service and its console (console.yaml).
type Console struct {
	Manual  bool // what an operator decided or imported
	Custom  bool // alerts of scenarios that are not the hub's
	Tainted bool // … that were changed
	Context bool // the meta of alerts goes along

	// Management: decisions that are deleted here are reported; with Manual they are too.
	Management bool
}

// Option is the field of an option by the word that the reference and its console have for it; nil: there is none.
func (c *Console) Option(word string) *bool {
	switch word {
	case "manual":
		return &c.Manual
	case "custom":
		return &c.Custom
	case "tainted":
		return &c.Tainted
	case "context":
		return &c.Context
	case "console_management":
		return &c.Management
	}
	return nil
}

// UsualConsole is what holds without a console.yaml.
var UsualConsole = Console{Custom: true, Tainted: true}

// signal is an alert as the service is told of it.
type signal struct {
	Scenario  string           `json:"scenario"`
	Hash      string           `json:"scenario_hash"`
	Version   string           `json:"scenario_version"`
	Trust     string           `json:"scenario_trust,omitempty"`
	Message   string           `json:"message"`
	Machine   string           `json:"machine_id,omitempty"`
	UUID      string           `json:"uuid,omitempty"`
	Kind      string           `json:"kind,omitempty"`
	StartAt   string           `json:"start_at"`
	StopAt    string           `json:"stop_at"`
	Source    signalSource     `json:"source"`
	Context   []signalMeta     `json:"context"`
	Decisions []signalDecision `json:"decisions,omitempty"`

	stop int64
}

type signalSource struct {
	Scope     string  `json:"scope"`
	Value     string  `json:"value"`
	IP        string  `json:"ip,omitempty"`
	Range     string  `json:"range,omitempty"`
	AsNumber  string  `json:"as_number,omitempty"`
	AsName    string  `json:"as_name,omitempty"`
	Cn        string  `json:"cn,omitempty"`
	Latitude  float32 `json:"latitude,omitempty"`
	Longitude float32 `json:"longitude,omitempty"`
}

type signalMeta struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type signalDecision struct {
	ID       int64  `json:"id"`
	Duration string `json:"duration"`
	Origin   string `json:"origin"`
	Scenario string `json:"scenario"`
	Scope    string `json:"scope"`
	Type     string `json:"type"`
	Value    string `json:"value"`
	UUID     string `json:"uuid"`
}

// Forget gives up the places in the history from which signals and deletions would be sent,
// for a server that has no connection any more: otherwise the history would be kept for it.
func Forget(ctx context.Context, e *engine.Engine) error {
	ctx = engine.As(ctx, central)
	return errors.Join(e.Bookmark(pushMark).Drop(ctx), e.Bookmark(deletedMark).Drop(ctx))
}

// pusher sends signals. Whether an alert is shared is decided by the rules that are in force
// when it is looked at first, and what is withheld is passed over for good.
type pusher struct{ outbox[*signal] }

func (c *Client) newPusher() *pusher {
	p := &pusher{outbox[*signal]{c: c, mark: c.o.Engine.Bookmark(pushMark), find: c.parcels, post: c.postSignals}}
	p.left = func(s *signal, err error) {
		c.o.Figures.signals(0, 1, 0)
		c.log.Warn("a signal is refused by the Central API and left out", "scenario", s.Scenario, "uuid", s.UUID, "error", err)
	}
	p.lost = func(from, newest engine.Revision) {
		c.o.Figures.signals(0, 0, 1)
		c.log.Warn("signals are lost: the history is not kept any more back to where the last one was sent",
			"sent_up_to", uint64(from), "goes_on_at", uint64(newest))
	}
	return p
}

// pushJob sends signals, at least once and in order. A batch that fails is sent again, with
// growing pauses, from the bookmark, which a restart finds where it was.
func (c *Client) pushJob(ctx context.Context) {
	p := c.newPusher()
	again := pauses{first: 2 * pushEvery, longest: 5 * time.Minute}
	if c.o.NoSharing {
		if err := p.mark.Drop(ctx); err != nil {
			c.warn(ctx, "the history is kept for signals that are not shared", "error", err)
		}
		return
	}
	for !p.begin(ctx) { // at once: what comes from now on is sent
		if c.session.pause(ctx, pushEvery) != nil {
			return
		}
	}
	defer p.look() // the rules that follow are not for what came until now
	wait, failing := c.around(pushEvery, pushSpread), false
	for c.session.pause(ctx, wait) == nil {
		err := p.turn(ctx)
		c.went(ctx, JobSignals, err)
		c.o.Figures.waits(p.behind(err))
		if failing = err != nil && ctx.Err() == nil; err != nil {
			wait = again.failed(c.o.Jitter)
			c.warn(ctx, "signals wait: the Central API does not take them", "error", err, "again_in", wait.Round(time.Second).String())
			continue
		}
		wait = pushEvery
		again.well()
	}
	if !failing {
		p.last(ctx)
	}
}

// behind is how many commits wait after a turn that ended so.
func (p *pusher) behind(err error) uint64 {
	if err == nil {
		return 0
	}
	return uint64(p.c.o.Engine.View().Revision() - p.at.rev)
}

// last sends what has come since the last turn, when the server ends. What it does not bring
// away in time the next start sends.
func (p *pusher) last(ctx context.Context) {
	ctx, cancel := p.c.o.Within(context.WithoutCancel(ctx), lastPatience)
	defer cancel()
	if err := p.turn(ctx); err != nil {
		p.c.log.Warn("the last signals are sent with the next start: the Central API does not take them now", "error", err)
	}
}

// pushOnce sends what there is, once.
func (c *Client) pushOnce(ctx context.Context) error {
	p := c.newPusher()
	if c.o.NoSharing || !p.begin(ctx) {
		return ctx.Err()
	}
	return p.turn(ctx)
}

// begin finds the place to go on from. What was before the first start with sharing is not
// sent.
func (p *pusher) begin(ctx context.Context) bool {
	if err := p.outbox.begin(ctx); err != nil {
		p.c.warn(ctx, "signals cannot be sent yet: the place in the history cannot be noted", "error", err)
		return false
	}
	return true
}

// turn sends all that there is.
func (p *pusher) turn(ctx context.Context) error {
	p.look()
	err := p.outbox.turn(ctx)
	p.c.o.Rules.past(p.moved)
	return err
}

// look decides on all that there is, sent or not.
func (p *pusher) look() { p.c.o.Rules.look(p.c.o.Console, p.c.o.Engine.View().Revision()) }

func (c *Client) postSignals(ctx context.Context, batch []*signal) error {
	err := c.session.ask(ctx, &request{method: http.MethodPost, path: "v3/signals", body: batch, once: true, wait: batchPatience})
	if err == nil {
		c.o.Figures.signals(uint64(len(batch)), 0, 0)
	}
	return err
}

func (c *Client) parcels(commit *engine.Commit) (list []*parcel[*signal]) {
	for _, s := range c.signalsOf(commit) {
		list = append(list, &parcel[*signal]{what: s, size: s.size()})
	}
	return list
}

// signalsOf are the signals of a commit, in order, those that are kept back left out.
func (c *Client) signalsOf(commit *engine.Commit) (kept []*signal) {
	var brought map[engine.AlertID]*signal // whose decisions are told one by one
	var list []*signal
	rules := c.o.Rules.of(commit.Revision, c.o.Console)
	for change := range commit.Changes() {
		if change.Kind == engine.DecisionBegun {
			if s := brought[change.Decision.AlertID()]; s != nil {
				s.begun(change.Decision)
			}
			continue
		}
		s := c.signalOf(&change, rules.Context)
		if s == nil {
			continue
		}
		if list = append(list, s); s.Decisions == nil {
			if brought == nil {
				brought = map[engine.AlertID]*signal{}
			}
			brought[change.Alert] = s
		}
	}
	for _, s := range list {
		if s.Trust = s.trust(); rules.shares(s.Trust) {
			kept = append(kept, s)
		}
	}
	return kept
}

// signalOf is an alert's signal, nil for other changes and for alerts that are none. It has
// all decisions that the alert was reported with: of one that is told late some may be over,
// and who decided them says how much of it may be shared.
func (c *Client) signalOf(change *engine.Change, withMeta bool) *signal {
	if change.Kind != engine.AlertStored || change.By.Kind == engine.ActorCentralAPI || change.By.Kind == engine.ActorImport {
		return nil
	}
	a, err := change.Report()
	if err != nil {
		c.log.Error("an alert cannot be read and is no signal", "alert", uint64(change.Alert), "error", err)
		return nil
	}
	if a.Simulated {
		return nil
	}
	s := newSignal(a)
	planned := change.Planned()
	for i := range planned[:min(len(planned), mostDecisions)] {
		d := &planned[i]
		s.add(d.Until, signalDecision{Origin: d.Origin, Scenario: d.Scenario, Scope: d.Scope, Type: d.Type, Value: d.Value}, d.UUID)
	}
	if withMeta {
		s.Context = contextOf(a)
	}
	return s
}

func newSignal(a *engine.Alert) *signal {
	src := &a.Source
	return &signal{
		Scenario: a.Scenario, Hash: a.ScenarioHash, Version: a.ScenarioVersion, Message: a.Message, Machine: a.MachineID,
		UUID: a.UUID.String(), Kind: a.Kind, stop: a.StopAt.At,
		StartAt: a.StartAt.Time().Format(time.RFC3339), StopAt: a.StopAt.Time().Format(time.RFC3339),
		Source: signalSource{src.Scope, src.Value, src.IP, src.Range, src.AsNumber, src.AsName, src.Cn, src.Latitude, src.Longitude},
	}
}

func contextOf(a *engine.Alert) []signalMeta {
	list := make([]signalMeta, len(a.Meta))
	for i, m := range a.Meta {
		list[i] = signalMeta(m)
	}
	return list
}

// begun adds a decision that began with its alert.
func (s *signal) begun(d engine.Decision) {
	s.add(d.Decided(), signalDecision{
		Origin: strings.Clone(d.Origin().S), Scenario: strings.Clone(d.Scenario().S), Scope: strings.Clone(d.Scope().S), Type: strings.Clone(d.Type().S), Value: d.Value(),
	}, d.UUID())
}

func (s *signal) add(until int64, d signalDecision, uuid engine.UUID) {
	if len(s.Decisions) >= mostDecisions {
		return
	}
	d.Duration = lasting(time.Duration(engine.Left(until, s.stop)))
	if uuid != (engine.UUID{}) { // an older program stored it
		d.UUID = uuid.String()
	}
	s.Decisions = append(s.Decisions, d)
}

// lasting spells a duration as an operator would: 4h and not 4h0m0s.
func lasting(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Words of trust.
const (
	trustManual    = "manual"
	trustCustom    = "custom"
	trustTainted   = "tainted"
	trustCertified = "certified"
)

// trust says how much the service may build on a signal. What an operator imports is as
// much his own as what he decides.
func (s *signal) trust() string {
	if len(s.Decisions) > 0 {
		if o := s.Decisions[0].Origin; o == engine.OriginManual || o == engine.OriginImport {
			return trustManual
		}
	}
	switch {
	case s.Hash == "":
		return trustCustom
	case s.Version == "" || s.Version == "?":
		return trustTainted
	}
	return trustCertified
}

func (c *Console) shares(trust string) bool {
	switch trust {
	case trustManual:
		return c.Manual
	case trustCustom:
		return c.Custom
	case trustTainted:
		return c.Tainted
	}
	return true
}

// size is about how many bytes a signal takes as JSON.
func (s *signal) size() int {
	b, err := json.Marshal(s)
	if err != nil {
		return 0
	}
	return len(b)
}
