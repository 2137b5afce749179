package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func configCommand(t *terminal) *cobra.Command {
	return group("config", "The configuration as it was understood", configShow(t), configShowYAML(t))
}

func configShow(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show what is in force, without secrets", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := t.setup()
			if err != nil {
				return err
			}
			if t.output == jsonWords {
				out := map[string]string{}
				for _, p := range s.summary() {
					out[p[0]] = p[1]
				}
				return t.json(out, "  ")
			}
			if t.output == raw {
				return t.csv([]string{"key", "value"}, s.rows())
			}
			table := lightTable()
			table.head(left, "Setting", "Value")
			table.body()
			for _, p := range s.summary() {
				table.row(p[0], p[1])
			}
			t.show(table)
			return nil
		},
	}
}

func (s *Setup) rows() [][]string {
	var rows [][]string
	for _, p := range s.summary() {
		rows = append(rows, []string{p[0], p[1]})
	}
	return rows
}

// summary is what an operator wants to know first. It holds no secret.
func (s *Setup) summary() [][2]string {
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	out := [][2]string{{"configuration file", or(s.File, "none: built-in defaults")}, {"store", s.Store()}, {"operator's socket", s.Socket()}}
	if a := s.Config.API.Server; a != nil {
		out = append(out, [2]string{"api.server.listen_uri", a.ListenURI}, [2]string{"api.server.listen_socket", a.ListenSocket},
			[2]string{"api.server.profiles_path", or(a.ProfilesPath, "none: stock profiles")},
			[2]string{"api.server.trusted_proxies", strings.Join(a.TrustedProxies, " ")},
			[2]string{"api.server.trusted_ips", strings.Join(a.TrustedIPs, " ")},
			[2]string{"api.server.tls", fmt.Sprint(a.TLS != nil && a.TLS.CertFile != "")})
	}
	if c := s.Config.API.Client; c != nil {
		out = append(out, [2]string{"api.client.credentials_path", c.Credentials})
	}
	if f := s.Config.DB.Flush; f != nil {
		items := "any number"
		if f.MaxItems != nil {
			items = fmt.Sprint(*f.MaxItems)
		}
		out = append(out, [2]string{"db_config.flush.max_items", items}, [2]string{"db_config.flush.max_age", or(f.MaxAge, "any age")})
	}
	metrics := "off"
	if s.Config.Metrics.Enabled {
		metrics = s.metricsAddress()
	}
	return append(out, [2]string{"prometheus", metrics}, [2]string{"common.log_level", or(s.Config.Common.Level, "info")},
		[2]string{"sync", fmt.Sprint(s.Own.Sync == nil || *s.Own.Sync)}, [2]string{"access_log", fmt.Sprint(s.Own.AccessLog)},
		[2]string{"on_filter_error", or(s.Own.OnFilterError, "refuse")})
}

func configShowYAML(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use: "show-yaml", Short: "Print the configuration with its overlay and variables put in, secrets included", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := t.setup()
			if err != nil {
				return err
			}
			if s.tree != nil {
				t.write(s.tree.yaml())
			}
			return nil
		},
	}
}

// yaml writes the tree back.
func (n *node) yaml() string {
	var out strings.Builder
	n.appendYAML(&out, "")
	return out.String()
}

// appendYAML writes the lines of a map or list, each with the indent.
func (n *node) appendYAML(out *strings.Builder, indent string) {
	for _, e := range n.entries {
		out.WriteString(indent + yamlScalar(e.key.text) + ":")
		e.value.appendValue(out, indent)
	}
	for _, item := range n.items {
		out.WriteString(indent + "-")
		item.appendValue(out, indent)
	}
}

// appendValue writes what stands behind a key or a dash.
func (n *node) appendValue(out *strings.Builder, indent string) {
	switch {
	case n.kind == isScalar && n.plain:
		out.WriteString(" " + n.text + "\n")
	case n.kind == isScalar:
		out.WriteString(" " + yamlScalar(n.text) + "\n")
	case n.kind == isNull:
		out.WriteString(" null\n")
	case len(n.entries) == 0 && len(n.items) == 0:
		out.WriteString(map[kind]string{isMap: " {}\n", isList: " []\n"}[n.kind])
	default:
		out.WriteByte('\n')
		n.appendYAML(out, indent+"    ")
	}
}
