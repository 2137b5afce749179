package verbs

import (
	"encoding/json"
	"fmt"

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
		return t.json(s.SummaryObject(), "  ")
	case raw:
		var rows [][]string
		for _, p := range s.Summary() {
			rows = append(rows, []string{p.Name, p.Text()})
		}
		return t.csv([]string{"key", "value"}, rows)
	}
	table := lightTable()
	table.head(left, "Setting", "Value")
	table.body()
	for _, p := range s.Summary() {
		table.row(p.Name, p.Text())
	}
	t.show(table)
	return nil
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
