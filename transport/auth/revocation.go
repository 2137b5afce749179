package auth

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often a file is looked at for changes.
	lookEvery = int64(5 * time.Second)
	// knownVerdicts is for how many certificates the verdict is remembered.
	knownVerdicts = 1 << 12
	// largestCRL is the largest file of revocation lists that is read.
	largestCRL = 64 << 20
)

// revocations tells whether certificates have been revoked: by the lists of
// the operator's file, and by what the issuer's responder says (see ocsp.go).
// The file is read again when it changes, which also forgets all verdicts, so
// a certificate is refused within seconds of being listed. A file that cannot
// be read any more leaves the old lists in force.
type revocations struct {
	log   *slog.Logger
	now   func() int64
	hash  hasher
	asker responder

	verdicts *cache[verdict]
	looked   atomic.Int64 // when the file was last looked at

	mu   sync.Mutex // guards the file's state
	path string
	seen stamp
	list atomic.Pointer[[]*x509.RevocationList]
}

// verdict is what was found out about one certificate.
type verdict struct {
	until int64
	why   string // "" is good
}

// stamp recognises a version of a file.
type stamp struct {
	size int64
	time int64
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}, nil
}

func newRevocations(log *slog.Logger, now func() int64) *revocations {
	h, err := newHasher()
	if err != nil {
		h = hasher{1, 2} // verdicts are kept under public fingerprints: any key will do
	}
	return &revocations{log: log, now: now, hash: h, asker: newResponder(log), verdicts: newCache[verdict](knownVerdicts)}
}

// use names the file of lists and reads it; "" is none.
func (r *revocations) use(path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	lists, seen, err := []*x509.RevocationList(nil), stamp{}, error(nil)
	if path != "" {
		if lists, seen, err = r.read(path); err != nil {
			return fmt.Errorf("could not access CRL file: %w", err)
		}
	}
	r.path, r.seen = path, seen
	r.list.Store(&lists)
	r.verdicts.clear()
	return nil
}

// CheckRevocations reads the revocation lists of a file as a Gate would, with the same
// warnings, and keeps nothing.
func CheckRevocations(path string, now time.Time, log *slog.Logger) error {
	if _, _, err := newRevocations(log, now.UnixNano).read(path); err != nil {
		return fmt.Errorf("could not access CRL file: %w", err)
	}
	return nil
}

func (r *revocations) read(path string) ([]*x509.RevocationList, stamp, error) {
	seen, err := stampOf(path)
	if err != nil {
		return nil, seen, err
	}
	if seen.size > largestCRL {
		return nil, seen, fmt.Errorf("%s is larger than %d bytes", path, largestCRL)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, seen, err
	}
	lists, err := parseLists(text)
	if err != nil {
		return nil, seen, fmt.Errorf("%s: %w", path, err)
	}
	for _, l := range lists {
		if now := time.Unix(0, r.now()); now.Before(l.ThisUpdate) || (!l.NextUpdate.IsZero() && now.After(l.NextUpdate)) {
			r.log.Warn("a revocation list is outdated or not valid yet; it is used all the same", "file", path, "issuer", l.Issuer)
		}
	}
	return lists, seen, nil
}

// parseLists reads every PEM revocation list of a file.
func parseLists(text []byte) (lists []*x509.RevocationList, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, errors.New("no revocation list in it")
	}
	return lists, nil
}

// check reports why one of a verified chain is revoked, or nil.
func (r *revocations) check(p *Peer, life time.Duration) error {
	r.look()
	for i := len(p.chain) - 1; i >= 0; i-- {
		issuer := p.chain[min(i+1, len(p.chain)-1)]
		if why := r.judge(p.chain[i], issuer, life); why != "" {
			return errors.New(why)
		}
	}
	return nil
}

// known reports whether check says nothing against a verified chain, as far as is known
// without waiting.
func (r *revocations) known(p *Peer) bool {
	now := r.now()
	if last := r.looked.Load(); now-last >= lookEvery || now < last {
		return false // the file is to be looked at
	}
	for _, c := range p.chain {
		if v := r.verdicts.get(r.hash.sum(c.Raw)); v == nil || now >= v.until || v.why != "" {
			return false
		}
	}
	return true
}

// judge finds the verdict on one certificate.
func (r *revocations) judge(c, issuer *x509.Certificate, life time.Duration) string {
	now, mark := r.now(), r.hash.sum(c.Raw)
	if v := r.verdicts.get(mark); v != nil && now < v.until {
		return v.why
	}
	if why := r.listed(c); why != "" {
		r.verdicts.put(mark, verdict{now + int64(life), why})
		return why
	}
	revoked, keep := r.asker.ask(c, issuer)
	why := ""
	if revoked {
		why = "certificate revoked by OCSP"
	}
	if keep > int64(life) || keep <= 0 {
		keep = int64(life)
	}
	r.verdicts.put(mark, verdict{now + keep, why})
	return why
}

// listed looks a certificate up in the lists of its issuer.
func (r *revocations) listed(c *x509.Certificate) string {
	lists := r.list.Load()
	if lists == nil {
		return ""
	}
	for _, l := range *lists {
		if string(l.RawIssuer) != string(c.RawIssuer) {
			continue
		}
		for i := range l.RevokedCertificateEntries {
			if l.RevokedCertificateEntries[i].SerialNumber.Cmp(c.SerialNumber) == 0 {
				return "certificate revoked by CRL"
			}
		}
	}
	return ""
}

// look reads the file again when it has changed. One caller does so, the
// others go on with what they have.
func (r *revocations) look() {
	now, last := r.now(), r.looked.Load()
	if now-last < lookEvery && now >= last || !r.looked.CompareAndSwap(last, now) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path == "" {
		return
	}
	seen, err := stampOf(r.path)
	if err == nil && seen == r.seen {
		return
	}
	lists, seen, err := r.read(r.path)
	if err != nil {
		r.log.Error("cannot read the revocation lists; the old ones stay in force", "error", err)
		return
	}
	r.seen = seen
	r.list.Store(&lists)
	r.verdicts.clear()
	r.log.Info("read the revocation lists", "file", r.path, "lists", len(lists))
}
