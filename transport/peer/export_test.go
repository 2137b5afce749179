package peer

import "time"

// SetStrangerPatience has a relay take another history sooner.
func SetStrangerPatience(r *Relay, d time.Duration) { r.options.patience = d }

// AtLevel has a relay say that it reads another level.
func AtLevel(r *Relay, level string) { r.level = level }
