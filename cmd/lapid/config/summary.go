package config

import (
	"cmp"
	"fmt"
	"strings"
)

// Setting is one line of a summary.
type Setting struct {
	Name  string
	Value any    // as JSON has it
	Empty string // in words, when there is no value
}

// path is where JSON has it.
func (p *Setting) path() string {
	return strings.NewReplacer("operator's socket", "admin_socket", " ", "_").Replace(p.Name)
}

// Text is the value in one cell.
func (p *Setting) Text() string {
	switch v := p.Value.(type) {
	case nil:
		return p.Empty
	case []string:
		return strings.Join(v, " ")
	case string:
		if v == "" {
			return p.Empty
		}
	}
	return fmt.Sprint(p.Value)
}

// put stores a value at a dotted path. What stands in the way of a section
// is replaced by it.
func put(into map[string]any, path string, value any) {
	for {
		head, rest, more := strings.Cut(path, ".")
		if !more {
			into[head] = value
			return
		}
		next, ok := into[head].(map[string]any)
		if !ok {
			next = map[string]any{}
			into[head] = next
		}
		into, path = next, rest
	}
}

// SummaryObject is the summary as JSON has it, nested by the dots of the names.
func (s *Setup) SummaryObject() map[string]any {
	out := map[string]any{}
	for _, p := range s.Summary() {
		put(out, p.path(), p.Value)
	}
	return out
}

// Summary is what an operator wants to know first. It holds no secret.
// Scripts read it: names, once given, stay. What is not there
// says in words what holds instead, in every format but JSON.
func (s *Setup) Summary() []Setting {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	out := []Setting{{"configuration file", s.File, "none: built-in defaults"}, {"store", s.Store(), ""}, {"operator's socket", s.Socket(), ""}}
	if a := s.Config.API.Server; a != nil {
		out = append(out, Setting{"api.server.listen_uri", a.ListenURI, ""}, Setting{"api.server.listen_socket", a.ListenSocket, ""},
			Setting{"api.server.profiles_path", a.ProfilesPath, "none: stock profiles"},
			Setting{"api.server.trusted_proxies", append([]string{}, a.TrustedProxies...), ""},
			Setting{"api.server.trusted_ips", append([]string{}, a.TrustedIPs...), ""},
			Setting{"api.server.tls", a.TLS != nil && a.TLS.CertFile != "", ""})
	}
	if c := s.Config.API.Client; c != nil {
		out = append(out, Setting{"api.client.credentials_path", c.Credentials, ""})
	}
	if f := s.Config.DB.Flush; f != nil {
		items := Setting{"db_config.flush.max_items", nil, "any number"}
		if f.MaxItems != nil {
			items.Value = *f.MaxItems
		}
		out = append(out, items, Setting{"db_config.flush.max_age", f.MaxAge, "any age"})
	}
	metrics := "off"
	if s.Config.Metrics.Enabled {
		metrics = s.MetricsAddress()
	}
	return append(out, Setting{"prometheus", metrics, ""}, Setting{"common.log_level", or(s.Config.Common.Level, "info"), ""},
		Setting{"sync", s.Own.Sync == nil || *s.Own.Sync, ""}, Setting{"access_log", s.AccessLog(), ""},
		Setting{"on_filter_error", or(s.Own.OnFilterError, "refuse"), ""},
		Setting{"allowlist_wins", s.Own.AllowlistWins, ""},
		Setting{"capi_shrunken_lists", or(s.Own.ShrunkenLists, "hold"), ""},
		Setting{"bouncer_rows_per_key", cmp.Or(s.Own.RowsPerKey, 10_000), ""},
		Setting{"bouncer_ipv6_prefix", cmp.Or(s.Own.IPv6Prefix, 128), ""},
		Setting{"max_header_bytes", or(s.Own.MaxHeaderBytes, "64KiB"), ""}, Setting{"loops", or(s.Own.Loops, "auto"), ""},
		Setting{"snapshot_every", or(s.Own.SnapshotEvery, "10m"), ""}, Setting{"bookmark_journal", or(s.Own.BookmarkJournal, "1GiB"), ""},
		Setting{"movein", or(s.Own.MoveIn, "off"), ""}, Setting{"audit.max_age", or(s.Own.Audit.MaxAge, "90d"), ""},
		Setting{"audit.max_rows", cmp.Or(s.Own.Audit.MaxRows, 1_000_000), ""}, Setting{"audit.off", s.Own.Audit.Off, ""}, Setting{"backup.dir", or(s.Own.Backup.Dir, "off"), ""}, Setting{"exports", len(s.Own.Exports), ""}, Setting{"console.listen", s.Own.Console.Listen, "off"},
		Setting{"openapi", or(s.Own.OpenAPI, "public"), ""})
}
