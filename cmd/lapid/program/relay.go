package program

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/peer"
)

// relay is what a server has that follows a cluster from outside (lapid.yaml's relay): the history as its nodes send it. It is
// open before the store is.
type relay struct {
	settings config.RelaySettings
	data     datadir.Dir
	journal  *peer.Relay
	begun    time.Time

	troubled atomic.Int64 // since when, Unix nanoseconds; 0: it is not
}

const (
	// relayQuiet is how old what a relay knows may be before it is no longer called ready.
	relayQuiet = 10 * time.Second
	// relayAgain is the pause between two attempts to get everything, about.
	relayAgain = time.Second
)

// openRelay reads what a relay needs. Nothing happens to another server, but that the copy of a relay is not taken for a store of
// its own.
func (p *program) openRelay() error {
	s := p.setup
	node, err := s.Data().Node()
	if err != nil {
		return err
	}
	if !s.Own.Relay.On() {
		if node.Relay != "" && !p.storeEmpty() {
			return fmt.Errorf("the store in %s is the copy of a relay, without passwords and bodies of alerts: give lapid.yaml its section relay again, or start with an empty data directory (move %s away)", s.Store(), s.Data().Folder())
		}
		return nil
	}
	if p.shadowing != nil {
		return errors.New("a relay cannot be in front of another server (lapid shadow): take the section relay away")
	}
	if node.Relay == "" && !p.storeEmpty() {
		return fmt.Errorf("the store in %s has a history of its own: a relay begins with an empty data directory (move %s away)", s.Store(), s.Data().Folder())
	}
	r := &relay{settings: s.Relay(), data: s.Data(), begun: time.Now()}
	by, err := relayCredentials(s)
	if err != nil {
		return err
	}
	r.journal, err = peer.NewRelay(&peer.RelayOptions{
		From: r.settings.From, Credentials: by, Version: p.version, Logger: p.log.Logger, Anew: func(ctx context.Context, address string, history engine.HistoryName) error {
			err := p.fetch(ctx, address, history)
			if err == nil {
				p.beginAnew()
			}
			return err
		},
	}, engine.HistoryName{})
	p.relay, p.noCentral = r, true
	return err
}

// relayCredentials are those of lapid.yaml.
func relayCredentials(s *config.Setup) (*peer.Credentials, error) {
	r := s.Relay()
	by, err := peer.LoadRelayCredentials(r.CertFile, r.KeyFile, r.CAFile, time.Now())
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	return by, nil
}

// fetched is where a store lies that is whole and takes the place of this one when the next program begins.
func (p *program) fetched() string { return p.setup.Store() + ".next" }

// fetch gets everything from an address into a store beside. The history is named; with the zero name it may be any.
func (p *program) fetch(ctx context.Context, address string, history engine.HistoryName) error {
	r := p.relay
	backup, name, err := r.journal.Backup(ctx, address, history)
	if err != nil {
		return err
	}
	defer backup.Close()
	beside, rev, err := p.adoptBeside(backup, address)
	if err != nil {
		return err
	}
	if err := r.data.NoteNode(datadir.Node{Relay: name.String()}); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(p.fetched()), os.Rename(beside, p.fetched())); err != nil {
		return err
	}
	p.log.Info("this relay has what there is", "from", address, "revision", uint64(rev), "history", name.String())
	return datadir.SyncFolder(r.data.Folder())
}

// takePlace puts a store that was fetched into the place of the one before, which was a copy too.
func (p *program) takePlace() error {
	if _, err := os.Stat(p.fetched()); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	// The note of the store's id goes first: a start that is interrupted here goes on at the next.
	if err := os.Remove(p.relay.data.MadeFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := errors.Join(os.RemoveAll(p.setup.Store()), os.Rename(p.fetched(), p.setup.Store())); err != nil {
		return err
	}
	return datadir.SyncFolder(p.relay.data.Folder())
}

// openRelayed opens the copy, which is fetched first where there is none: from one node after the other, until ctx ends, which is no
// error.
func (p *program) openRelayed(ctx context.Context) error {
	if err := p.takePlace(); err != nil {
		return err
	}
	for told := ""; p.storeEmpty(); {
		err := p.fetchFirst(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			if err := p.takePlace(); err != nil {
				return err
			}
			break
		}
		if err.Error() != told {
			told = err.Error()
			p.log.Warn("this relay waits for a node to give it what there is", "because", told)
		}
		p.noteStart("this relay waits for a node to give it what there is: " + told)
		pause(ctx, relayAgain/2+rand.N(relayAgain))
	}
	if err := p.openEngine(ctx); err != nil || p.engine == nil {
		return err
	}
	name, named := p.engine.HistoryNamed()
	if !named {
		return fmt.Errorf("the store in %s is no relay's copy of a cluster's history: a relay begins with an empty data directory (move %s away)", p.setup.Store(), p.relay.data.Folder())
	}
	p.relay.journal.SetHistory(name)
	p.condition.relay.Store(p.relay)
	return nil
}

// fetchFirst tries each address once.
func (p *program) fetchFirst(ctx context.Context) (err error) {
	for _, address := range p.relay.settings.From {
		p.noteStart("this relay gets what there is from " + address)
		failed := p.fetch(ctx, address, engine.HistoryName{})
		if failed == nil || ctx.Err() != nil {
			return failed
		}
		err = errors.Join(err, fmt.Errorf("%s: %w", address, failed))
	}
	return err
}

// age is how old what the relay knows may be: as it has heard, or since its start where it has heard nothing.
func (r *relay) age() time.Duration {
	if age := r.journal.Status().Age; age >= 0 {
		return age
	}
	return time.Since(r.begun)
}

// trouble is why a relay should not be called ready; nil: it should.
func (r *relay) trouble() *engine.Trouble {
	age := r.age()
	if age < relayQuiet {
		r.troubled.Store(0)
		return nil
	}
	r.troubled.CompareAndSwap(0, time.Now().UnixNano())
	text := fmt.Sprintf("what this relay knows is %s old: bouncers are answered from that (do the nodes run, and is their network?)", age.Round(time.Second))
	if s := r.journal.Status(); s.Problem != "" {
		text = fmt.Sprintf("what this relay knows is %s old: bouncers are answered from that; %s", age.Round(time.Second), s.Problem)
	}
	return &engine.Trouble{Kind: engine.TroubleCluster, Text: text, Since: r.troubled.Load()}
}

// relayVerbs are what operators ask of a relay.
type relayVerbs struct{ p *program }

// errRelay: that is for nodes.
var errRelay = &engine.Error{Kind: engine.ErrRefused, Text: "this server is a relay, and no node of a cluster: run this at a node"}

// Status is how it stands.
func (v relayVerbs) Status(context.Context) (any, error) {
	r := v.p.relay
	s := r.journal.Status()
	return &admin.RelayReport{
		Relay: true, Addresses: r.settings.From, From: s.From, Follows: s.Connected, History: s.History, Revision: v.p.engine.View().Revision(),
		Newest: s.Newest, Heard: s.Age >= 0, Age: r.age(), Problem: s.Problem,
	}, nil
}

// Hand is for nodes.
func (relayVerbs) Hand(context.Context, string) error { return errRelay }

// Forget is for nodes.
func (relayVerbs) Forget(context.Context, string) error { return errRelay }

// Log is for nodes.
func (relayVerbs) Log(context.Context, uint64, int) (any, error) { return nil, errRelay }

// Compare is for nodes.
func (relayVerbs) Compare(context.Context) (uint64, error) { return 0, errRelay }
