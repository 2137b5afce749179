package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"lapid/engine"
	"lapid/transport/peer"
)

// note is what was seen of a machine or a bouncer and is to be written down. Beside other servers
// that share the history it is the writer that does it, whoever has seen it.
type note struct {
	What       noted
	Name       string `json:",omitempty"` // of the machine, or of the row; of noteRow its base
	Key        []byte `json:",omitempty"` // the key's hash, with noteRow
	Address    netip.Addr
	Type       string `json:",omitempty"` // of the software
	Version    string `json:",omitempty"`
	HasVersion bool   `json:",omitempty"`
	Scenarios  string `json:",omitempty"`
	At         int64  `json:",omitempty"` // Unix nanoseconds
}

type noted string

// What is noted.
const (
	noteLogin     noted = "login"     // a machine has logged in
	noteMachine   noted = "machine"   // one has shown a certificate for the first time
	noteAddress   noted = "address"   // a row that had no address yet
	noteRow       noted = "row"       // a key comes from another address
	noteCertified noted = "certified" // the same for a certificate
	noteSoftware  noted = "software"  // what a bouncer says it is
)

// noteWithin is how long a note may take to get to the writer: nobody is kept out, or waits longer,
// because it is not written down.
const noteWithin = time.Second

// note writes down what was seen, here or at the writer; then it is visible here. cannotNote tells
// whether that may be left out.
func (g *Gate) note(ctx context.Context, n *note) error {
	_, err := g.admitRow(ctx, n)
	return err
}

// admitRow is note for a new row, which it gives when it was made here.
func (g *Gate) admitRow(ctx context.Context, n *note) (*engine.BouncerRow, error) {
	if g.peers == nil {
		return g.write(ctx, n)
	}
	id, err := g.engine.NewRequest()
	if err != nil {
		return nil, err
	}
	if g.engine.Writes() {
		row, err := g.write(engine.ForRequest(ctx, id), n)
		if !errors.Is(err, engine.ErrNotWriter) && !errors.Is(err, engine.ErrUnsure) {
			return row, err
		}
	}
	body, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("a note about %s: %w", n.Name, err)
	}
	got := &outcome{head: http.Header{}}
	err = g.peers.PassSoon(ctx, &peer.Request{Kind: peer.Note, ID: id, Body: body}, got, noteWithin)
	switch {
	case errors.Is(err, peer.ErrHere):
		return g.write(engine.ForRequest(ctx, id), n)
	case err != nil:
		return nil, &engine.Error{Kind: engine.ErrNotWriter, Text: err.Error(), Cause: err}
	}
	return nil, got.error()
}

// cannotNote reports whether err says that nothing can be written at the moment, which keeps nobody
// out.
func cannotNote(err error) bool {
	return errors.Is(err, engine.ErrDisk) || errors.Is(err, engine.ErrNotWriter) || errors.Is(err, engine.ErrUnsure)
}

// write does it. The row is that of noteRow and noteCertified.
func (g *Gate) write(ctx context.Context, n *note) (*engine.BouncerRow, error) {
	e := g.engine
	switch n.What {
	case noteLogin:
		return nil, e.ChangeMachine(asMachine(ctx, n.Name), n.Name, func(m *engine.Machine) {
			if n.Scenarios != "" {
				m.Scenarios = n.Scenarios
			}
			if n.HasVersion {
				m.Version = n.Version
			}
			m.IP, m.UpdatedAt = n.Address.String(), n.At
		})
	case noteMachine:
		return nil, e.AddMachine(asMachine(ctx, n.Name), &engine.Machine{
			ID: n.Name, AuthType: engine.AuthTLS, Validated: true, IP: n.Address.String(), CreatedAt: n.At, UpdatedAt: n.At,
		}, false)
	case noteAddress:
		return nil, e.ChangeBouncer(asBouncer(ctx, n.Name), n.Name, func(b *engine.Bouncer) {
			if !b.IP.IsValid() {
				b.IP, b.Type, b.Version = n.Address, n.Type, n.Version
			}
		})
	case noteSoftware:
		return nil, e.ChangeBouncer(asBouncer(ctx, n.Name), n.Name, func(b *engine.Bouncer) {
			b.Type, b.Version, b.UpdatedAt = n.Type, n.Version, n.At
		})
	case noteRow, noteCertified:
		b := &engine.Bouncer{Name: n.Name, AuthType: engine.AuthTLS, IP: n.Address, Software: &engine.Software{Type: n.Type, Version: n.Version}, CreatedAt: n.At, UpdatedAt: n.At}
		if n.What == noteRow {
			b.AuthType = engine.AuthAPIKey
			if copy(b.KeyHash[:], n.Key) != len(b.KeyHash) {
				return nil, errNote
			}
		}
		return e.AdmitBouncer(ctx, b)
	}
	return nil, errNote
}

var errNote = &engine.Error{Kind: engine.ErrInvalid, Text: "a note of another server makes no sense here"}

// outcomes are the errors of a note that keep their kind between servers.
var outcomes = map[int]error{
	http.StatusNotFound: engine.ErrNotFound, http.StatusConflict: engine.ErrExists, http.StatusBadRequest: engine.ErrInvalid,
	http.StatusServiceUnavailable: engine.ErrBusy, http.StatusInsufficientStorage: engine.ErrDisk,
}

// ServePassed writes down what another server has seen. It implements peer.Handler.
func (g *Gate) ServePassed(ctx context.Context, r *peer.Request, w http.ResponseWriter) error {
	n := &note{}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	if err := d.Decode(n); err != nil {
		return fmt.Errorf("a note: %w", err)
	}
	_, err := g.write(ctx, n)
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	for status, kind := range outcomes {
		if errors.Is(err, kind) {
			w.WriteHeader(status)
			_, err = w.Write([]byte(err.Error()))
			return err
		}
	}
	return err
}

// outcome is what the writer says of a note.
type outcome struct {
	head   http.Header
	status int
	text   []byte
}

// Header is the answer's.
func (o *outcome) Header() http.Header { return o.head }

// WriteHeader notes the status.
func (o *outcome) WriteHeader(status int) { o.status = status }

// Write keeps what is said.
func (o *outcome) Write(b []byte) (int, error) {
	o.text = append(o.text, b...)
	return len(b), nil
}

func (o *outcome) error() error {
	if kind := outcomes[o.status]; kind != nil {
		return &engine.Error{Kind: kind, Text: string(o.text)}
	}
	return nil
}
