package verbs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/transport/admin"
	"lapid/transport/notify"
)

// notificationsCommand is the noun notifications: what is configured to tell people of
// alerts. Its verbs read files, and only reinject asks a server.
func notificationsCommand(t *Terminal) *cobra.Command {
	c := group("notifications", "Who is told of alerts", notificationsList(t), notificationsInspect(t), notificationsTest(t), notificationsReinject(t))
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
// put in, its secrets hidden.
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
			for line := range strings.Lines(n.YAML()) { // each by itself: print shows a line end within a word
				t.print("%s\n", strings.TrimSuffix(line, "\n"))
			}
			return nil
		},
	}
}

// notificationsTest is notifications test: one alert that nobody reported, sent once, also
// by a notification that no profile names.
func notificationsTest(t *Terminal) *cobra.Command {
	var override string
	c := &cobra.Command{
		Use: "test NAME", Short: "Send one alert that nobody reported", Args: exactArgs(1),
		Long: "Sends one message about an alert that nobody reported, once, also by a notification that no profile names.\n" +
			"Variables of its document are those of this shell. Exit code 1: it was not taken.",
		RunE: func(c *cobra.Command, args []string) error {
			s, n, err := namedNotification(t, args[0])
			if err != nil {
				return err
			}
			ready, err := s.Configuration(n)
			if err != nil {
				return err
			}
			alert := notify.TestAlert()
			if err := overrideAlert(t, alert, override); err != nil {
				return err
			}
			if err := notify.Try(c.Context(), ready, alert); err != nil {
				return fmt.Errorf("notification '%s' was not taken: %w", n.Name, err)
			}
			if t.Output == jsonWords {
				return t.json(map[string]any{"name": n.Name, "sent": true}, " ")
			}
			t.print("notification '%s' was taken by its receiver\n", n.Name)
			return nil
		},
	}
	alertFlag(c, &override)
	return c
}

// alertFlag is the flag that changes the alert.
func alertFlag(c *cobra.Command, override *string) {
	c.Flags().StringVarP(override, "alert", "a", "", `JSON of fields to change in the alert: '{"scenario": "x", "source": {"cn": "FR"}}'`)
}

// overrideAlert changes an alert; a field that there is not is told and has no effect.
func overrideAlert(t *Terminal, a *notify.Alert, override string) error {
	if override == "" {
		return nil
	}
	unknown, err := a.Override([]byte(override))
	if err != nil {
		return fmt.Errorf("--alert: %w", err)
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		t.log("warning", "--alert: an alert has no field %q: it has no effect", name)
	}
	return nil
}

// reinjected is what came of it, in JSON.
type reinjected struct {
	Alert  uint64          `json:"alert"`
	Sent   []string        `json:"sent"` // names, as often as profiles name them
	Failed []notReinjected `json:"failed"`
}

// notReinjected is a notification that was due and not taken.
type notReinjected struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// notificationsReinject is notifications reinject: a stored alert is judged by the profiles
// once more, and those that match have their notifications sent, once for each profile.
func notificationsReinject(t *Terminal) *cobra.Command {
	var override string
	c := &cobra.Command{
		Use: "reinject ID", Short: "Send the notifications of a stored alert once more", Args: exactArgs(1),
		Long: "Asks the profiles about a stored alert, with its decisions as they are now, and sends the notifications that they name,\n" +
			"once for each profile. Nothing is stored. With a running server its profiles count. Documents are read anew, and their\n" +
			"variables are those of this shell. Exit code 1: one of them was not taken.",
		RunE: func(c *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(args[0], 10, 63)
			if err != nil || n == 0 {
				return fmt.Errorf("bad alert id %s", args[0])
			}
			s, list, err := writtenNotifications(t)
			if err != nil {
				return err
			}
			alert, names, err := judgedAlert(c.Context(), t, s, n, override)
			if err != nil {
				return err
			}
			return reinject(c.Context(), t, s, list, n, alert, names)
		},
	}
	alertFlag(c, &override)
	return c
}

// judgedAlert is a stored alert, changed, and the notifications that profiles name for it.
func judgedAlert(ctx context.Context, t *Terminal, s *config.Setup, n uint64, override string) (*notify.Alert, []string, error) {
	_, rules, _, err := s.Profiles(slog.New(slog.DiscardHandler)) // of a store without a server
	if err != nil {
		return nil, nil, err
	}
	alert, changed, names := &notify.Alert{}, &admin.Alert{}, []string(nil)
	t.rules = rules
	err = t.withClient(ctx, func(client *admin.Client) error {
		shown, err := client.Alert(ctx, n)
		if err != nil {
			return fmt.Errorf("can't find alert with id %d: %w", n, apiError(worded("inspect", err)))
		}
		// The names on the wire are the same.
		if err := sameJSON(shown.Alert, alert); err != nil {
			return err
		}
		if err := overrideAlert(t, alert, override); err != nil {
			return err
		}
		if err := sameJSON(alert, changed); err != nil {
			return err
		}
		judged, err := client.Judge(ctx, changed)
		if err != nil {
			return apiError(err)
		}
		names = judged.Notify
		return nil
	})
	return alert, names, err
}

// sameJSON puts one value into another by way of JSON.
func sameJSON(from, into any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// reinject sends what is due, one after the other. One that fails does not keep the others.
func reinject(ctx context.Context, t *Terminal, s *config.Setup, list []*config.Notification, n uint64, alert *notify.Alert, names []string) error {
	out := reinjected{Alert: n, Sent: []string{}, Failed: []notReinjected{}}
	for _, name := range names {
		err := fmt.Errorf("no document in %s has that name", s.NotificationDir())
		if at := slices.IndexFunc(list, func(n *config.Notification) bool { return n.Name == name }); at >= 0 {
			var ready *notify.Configuration
			if ready, err = s.Configuration(list[at]); err == nil {
				err = notify.Try(ctx, ready, alert)
			}
		}
		if err != nil {
			out.Failed = append(out.Failed, notReinjected{name, err.Error()})
			continue
		}
		out.Sent = append(out.Sent, name)
	}
	if t.Output == jsonWords {
		if err := t.json(out, " "); err != nil {
			return err
		}
	} else {
		if len(names) == 0 {
			t.print("no profile that matches alert %d names a notification: nothing was sent\n", n)
		}
		for _, name := range out.Sent {
			t.print("alert %d was taken by the receiver of notification '%s'\n", n, name)
		}
	}
	if len(out.Failed) > 0 {
		var said []string
		for _, f := range out.Failed {
			said = append(said, fmt.Sprintf("notification '%s' was not taken: %s", f.Name, f.Error))
		}
		return errors.New(strings.Join(said, "; "))
	}
	return nil
}
