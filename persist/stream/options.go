package stream

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Options say where the history is, and who this node is. Defaults are those of a zero value.
type Options struct {
	// Endpoints are URLs of etcd's members for clients: http:// or https:// with host and port. At least one.
	Endpoints []string
	// Prefix is what all keys of the cluster begin with, such as /lapid/main. It is given without a slash at the end.
	Prefix string
	// TLS is for https endpoints; nil: the machine's roots, no certificate of our own.
	TLS *tls.Config
	// User and Password are etcd's, or empty. readwrite on the prefix is all that the user needs.
	User, Password string

	// Node is the name of this node, one of a kind in the cluster: [a-z0-9-]{1,32}.
	Node string
	// Address is where other nodes reach this one (its listener for peers); they are told.
	Address string
	// NeverWrites makes Run follow only.
	NeverWrites bool

	// Seal closes all values. It must be there.
	Seal Seal

	// Trace is what this node knew of the history when it last ran; zero: nothing.
	Trace Trace

	// KeepTime and KeepBytes are how much of the log stays in etcd when no node needs it any more: commits that are
	// younger, and so many bytes at most. Defaults: 10 minutes, 64 MiB. Negative: nothing for that reason.
	KeepTime  time.Duration
	KeepBytes int64
	// Compact has the writer compact etcd to a minute ago, each second that it trims in.
	Compact bool

	// Log is told what an operator should know; nil: nothing is told.
	Log *slog.Logger
}

const (
	maxEndpoints = 32
	maxName      = 32
	maxPrefix    = 256
)

// CheckNode reports why a text is no name of a node.
func CheckNode(name string) error {
	if name == "" || len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("%q is no name of a node: 1 to %d of a to z, 0 to 9 and -", name, maxName)
	}
	return nil
}

// check fills in defaults. Errors name the option.
func (o *Options) check() error {
	if len(o.Endpoints) == 0 || len(o.Endpoints) > maxEndpoints {
		return fmt.Errorf("%d endpoints of etcd: 1 to %d are needed", len(o.Endpoints), maxEndpoints)
	}
	for _, e := range o.Endpoints {
		u, err := url.Parse(e)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return fmt.Errorf("the endpoint %q of etcd is no URL like https://192.0.2.11:2379", e)
		}
		if u.Scheme == "http" && o.TLS != nil {
			return fmt.Errorf("the endpoint %q of etcd speaks without TLS, but certificates are given: write https://, or take them away", e)
		}
	}
	if len(o.Prefix) < 2 || len(o.Prefix) > maxPrefix || o.Prefix[0] != '/' || strings.HasSuffix(o.Prefix, "/") {
		return fmt.Errorf("the prefix %q is not one like /lapid/main: it begins with a slash and ends without one, and has %d bytes at most", o.Prefix, maxPrefix)
	}
	if err := CheckNode(o.Node); err != nil {
		return err
	}
	if (o.User == "") != (o.Password == "") {
		return errors.New("etcd's user and password are given both or neither")
	}
	if len(o.Seal.keys) == 0 {
		return errors.New("there is no seal: `lapid cluster keys` makes one")
	}
	if o.KeepTime == 0 {
		o.KeepTime = 10 * time.Minute
	}
	if o.KeepBytes == 0 {
		o.KeepBytes = 64 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
