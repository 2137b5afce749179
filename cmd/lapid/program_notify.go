package main

import (
	"context"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"lapid/engine"
)

// What the service manager is told.
const (
	ready     = daemon.SdNotifyReady
	reloading = daemon.SdNotifyReloading
	stopping  = daemon.SdNotifyStopping
)

// notify tells the service manager, if there is one. One that cannot be reached
// is no reason to stop serving.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// watchdog tells the service manager, twice in the time it allows, that the
// engine still makes commits visible and reads the clock. Without a watchdog it
// returns at once.
func watchdog(ctx context.Context, e *engine.Engine) error {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every <= 0 {
		return nil
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if e.View() != nil && e.Now() != 0 {
				notify(daemon.SdNotifyWatchdog)
			}
		}
	}
}
