package engine

import (
	"encoding/binary"
	"fmt"
	"time"
)

// A start believes the wall clock, for bouncers, certificates and log processors
// do so too. But when it says that far more time has passed since the last commit
// than a server is usually off for, it is as likely that the clock is wrong: a
// battery is flat, and the time server has not answered yet. Then nothing is
// deleted for its age until the clocks have agreed for ten minutes, or the clock
// was set to a likely time. Meanwhile the start counts as unproven:
//
//   - alerts, usage metrics, bouncers, machines and items of allowlists stay,
//     however old they are by the new time;
//   - decisions that are over by it end, as after every start: they may well be
//     over, and what is over must be in no answer and told to bouncers;
//   - a note in the history keeps the last time that was believed, so that a
//     second start with the same wrong clock is held to it as well.
//
// What the operator deletes by name or by age is deleted.
//
// Besides, a server that is off hears nothing, nor is it known what it heard before a
// step of the clock that was followed. So silence of bouncers and machines counts against
// them only when they could have been heard for ten minutes.

// leapAtLeast is how far ahead of the last commit a start may always be: a server
// that was off for a month deletes what is old at once.
const leapAtLeast = 31 * 24 * time.Hour

// clockLeap is a start that is not proven.
type clockLeap struct {
	believed int64 // when the last commit was made under a clock that was believed
	latest   int64 // the latest time at which a clock is believed at once
}

// leap is how far ahead of the last commit the clock of a start is believed at once:
// within it only little can have become too old.
func (r *Retention) leap() int64 {
	shortest := time.Duration(0)
	for _, age := range [...]time.Duration{r.MaxAge, r.UsageMaxAge, r.BouncersKey, r.BouncersCert, r.MachinesPassword, r.MachinesCert} {
		if age > 0 && (shortest == 0 || age < shortest) {
			shortest = age
		}
	}
	return int64(max(shortest, leapAtLeast))
}

// leapNote is the name of the note. It lies among the secrets, which is what the
// history keeps by name; empty when every start so far has been proven.
const leapNote = "clock.believed"

func (v *View) leapNote() (believed int64, ok bool) {
	note := v.secrets[leapNote]
	if len(note) != 8 {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(note)), true
}

// doubtStart looks whether the clock at the start is likely. For Open, with the
// state as it is after the last commit. Before the first one there is nothing to compare with.
func (e *Engine) doubtStart() {
	if e.state.next.revision == 0 {
		_, steady := e.clock()
		e.proven = proven{e.wall.base.Load(), steady, steady}
		return
	}
	believed, noted := e.View().leapNote()
	if !noted {
		believed = e.state.at
	}
	latest := believed + e.options.Retention.leap()
	now, steady := e.clock()
	e.proven = proven{e.wall.base.Load(), steady, steady}
	if e.options.TrustClock || now <= latest {
		return
	}
	e.wall.leap.Store(&clockLeap{believed, latest})
	text := fmt.Sprintf("the clock says %s, %d days after the last commit (%s): nothing is deleted for its age until the clock has been "+
		"right for ten minutes; set it if it is wrong, start with --trust-clock if it is right",
		stamp(now), (now-believed)/int64(24*time.Hour), stamp(believed))
	e.troubles.set(TroubleClock, text, now)
	e.log.Error(text)
}

// stamp spells a moment for a message.
func stamp(at int64) string { return time.Unix(0, at).UTC().Format(time.RFC3339) }

// proven is what the committer knows of its clock.
type proven struct {
	base   *clockBase // as it was last
	agreed int64      // since when the clocks agree, on the steady clock
	heard  int64      // since when bouncers and machines could be heard
}

// prove looks at the clocks once a round, and reports whether what is old may be
// deleted.
func (e *Engine) prove(now, steady int64) bool {
	p := &e.proven
	if b := e.wall.base.Load(); b != p.base {
		p.base, p.agreed, p.heard = b, steady, steady
	}
	if e.wall.doubt.Load() != nil {
		p.agreed = steady
	}
	l := e.wall.leap.Load()
	switch {
	case l == nil:
	case now <= l.latest:
		e.endLeap("the clock was set to a likely time", now)
	case steady-p.agreed >= clockPatience:
		e.endLeap("the clock has not changed for ten minutes: it is believed", now)
	}
	e.noteLeap()
	return e.wall.leap.Load() == nil
}

func (e *Engine) endLeap(why string, now int64) {
	e.wall.leap.Store(nil)
	e.troubles.clear(TroubleClock)
	e.log.Warn(why+"; what is too old by it is deleted from now on", "now", stamp(now))
}

// noteLeap keeps the note in the history as it should be. What a disk refuses is
// tried again in the next round.
func (e *Engine) noteLeap() {
	var want []byte
	if l := e.wall.leap.Load(); l != nil {
		want = binary.LittleEndian.AppendUint64(nil, uint64(l.believed))
	}
	if string(e.View().secrets[leapNote]) == string(want) || e.sick.Load() {
		return
	}
	e.drop(&putSecret{name: leapNote, value: want}, "", 0)
}

// canBeHeard reports whether bouncers and machines have had the time to be heard.
func (e *Engine) canBeHeard(steady int64) bool { return steady-e.proven.heard >= clockPatience }
