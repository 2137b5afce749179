package transport

import "time"

// Told is what the metrics show of one notification. Counters are since the start.
type Told struct {
	Name      string
	Delivered uint64            // messages that were taken
	Failed    uint64            // attempts that failed
	Retried   uint64            // attempts to send what had failed before
	Dropped   map[string]uint64 // alerts that were given up, by a word that says why; all words, at all times
	Skipped   uint64            // commits that were forgotten before they were looked at
	Waiting   int               // alerts that wait, as far as they have been looked at
	Oldest    time.Time         // when the oldest of them was stored; zero: none waits
}

// told sends it.
func (c collectorOf) told(m measure) {
	if c.s.options.Told == nil {
		return
	}
	for _, t := range c.s.options.Told() {
		m.counter(toldTotal, float64(t.Delivered), t.Name)
		m.counter(toldFailed, float64(t.Failed), t.Name)
		m.counter(toldRetried, float64(t.Retried), t.Name)
		for why, n := range t.Dropped {
			m.counter(toldDropped, float64(n), t.Name, why)
		}
		m.counter(toldSkipped, float64(t.Skipped), t.Name)
		m.gauge(toldWaiting, float64(t.Waiting), t.Name)
		age := 0.0
		if !t.Oldest.IsZero() {
			age = max(time.Since(t.Oldest).Seconds(), 0)
		}
		m.gauge(toldOldest, age, t.Name)
	}
}
