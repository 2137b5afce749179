package transport

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// A poll that would be told that nothing has changed may be put off until something does,
// if its client asks for that: a connection on a loop is parked, which costs no goroutine;
// others wait with theirs.

// hold is for how long the poll may be put off, from now on; 0: not at all. The time that
// it was put off already counts.
// own: the bouncer's row has it put off, and not the client.
func (s polls) hold(x *exchange, form *wire.StreamForm) (wait time.Duration, own bool, err error) {
	if x.query.Startup {
		return 0, false, nil
	}
	says, prefers := x.bouncer.Load().Hold, false
	if form.HasWait {
		if wait, err = waitOf(form.Wait); err != nil {
			return 0, false, err
		}
	} else if wait, prefers = preferred(x.request.Prefer); !prefers {
		if says <= 0 || s.giveUps.resting(x.bouncer) {
			return 0, false, nil
		}
		wait, own = says.Duration(), true
	}
	if says < 0 {
		return 0, false, nil // off, in so many words
	}
	wait = min(wait, feed.HeldAtMost)
	if prefers {
		x.applied = strconv.AppendInt(append(x.applied[:0], "wait="...), int64(wait/time.Second), 10)
		x.answer.Tell(appliedLine, x.applied)
	}
	if since := x.request.Parked; !since.IsZero() {
		wait -= time.Since(since)
	}
	return max(wait, 0), own, nil
}

var appliedLine = []byte("Preference-Applied")

// waitOf reads the parameter: a duration, or a number of seconds.
func waitOf(text []byte) (time.Duration, error) {
	d, err := engine.ParseDuration(string(text))
	if n, bad := strconv.ParseUint(string(text), 10, 32); bad == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d < 0 {
		return 0, &answer{http.StatusBadRequest, fmt.Sprintf("wait is a duration such as 25s, not '%.40s'", text)}
	}
	return d, nil
}

// preferred reads the line of RFC 7240. What it does not understand it passes over, as
// that asks for.
func preferred(line []byte) (wait time.Duration, given bool) {
	for more := len(line) > 0; more; {
		var one []byte
		one, line, more = bytes.Cut(line, []byte{','})
		one, _, _ = bytes.Cut(one, []byte{';'})
		name, value, _ := bytes.Cut(one, []byte{'='})
		if !bytes.EqualFold(bytes.TrimSpace(name), []byte("wait")) {
			continue
		}
		if n, err := strconv.ParseUint(string(bytes.Trim(value, " \"")), 10, 32); err == nil {
			return time.Duration(n) * time.Second, true
		}
	}
	return 0, false
}

// guest is what a parked poll is to the feed.
type guest struct {
	feed     *feed.Feed
	question []byte // good until Parked
	row      *engine.BouncerRow
	sight    *engine.Sight // by which nothing has changed
	at       engine.Revision
	wait     time.Duration
	held     *feed.Held
	visit    visit
	own      *core // set where the bouncer's row has it put off
	gate     *auth.Gate
	standing auth.Standing
}

var _ conn.Guest = (*guest)(nil)

// Parked has the feed wake it. When the feed is closing the end of the loops does.
func (g *guest) Parked(wake func(last bool) bool) {
	g.held = g.feed.Hold(g.question, g.row, g.sight, g.at, g.wait, feed.Manners{Stale: g.stale}, wake)
	g.question = nil
}

// stale reports whether the bouncer is to be let in again, or refused: it is gone, or its key may be over.
func (g *guest) stale() bool { return g.row.Gone() || !g.gate.Stands(g.standing) }

// Left ends the wait.
func (g *guest) Left(gone bool) {
	if gone {
		g.visit.left(g.at)
	}
	if g.own != nil {
		g.own.giveUps.ended(g.row, gone, g.own.log)
	}
	if g.held != nil {
		g.held.Leave()
	}
}

// Holder is who has the key.
func (g *guest) Holder() string { return holderOf(g.row) }

// holderOf is the name that a key was given to, whatever address it comes from.
func holderOf(row *engine.BouncerRow) string {
	b := row.Load()
	if at := strings.LastIndexByte(b.Name, '@'); b.AutoCreated && at >= 0 {
		return b.Name[:at]
	}
	return b.Name
}

// looksEvery is how often a goroutine that waits looks whether its client has gone.
const looksEvery = time.Second

// wait waits on the request's own goroutine until the answer is another, its time is up,
// the client has gone or the server ends.
func (s polls) wait(x *exchange, form *wire.StreamForm, view *engine.View, hold time.Duration, own bool) (feed.Answer, *engine.View, error) {
	end := time.Now().Add(hold)
	look := time.NewTicker(looksEvery)
	defer look.Stop()
	gone := false
	if own {
		defer func() { s.giveUps.ended(x.bouncer, gone, s.log) }()
	}
	for {
		woken := make(chan bool, 1)
		g := guest{row: x.bouncer, gate: s.gate, standing: s.gate.Standing(x.request.Key, x.client)}
		held := s.feed.Hold(form.Question, x.bouncer, x.query.Sight, view.Revision(), time.Until(end), feed.Manners{Stale: g.stale},
			func(last bool) bool { woken <- last; return true })
		last := held == nil
		for waits := !last; waits; {
			select {
			case last = <-woken:
				waits = false
			case <-look.C:
				if x.request.Gone() {
					last, waits, gone = true, false, true
				}
			case <-s.life.Done():
				last, waits = true, false
			}
		}
		if held != nil {
			held.Leave()
		}
		x.now, x.woken = s.engine.Now(), true
		x.query.Now = x.now
		if err := x.admit(); err != nil { // as if it came now
			return feed.Answer{}, nil, err
		}
		a, newest, err := s.poll(x, form)
		if err != nil || !a.Same || last || !time.Now().Before(end) {
			return a, newest, err
		}
		view = newest
	}
}
