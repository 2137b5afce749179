package verbs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
)

// configCommand is the noun config. It asks no server: what it shows is what a start
// or a reload would find now.
func configCommand(t *Terminal) *cobra.Command {
	return group("config", "The configuration as it was understood", configShow(t), configShowYAML(t))
}

// configShow is config show, what an operator looks for first, or one value with
// --key.
func configShow(t *Terminal) *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "show", Short: "Show what is in force, without secrets", Args: NoArgs,
		Long: `Shows what is in force, without secrets. With --key the value of one key is printed, also a secret: its path as
in config.yaml (api.server.listen_uri), the reference's name for it (Config.API.Server.ListenURI), a field of the
credentials file (api.client.credentials.url), or one of configuration_file, store, admin_socket.`,
		RunE: func(*cobra.Command, []string) error {
			s, err := t.Setup()
			if err != nil {
				return err
			}
			if key != "" {
				return showKey(t, s, key)
			}
			return showSettings(t, s)
		},
	}
	c.Flags().StringVar(&key, "key", "", "print the value of this key alone")
	return c
}

// showSettings writes the summary in the chosen format; JSON nests it by the dots of
// the names.
// Raw has the same lines as the table, for a script that reads one by its name.
func showSettings(t *Terminal, s *config.Setup) error {
	switch t.Output {
	case jsonWords:
		out := map[string]any{}
		for _, p := range summary(s) {
			put(out, p.path(), p.value)
		}
		return t.json(out, "  ")
	case raw:
		var rows [][]string
		for _, p := range summary(s) {
			rows = append(rows, []string{p.name, p.text()})
		}
		return t.csv([]string{"key", "value"}, rows)
	}
	table := lightTable()
	table.head(left, "Setting", "Value")
	table.body()
	for _, p := range summary(s) {
		table.row(p.name, p.text())
	}
	t.show(table)
	return nil
}

// setting is one line of config show.
type setting struct {
	name  string
	value any    // as JSON has it
	empty string // in words, when there is no value
}

// path is where JSON has it.
func (p *setting) path() string {
	return strings.NewReplacer("operator's socket", "admin_socket", " ", "_").Replace(p.name)
}

// text is the value in one cell.
func (p *setting) text() string {
	switch v := p.value.(type) {
	case nil:
		return p.empty
	case []string:
		return strings.Join(v, " ")
	case string:
		if v == "" {
			return p.empty
		}
	}
	return fmt.Sprint(p.value)
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

// summary is what an operator wants to know first. It holds no secret.
// Scripts read it: names, once given, stay. What is not there
// says in words what holds instead, in every format but JSON.
func summary(s *config.Setup) []setting {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	out := []setting{{"configuration file", s.File, "none: built-in defaults"}, {"store", s.Store(), ""}, {"operator's socket", s.Socket(), ""}}
	if a := s.Config.API.Server; a != nil {
		out = append(out, setting{"api.server.listen_uri", a.ListenURI, ""}, setting{"api.server.listen_socket", a.ListenSocket, ""},
			setting{"api.server.profiles_path", a.ProfilesPath, "none: stock profiles"},
			setting{"api.server.trusted_proxies", append([]string{}, a.TrustedProxies...), ""},
			setting{"api.server.trusted_ips", append([]string{}, a.TrustedIPs...), ""},
			setting{"api.server.tls", a.TLS != nil && a.TLS.CertFile != "", ""})
	}
	if c := s.Config.API.Client; c != nil {
		out = append(out, setting{"api.client.credentials_path", c.Credentials, ""})
	}
	if f := s.Config.DB.Flush; f != nil {
		items := setting{"db_config.flush.max_items", nil, "any number"}
		if f.MaxItems != nil {
			items.value = *f.MaxItems
		}
		out = append(out, items, setting{"db_config.flush.max_age", f.MaxAge, "any age"})
	}
	metrics := "off"
	if s.Config.Metrics.Enabled {
		metrics = s.MetricsAddress()
	}
	return append(out, setting{"prometheus", metrics, ""}, setting{"common.log_level", or(s.Config.Common.Level, "info"), ""},
		setting{"sync", s.Own.Sync == nil || *s.Own.Sync, ""}, setting{"access_log", s.AccessLog(), ""},
		setting{"on_filter_error", or(s.Own.OnFilterError, "refuse"), ""},
		setting{"allowlist_wins", s.Own.AllowlistWins, ""},
		setting{"bouncer_rows_per_key", cmp.Or(s.Own.RowsPerKey, 10_000), ""},
		setting{"bouncer_ipv6_prefix", cmp.Or(s.Own.IPv6Prefix, 128), ""},
		setting{"max_header_bytes", or(s.Own.MaxHeaderBytes, "64KiB"), ""}, setting{"loops", or(s.Own.Loops, "auto"), ""},
		setting{"snapshot_every", or(s.Own.SnapshotEvery, "10m"), ""}, setting{"bookmark_journal", or(s.Own.BookmarkJournal, "1GiB"), ""},
		setting{"audit.max_age", or(s.Own.Audit.MaxAge, "90d"), ""}, setting{"audit.max_rows", cmp.Or(s.Own.Audit.MaxRows, 1_000_000), ""}, setting{"audit.off", s.Own.Audit.Off, ""},
		setting{"movein", or(s.Own.MoveIn, "off"), ""}, setting{"exports", len(s.Own.Exports), ""})
}

// configShowYAML is config show-yaml: file, overlay and variables put together, as
// they were understood. Comments are gone; secrets are not.
func configShowYAML(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "show-yaml", Short: "Print the configuration with its overlay and variables put in, secrets included", Args: NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := t.Setup()
			if err != nil {
				return err
			}
			t.write(s.YAML())
			return nil
		},
	}
}

// showKey prints one value of the configuration: a word as it is, lists and sections
// as JSON. Secrets are shown: asking for one by name says that it is wanted. A key
// that is known and not given prints an empty line.
func showKey(t *Terminal, s *config.Setup, key string) error {
	value, err := s.Value(key)
	if err != nil {
		return err
	}
	if t.Output == jsonWords {
		return t.json(value, "  ")
	}
	switch v := value.(type) {
	case nil: // not given
		t.print("\n")
	case map[string]any, []any:
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		t.write(string(text) + "\n")
	default:
		t.print("%s\n", fmt.Sprint(v))
	}
	return nil
}
