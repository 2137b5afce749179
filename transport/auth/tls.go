package auth

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
)

// TLSOptions are the server's certificate, and the certificates it asks clients for.
type TLSOptions struct {
	CertFile string
	KeyFile  string
	// CAFile signs client certificates, besides the system's own authorities.
	// "": only those.
	CAFile string
	// ClientVerification is one of the contract's words (config.md section 4).
	// "": VerifyClientCertIfGiven.
	ClientVerification string
	// Now is Unix nanoseconds; it paces the looks at the files.
	Now func() int64
	// Logger may be nil.
	Logger *slog.Logger
}

// TLS serves TLS settings from files and follows the files' changes. Files
// that do not fit together any more leave the old settings in force.
type TLS struct {
	options TLSOptions
	verify  tls.ClientAuthType
	current atomic.Pointer[tls.Config]
	looked  atomic.Int64

	mu   sync.Mutex // guards seen
	seen [3]stamp
}

// NewTLS reads the files. Either both of certificate and key are given, or
// this is an error that says which is missing.
func NewTLS(o TLSOptions) (*TLS, error) {
	switch {
	case o.KeyFile == "":
		return nil, errors.New("missing TLS key file")
	case o.CertFile == "":
		return nil, errors.New("missing TLS cert file")
	}
	verify, err := clientVerification(o.ClientVerification)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	t := &TLS{options: o, verify: verify}
	if verify == tls.RequestClientCert || verify == tls.RequireAnyClientCert {
		o.Logger.Warn("client certificates are asked for but not verified, and so refused", "client_verification", o.ClientVerification)
	}
	o.Logger.Info("(tls) Client Auth Type set to " + verify.String())
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

func clientVerification(word string) (tls.ClientAuthType, error) {
	switch word {
	case "NoClientCert":
		return tls.NoClientCert, nil
	case "RequestClientCert":
		return tls.RequestClientCert, nil
	case "RequireAnyClientCert":
		return tls.RequireAnyClientCert, nil
	case "VerifyClientCertIfGiven", "":
		return tls.VerifyClientCertIfGiven, nil
	case "RequireAndVerifyClientCert":
		return tls.RequireAndVerifyClientCert, nil
	}
	return 0, fmt.Errorf("unknown TLS client_verification value: %s", word)
}

// Config is what a listener needs. It follows the files by itself.
func (t *TLS) Config() *tls.Config {
	c := t.current.Load().Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		t.look()
		return t.current.Load(), nil
	}
	return c
}

// Reload reads the files now. When it fails the old settings stay.
func (t *TLS) Reload() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := t.stamps()
	pair, err := tls.LoadX509KeyPair(t.options.CertFile, t.options.KeyFile)
	if err != nil {
		return fmt.Errorf("reading the server's certificate: %w", err)
	}
	authorities, err := t.authorities()
	if err != nil {
		return err
	}
	t.current.Store(&tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
		Certificates: []tls.Certificate{pair},
		ClientAuth:   t.verify,
		ClientCAs:    authorities,
		// Answers are for programs, which begin when they have all of one.
		DynamicRecordSizingDisabled: true,
	})
	t.seen = seen
	return nil
}

// authorities are the system's and the operator's own.
func (t *TLS) authorities() (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		t.options.Logger.Warn("cannot read the system's certificate authorities", "error", err)
		pool = x509.NewCertPool()
	}
	if t.options.CAFile == "" {
		return pool, nil
	}
	text, err := os.ReadFile(t.options.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the client authority: %w", err)
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading the client authority: no certificate in %s", t.options.CAFile)
	}
	return pool, nil
}

// stamps are the versions of the three files; a file that is not there has the
// zero one.
func (t *TLS) stamps() (all [3]stamp) {
	for i, path := range []string{t.options.CertFile, t.options.KeyFile, t.options.CAFile} {
		if path != "" {
			all[i], _ = stampOf(path)
		}
	}
	return all
}

// look reloads when one of the files has changed, at most every few seconds.
func (t *TLS) look() {
	now, last := t.options.Now(), t.looked.Load()
	if now-last < lookEvery && now >= last || !t.looked.CompareAndSwap(last, now) {
		return
	}
	t.mu.Lock()
	changed := t.stamps() != t.seen
	t.mu.Unlock()
	if !changed {
		return
	}
	if err := t.Reload(); err != nil {
		t.options.Logger.Error("cannot read the TLS files; the old ones stay in force", "error", err)
		return
	}
	t.options.Logger.Info("read the TLS files again")
}
