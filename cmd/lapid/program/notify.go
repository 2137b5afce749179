package program

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"lapid/engine"
	"lapid/transport/visible"
)

// What the service manager is told.
const (
	ready     = daemon.SdNotifyReady
	reloading = daemon.SdNotifyReloading
	stopping  = daemon.SdNotifyStopping
)

// moreTime asks the service manager not to take a start for stuck that goes on
// telling where it stands: for a minute from now, over what the unit allows.
const moreTime = "EXTEND_TIMEOUT_USEC=60000000"

// status is a sentence for a person who asks the service manager. It is told
// together with other things, so it must be one line. It is shortened as
// lines of the log are.
func status(text string) string { return "STATUS=" + visible.Text(visible.Short(text)) }

// notify tells the service manager, if there is one. One that cannot be reached
// is no reason to stop serving.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// watchdog tells the service manager, four times in the time it allows, that the
// committer has gone round since the last time. A disk that refuses writes does
// not hold the committer up; a disk that does not answer does, and then nothing is
// told. Without a watchdog it returns at once.
func watchdog(ctx context.Context, e *engine.Engine) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return nil
	}
	tick := time.NewTicker(every / 4)
	defer tick.Stop()
	pulse := pulse{engine: e}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if pulse.felt() {
				notify(daemon.SdNotifyWatchdog)
			}
		}
	}
}

// pulse looks whether the committer comes round.
type pulse struct {
	engine *engine.Engine
	seen   uint64 // of its rounds
}

// felt reports whether the committer has gone round since the last call, and has
// it go round once more, for at rest it does so once a second only.
func (p *pulse) felt() bool {
	now := p.engine.Rounds()
	moved := now != p.seen
	p.seen = now
	p.engine.Wake()
	return moved
}
