package transport

import (
	"log/slog"
	"sync"
	"time"

	"lapid/engine"
)

// Polls that are held because their bouncer's row says so (bouncers edit --hold) may be
// held for longer than the client waits for an answer. A bouncer whose client goes away
// from such polls several times in a row is not held for a while.

const (
	// giveUpsAtMost is how often in a row.
	giveUpsAtMost = 3
	// restFor is how long it is not held then.
	restFor = 10 * time.Minute
	// giveUpRows is for how many bouncers this is known at most. Beyond, one of them is
	// held again.
	giveUpRows = 1 << 16
)

// giveUps are those of all bouncers. Any goroutine.
type giveUps struct {
	mu   sync.Mutex
	rows map[*engine.BouncerRow]giveUp
}

type giveUp struct {
	times int
	rest  time.Time // until then it is not held
}

// resting reports whether a bouncer is not to be held now.
func (g *giveUps) resting(row *engine.BouncerRow) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, known := g.rows[row]
	if !known || was.times < giveUpsAtMost {
		return false
	}
	if time.Now().Before(was.rest) {
		return true
	}
	delete(g.rows, row)
	return false
}

// ended notes how a poll ended that was held: with an answer, or because its client has
// gone.
func (g *giveUps) ended(row *engine.BouncerRow, gone bool, log *slog.Logger) {
	g.mu.Lock()
	defer g.mu.Unlock()
	was, known := g.rows[row]
	if !gone {
		if known && was.times < giveUpsAtMost {
			delete(g.rows, row)
		}
		return
	}
	if was.times >= giveUpsAtMost {
		return
	}
	if !known && len(g.rows) >= giveUpRows {
		for other := range g.rows {
			delete(g.rows, other)
			break
		}
	}
	if g.rows == nil {
		g.rows = map[*engine.BouncerRow]giveUp{}
	}
	was.times++
	if was.times == giveUpsAtMost {
		was.rest = time.Now().Add(restFor)
		b := row.Load()
		log.Warn("a bouncer gives up its polls before they are answered: they are not held for a while; give it a shorter --hold (lapid bouncers inspect says which)",
			"bouncer", b.Name, "hold", b.Hold.Duration(), "times", was.times, "for", restFor)
	}
	g.rows[row] = was
}
