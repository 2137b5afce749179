//go:build linux

package peers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"lapid/bench/corpus"
)

// haproxyConfig: one thread, connections that stay, no log, and a map of the parameter ip to the text of
// the answer.
const haproxyConfig = `global
	nbthread 1
	maxconn 2000
defaults
	mode http
	timeout connect 5s
	timeout client 1h
	timeout server 1h
	timeout http-request 1h
	timeout http-keep-alive 1h
frontend live
	bind %s
	http-request return status 200 content-type application/json lf-string "%%[url_param(ip),map_ip(%s,null)]"
`

// NewHAProxy starts HAProxy with a map of a set, which it looks addresses up in as in a tree of prefixes.
// It knows no end of a decision.
func (y *Yard) NewHAProxy(ctx context.Context, set *corpus.Set) (*Server, error) {
	dir := filepath.Join(y.Dir, "haproxy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	address, err := free()
	if err != nil {
		return nil, err
	}
	table, err := os.Create(filepath.Join(dir, "decisions.map"))
	if err != nil {
		return nil, err
	}
	defer table.Close()
	if err := corpus.WriteHAProxy(table, set.All()); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, haproxyConfig, address, table.Name()), 0o600); err != nil {
		return nil, err
	}
	s, err := y.start("haproxy", address, nil, "haproxy", "-db", "-f", file)
	if err != nil {
		return nil, err
	}
	return s, s.await(ctx, s.connects)
}
