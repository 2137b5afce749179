package stream

import (
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// explain says what an operator does about an answer of etcd.
func explain(err error) error {
	for of, text := range map[error]string{
		rpctypes.ErrNoSpace: "etcd has no room (alarm NOSPACE) and takes no writes: trimming goes on; compact and defragment it " +
			"(`etcdctl compact`, `etcdctl defrag`, one member after the other), or raise quota-backend-bytes, then `etcdctl alarm disarm`",
		rpctypes.ErrCorrupt:          "etcd found its own data corrupt (alarm CORRUPT) and refuses: see etcd's documentation of data corruption; `lapid cluster init --again` begins anew in another etcd",
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
