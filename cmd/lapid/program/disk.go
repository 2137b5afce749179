package program

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
)

// A server starts on a disk that takes no writes, to go on answering bouncers.
// What it would have to make there it makes later.

// socketAgain is the pause between two attempts to make the operator's socket.
const socketAgain = time.Second

// diskRefuses tells that something could not be made because a disk is full or
// may not be written.
func diskRefuses(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// listenAdmin makes the operator's socket, in a folder that is there.
func (p *program) listenAdmin() (err error) {
	if dir := filepath.Dir(p.setup.Socket()); datadir.Missing(dir) {
		return p.setup.Bad("admin_socket", "the operator's socket (admin_socket) cannot be made at %s: there is no folder %s: make it, or name another path", p.setup.Socket(), dir)
	}
	p.admin, err = admin.Listen(p.setup.Socket(), p.verbs, p.log.Logger)
	return err
}

// makeVerbs makes what answers the operators' verbs, over the socket and over HTTP.
func (p *program) makeVerbs() {
	verbs := admin.NewHandler(p.engine, p.version, p.log.Logger)
	verbs.Troubles, verbs.Listening, verbs.MoveIn = p.condition.troubles, p.addresses, p.takeOver
	verbs.Central = func() any { return p.connection.figures.Report() }
	if p.shadowing != nil {
		verbs.Shadow = shadowVerbs{p}
	}
	if p.cluster != nil {
		verbs.Cluster, verbs.Peers = clusterVerbs{p.cluster, p.engine}, p.cluster.peers
		verbs.Confirm = p.confirm
		p.cluster.verbs.Store(verbs)
	}
	if p.relay != nil {
		verbs.Cluster, verbs.Relay = relayVerbs{p}, true
	}
	verbs.SyncOrders = p.orders.sync
	verbs.Exports, verbs.TryRules = p.exports, config.TryRules
	verbs.FixedSecret = p.fixedSecret
	verbs.Failed, verbs.Settle = p.auditFailed, p.auditor.Settle
	p.verbs = verbs
}

// runAdmin serves the operator's socket until ctx ends. If there was no room for it
// at the start, it is made as soon as there is.
func (p *program) runAdmin(ctx context.Context) error {
	again := time.NewTicker(socketAgain)
	defer again.Stop()
	for p.admin == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
		if err := p.listenAdmin(); err == nil {
			p.log.Info("the operator's verbs reach this server again")
		} else if !diskRefuses(err) {
			return err
		}
	}
	again.Stop()
	return p.admin.Run(ctx)
}
