package program

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/auth"
)

// endsSoon is how long before its end a certificate is warned of.
const endsSoon = 14 * 24 * time.Hour

// checkCertificates reads the files that a start will read, keeps nothing, and says
// what clients will stumble over. The server's own certificate out of date is given
// back apart, and not said: it is no reason not to start, for the Unix socket works,
// and the files may be replaced while the server runs, but a test fails at it.
func checkCertificates(s *config.Setup, log *slog.Logger, now time.Time) (outOfDate, err error) {
	t := s.Config.API.Server.TLS
	if t == nil || t.CertFile == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if at := (*fs.PathError)(nil); err != nil && !errors.As(err, &at) {
		return nil, s.Bad("api.server.tls.cert_file", "the certificate in %s with the key in %s: %v", t.CertFile, t.KeyFile, err)
	}
	if err != nil {
		return nil, s.Bad("api.server.tls.cert_file", "reading the server's certificate: %v", datadir.DeniedFile(err))
	}
	if _, err := auth.NewTLS(s.TLSOptions(slog.New(slog.DiscardHandler), func() int64 { return 0 })); err != nil {
		key := "api.server.tls.cert_file"
		if t.CAFile != "" {
			key = "api.server.tls.ca_cert_path" // the pair is good
		}
		return nil, s.Bad(key, "%v", err)
	}
	if t.CRLFile != "" {
		if _, err := os.Stat(t.CRLFile); err != nil {
			return nil, s.Bad("api.server.tls.crl_path", "could not access CRL file: %v", err)
		}
	}
	outOfDate = ownDates(s, pair.Certificate[0], log, now)
	authorityDates(s, log, now)
	return outOfDate, nil
}

// ownDates looks at the server's own certificate. A certificate that is for
// another use is warned of: some clients do not look.
func ownDates(s *config.Setup, der []byte, log *slog.Logger, now time.Time) (outOfDate error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil // told where it is read for use
	}
	const key = "api.server.tls.cert_file"
	file := s.Config.API.Server.TLS.CertFile
	if u := leaf.ExtKeyUsage; len(u) > 0 && !slices.Contains(u, x509.ExtKeyUsageServerAuth) && !slices.Contains(u, x509.ExtKeyUsageAny) {
		log.Warn(s.Bad(key, "%s: the certificate in %s is not one for a server (its extended key usage lacks serverAuth): clients refuse it", key, file).Error())
	}
	switch {
	case now.After(leaf.NotAfter):
		return s.Bad(key, "%s: the certificate in %s has expired at %s: clients refuse it", key, file, day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return s.Bad(key, "%s: the certificate in %s is not valid before %s: clients refuse it", key, file, day(leaf.NotBefore))
	case now.Add(endsSoon).After(leaf.NotAfter):
		log.Warn(s.Bad(key, "%s: the certificate in %s expires at %s: replace it before, the server takes the new one by itself", key, file, day(leaf.NotAfter)).Error())
	}
	return nil
}

// authorityDates looks at the authorities of client certificates. Warnings
// only: machines with passwords and bouncers with keys go on.
func authorityDates(s *config.Setup, log *slog.Logger, now time.Time) {
	const key = "api.server.tls.ca_cert_path"
	file := s.Config.API.Server.TLS.CAFile
	text, err := os.ReadFile(file)
	if file == "" || err != nil {
		return
	}
	// A file may hold several authorities; what is no certificate in it is passed over.
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		what := ""
		switch {
		case now.After(c.NotAfter):
			what = "has expired at " + day(c.NotAfter) + ": client certificates that it signed are refused"
		case now.Before(c.NotBefore):
			what = "is not valid before " + day(c.NotBefore) + ": client certificates that it signed are refused"
		case now.Add(endsSoon).After(c.NotAfter):
			what = "expires at " + day(c.NotAfter) + ": client certificates that it signed are refused from then on"
		default:
			continue
		}
		log.Warn(s.Bad(key, "%s: the authority %s in %s %s", key, c.Subject, file, what).Error())
	}
}

// tryRevocations reads the revocation list as a start will, with its warnings.
func tryRevocations(s *config.Setup, log *slog.Logger) error {
	t := s.Config.API.Server.TLS
	if t == nil || t.CRLFile == "" {
		return nil
	}
	if err := auth.CheckRevocations(t.CRLFile, time.Now(), log); err != nil {
		return s.Bad("api.server.tls.crl_path", "a start would fail: %v", err)
	}
	return nil
}

// day is a moment as it is said of certificates.
func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }
