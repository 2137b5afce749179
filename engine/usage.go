package engine

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
