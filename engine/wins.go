package engine

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Allowlists can win over whatever was decided, before or after: an allowlisted address
// inside a banned range is free then for bouncers, which are told the range without it.
// Whether they do is a part of the history, with the revision since when, so that what a
// bouncer was told at a cursor is known exactly.

// modeChange says that allowlists win, or do not, from a revision on. Before the first they
// do not.
type modeChange struct {
	since uint64
	wins  bool
}

// mostModes is how many changes are kept. What was so before the oldest of them is the
// opposite of what it says; so a cursor from there is told exactly if there was but one, and
// what is harmless otherwise.
const mostModes = 64

// allowlistsWin reports whether allowlists win after a revision.
func (v *View) allowlistsWin(at uint64) bool {
	for i := len(v.modes) - 1; i >= 0; i-- {
		if v.modes[i].since <= at {
			return v.modes[i].wins
		}
	}
	return false
}

// allowlistsWon reports whether they win now or did so after some revision since.
func (v *View) allowlistsWon(since uint64) bool {
	for i := len(v.modes) - 1; i >= 0; i-- {
		if v.modes[i].wins {
			return true
		}
		if v.modes[i].since <= since {
			return false
		}
	}
	return false
}

// AllowlistsWin reports whether allowlists win over what is decided.
func (v *View) AllowlistsWin() bool { return v.allowlistsWin(uint64(v.revision)) }

// setAllowlistsWin makes the history agree with the options. It runs on the committer; a
// disk that refuses is asked again every second, and until then it is as it was.
func (e *Engine) setAllowlistsWin(steady int64) {
	want := e.options.AllowlistsWin
	if want == nil || !e.role.writes.Load() || e.View().AllowlistsWin() == *want || steady < e.nextWins {
		return
	}
	e.nextWins = steady + int64(time.Second)
	if err := e.commitOwn(Actor{Kind: ActorServer}, &allowlistsWin{on: *want}); err != nil {
		e.log.Warn("allowlist_wins cannot be stored yet: bouncers are told as it was before", "allowlist_wins", *want, "error", err)
		return
	}
	e.log.Info("what bouncers are told follows allowlist_wins from here on", "allowlist_wins", *want, "revision", e.View().Revision())
}

// allowlistsWin says whether allowlists win from now on.
type allowlistsWin struct{ on bool }

func (*allowlistsWin) number() byte               { return numberAllowlistsWin }
func (o *allowlistsWin) append(dst []byte) []byte { return appendBool(dst, o.on) }
func (o *allowlistsWin) decode(d *decoder)        { o.on = d.bool() }
func (o *allowlistsWin) apply(s *state, rev Revision) {
	if s.next.allowlistsWin(uint64(rev)) == o.on {
		return
	}
	modes := append(slices.Clone(s.next.modes), modeChange{uint64(rev), o.on})
	s.next.modes = modes[max(len(modes)-mostModes, 0):]
}

func (v *View) appendModes(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v.modes)))
	for _, m := range v.modes {
		dst = appendBool(binary.AppendUvarint(dst, m.since), m.wins)
	}
	return dst
}

func decodeModes(d *decoder, rev uint64) []modeChange {
	n := d.count(2)
	if n > mostModes {
		d.fail()
		return nil
	}
	modes := make([]modeChange, n)
	for i := range modes {
		modes[i] = modeChange{d.uvarint(), d.bool()}
		if modes[i].since > rev || i > 0 && modes[i].since <= modes[i-1].since {
			d.fail()
		}
	}
	if n == 0 {
		return nil
	}
	return modes
}

// uncut are ranges that are not told because they would be in too many pieces. Readers
// meet them, the committer tells of each once.
type uncut struct {
	mu    sync.Mutex
	known map[netip.Prefix]bool // and whether it was told
}

// mostUncut is how many are told of; by then the operator knows.
const mostUncut = 64

func (u *uncut) note(p netip.Prefix) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.known == nil {
		u.known = map[netip.Prefix]bool{}
	}
	if _, known := u.known[p]; !known && len(u.known) < mostUncut {
		u.known[p] = false
	}
}

// tellUncut says so.
func (e *Engine) tellUncut() {
	u := &e.state.uncut
	u.mu.Lock()
	defer u.mu.Unlock()
	for p, told := range u.known {
		if !told {
			u.known[p] = true
			e.log.Error("a banned range is told to no bouncer, because so many allowlisted addresses lie in it: it would be told in too many pieces; "+
				"allowlist whole networks instead of single addresses, or ban smaller ranges", "range", p.String(), "pieces_at_most", mostPieces)
		}
	}
}
