package program

import (
	"os"
	"sync/atomic"
	"time"

	"lapid/cmd/lapid/backups"
	"lapid/cmd/lapid/config"
	"lapid/engine"
	"lapid/engine/profile"
	"lapid/transport"
	"lapid/transport/admin"
	"lapid/transport/audit"
	"lapid/transport/auth"
	"lapid/transport/capi"
	"lapid/transport/console"
	"lapid/transport/export"
	"lapid/transport/movein"
	notifications "lapid/transport/notify"
	"lapid/transport/shadow"
)

const (
	// retryAfter is the pause between two looks at a store that is held.
	retryAfter = 50 * time.Millisecond

	// storePatience is how long a start waits for a store that one of the
	// operator's verbs has open at the moment.
	storePatience = 10 * time.Second
)

// program is the whole server as a value: what the operator wrote, checked and
// compiled, and after run has begun the house that was built from it. Tests
// start the very same thing.
type program struct {
	// What was read and checked. After Run has opened everything the loop of reloads
	// owns these, and replaces them together.
	setup     *config.Setup
	server    *config.Server
	retention config.Retention
	rules     *profile.Set
	specs     []profile.Spec
	told      []*notifications.Configuration
	log       *serverLog

	central   *capi.Options // nil: no connection to the Central API
	noCentral bool          // not for this run
	orders    orders
	unusable  error // why there is none though one is configured

	outOfDate error // why clients refuse the server's certificate, nil: they do not

	shadowing *Shadowing // nil: not in front of another server
	cluster   *cluster   // nil: no node of a cluster
	relay     *relay     // nil: no relay of one
	estate    *estate    // of the programs in this process; nil: this one is only looked at

	again func()      // ends this program, so that another one begins with what lies beside the store; set by run
	anew  atomic.Bool // that was called

	trustClock bool      // see engine.Options
	version    string    // of this program
	commit     string    // that it was built from, where Go does not know
	begun      time.Time // Run

	// Built by Run, from the bottom up.
	bounds      bounds
	engine      *engine.Engine
	connection  *connection
	gate        *auth.Gate
	tls         *auth.TLS // nil: plain HTTP
	fixedSecret string    // why the secret that signs tokens cannot be rotated; "": it can
	api         *transport.Server
	exports     *export.Renderings
	metrics     *metricsListener // nil: none
	verbs       *admin.Handler
	admin       *admin.Server
	console     *console.Server                // nil: none
	hangups     chan os.Signal                 // whoever sends one has the configuration read again
	inForce     atomic.Pointer[map[string]any] // of the configuration, what may be told
	teller      *notifications.Notifier
	auditor     *audit.Auditor
	backups     *backups.Keeper // nil: none are made
	arrival     *movein.Arrival
	shadow      *shadow.Shadow // nil: none
	ready       chan struct{}  // closed when all listeners are open

	helper       atomic.Pointer[transport.Server] // api, for the goroutines of the engine
	condition    condition
	memory       int64 // that there is for the server, in bytes
	surroundings surroundings
	processors   processors
	listening    atomic.Pointer[[]string] // addresses and listen_socket; nil until all listeners are open
}

// New checks and compiles everything that can be without touching the
// network, the store or a folder. It starts nothing. It is what serve -t
// calls too, and what a reload calls before it changes anything: an error
// here leaves a running server as it is. What is only worth a warning is
// said to log.
func newProgram(s *config.Setup, log *serverLog, sh *Shadowing) (*program, error) {
	p := &program{setup: s, log: log, shadowing: sh, ready: make(chan struct{}), connection: newConnection()}
	p.condition.central = p.connection.trouble
	var err error
	sh.prepare(s)
	if p.server, err = s.Server(); err != nil {
		return nil, err
	}
	if p.retention, err = s.Retention(); err != nil {
		return nil, err
	}
	if _, err := s.Rotation(); err != nil {
		return nil, err
	}
	s.Losses()
	logWarnings(s, log.Logger)
	if p.specs, p.rules, p.told, err = s.Profiles(log.Logger); err != nil {
		return nil, err
	}
	if _, err := s.Secret(); err != nil {
		return nil, err
	}
	if err := checkCluster(s); err != nil {
		return nil, err
	}
	if s.Own.Relay.On() {
		if _, err := relayCredentials(s); err != nil {
			return nil, err
		}
	}
	if p.central, p.unusable = s.Central(); p.central != nil { // why there is none is one of the warnings
		if p.central.Whitelist, err = s.Whitelist(); err != nil {
			return nil, err
		}
	}
	sh.quieten(p)
	p.outOfDate, err = checkCertificates(s, log.Logger, time.Now())
	return p, err
}

// addresses is what was noted. nil until all listeners are open. Any goroutine.
func (p *program) addresses() []string {
	if list := p.listening.Load(); list != nil {
		return *list
	}
	return nil
}

// sayOutOfDate has the line about a server certificate that clients refuse.
func (p *program) sayOutOfDate() {
	if p.outOfDate != nil {
		p.log.Error(p.outOfDate.Error())
	}
}
