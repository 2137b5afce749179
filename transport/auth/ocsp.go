package auth

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/crypto/ocsp"
	"golang.org/x/sync/singleflight"
)

const (
	// responderPatience is how long a responder may take. The request of the
	// certificate's holder waits for it.
	responderPatience = 5 * time.Second
	// largestAnswer is the largest OCSP answer that is read.
	largestAnswer = 1 << 20
	// askAgain is after how long a responder that gave no verdict is asked
	// again.
	askAgain = int64(30 * time.Second)
)

// responder asks the issuers of certificates whether they still stand by them.
type responder struct {
	log    *slog.Logger
	client *http.Client
	flight *singleflight.Group // one question per certificate at a time
}

func newResponder(log *slog.Logger) responder {
	return responder{
		log:    log,
		client: &http.Client{Timeout: responderPatience},
		flight: new(singleflight.Group),
	}
}

// ask reports whether a certificate is revoked, and for how long that may be
// believed in nanoseconds (0: as long as the caller likes). A certificate
// without a responder, or whose responder cannot be reached or does not know,
// is not revoked.
func (r responder) ask(c, issuer *x509.Certificate) (revoked bool, keep int64) {
	if len(c.OCSPServer) == 0 || c == issuer {
		return false, 0
	}
	answer, err, _ := r.flight.Do(string(c.Raw), func() (any, error) { return r.askEach(c, issuer) })
	if err != nil {
		r.log.Warn("no verdict on a certificate by OCSP; it is accepted", "subject", c.Subject.CommonName, "error", err)
		return false, askAgain
	}
	return answer.(bool), 0
}

func (r responder) askEach(c, issuer *x509.Certificate) (revoked bool, err error) {
	question, err := ocsp.CreateRequest(c, issuer, &ocsp.RequestOptions{Hash: crypto.SHA256})
	if err != nil {
		return false, fmt.Errorf("making an OCSP request: %w", err)
	}
	for _, url := range c.OCSPServer {
		answer, e := r.post(url, question, c, issuer)
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		switch answer.Status {
		case ocsp.Good:
			return false, nil
		case ocsp.Revoked:
			return true, nil
		}
		err = errors.Join(err, fmt.Errorf("%s does not know the certificate", url))
	}
	return false, err
}

func (r responder) post(url string, question []byte, c, issuer *x509.Certificate) (*ocsp.Response, error) {
	reply, err := r.client.Post(url, "application/ocsp-request", bytes.NewReader(question))
	if err != nil {
		return nil, fmt.Errorf("asking the responder: %w", err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, reply.Status)
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, largestAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	answer, err := ocsp.ParseResponseForCert(text, c, issuer)
	if err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", url, err)
	}
	return answer, nil
}
