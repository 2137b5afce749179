package engine

import (
	"net/netip"
	"slices"
	"time"
)

// How often the committer looks after itself, with or without writes.
const (
	lookAtClock    = time.Second     // at the latest: a stepped clock is noticed
	lookForStore   = time.Second     // a store that was removed under the server is noticed
	visitsEvery    = 5 * time.Second // cursors and heartbeats go to disk
	retentionEvery = time.Minute
	usageEvery     = time.Hour
	releaseEvery   = 10 * time.Second       // memory of what was forgotten
	sweepAgain     = 100 * time.Millisecond // while graves are being cleared
	snapshotAgain  = 30 * time.Second       // after one that failed

	// followerPatience is how long after its last pull a bouncer's place in
	// the history is kept for it; after that, when it is gone, it starts over.
	followerPatience = 24 * time.Hour

	// historyMinutes is how much history is kept even if no bouncer needs it, in
	// steps of retentionEvery: a bouncer that is being told everything for the
	// first time, however slowly it reads, finds what came after. Of
	// Options.History it takes no more than one part in historyShare.
	historyMinutes = 20
	historyShare   = 8
)

// housekeeping does what is due and says how long the committer may sleep.
func (e *Engine) housekeeping() time.Duration {
	now, steady := e.clock()
	s := e.state
	e.tryDisk(steady)
	e.lookForStore(steady)
	e.setAllowlistsWin(steady)
	e.tellUncut()
	proven := e.prove(now, steady)
	writes := e.role.writes.Load()
	if writes && e.options.Journal == nil && steady >= e.nextVisits {
		e.nextVisits = steady + int64(visitsEvery)
		more, err := e.writeVisits()
		if err != nil {
			e.log.Debug("visits are not written down yet", "error", err)
		} else if more {
			e.nextVisits = steady
		}
	}
	if e.options.Relay && steady >= e.nextVisits {
		e.nextVisits = steady + int64(visitsEvery)
		e.writeOwnVisits()
	}
	e.markRelayed(steady)
	if writes && s.renewalDue(now) {
		if err := e.commitOwn(Actor{Kind: ActorServer}, &visits{live: true}); err != nil {
			e.log.Debug("no commit can be made for bouncers with bounded durations", "error", err)
		}
	}
	due := steady >= e.nextRetention
	if due {
		e.nextRetention = steady + int64(retentionEvery)
		e.survey.begin(writes && proven && e.canBeHeard(steady))
		e.evictions.tidy(e.View(), e.options.BouncersPerKey)
	}
	for few := e.few(); e.look(now) && few; { // few are looked at in one go
	}
	if writes && due && proven {
		e.retain(now, steady)
	}
	e.considerSnapshot(steady)
	if s.history.Len() > e.options.History+e.options.History/8 {
		s.history.Trim(e.options.History)
	}
	if due {
		e.tellLost()
	}
	if s.sweep(); s.graves.waitForView() {
		e.publish(s.next.revision)
	}
	if steady >= e.nextRelease {
		e.nextRelease = steady + int64(releaseEvery)
		e.giveBack()
	}
	e.counters.graves.Store(int64(len(s.graves.waiting) + len(s.graves.buried)))
	sleep := lookAtClock
	if e.survey.under || writes && e.nextVisits == steady {
		sleep = surveyAgain
	}
	if at, ok := s.deadlines.Next(); ok && writes && !e.sick.Load() {
		sleep = min(sleep, max(time.Duration(at-now), time.Millisecond))
	}
	if at, ok := s.next.allowlists.clock.nextDue(s.next.allowlists.index); ok && writes && !e.sick.Load() {
		sleep = min(sleep, max(time.Duration(at-now), time.Millisecond))
	}
	if g := s.graves.waiting; len(g) > 0 && s.records.At(g[0].slot).endedRev.Load() <= s.history.Floor() && g[0].view < s.graves.low {
		sleep = min(sleep, sweepAgain)
	}
	return sleep
}

// trimHistory forgets what every bouncer that still comes by knows for certain,
// the slowest of them included, and is old enough.
func (e *Engine) trimHistory(slowest Revision) {
	v := e.View()
	slowest = min(slowest, v.revision, e.awaited(v))
	since := func(rev Revision) int {
		if w, ok := e.state.history.Window(uint64(rev), uint64(v.revision)); ok {
			return w.Len()
		}
		return e.state.history.Len() // it does not reach back so far
	}
	recent := min(since(e.minutes[0]), e.options.History/historyShare)
	copy(e.minutes[:], e.minutes[1:])
	e.minutes[len(e.minutes)-1] = v.revision
	if keep := max(since(slowest), recent); keep < e.state.history.Len() {
		e.state.history.Trim(keep)
	}
}

// visitsAtOnce is how many bouncers, and machines, one commit of visits holds at
// most: less than a megabyte.
const visitsAtOnce = 16_384

// visitsInTurn is how many of them are written down before others' writes go in between, and requests on the
// same processor.
const visitsInTurn = 1024

// writeVisits writes down how far bouncers got, when machines were heard of and operators logged in,
// one commit for many, and says whether there are more. Where nodes share a history notes do it (visit_note.go).
func (e *Engine) writeVisits() (more bool, err error) {
	s, o := e.state, &visits{live: true}
	var bouncers []*BouncerRow
	var machines []*machineRow
	s.visited.open()
	s.heard.open()
	s.logins.open()
	for n := 0; n < visitsInTurn; n++ {
		row := s.visited.take()
		if row == nil {
			break
		}
		if !row.gone.Load() { // else another may have the name by now
			o.bouncers = append(o.bouncers, visit{row.Load().Name, row.lastPull.Load(), row.kept(), row.acked.Load()})
			bouncers = append(bouncers, row)
		}
	}
	for n := 0; n < visitsInTurn; n++ {
		row := s.heard.take()
		if row == nil {
			break
		}
		if !row.gone {
			o.machines = append(o.machines, visit{name: row.value.Load().ID, at: row.heartbeat.Load()})
			machines = append(machines, row)
		}
	}
	var operators []*loginRow // there are few
	for row := s.logins.take(); row != nil; row = s.logins.take() {
		if !row.gone {
			o.operators = append(o.operators, visit{name: row.name, at: row.at.Load()})
			operators = append(operators, row)
		}
	}
	more = s.visited.rest != nil || s.heard.rest != nil
	if len(o.bouncers)+len(o.machines)+len(o.operators) == 0 {
		return more, nil
	}
	err = e.commitOwn(Actor{Kind: ActorServer}, o)
	if err != nil { // kept for the next time
		for _, row := range bouncers {
			s.visited.note(row)
		}
		for _, row := range machines {
			s.heard.note(row)
		}
		for _, row := range operators {
			s.logins.note(row)
		}
	}
	return more, err
}

// retain drops what the operator does not want kept any longer. Runs on the
// committer.
func (e *Engine) retain(now, steady int64) {
	r := &e.options.Retention
	v := e.View()
	if ids := v.flushable(r.MaxItems, r.MaxAge, now); len(ids) > 0 {
		e.drop(&dropAlerts{at: now, ids: ids}, "dropped old alerts", len(ids))
	}
	if r.UsageMaxAge > 0 && steady >= e.nextUsage {
		e.nextUsage = steady + int64(usageEvery)
		e.drop(&dropUsage{before: now - int64(r.UsageMaxAge)}, "", 0)
	}
	for _, l := range v.allowlists.order {
		if l.anyExpired(now) {
			e.drop(&reduceAllowlist{name: l.Name, expired: now}, "", 0)
		}
	}
}

// drop commits one step of the retention. What fails is tried again a minute
// later.
func (e *Engine) drop(o op, what string, n int) {
	if err := e.commitOwn(Actor{Kind: ActorRetention}, o); err == nil && what != "" {
		e.log.Info(what, "count", n)
	}
}

// flushable lists alerts beyond number or age without a running decision. The
// contract keeps maxItems+1; gaps in the ids count as alerts. An alert that a
// wrong clock has dated into the future is as old as the next one after it.
func (v *View) flushable(maxItems int, maxAge time.Duration, now int64) []uint64 {
	if maxItems <= 0 && maxAge <= 0 {
		return nil
	}
	var ids []uint64
	end := 0 // of what is to go
	brought := v.gaps[0] != nil
	left := 0 // of alerts, where they were brought and gaps do not count
	if brought {
		for range v.eachAlert {
			left++
		}
	}
	for id, h := range v.eachAlert {
		old := maxAge > 0 && h.createdAt <= now-int64(maxAge)
		surplus := maxItems > 0 && !brought && id+uint64(maxItems) < v.nextAlert-1 || maxItems > 0 && brought && left > maxItems+1
		left--
		if !old && !surplus && h.createdAt <= now && !brought {
			break // later ones are younger and fewer
		}
		if !v.anyRunning(id, h, now) {
			ids = append(ids, id)
		}
		if old || surplus {
			end = len(ids)
		}
	}
	return ids[:end]
}

// local reports whether an address is this very host's, exactly as the
// contract names it.
func local(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && (a == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a == netip.IPv6Loopback())
}

// anyExpired reports whether some item is over.
func (l *Allowlist) anyExpired(now int64) bool {
	return slices.ContainsFunc(l.Items, func(it AllowlistItem) bool { return it.Expired(now) })
}
