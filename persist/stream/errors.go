package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// What an operator does, in words that several sentences have.
const (
	noSpace = "etcd has no room (alarm NOSPACE) and takes no writes: trimming goes on; compact and defragment it " +
		"(`etcdctl compact`, `etcdctl defrag`, one member after the other), or raise quota-backend-bytes, then `etcdctl alarm disarm`"
	corrupt   = "etcd found its own data corrupt (alarm CORRUPT) and refuses: see etcd's documentation of data corruption; `lapid cluster init --again` begins anew in another etcd"
	makeRoom  = "have less kept (cluster.keep), see what else uses this etcd, or raise its quota-backend-bytes"
	beginAnew = "`lapid cluster init --again` on the node with the highest revision begins anew, and the others join with empty data directories"
)

// errSilent: an endpoint is connected, and says nothing.
var errSilent = errors.New("it takes requests and does not answer: most of etcd's members must run, and reach each other")

// advise says what an operator does about an endpoint that is not reached, by why it is not.
func advise(cause error) string {
	var (
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		name      x509.HostnameError
		plain     tls.RecordHeaderError
		unknown   *net.DNSError
		op        *net.OpError
	)
	switch {
	case errors.As(cause, &authority):
		return "its certificate is not of the authority in cluster.etcd.ca_file: that must be the one that made etcd's certificates"
	case errors.As(cause, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate is not in force, by this machine's clock: give etcd a new one (client-transport-security), or set the clock right"
	case errors.As(cause, &invalid):
		return "its certificate is not one for servers: give etcd another (client-transport-security)"
	case errors.As(cause, &name):
		return "its certificate is for another name or address: write the endpoint as the certificate has it, or give etcd one for this address"
	case errors.As(cause, &plain), errors.Is(cause, io.EOF):
		return "it does not speak TLS: is this etcd's port for clients, and does it say client-transport-security?"
	case errors.As(cause, &op) && op.Op == "remote error":
		return "it refuses this node's certificate: cluster.etcd.cert_file must be in force and of the authority that etcd trusts (trusted-ca-file)"
	case errors.As(cause, &unknown):
		return "its name is not known here: correct cluster.etcd.endpoints, or the resolver"
	case errors.Is(cause, syscall.ECONNREFUSED):
		return "nobody listens there: start that etcd, or correct cluster.etcd.endpoints"
	}
	return "is this etcd running, is the network in order, and are the address and the certificates right?"
}

// explain says what an operator does about an answer of etcd.
func explain(err error) error {
	for of, text := range map[error]string{
		rpctypes.ErrNoSpace:          noSpace,
		rpctypes.ErrCorrupt:          corrupt,
		rpctypes.ErrPermissionDenied: "etcd's user may not do this: it needs readwrite on the prefix (`etcdctl role grant-permission ROLE readwrite PREFIX/ --prefix`)",
		rpctypes.ErrAuthFailed:       "etcd refuses the user or its password: see cluster.etcd.user and password_file",
		rpctypes.ErrUserEmpty:        "etcd asks for a user: give cluster.etcd.user and password_file, or a certificate with the user's name",
		rpctypes.ErrRequestTooLarge:  "etcd refuses requests of this size: its max-request-bytes must not be below the default of 1.5 MiB",
	} {
		if errors.Is(err, of) {
			return fmt.Errorf("%s (%w)", text, err)
		}
	}
	return err
}
