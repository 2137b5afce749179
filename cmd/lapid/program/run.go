package program

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist"
	"lapid/transport"
	"lapid/transport/admin"
	"lapid/transport/audit"
	"lapid/transport/auth"
	"lapid/transport/capi"
	"lapid/transport/export"
	notifications "lapid/transport/notify"
	"lapid/transport/openapi"
	"lapid/transport/peer"
)

// useMemory finds out what the server may use and says so. What it returns is to be
// called at the end.
func (p *program) useMemory() (end func()) {
	own, _ := p.setup.Own.MemoryBytes() // checked when it was read
	l, listeners := findLimits(os.DirFS("/"), own), 1
	if a := p.setup.Config.API.Server; a.ListenURI != "" && a.ListenSocket != "" {
		listeners = 2
	}
	p.bounds, p.memory = l.bounds(listeners), l.memory
	n, _ := p.setup.Own.HeaderBytes() // checked when it was read
	p.bounds.heads = cmp.Or(n, config.UsualHeaderBytes)
	l.log(p.log.Logger, p.bounds)
	return p.bounds.apply()
}

// run builds the house from the bottom up, serves until ctx ends, and takes it down
// from the top. Call it once. It returns nil after an orderly end. The order is that
// of dependence: store, engine, gate, listeners from the inside out. What is taken down
// takes the reverse order, and the engine runs on until all above it have left:
// so every request that was let in gets an answer.
func (p *program) run(ctx context.Context) error {
	p.begun = time.Now()
	p.sayOutOfDate()
	p.processors.use()
	defer tuneCollector()()
	defer p.useMemory()()
	hangups := make(chan os.Signal, 1)
	p.hangups = hangups
	signal.Notify(hangups, syscall.SIGHUP) // from here on: an early one must not end the process
	defer signal.Stop(hangups)
	p.noteStart("the store in " + p.setup.Store() + " is being opened and read")
	_ = p.openMetrics() // in use, perhaps by a server that is ending: tried again, and then it counts
	defer p.closeMetrics()
	if err := p.lookAtVolume(); err != nil {
		return err
	}
	if err := p.openRelay(); err != nil {
		return err
	}
	if err := p.openCluster(ctx); err != nil {
		return err
	}
	defer p.closeCluster()
	if err := p.openStore(ctx); err != nil || p.engine == nil {
		return err
	}
	p.condition.engine.Store(p.engine)
	p.noteStart("the listeners are being opened")
	defer context.AfterFunc(ctx, p.condition.stopping)()
	// The engine's time is longer than that of all above it: its context does not end
	// with ctx.
	ground, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	upstairs, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	p.again = func() { leave(errAnew) }
	ended := make(chan error, 1)
	go func() {
		err := p.engine.Run(ground)
		if err != nil {
			leave(err) // without an engine there is nothing to serve
		}
		ended <- err
	}()
	err := p.comeIn(upstairs, ground)
	if err == nil && upstairs.Err() == nil {
		err = p.openListeners(upstairs)
	}
	if err == nil && p.api != nil {
		err = p.serve(upstairs, hangups)
	}
	anew := p.anew.Load() && ctx.Err() == nil
	if anew { // what ended because of that is no error
		err = nil
	}
	if p.condition.stopping(); !anew {
		notify(stopping + "\n" + status("ending: what is under way is answered"))
	}
	p.leaveCluster()
	stop()
	if err = errors.Join(err, <-ended); err == nil {
		p.engine.DropPrevious()
	}
	if err = errors.Join(err, p.engine.Close()); err == nil && anew {
		return errAnew
	}
	if err == nil {
		p.log.Info("lapid has ended in good order")
	}
	return err
}

// openStore opens the store; a node's first becomes that of its cluster. When ctx ends meanwhile there is no error and no engine.
func (p *program) openStore(ctx context.Context) error {
	if p.relay != nil {
		return p.openRelayed(ctx)
	}
	if p.cluster == nil {
		if err := p.openEngine(ctx); err != nil || p.engine == nil {
			return err
		}
		return p.leaveHistory()
	}
	if err := p.takeFetched(); err != nil {
		return err
	}
	if err := p.joinHistory(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := p.openEngine(ctx); err != nil || p.engine == nil {
		return err
	}
	return p.catchUp(ctx)
}

// comeIn is what comes before anything is served: an older database that moves in, or a cluster's history.
func (p *program) comeIn(ctx, ground context.Context) error {
	if p.cluster != nil {
		return p.enterCluster(ctx, ground)
	}
	if p.relay != nil {
		return nil
	}
	return p.moveIn(ctx)
}

// openOrMake opens the store. Where there is none, nobody else must be making one beside: a
// server on an empty store would answer from nothing, and keep the other from its place.
func (p *program) openOrMake(ctx context.Context) (*engine.Engine, error) {
	if names, err := os.ReadDir(p.setup.Store()); errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		place, err := persist.HoldBeside(&persist.Options{Dir: p.setup.Store()})
		if errors.Is(err, persist.ErrLocked) {
			return nil, fmt.Errorf("a store is being made there (movein or restore): %w", err)
		} else if err == nil {
			defer place.Close()
		}
	}
	return engine.OpenContext(ctx, p.engineOptions())
}

// openEngine opens the store. One of the operator's verbs may have it open
// for a moment: that is waited for; another server is not. When ctx ends
// meanwhile there is no error and no engine. An error that is not a locked
// store is final: it names what to do, and a service manager that starts
// again finds the same.
func (p *program) openEngine(ctx context.Context) error {
	s := p.setup
	if err := s.Data().MakeFolder(); err != nil {
		return err
	}
	deadline := time.NewTimer(storePatience)
	defer deadline.Stop()
	for told := false; ; told = true {
		if err := s.Data().AsMade(); err != nil {
			return err
		}
		e, err := p.openOrMake(ctx)
		if ctx.Err() != nil {
			if err == nil {
				_ = e.Close() // nothing was written
			}
			p.log.Info("the start was ended before the store had been read")
			return nil
		}
		if err == nil {
			p.engine = e
			if err := s.Data().NoteMade(e.StoreID()); err != nil {
				p.log.Warn("it cannot be noted that there is a store here: if it is removed, nobody will notice", "file", s.Data().MadeFile(), "error", err)
			}
			return nil
		}
		err = fmt.Errorf("opening the store in %s: %w", s.Store(), datadir.Permitted(err, s.Store()))
		if !errors.Is(err, persist.ErrLocked) {
			return err
		}
		// What answers on the operator's socket is a server and will not go away by
		// itself.
		if c, dialled := admin.Dial(ctx, s.Socket()); dialled == nil {
			c.Close()
			return fmt.Errorf("%w: another server is running; stop it first, or give this one a data_dir of its own", err)
		}
		if !told {
			p.log.Warn(fmt.Sprintf("%v: it is waited for, %v at most", err, storePatience))
		}
		p.noteStart("another process has the store in " + s.Store() + " open: it is waited for")
		select {
		case <-time.After(retryAfter):
		case <-deadline.C:
			return fmt.Errorf("%w, and was waited for in vain; stop that process, or give this server a data_dir of its own", err)
		case <-ctx.Done():
			return nil
		}
	}
}

// yield has the server look after its connections while the engine computes. There
// is none yet while the store is read, and none without an address of the Local API.
func (p *program) yield() {
	if api := p.helper.Load(); api != nil {
		api.Help()
	}
}

// engineOptions is what the engine is given: what every opener of the store has, and
// the server's own rules, retention and bounds.
func (p *program) engineOptions() *engine.Options {
	o := p.setup.EngineOptions(p.log.Logger)
	r := p.retention
	o.Progress, o.Yield = p.noteStart, p.yield
	if p.cluster != nil {
		o.Journal, o.Shared = &nodeJournal{p.cluster.history, p.getAnew}, p.cluster.named
	}
	if p.relay != nil {
		o.Journal, o.Relay = p.relay.journal, true
	}
	o.Profiles, o.TrustClock, o.MaxQueuedBytes = p.rules, p.trustClock, p.bounds.queued
	o.BouncersPerKey, o.AllowlistsWin = p.setup.Own.RowsPerKey, &p.setup.Own.AllowlistWins
	o.BookmarkBytes, _ = p.setup.Own.BookmarkBytes() // it was looked at when it was read
	o.Retention = engine.Retention{
		MaxItems: r.MaxItems, MaxAge: r.MaxAge, UsageMaxAge: r.MetricsMaxAge, BouncersKey: r.BouncerKey,
		BouncersCert: r.BouncerCert, MachinesPassword: r.MachinePassword, MachinesCert: r.MachineCert,
	}
	return o
}

// noteStart says what the start is doing: at /ready and to the
// service manager. The log has it from where it is done. It also asks the service
// manager for more time, so that a store of many gigabytes is not killed for
// its size.
func (p *program) noteStart(doing string) {
	p.condition.starting(doing)
	notify(status(doing) + "\n" + moreTime)
}

// noteReady says that everything is open, and what is there.
func (p *program) noteReady() {
	m := p.engine.Metrics()
	var decisions, alerts int64
	for _, h := range m.Held {
		decisions += h.N
	}
	for _, a := range m.Alerts {
		alerts += a.N
	}
	notify(ready + "\n" + status(fmt.Sprintf("serving %d decisions", decisions)))
	p.log.Info("lapid is ready", "version", p.version, "revision", uint64(m.Revision), "decisions", decisions, "alerts", alerts,
		"bouncers", m.Bouncers, "machines", m.Machines, "seconds", float64(time.Since(p.begun).Milliseconds())/1000, "store", p.setup.Store())
}

// openListeners builds everything above the engine. After an error nothing of it
// is left open. The listener of the API comes last. A store whose disk takes
// no writes is served all the same, and so a socket that cannot be made is
// only told; anything else that is not open is an error, for a server that
// is half there is worse than none.
func (p *program) openListeners(ctx context.Context) (err error) {
	s := p.setup
	var secret []byte
	err = p.settled(ctx, func() (err error) { secret, err = p.secret(ctx); return err })
	if err != nil {
		return err
	}
	var confirm func(context.Context) error
	var peers *peer.Node
	if p.cluster != nil {
		peers = p.cluster.peers
		confirm = p.confirm
	}
	p.gate, err = auth.NewGate(p.engine, &auth.Options{
		Peers: peers, Confirm: confirm,
		Secret: secret, Rules: s.Rules(p.server), Logger: p.log.Logger, IPv6Prefix: s.Own.IPv6Prefix, Labour: p.processors.labour,
	})
	if err != nil {
		return err
	}
	if p.cluster != nil {
		p.cluster.gate.Store(p.gate)
	}
	var history engine.HistoryName
	if err := p.settled(ctx, func() (err error) { history, err = p.engine.NameHistory(ctx); return err }); err != nil {
		return err
	}
	p.exports = export.NewRenderings(p.engine, p.bounds.shared, p.log.Logger)
	if p.cluster == nil && p.relay == nil {
		if err := p.declareExports(ctx, s); err != nil && !errors.Is(err, engine.ErrDisk) {
			return err
		}
	}
	if err := p.openBackups(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.closeBackups()
		}
	}()
	p.auditor = audit.New(&audit.Options{Engine: p.engine, Logger: p.log.Logger})
	if err := p.makeAPI(history); err != nil {
		return fmt.Errorf("local API server stopped with error: %w", err)
	}
	defer func() {
		if err != nil && p.admin != nil {
			_ = p.admin.Close()
		}
		if err != nil {
			p.closeConsole()
		}
	}()
	p.teller = notifications.New(&notifications.Options{Engine: p.engine, Logger: p.log.Logger, Shared: p.cluster != nil || p.relay != nil})
	if err := p.teller.Replace(ctx, p.told); err != nil { // before the first alert comes
		return err
	}
	p.condition.teller.Store(p.teller)
	if err := p.openMetrics(); err != nil {
		return err
	}
	h := p.api.MetricsHandler()
	p.condition.metrics.Store(&h)
	p.makeVerbs()
	if err := p.openConsole(); err != nil {
		return err
	}
	p.openSurroundings()
	if err := p.listenAdmin(); err != nil {
		if !diskRefuses(err) {
			return err
		}
		p.log.Error("the operator's verbs do not reach this server until the disk takes writes: its socket could not be made", "error", err)
	}
	if p.cluster == nil { // nodes have theirs from the one that writes
		p.furnish(ctx)
	}
	if err := p.api.Listen(); err != nil { // last: behind an open port everything is there
		return fmt.Errorf("local API server stopped with error: %w", err)
	}
	if err := p.openShadow(); err != nil {
		return err
	}
	p.noteAddresses()
	p.tellSharedKeys()
	return nil
}

// tellSharedKeys logs which bouncers have the key of another: stores from before that was refused may have some, and
// so may what was restored or taken over. A relay leaves that to the nodes that it follows.
func (p *program) tellSharedKeys() {
	if p.relay != nil {
		return
	}
	const named = 5
	n, pairs := 0, []string(nil)
	for name, oldest := range p.engine.View().SharedKeys {
		if n++; n <= named {
			pairs = append(pairs, fmt.Sprintf("'%s' that of '%s'", name, oldest))
		}
	}
	if n == 0 {
		return
	}
	if n > named {
		pairs = append(pairs, "…")
	}
	p.log.Warn(fmt.Sprintf("%d bouncers have the key of another: a request with it is taken for that of the oldest; delete such a bouncer and add it again with a key of its own", n), "has", strings.Join(pairs, ", "))
}

// declareExports makes the exports of lapid.yaml the store's.
func (p *program) declareExports(ctx context.Context, s *config.Setup) error {
	before := p.engine.View().Exports()
	list, err := s.Own.DeclaredExports(p.engine.Now())
	if err == nil {
		err = p.engine.DeclareExports(ctx, list)
	}
	if err != nil {
		p.log.Error("the exports of lapid.yaml are not in force", "error", err)
		return fmt.Errorf("exports of lapid.yaml: %w", err)
	}
	if !slices.Equal(before, p.engine.View().Exports()) {
		p.log.Info("the exports of lapid.yaml are in force", "exports", len(list))
	}
	return nil
}

// noteAddresses notes where connections are taken, for questions over the operator's
// socket.
func (p *program) noteAddresses() {
	var list []string
	if p.shadow != nil {
		list = append(list, p.shadow.Addr().String())
	}
	if at := p.api.Addr(); at != nil {
		list = append(list, at.String())
	}
	if p.metrics != nil {
		list = append(list, p.metrics.at.String())
	}
	if p.console != nil {
		list = append(list, p.console.Addr().String())
	}
	if path := p.setup.Config.API.Server.ListenSocket; path != "" {
		list = append(list, path)
	}
	p.listening.Store(&list)
}

// openMetrics opens the listener of metrics, if there shall be one and it is
// not open yet. It is tried once at the very beginning, for /live and /ready
// while the store is read, and once more when everything else stands.
func (p *program) openMetrics() (err error) {
	if p.metrics != nil || p.server.MetricsAddress == "" {
		return nil
	}
	if p.metrics, err = openMetrics(p.server.MetricsAddress, p.condition.handler()); err != nil {
		return fmt.Errorf("metrics listener: %w", err)
	}
	return nil
}

// closeMetrics closes that listener and does not wait: figures that are being read
// while the server ends break off.
func (p *program) closeMetrics() {
	if p.metrics != nil {
		p.metrics.close()
	}
}

// secret is the key that signs tokens if it is not the store's: the operator's, or, on a
// disk that takes no writes, one for this run alone. The store's, which is nil here, is made
// at the first start and is kept, so that a restart logs no machine out.
func (p *program) secret(ctx context.Context) ([]byte, error) {
	if own, _ := p.setup.Secret(); own != nil { // checked when the program was made
		p.fixedSecret = config.FixedSecret
		return own, nil
	}
	fresh := func() ([]byte, error) {
		b := make([]byte, config.SecretSize)
		_, err := rand.Read(b)
		return b, err
	}
	if p.relay != nil { // nobody logs in there, and it must not take what anybody could sign
		p.fixedSecret = "a relay has none: it lets no machine log in"
		return fresh()
	}
	_, err := p.engine.Secret(ctx, engine.TokenSecret, fresh)
	if errors.Is(err, engine.ErrDisk) {
		p.fixedSecret = "the disk refused to keep it, so it is good for this run alone: start the server again"
		p.log.Warn("the key that signs tokens cannot be kept: machines log in again after the next start", "error", err)
		return fresh()
	}
	return nil, err
}

// makeAPI makes the server of the API from what was configured and from the bounds
// that were found. It opens nothing but the files of certificates; an error of those
// is the only one to expect.
func (p *program) makeAPI(history engine.HistoryName) error {
	s, a := p.setup, p.setup.Config.API.Server
	mode, _ := s.Own.SocketMode() // checked when it was read
	o := &transport.Options{
		Engine: p.engine, Gate: p.gate, Listen: a.ListenURI, Socket: a.ListenSocket, SocketMode: mode, AccessLog: p.log.access,
		Logger: p.log.Logger, Version: p.version, MetricsLevel: p.server.MetricsLevel, Troubles: p.condition.troubles, Central: p.connection.central,
		Labour: p.processors.labour, Told: p.condition.told, AuditDropped: p.auditor.Lost, Backups: p.backupFigures, History: history, Orders: p.orders.figures, Exports: p.exports,
		Denied: p.auditDenied, Surroundings: p.surroundings.figures, Description: openapi.Access(s.Own.OpenAPI),
	}
	if p.cluster != nil {
		o.Peers, o.Cluster = p.cluster.peers, p.clusterFigures
		o.Confirm, o.Confirmed = p.confirm, p.confirmedAgo
	}
	if p.relay != nil {
		o.RelayAge = p.relay.age
	}
	b := &p.bounds
	o.HeaderBytes = b.heads
	o.Loops, _ = s.Own.LoopCount() // checked when it was read
	o.AnswerMemory, o.SharedMemory = b.answers, b.shared
	o.BodyMemory, o.StrangerMemory, o.MaxConnections, o.MaxServed = b.bodies, b.strangers, b.connections, b.served
	if a.TLS != nil && a.TLS.CertFile != "" && p.shadowing == nil { // a shadow has it before this server
		var err error
		if p.tls, err = auth.NewTLS(s.TLSOptions(p.log.Logger, p.engine.Now)); err != nil {
			return err
		}
		o.TLS = p.tls.Config()
	}
	var err error
	if p.api, err = transport.New(o); err == nil {
		p.helper.Store(p.api)
	}
	return err
}

// serve runs everything upstairs in one group until ctx ends or one of them
// fails, and waits until all have left. The group ends with its first error,
// which is the one that is given: others follow from it. An end by ctx is no
// error.
func (p *program) serve(ctx context.Context, hangups <-chan os.Signal) error {
	group, ctx := errgroup.WithContext(ctx)
	below := p.runShadow(ctx, group)
	group.Go(func() error {
		if err := p.api.Run(below); err != nil {
			return fmt.Errorf("local API server stopped with error: %w", err)
		}
		return nil
	})
	if p.metrics != nil {
		group.Go(func() error {
			select {
			case err := <-p.metrics.failed:
				return fmt.Errorf("metrics listener: %w", err)
			case <-ctx.Done():
				return nil
			}
		})
	}
	group.Go(func() error { return p.runAdmin(ctx) })
	group.Go(func() error { return p.runConsole(ctx) })
	group.Go(func() error { p.asWriter(ctx, func(ctx context.Context) { _ = p.teller.Run(ctx) }); return nil })
	group.Go(func() error { p.auditor.Run(ctx); return nil })
	group.Go(func() error { p.runBackups(ctx); return nil })
	group.Go(func() error { p.watchSurroundings(ctx); return nil })
	group.Go(func() error { return watchdog(ctx, p.engine) })
	switch {
	case p.relay != nil:
	case p.cluster == nil:
		group.Go(func() error { p.arrival.Finish(ctx); return nil })
	default:
		group.Go(func() error { p.onlyAtWriter(ctx); return nil })
	}
	select {
	case <-p.api.Serving(): // and what it says of that stands in the log
		p.condition.serving()
		p.noteReady()
		close(p.ready)
	case <-ctx.Done():
	}
	if p.noCentral && p.central != nil {
		p.log.Info("there is no connection to the Central API in this run: -no-capi was given")
	}
	p.connection.turn(p.wanted())
	group.Go(func() error { return p.runCentral(ctx) })
	setup := p.setup // a reload has another
	group.Go(func() error { return p.openAccount(ctx, setup, capi.ServiceURL, p.hangups) })
	group.Go(func() error { return p.reloadLoop(ctx, hangups) }) // from now on it owns setup and rules
	err := group.Wait()
	// When the engine has failed, its error is the cause, and the others only saw
	// that the context ended.
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}
