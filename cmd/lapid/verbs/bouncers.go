package verbs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// bouncersCommand is the noun bouncers: who may ask for decisions with an API key,
// and where their streams stand.
func bouncersCommand(t *Terminal) *cobra.Command {
	c := group("bouncers", "Bouncers that may ask for decisions",
		bouncersList(t), bouncersAdd(t), bouncersRotate(t), bouncersEdit(t), bouncersDelete(t), bouncersPrune(t), bouncersInspect(t), bouncersWait(t))
	c.Aliases = []string{"bouncer"}
	return c
}

// bouncersList is bouncers list. A row is a key at an address: a key that is used
// from several has several rows, each with a stream of its own.
func bouncersList(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all bouncers, where their streams stand and how far behind they are", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				if t.Output == raw {
					return listBouncersRaw(c.Context(), t, client)
				}
				list, err := client.Bouncers(c.Context())
				if err != nil {
					return err
				}
				return showBouncers(t, list)
			})
		},
	}
}

// listBouncersRaw writes each row as it comes, however many there are. A
// table and JSON hold all rows at once; this is the form for a million of
// them.
func listBouncersRaw(ctx context.Context, t *Terminal, client *admin.Client) error {
	return t.csvEach(bouncerColumns, func(write func([]string) error) error {
		return client.EachBouncer(ctx, func(b *admin.Bouncer) error { return write(bouncerCells(b)) })
	})
}

// bouncerColumns are those of the raw form.
var bouncerColumns = []string{"name", "ip", "revoked", "last_pull", "type", "version", "auth_type"}

// bouncerCells are a row of the raw form. The reference writes "validated" into the
// column revoked; scripts know it.
func bouncerCells(b *admin.Bouncer) []string {
	return []string{b.Name, address(b), "validated", pull(b), b.Type, b.Version, b.AuthType}
}

// showBouncers writes all rows in the chosen format, in the order in which they were
// made.
func showBouncers(t *Terminal, list *admin.Bouncers) error {
	switch t.Output {
	case jsonWords:
		out := make([]bouncerObject, 0, len(list.Bouncers))
		for i := range list.Bouncers {
			out = append(out, bouncerObjectOf(&list.Bouncers[i]))
		}
		return t.json(out, "  ")
	case raw:
		return t.csvEach(bouncerColumns, func(write func([]string) error) error {
			for i := range list.Bouncers {
				if err := write(bouncerCells(&list.Bouncers[i])); err != nil {
					return err
				}
			}
			return nil
		})
	}
	t.show(bouncersTable(list))
	return nil
}

// bouncersTable is the list for people. The last columns are our own: where the
// stream of a bouncer stands, and how far it is behind (a number that grows belongs
// to a bouncer that has stopped asking); what it has acknowledged, how old the oldest
// change is that concerns it and that it has not, and how many decisions it says that it
// holds of those that it should; and whether it sees less than all, or is held.
func bouncersTable(list *admin.Bouncers) *table {
	table := lightTable()
	table.head(left, "Name", "IP Address", "Valid", "Last API pull", "Type", "Version", "Auth Type", "Cursor", "Behind", "Acknowledged", "Lag", "Holds", "Sees")
	table.body()
	for i := range list.Bouncers {
		b := &list.Bouncers[i]
		cursor, behind := standing(b)
		table.row(append([]string{b.Name, address(b), good, pull(b), b.Type, b.Version, b.AuthType, cursor, behind}, append(holdingCells(b), seesText(b))...)...)
	}
	return table
}

// address is where the row belongs to, "" when the key was not used yet.
func address(b *admin.Bouncer) string {
	if !b.IP.IsValid() {
		return ""
	}
	return b.IP.String()
}

// pull is when a bouncer last asked, "" for never.
func pull(b *admin.Bouncer) string {
	if b.LastPull == 0 {
		return ""
	}
	return second(b.LastPull)
}

// standing is where the stream of a bouncer is and how many revisions that is behind
// the newest, "" while it has none.
func standing(b *admin.Bouncer) (cursor, behind string) {
	if !b.Pulled {
		return "", ""
	}
	return fmt.Sprint(b.Cursor), fmt.Sprint(b.Behind)
}

// bouncerObject is a bouncer in JSON. Names and their order are the
// reference's. Moments that never were are null.
type bouncerObject struct {
	CreatedAt    *time.Time `json:"created_at"`
	UpdatedAt    *time.Time `json:"updated_at"`
	Name         string     `json:"name"`
	Revoked      bool       `json:"revoked"`
	IP           string     `json:"ip_address"`
	Type         string     `json:"type"`
	Version      string     `json:"version"`
	LastPull     *time.Time `json:"last_pull"`
	AuthType     string     `json:"auth_type"`
	OS           string     `json:"os,omitempty"`
	FeatureFlags []string   `json:"featureflags,omitempty"`
	AutoCreated  bool       `json:"auto_created"`
	Shared       bool       `json:"shared,omitempty"` // ours, as all below

	// Ours: where its stream stands, and how many revisions that is behind the
	// newest; left out while it has none.
	Cursor *uint64 `json:"cursor,omitempty"`
	Behind *uint64 `json:"behind,omitempty"`

	// What it may see, by the flags of bouncers edit, and for how long its polls are held.
	Sight map[string]any `json:"sight,omitempty"`
	Hold  string         `json:"hold,omitempty"`
	// HoldAdvised is the hold that suits it, in words; of inspect alone.
	HoldAdvised string `json:"hold_advised,omitempty"`

	// Ours too: what it holds, of what there is for it; left out of one that has never
	// polled, and where nothing is known.
	Acknowledged *uint64  `json:"acknowledged,omitempty"`
	LagRevisions *uint64  `json:"lag_revisions,omitempty"`
	LagSeconds   *float64 `json:"lag_seconds,omitempty"`
	Expected     *int     `json:"expected_decisions,omitempty"`
	Reported     *int64   `json:"reported_decisions,omitempty"`

	Keys []admin.ShownKey `json:"keys,omitempty"` // that are good, when one is inspected whose key was rotated

	Asks string `json:"asks,omitempty"` // the parameters of its last poll

	Polls []admin.ShownPoll `json:"polls,omitempty"` // the last ones, when one is inspected
}

// bouncerObjectOf is a bouncer as JSON has it. A cursor of revision 0 and no cursor
// at all differ, so both fields are pointers.
func bouncerObjectOf(b *admin.Bouncer) bouncerObject {
	o := bouncerObject{
		CreatedAt: moment(b.CreatedAt), UpdatedAt: moment(b.UpdatedAt), Name: b.Name, IP: address(b), Type: b.Type,
		Version: b.Version, LastPull: moment(b.LastPull), AuthType: b.AuthType, OS: osText(b.OS),
		FeatureFlags: b.FeatureFlags, AutoCreated: b.AutoCreated, Shared: b.Shared,
	}
	o.Sight, o.Hold = admin.SightObject(b.Sight), admin.HoldWord(b.Hold)
	if b.Pulled {
		cursor, behind := uint64(b.Cursor), b.Behind
		o.Cursor, o.Behind = &cursor, &behind
	}
	o.Keys, o.Asks = b.ShownKeys(), b.Asks
	o.holding(b)
	return o
}

// bouncersAdd is bouncers add. The key is printed once and never stored: only its
// SHA-512 is.
func bouncersAdd(t *Terminal) *cobra.Command {
	var key string
	var shared bool
	var flags sightFlags
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a bouncer and print its API key, this once", Args: exactArgs(1),
		Long: `Adds a bouncer. Without --key an API key is made up; it is printed once and kept only as a
hash. A key that is used from a second address makes a second row, NAME@ADDRESS, with a stream of
its own; --shared keeps one row for the key whatever address it comes from, as for containers
that change theirs. What it may see and for how long its polls are held is said by the flags of
"bouncers edit". Before the first start of the server it needs --init.`,
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" && c.Flags().Changed("key") {
				return errors.New("the API key must not be empty: leave --key away to have one made up")
			}
			edit, err := flags.edit(c)
			if err != nil {
				return err
			}
			return addBouncer(c.Context(), t, args[0], key, shared, edit)
		},
	}
	c.Flags().StringVarP(&key, "key", "k", "", "API key (default: made up)")
	c.Flags().BoolVar(&shared, "shared", false, "one row for the key, whatever address it comes from")
	flags.add(c)
	return c
}

// fitsHead refuses a key that leaves no room in a request's head for anything else.
// Such a bouncer could be added and never log in: the listener would refuse each of
// its requests for the length of the head. Half of max_header_bytes is the bound.
func fitsHead(t *Terminal, key string) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	most, err := s.Own.HeaderBytes()
	if err == nil && most > 0 && len(key) > most/2 {
		err = fmt.Errorf("the API key has %d bytes, and max_header_bytes has room for %d beside the rest of a request: choose a shorter one", len(key), most/2)
	}
	return err
}

// addBouncer adds a bouncer and prints its key, in the chosen format alone, so that a
// script can take standard output for the key. Nothing is printed unless the bouncer
// is stored. A name that is taken is an error; keys are not compared, two bouncers
// may have the same.
func addBouncer(ctx context.Context, t *Terminal, name, key string, shared bool, edit *admin.BouncerEdit) error {
	// The server never sees the key, so what it may look like is checked here.
	if key == "" {
		key = generatedKey()
	}
	err := admin.UsableKey(key)
	if err == nil {
		err = fitsHead(t, key)
	}
	if err != nil {
		return fmt.Errorf("unable to create bouncer: %w", err)
	}
	err = t.withClient(ctx, func(client *admin.Client) error {
		if err := admin.NewName("the bouncer's name", name); err != nil {
			return err
		}
		done, err := client.AddEdited(ctx, &admin.NewBouncer{Name: name, KeyHash: hashKey(key), Shared: shared, Edit: *edit})
		if err == nil {
			warnOf(t, done)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("unable to create bouncer: %w", worded("add", err))
	}
	switch t.Output {
	case jsonWords:
		text, err := jsonIndented(key, "")
		t.write(text)
		return err
	case raw:
		t.print("%s", key)
	default:
		t.print("API key for '%s':\n\n   %s\n\nPlease keep this key since you will not be able to retrieve it!\n", name, key)
	}
	return nil
}

// bouncersRotate is bouncers rotate. The new key is printed once, as that of bouncers add is.
func bouncersRotate(t *Terminal) *cobra.Command {
	var key, grace string
	c := &cobra.Command{
		Use: "rotate NAME", Short: "Give a bouncer a new API key; the old one stays good for a while", Args: exactArgs(1),
		Long: `Gives a bouncer a new API key, printed once and kept only as a hash. The key before it stays good for --grace (an hour
unless said otherwise), so that the bouncer can be told the new one meanwhile; with --grace 0 it ends at once, and so do
older ones whose grace is not over. The bouncer goes on where it is, whichever of its keys it shows; "bouncers inspect"
lists those that are good. Who waits for news with a key that ends is told so within a second: a poll that is held gets
403, an event stream ends. A key that has ended stays ended when the clock is set back; after the restore of a backup from before, rotate again.`,
		RunE: func(c *cobra.Command, args []string) error {
			lasts, err := engine.ParseDuration(grace)
			if grace == "0" {
				lasts, err = 0, nil
			}
			if err != nil || lasts < 0 || lasts > engine.LongestGrace {
				return fmt.Errorf("--grace %s: give a duration from 0 to 90d, such as 1h", grace)
			}
			if key == "" && c.Flags().Changed("key") {
				return errors.New("the API key must not be empty: leave --key away to have one made up")
			}
			return rotateBouncer(c.Context(), t, args[0], key, lasts)
		},
	}
	c.Flags().StringVarP(&key, "key", "k", "", "new API key (default: made up)")
	c.Flags().StringVar(&grace, "grace", "1h", "for how long the old key stays good; 0: not at all")
	return c
}

// rotateBouncer prints the new key only when the bouncer has it.
func rotateBouncer(ctx context.Context, t *Terminal, name, key string, grace time.Duration) error {
	if key == "" {
		key = generatedKey()
	}
	err := admin.UsableKey(key)
	if err == nil && t.Remote.URL == "" {
		err = fitsHead(t, key)
	}
	if err == nil {
		err = t.withClient(ctx, func(client *admin.Client) error {
			return client.RotateBouncer(ctx, &admin.KeyRotation{Name: name, KeyHash: hashKey(key), Grace: int64(grace)})
		})
	}
	if err != nil {
		return fmt.Errorf("unable to rotate the key of bouncer '%s': %w", name, worded("rotate", err))
	}
	switch t.Output {
	case jsonWords:
		text, err := jsonIndented(key, "")
		t.write(text)
		return err
	case raw:
		t.print("%s", key)
		return nil
	}
	t.print("New API key for '%s':\n\n   %s\n\nPlease keep this key since you will not be able to retrieve it!\n", name, key)
	if grace == 0 {
		t.success("the old key is not good any more")
	} else {
		t.success("the old key stays good for %s", grace)
	}
	return nil
}

// bouncersDelete is bouncers delete. Names are deleted one by one; the first that is
// missing ends it, unless --ignore-missing is given, and those before it are gone.
func bouncersDelete(t *Terminal) *cobra.Command {
	var ignore bool
	c := &cobra.Command{
		Use: "delete NAME...", Short: "Delete bouncers and the rows made from their keys", Args: minArgs(1),
		Aliases: []string{"remove"},
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				for _, name := range args {
					if err := deleteBouncer(c.Context(), t, client, name, ignore); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&ignore, "ignore-missing", false, "no complaint about bouncers that do not exist")
	return c
}

// deleteBouncer deletes one bouncer with the rows that were made from its key. A row
// that was made so cannot be deleted alone, for its bouncer would come back with the
// next request: that is a warning and no error, as in the reference.
func deleteBouncer(ctx context.Context, t *Terminal, client *admin.Client, name string, ignore bool) error {
	names, err := client.DeleteBouncer(ctx, name)
	switch {
	case errors.Is(err, engine.ErrNotFound) && ignore:
		return nil
	case errors.Is(err, engine.ErrRefused):
		t.log("warning", "bouncer '%s' is auto-created and cannot be deleted: delete the bouncer it was made from", name)
		return nil
	case err != nil:
		return fmt.Errorf("unable to delete bouncer %s: %w", name, worded("delete", err))
	}
	// The rows that were made from the key are named too, each in a line of its own.
	for _, n := range names {
		t.success("bouncer '%s' deleted successfully", n)
	}
	return nil
}

// bouncersPrune is bouncers prune: away with those that have not asked for a while,
// an hour unless said otherwise.
func bouncersPrune(t *Terminal) *cobra.Command {
	var p pruning
	c := &cobra.Command{
		Use: "prune", Short: "Delete bouncers that have gone silent", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				return pruneBouncers(c.Context(), t, client, &p)
			})
		},
	}
	p.flags(c, time.Hour)
	return c
}

// pruneBouncers shows which would go, asks, and deletes by name those that were shown
// and are still silent: a bouncer that has come by while the question stood is
// spared.
func pruneBouncers(ctx context.Context, t *Terminal, client *admin.Client, p *pruning) error {
	silence, ok, err := p.settle(t)
	if !ok {
		return err
	}
	what := admin.Prune{Silence: int64(silence)}
	list, err := client.StaleBouncers(ctx, &what)
	if err != nil {
		return err
	}
	var names []string
	for i := range list.Bouncers {
		names = append(names, list.Bouncers[i].Name)
	}
	if len(names) == 0 {
		return nothingToPrune(t, "bouncers")
	}
	if t.Output != jsonWords {
		t.show(bouncersTable(list))
	}
	// Asked after the table was shown: the question is about what stands above it.
	if ok, err := p.agreed(t); !ok {
		return err
	}
	n, err := client.PruneBouncers(ctx, &admin.PruneNamed{Prune: what, Names: names})
	if err != nil {
		return err
	}
	return pruned(t, "bouncers", n, names)
}

// bouncersInspect is bouncers inspect: one row with all that is known of it.
func bouncersInspect(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "inspect NAME", Short: "Show all that is known of a bouncer", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if t.Output == raw {
				return t.unsupported()
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				b, err := client.Bouncer(c.Context(), args[0])
				if err != nil {
					return fmt.Errorf("unable to read bouncer data '%s': %w", args[0], worded("inspect", err))
				}
				return showBouncer(t, b)
			})
		},
	}
}

// showBouncer writes one row, for people or as JSON. There is no revocation here: a
// key that must not work any more is deleted.
func showBouncer(t *Terminal, b *admin.Bouncer) error {
	if t.Output == jsonWords {
		o := bouncerObjectOf(b)
		o.HoldAdvised = b.HoldAdvice()
		return t.json(o, "  ")
	}
	table := lightTable()
	table.title("Bouncer: " + b.Name)
	table.body()
	table.row("Created At", fullTime(b.CreatedAt))
	table.row("Last Update", fullTime(b.UpdatedAt))
	table.row("Revoked?", "false")
	for i, line := range b.KeyLines() {
		table.row([]string{"Keys", ""}[min(i, 1)], line)
	}
	table.row("IP Address", address(b))
	table.row("Type", b.Type)
	table.row("Version", b.Version)
	table.row("Last Pull", fullTime(b.LastPull))
	table.row("Auth type", b.AuthType)
	table.row("OS", osText(b.OS))
	table.row("Auto Created", fmt.Sprint(b.AutoCreated))
	for i, flag := range b.FeatureFlags {
		name := "Feature Flags"
		if i > 0 {
			name = ""
		}
		table.row(name, flag)
	}
	cursor, behind := standing(b)
	table.row("Cursor", cursor)
	table.row("Behind", behind)
	showHolding(table, b)
	if len(b.Polls) > 0 {
		table.row("Asks For", cmp.Or(b.Asks, "everything"))
	}
	table.row("Hold", cmp.Or(admin.HoldWord(b.Hold), "if it asks"))
	table.row("Hold Advised", b.HoldAdvice())
	for i, line := range admin.SightLines(b.Sight) {
		name := "Sees"
		if i > 0 {
			name = ""
		}
		table.row(name, line)
	}
	t.show(table)
	warnOfHold(t, b)
	return nil
}
