package verbs

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/transport/notify"
)

// notificationsCommand is the noun notifications: what is configured to tell people of
// alerts. Its verbs read files and ask no server.
func notificationsCommand(t *Terminal) *cobra.Command {
	c := group("notifications", "Who is told of alerts", notificationsList(t), notificationsInspect(t), notificationsTest(t))
	c.Aliases = []string{"notification"}
	return c
}

// writtenNotifications reads them with the profiles that name them. Doubts are the
// server's to tell.
func writtenNotifications(t *Terminal) (*config.Setup, []*config.Notification, error) {
	s, err := t.Setup()
	if err != nil {
		return nil, nil, err
	}
	specs, err := s.ProfileSpecs()
	if err != nil {
		return nil, nil, err
	}
	list, err := s.Notifications(specs, slog.New(slog.DiscardHandler))
	return s, list, err
}

// namedNotification is one of them.
func namedNotification(t *Terminal, name string) (*config.Setup, *config.Notification, error) {
	s, list, err := writtenNotifications(t)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range list {
		if n.Name == name {
			return s, n, nil
		}
	}
	return nil, nil, fmt.Errorf("plugin '%s' does not exist or is not active: no document in %s has that name; see \"lapid notifications list\"", name, s.NotificationDir())
}

// notificationsList is notifications list.
func notificationsList(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List notifications and the profiles that name them", Args: NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, list, err := writtenNotifications(t)
			if err != nil {
				return err
			}
			var rows [][]string
			object := map[string]any{}
			table := lightTable()
			table.head(left, "Active", "Name", "Type", "Profile name")
			for _, n := range list {
				named, active := strings.Join(n.Profiles, ", "), "✔️"
				if named == "" {
					active = "🚫"
				}
				rows = append(rows, []string{n.Name, n.Type, named})
				table.row(active, n.Name, n.Type, named)
				object[n.Name] = map[string]any{"plugin_config": n.Written(), "associated_profiles": append([]string{}, n.Profiles...)}
			}
			switch t.Output {
			case jsonWords:
				return t.json(object, " ")
			case config.Raw:
				return t.csv([]string{"Name", "Type", "Profile name"}, rows)
			}
			t.show(table)
			return nil
		},
	}
}

// notificationsInspect is notifications inspect: the document as it was written, nothing
// put in.
func notificationsInspect(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "inspect NAME", Short: "Show how a notification is configured", Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, n, err := namedNotification(t, args[0])
			if err != nil {
				return err
			}
			if t.Output == jsonWords {
				return t.json(n.Written(), " ")
			}
			t.print("%s", n.YAML())
			return nil
		},
	}
}

// notificationsTest is notifications test: one alert that nobody reported, sent once, also
// by a notification that no profile names.
func notificationsTest(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "test NAME", Short: "Send one alert that nobody reported", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			s, n, err := namedNotification(t, args[0])
			if err != nil {
				return err
			}
			ready, err := s.Configuration(n)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancel(c.Context())
			defer cancel()
			if err := notify.Try(ctx, ready); err != nil {
				return fmt.Errorf("notification '%s' was not taken: %w", n.Name, err)
			}
			if t.Output == jsonWords {
				return t.json(map[string]any{"name": n.Name, "sent": true}, " ")
			}
			t.print("notification '%s' was taken by its receiver\n", n.Name)
			return nil
		},
	}
}
