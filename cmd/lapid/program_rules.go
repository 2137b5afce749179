package main

import (
	"log/slog"

	"lapid/transport/auth"
)

// rules are the gate's rules as the configuration has them. They can be
// replaced while the server runs.
func (s *Setup) rules(v *ServerSetup) auth.Rules {
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

// tlsOptions are the server's certificate and what is asked of clients'. now is the
// engine's clock, in Unix nanoseconds, which does not jump.
func (s *Setup) tlsOptions(log *slog.Logger, now func() int64) auth.TLSOptions {
	t := s.Config.API.Server.TLS
	return auth.TLSOptions{
		CertFile: t.CertFile, KeyFile: t.KeyFile, CAFile: t.CAFile, ClientVerification: t.Verification,
		Now: now, Logger: log,
	}
}
