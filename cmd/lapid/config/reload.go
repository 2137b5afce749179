package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// reloadable are the keys, and what lies below them, that a reload puts in force.
var reloadable = []string{
	"api.server.profiles_path", "api.server.trusted_proxies", "api.server.trusted_ips", "api.server.log_level",
	"api.server.use_forwarded_for_headers", "api.server.disable_remote_lapi_registration",
	"api.server.auto_registration", "api.server.tls.agents_allowed_ou", "api.server.tls.bouncers_allowed_ou",
	"api.server.tls.crl_path", "api.server.tls.cache_expiration", "common.log_level",
	"config_paths.notification_dir", "config_paths.plugin_dir", "plugin_config", "api.server.online_client", "api.server.console_path", "api.server.capi_whitelists_path", "api.server.disable_usage_metrics_export",
	"api.client", "cscli", "crowdsec_service",
}

// NeedRestart names the keys that differ and that a reload leaves alone. A
// key that was added or taken away differs too, so both files are looked at.
// The result is in alphabetical order.
func NeedRestart(before, next *Setup) []string {
	var out []string
	for _, side := range [2][2]*Setup{{before, next}, {next, before}} {
		for key, n := range side[0].place {
			if n.kind == isMap && side[1].place[key] != nil || sameValue(side[1], key, n) || slices.Contains(out, key) {
				continue
			}
			if !slices.ContainsFunc(reloadable, func(r string) bool { return key == r || strings.HasPrefix(key, r+".") }) {
				out = append(out, key)
			}
		}
	}
	own, now := before.Own, next.Own
	own.OnFilterError = now.OnFilterError // went into the profiles
	own.ShrunkenLists = now.ShrunkenLists // … and into the connection to the Central API
	own.Exports = now.Exports             // … and into the store
	if !reflect.DeepEqual(own, now) {
		out = append(out, "lapid.yaml")
	}
	slices.Sort(out)
	return out
}

// sameValue tells whether a key has the value of n here too. Where it stands in
// the file does not matter.
func sameValue(s *Setup, key string, n *node) bool {
	m := s.place[key]
	return m != nil && m.flat() == n.flat()
}

// flat is the value of a node without its place. Items are quoted, so that
// two lists are alike only when their items are.
func (n *node) flat() string {
	if n.kind != isList {
		return n.text
	}
	var out strings.Builder
	for _, item := range n.items {
		fmt.Fprintf(&out, "%q,", item.flat())
	}
	return out.String()
}
