package engine

import (
	"sync"
	"time"
)

// UsageKind says who reported usage metrics.
type UsageKind byte

// Who reports usage metrics.
const (
	UsageBouncer UsageKind = 'B'
	UsageMachine UsageKind = 'M'
)

// Usage is one report of usage metrics: what it says about its sender, and the
// metrics themselves, kept as they came on disk.
type Usage struct {
	Kind         UsageKind
	Name         string // of the bouncer row or machine
	ReceivedAt   int64  // Unix nanoseconds
	Type         string // bouncers only; "" keeps what is known
	Version      string
	OS           OS
	HasOS        bool
	FeatureFlags []string
	DataSources  []Count              // machines only
	HubItems     map[string][]HubItem // machines only
	Payload      []byte               // the metrics part, JSON; owned by the engine from here on
}

// usageMeter counts what senders of usage metrics have sent on the day that it
// is. It is in memory only: a restart begins anew. Any goroutine.
type usageMeter struct {
	mu      sync.Mutex
	day     int64
	senders map[usageSender]usageSpent
	keys    map[string]int // bytes, by the name that the rows of one key share
}

type usageSender struct {
	kind UsageKind
	name string
}

type usageSpent struct{ reports, bytes int }

// admit reports whether a report is within what its sender may still send today,
// and if so counts it.
func (m *usageMeter) admit(u *Usage) bool {
	size := len(u.Payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	if day := u.ReceivedAt / int64(24*time.Hour); day != m.day || m.senders == nil {
		m.day, m.senders, m.keys = day, map[usageSender]usageSpent{}, map[string]int{}
	}
	who, key := usageSender{u.Kind, u.Name}, string(u.Kind)+BaseName(u.Name)
	spent := m.senders[who]
	if size > mostUsageReport || spent.reports >= mostUsageReports || spent.bytes+size > mostUsageSender || m.keys[key]+size > mostUsageKey {
		return false
	}
	m.senders[who] = usageSpent{spent.reports + 1, spent.bytes + size}
	m.keys[key] += size
	return true
}
