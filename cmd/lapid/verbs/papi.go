package verbs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/capi"
)

// papiCommand is the noun papi: the orders that the console gives this server.
func papiCommand(t *Terminal) *cobra.Command {
	return group("papi", "The orders of the console", papiStatus(t), papiSync(t))
}

// centralOptions are those of the connection, which must be there.
func centralOptions(t *Terminal) (*config.Setup, *capi.Options, error) {
	s, err := t.Setup()
	if err != nil {
		return nil, nil, err
	}
	o, err := s.Central()
	if err == nil && o == nil {
		err = errors.New("api.server.online_client is missing")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w; the Central API (CAPI) must be configured with 'lapid capi register'", err)
	}
	o.Version = t.Build.Version
	return s, o, nil
}

// papiStatus is papi status: one login and one question. The server's own token is not touched.
func papiStatus(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Ask what the console may order here, and show when it last did", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, o, err := centralOptions(t)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), capiPatience)
			defer cancel()
			p, who, err := capi.AskPermissions(ctx, *o)
			if err != nil {
				return fmt.Errorf("unable to get PAPI permissions: %w", err)
			}
			var last admin.Orders
			err = t.withClient(c.Context(), func(client *admin.Client) error {
				l, err := client.Orders(c.Context())
				if err == nil {
					last = *l
				}
				return err
			})
			if err != nil && !errors.Is(err, errNoStore) {
				return err
			}
			return tellPermissions(t, &p, who, last.Last)
		},
	}
}

// permissionsObject is what the console may order, in JSON.
type permissionsObject struct {
	Enrolled   bool     `json:"enrolled"`
	Type       string   `json:"subscription_type"`
	Plan       string   `json:"plan"`
	Last       string   `json:"last_order_received,omitempty"`
	Categories []string `json:"subscriptions"`
}

func tellPermissions(t *Terminal, p *capi.Permissions, who capi.Account, last string) error {
	if t.Output == jsonWords {
		return t.json(permissionsObject{who.Enrolled, who.Plan, p.Plan, last, append([]string{}, p.Categories...)}, " ")
	}
	if last == "" {
		last = "never"
	}
	t.print("You can successfully interact with Polling API (PAPI)\n")
	t.print("Console plan: %s\n", p.Plan)
	t.print("Last order received: %s\n", last)
	t.print("PAPI subscriptions:\n")
	for _, category := range p.Categories {
		t.print(" - %s\n", category)
	}
	if !who.Enrolled {
		t.log("warning", "this server is not enrolled in the console, so no order comes in: lapid console enroll")
	}
	return nil
}

// syncPatience is how long papi sync waits for the orders to be carried out.
const syncPatience = 5 * time.Minute

// papiSync is papi sync. The server does it; where none runs this process does.
func papiSync(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "sync", Short: "Ask for all orders of the console again, and carry them out", Args: NoArgs,
		Long: `Asks for all orders that the console has for this server and carries them out again: those about alerts and decisions.
Orders about lists and logins are passed over. What was carried out before is not done twice.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, _, err := centralOptions(t); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), syncPatience)
			defer cancel()
			return t.withClient(ctx, func(client *admin.Client) error {
				done, err := client.SyncOrders(ctx)
				if err != nil {
					return fmt.Errorf("unable to sync with the console: %w", err)
				}
				if t.Output == jsonWords {
					return t.json(map[string]int{"carried_out": done.Carried, "invalid": done.Invalid, "passed_over": done.Passed}, " ")
				}
				t.print("%d orders carried out, %d made no sense, %d about lists and logins passed over\n", done.Carried, done.Invalid, done.Passed)
				return nil
			})
		},
	}
}

// syncAlone carries out the orders of the console on a store that no server has open, and
// then reports and sends what is due.
func syncAlone(s *config.Setup, e *engine.Engine, version string) func(context.Context) (*admin.OrdersSynced, error) {
	return func(ctx context.Context) (*admin.OrdersSynced, error) {
		o, err := s.Central()
		if err == nil && o == nil {
			err = errors.New("api.server.online_client is missing")
		}
		if err != nil {
			return nil, err
		}
		o.Engine, o.Version = e, version
		c, err := capi.New(o)
		if err != nil {
			return nil, err
		}
		done, err := c.SyncOrders(ctx, true)
		if err != nil {
			return nil, &engine.Error{Kind: engine.ErrInvalid, Text: err.Error(), Cause: err}
		}
		return &admin.OrdersSynced{Carried: done.Carried, Invalid: done.Invalid, Passed: done.Passed}, nil
	}
}
