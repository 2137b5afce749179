package verbs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// machinesCommand is the noun machines: the log processors, who log in with a
// password or a certificate and push alerts.
func machinesCommand(t *Terminal) *cobra.Command {
	c := group("machines", "Log processors that may push alerts",
		machinesList(t), machinesAdd(t), machinesValidate(t), machinesDelete(t), machinesPrune(t), machinesInspect(t))
	c.Aliases = []string{"machine"}
	return c
}

// machinesList is machines list, in the order in which machines were added.
func machinesList(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all machines", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				list, err := client.Machines(c.Context())
				if err != nil {
					return err
				}
				return showMachines(t, list)
			})
		},
	}
}

// showMachines writes all machines in the chosen format. Columns are the reference's.
func showMachines(t *Terminal, list *admin.Machines) error {
	switch t.Output {
	case jsonWords:
		return t.json(machineObjects(list.Machines), "  ")
	case raw:
		rows := make([][]string, 0, len(list.Machines))
		for i := range list.Machines {
			m := &list.Machines[i]
			rows = append(rows, []string{m.ID, m.IP, second(m.UpdatedAt), fmt.Sprint(m.Validated), m.Version,
				m.AuthType, orDash(m.LastHeartbeat), m.OS.Name + "/" + m.OS.Version})
		}
		return t.csv([]string{"machine_id", "ip_address", "updated_at", "validated", "version", "auth_type",
			"last_heartbeat", "os"}, rows)
	}
	t.show(machinesTable(list))
	return nil
}

// machinesTable is the list for people. How long ago a heartbeat was is reckoned by
// the server's clock, which came with the list.
func machinesTable(list *admin.Machines) *table {
	table := lightTable()
	table.head(left, "Name", "IP Address", "Last Update", "Status", "Version", "OS", "Auth Type", "Last Heartbeat")
	table.body()
	for i := range list.Machines {
		m := &list.Machines[i]
		table.row(m.ID, m.IP, second(m.UpdatedAt), tick(m.Validated), m.Version, osText(m.OS), m.AuthType,
			heartbeat(m.LastHeartbeat, list.Now))
	}
	return table
}

// late is the silence after which a heartbeat gets a warning sign. Log
// processors send one a minute.
const late = 2 * time.Minute

// heartbeat is how long ago a machine was heard of, by two moments in Unix
// nanoseconds, with a warning for a long silence and for none ever.
func heartbeat(last, now int64) string {
	if last == 0 {
		return warning + " -"
	}
	// Both moments are by the server's clock, so the operator's may be wrong.
	ago := time.Duration(now - last).Truncate(time.Second)
	if ago > late {
		return warning + " " + ago.String()
	}
	return ago.String()
}

// machinesValidate is machines validate: the operator's yes to a machine that has
// registered itself. Until then its logins are refused.
func machinesValidate(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "validate NAME", Short: "Let a machine that registered itself log in", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				err := client.ValidateMachine(c.Context(), args[0])
				if err != nil {
					return fmt.Errorf("unable to validate machine: %w", worded("validate", err))
				}
				t.success("machine '%s' validated successfully", args[0])
				return nil
			})
		},
	}
}

// machinesDelete is machines delete. Names are deleted one by one; the first that is
// missing ends it with an error, unless --ignore-missing is given, and those before
// it are gone.
func machinesDelete(t *Terminal) *cobra.Command {
	var ignore bool
	c := &cobra.Command{
		Use: "delete NAME...", Short: "Delete machines; their alerts stay", Args: minArgs(1),
		Aliases: []string{"remove"},
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				for _, name := range args {
					err := client.DeleteMachine(c.Context(), name)
					if ignore && errors.Is(err, engine.ErrNotFound) {
						continue
					}
					if err != nil {
						return fmt.Errorf("unable to delete machine: %w", worded("delete", err))
					}
					t.success("machine '%s' deleted successfully", name)
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&ignore, "ignore-missing", false, "no complaint about machines that do not exist")
	return c
}

// machinesPrune is machines prune: away with those that are silent for ten minutes,
// unless said otherwise, and those that were never validated.
func machinesPrune(t *Terminal) *cobra.Command {
	var p pruning
	var unvalidated bool
	c := &cobra.Command{
		Use: "prune", Short: "Delete machines that are not validated or have gone silent", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				return pruneMachines(c.Context(), t, client, &p, unvalidated)
			})
		},
	}
	p.flags(c, 10*time.Minute)
	c.Flags().BoolVar(&unvalidated, "not-validated-only", false, "only those that are not validated")
	return c
}

// pruneMachines shows which would go, asks, and deletes by name those that were shown
// and are still stale: a machine that was heard of or validated meanwhile is spared.
// Alerts stay.
func pruneMachines(ctx context.Context, t *Terminal, client *admin.Client, p *pruning, unvalidated bool) error {
	silence, ok, err := p.settle(t)
	if !ok {
		return err
	}
	what := admin.Prune{Silence: int64(silence), NotValidatedOnly: unvalidated}
	list, err := client.StaleMachines(ctx, &what)
	if err != nil {
		return err
	}
	var names []string
	for i := range list.Machines {
		names = append(names, list.Machines[i].ID)
	}
	if len(names) == 0 {
		return nothingToPrune(t, "machines")
	}
	if t.Output != jsonWords {
		t.show(machinesTable(list))
	}
	if ok, err := p.agreed(t); !ok {
		return err
	}
	n, err := client.PruneMachines(ctx, &admin.PruneNamed{Prune: what, Names: names})
	if err != nil {
		return err
	}
	return pruned(t, "machines", n, names)
}
