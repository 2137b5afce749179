package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"lapid/transport/auth"
)

// rules are the gate's rules as the configuration has them.
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

func (s *Setup) tlsOptions(log *slog.Logger, now func() int64) auth.TLSOptions {
	t := s.Config.API.Server.TLS
	return auth.TLSOptions{
		CertFile: t.CertFile, KeyFile: t.KeyFile, CAFile: t.CAFile, ClientVerification: t.Verification,
		Now: now, Logger: log,
	}
}

// checkCertificates reads the files that a start will read, and keeps nothing.
func (s *Setup) checkCertificates(log *slog.Logger) error {
	t := s.Config.API.Server.TLS
	if t == nil || t.CertFile == "" {
		return nil
	}
	if _, err := auth.NewTLS(s.tlsOptions(slog.New(slog.DiscardHandler), func() int64 { return 0 })); err != nil {
		return err
	}
	s.checkDates(log, time.Now())
	if t.CRLFile != "" {
		if _, err := os.Stat(t.CRLFile); err != nil {
			return fmt.Errorf("could not access CRL file: %w", err)
		}
	}
	return nil
}
