package config

import (
	"fmt"
	"log/slog"

	"lapid/engine"
	"lapid/transport/auth"
)

// Rules are the gate's rules as the configuration has them. They can be
// replaced while the server runs.
func (s *Setup) Rules(v *Server) auth.Rules {
	a := s.Config.API.Server
	r := auth.Rules{
		TrustedProxies: v.TrustedProxies, TrustedIPs: v.TrustedIPs, LocalRegistration: a.NoRemoteRegistering,
		VerdictLife: v.RevocationKept,
	}
	if v.AutoToken != "" {
		r.Registration = &auth.Registration{Token: v.AutoToken, AllowedRanges: v.AutoRanges}
	}
	if a.TLS != nil {
		r.AgentUnits, r.BouncerUnits, r.CRLPath = a.TLS.AgentsOU, a.TLS.BouncersOU, a.TLS.CRLFile
	}
	return r
}

// TLSOptions are the server's certificate and what is asked of clients'. now is the
// engine's clock, in Unix nanoseconds, which does not jump.
func (s *Setup) TLSOptions(log *slog.Logger, now func() int64) auth.TLSOptions {
	t := s.Config.API.Server.TLS
	return auth.TLSOptions{
		CertFile: t.CertFile, KeyFile: t.KeyFile, CAFile: t.CAFile, ClientVerification: t.Verification,
		Now: now, Logger: log,
	}
}

// EngineOptions is what a server and a verb that opens the store have in common, made
// anew at each call. log must not be nil.
// A verb must read and write a store as the server would, or a restore could differ
// from a start.
func (s *Setup) EngineOptions(log *slog.Logger) *engine.Options {
	every, _ := s.Own.SnapshotInterval() // checked when it was read
	audit, _ := s.Own.Audit.options()    // … too
	return &engine.Options{Audit: audit, Dir: s.Store(), Logger: log, NoSync: s.Own.Sync != nil && !*s.Own.Sync, SnapshotEvery: every}
}

// SecretSize is the least that the key which signs tokens may have, in bytes.
const SecretSize = 64

// FixedSecret says what to do in place of rotating a key that the environment gives.
const FixedSecret = "CS_LAPI_SECRET gives it: set another there and start the server again, upon which every log processor logs in anew; " +
	"or take that variable away, and the store has a secret of its own, which can be rotated"

// Secret is the key that signs tokens as the operator has set it, in CS_LAPI_SECRET; nil
// where that is not set. A shorter one than SecretSize is an error: tokens are signed by a
// keyed hash, of which it would be the weakest part.
func (s *Setup) Secret() ([]byte, error) {
	const variable = "CS_LAPI_SECRET"
	text, set := s.env(variable)
	switch {
	case !set:
		return nil, nil
	case len(text) < SecretSize:
		return nil, fmt.Errorf("%s not strong enough: it needs %d characters", variable, SecretSize)
	}
	return []byte(text), nil
}
