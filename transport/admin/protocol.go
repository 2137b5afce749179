package admin

import (
	"net/netip"

	"lapid/engine"
)

// Version numbers the protocol. It changes whenever a request or an answer
// changes its meaning.
const Version = 5

// maxBody bounds a request body in bytes, and a chunk of an import. A larger one is refused with kind
// "invalid" and nothing of it is stored.
const maxBody = 64 << 20

// MaxChunk is the largest number of values that one Import chunk may hold.
const MaxChunk = 100_000

// Status is what the server says about itself. Every program answers it,
// whatever its protocol: new fields are left out when they are empty.
type Status struct {
	Version  int             // of the protocol
	Program  string          // version of the program
	PID      int             // process that holds the store
	Now      int64           // Unix nanoseconds
	Revision engine.Revision // of the newest view

	// Listening is where the server takes connections over TCP, as host:port; nil
	// while it does not yet, and from programs that do not tell.
	Listening []string `json:",omitempty"`
}

// Readiness says why the server should not be called ready; nothing when it
// should.
type Readiness struct{ Troubles []engine.Trouble }

// Name names one machine, bouncer or allowlist.
type Name struct{ Name string }

// AllowlistDeletion removes an allowlist; forced, though a bouncer's sight or an export names it.
type AllowlistDeletion struct {
	Name  string
	Force bool `json:",omitempty"`
}

// Done counts what a verb did.
type Done struct{ N int }

// Removed says what a deletion took away.
type Removed struct{ Names []string }

// OS is the operating system that a machine or bouncer reported.
type OS struct{ Name, Version, Family string }

// Count is a name with a number.
type Count struct {
	Name string
	N    int64
}

// HubItem is one installed hub item of a machine.
type HubItem struct{ Name, Version, Status string }

// Machine is a machine as the operator sees it. Times are Unix nanoseconds,
// 0 is never. HubItems and Scenarios are left out of lists.
type Machine struct {
	ID            string
	AuthType      string
	Validated     bool
	IP            string
	Version       string
	Scenarios     string
	OS            OS
	FeatureFlags  []string
	DataSources   []Count
	HubItems      map[string][]HubItem
	CreatedAt     int64
	UpdatedAt     int64 // the last change or visit
	LastPush      int64
	LastHeartbeat int64
}

// Machines is a list of machines in order of creation.
type Machines struct {
	Now      int64
	Machines []Machine
}

// NewMachine asks for a machine, validated. With Replace one of that name is
// replaced.
type NewMachine struct {
	ID           string
	PasswordHash []byte // bcrypt
	Replace      bool
}

// Prune asks for the machines or bouncers that were not heard of for a while.
type Prune struct {
	Silence          int64 // nanoseconds
	NotValidatedOnly bool  // machines only
}

// Bouncer is one row of a bouncer as the operator sees it. Times are Unix
// nanoseconds, 0 is never.
type Bouncer struct {
	Name         string
	AuthType     string
	IP           netip.Addr
	Type         string
	Version      string
	OS           OS
	FeatureFlags []string
	AutoCreated  bool
	Shared       bool
	CreatedAt    int64
	UpdatedAt    int64 // the last change or visit
	LastPull     int64
	Pulled       bool            // it has a cursor
	Cursor       engine.Revision // where its stream stands
	Behind       uint64          // revisions between its cursor and the newest

	// What it has, of what there is for it; engine.Holding says what each means.
	Streams         bool            `json:",omitempty"`
	HasAcknowledged bool            `json:",omitempty"`
	Acknowledged    engine.Revision `json:",omitempty"`
	Lag             int64           `json:",omitempty"` // nanoseconds
	LagRevisions    uint64          `json:",omitempty"`
	Expected        int             `json:",omitempty"` // decisions
	HasReported     bool            `json:",omitempty"`
	Reported        int64           `json:",omitempty"` // decisions
	ReportedAt      int64           `json:",omitempty"`
	Period          int64           `json:",omitempty"` // nanoseconds between its last polls, as a rule; 0: not known
	Usage           *BouncerUsage   `json:",omitempty"` // what it has told of itself; nil: nothing since the server's start. Left out of lists
	Polls           []Poll          `json:",omitempty"` // the last ones, the newest first; left out of lists
	Asks            string          `json:",omitempty"` // the parameters of the last of them; left out of lists

	Keys []engine.BouncerKey `json:",omitempty"` // that are good, the present one first; nil: it was never rotated. Left out of lists

	Sight *engine.Sight // what it may see; nil: everything
	Hold  engine.Hold   // for how long its polls are put off
}

// BouncerUsage is what a bouncer has told of itself in its usage metrics, as far as the server has it at hand: since its start, or since
// the bouncer was among those that reported last. Stored reports reach further back (UsageRequest). Names of lists are one origin.
type BouncerUsage struct {
	Since, At int64           // of the first report and of the last, Unix nanoseconds
	Figures   []engine.Figure // dropped and processed, added up since then
	Holds     []engine.Figure // active decisions by origin, as of the last
}

// Bouncers is a list of bouncers in order of creation.
type Bouncers struct {
	Now      int64
	Revision engine.Revision
	Bouncers []Bouncer
}

// NewBouncer asks for a bouncer.
type NewBouncer struct {
	Name    string
	KeyHash []byte // SHA-512 of the API key
	Shared  bool   // one row whatever address the key comes from
	Edit    BouncerEdit
}

// KeyRotation asks for another key of a bouncer.
type KeyRotation struct {
	Name    string
	KeyHash []byte // SHA-512 of the new API key
	Grace   int64  // nanoseconds for which the keys before it stay good; 0: they end at once
}

// EditedBouncer asks for another sight or hold of a bouncer.
type EditedBouncer struct {
	Name string
	If   []string `json:",omitempty"` // tags (SightTag): nothing is done to a bouncer that has none of them; none: whatever it has
	Edit BouncerEdit
}

// BouncerEdit is what changes of a bouncer's sight and hold; what is nil stays.
type BouncerEdit struct {
	SeeAll                   bool                // all that its sight hides or changes is taken away, before the rest
	Words                    map[string][]string // lists, by the names of the verbs' flags; an empty one takes it away
	MaxEntries               *int
	Priority                 *string
	MaxDuration, MinDuration *int64 // nanoseconds
	Canonical                *bool
	Hold                     *engine.Hold
}

// Edited says what an edit has come to.
type Edited struct {
	Rows     []string // that have it too, made from the bouncer's key
	Warnings []string // what is likely not meant
	Stale    bool     `json:",omitempty"` // it had none of the tags that were asked for, and nothing was done
	Rekeyed  bool     // of an export: the secret that was sent is the one that is valid from now on
}

// UsageRequest asks for the usage metrics that machines or bouncers reported.
type UsageRequest struct {
	Kind string // "machine" or "bouncer"
	Name string // "": all
}

// UsageReport is one stored report.
type UsageReport struct {
	Name       string
	ReceivedAt int64  // Unix nanoseconds
	Payload    []byte // the metrics as they came, JSON
}
