package verbs

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// allowlistsCommand is the noun allowlists. What is on a list is not banned by alerts
// of machines any more, and running decisions on it end; decisions that an operator
// makes are refused unless told otherwise.
func allowlistsCommand(t *Terminal) *cobra.Command {
	c := group("allowlists", "Addresses and ranges that are never banned by alerts",
		allowlistsCreate(t), allowlistsAdd(t), allowlistsRemove(t), allowlistsImport(t),
		allowlistsList(t), allowlistsInspect(t), allowlistsCheck(t), allowlistsDelete(t))
	c.Aliases = []string{"allowlist"}
	return c
}

// allowlistsCreate is allowlists create. A description is required, as in the
// reference: a list of addresses without an explanation is never cleaned up.
func allowlistsCreate(t *Terminal) *cobra.Command {
	var description string
	c := &cobra.Command{
		Use: "create NAME", Short: "Make an empty allowlist", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				done, err := client.CreateAllowlist(c.Context(), &admin.NewAllowlist{Name: args[0], Description: description})
				if err != nil {
					return worded("create", err)
				}
				warnOf(t, done)
				if t.Output == jsonWords {
					return t.json(map[string]any{"name": args[0], "created": true}, " ")
				}
				t.print("allowlist '%s' created successfully\n", args[0])
				return nil
			})
		},
	}
	c.Flags().StringVarP(&description, "description", "d", "", "what it is for")
	_ = c.MarkFlagRequired("description")
	return c
}

// allowlistsDelete is allowlists delete, with all items. Decisions that the list has
// ended do not come back; what is reported from now on is judged without it.
func allowlistsDelete(t *Terminal) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Delete an allowlist", Args: exactArgs(1),
		Long: "Delete an allowlist with all its items. One that a bouncer's sight or an export names is refused unless it is forced: they\nwould tell of what it covers, and go by a new list of that name.",
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				done, err := client.DeleteAllowlist(c.Context(), &admin.AllowlistDeletion{Name: args[0], Force: force})
				if err != nil {
					return worded("", err)
				}
				warnOf(t, done)
				if t.Output == jsonWords {
					return t.json(map[string]any{"name": args[0], "deleted": true}, " ")
				}
				t.print("allowlist '%s' deleted successfully\n", args[0])
				return nil
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "though bouncers or exports name it")
	return c
}

// allowlistsAdd is allowlists add. All values get the same comment and the same
// expiration; import is for lists where they differ.
func allowlistsAdd(t *Terminal) *cobra.Command {
	var expiration, comment string
	var dry bool
	c := &cobra.Command{
		Use: "add NAME VALUE...", Short: "Add addresses or ranges; running decisions on them end", Args: minArgs(2),
		Long: `Adds addresses or ranges to an allowlist. Running decisions on them, inside them or around them end.
--dry-run adds nothing and says which would end; the exit code is that of the real run.`,
		RunE: func(c *cobra.Command, args []string) error {
			lasts, err := lasting(expiration)
			if err != nil {
				return err
			}
			var items []admin.NewAllowlistItem
			for _, v := range args[1:] {
				items = append(items, admin.NewAllowlistItem{Value: v, Comment: comment, Lasts: lasts})
			}
			return addToAllowlist(c.Context(), t, &admin.AllowlistAddition{Name: args[0], Items: items, Dry: dry}, 0)
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "add nothing, only say which decisions would end")
	c.Flags().StringVarP(&expiration, "expiration", "e", "", "how long they count (12h, 30d; default: for ever)")
	c.Flags().StringVarP(&comment, "comment", "d", "", "why they are there")
	return c
}

// lasting reads how long an item counts; nothing is for ever. The result is
// nanoseconds from now on, by the server's clock; 0 is for ever. What is
// over already is refused, since it would be stored and mean nothing.
func lasting(text string) (int64, error) {
	if text == "" || text == "never" || text == engine.Forever {
		return 0, nil
	}
	d, err := engine.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("invalid expiration '%s': %w", text, err)
	}
	if d <= 0 {
		return 0, fmt.Errorf("invalid expiration '%s': it lies in the past", text)
	}
	return int64(d), nil
}

// additionObject is what came of an addition, in JSON. Ended are running
// decisions that the new items have ended; present were on the list before;
// invalid could not be read; expired were left out before anything was sent.
// Lists are never null, so that a program need not look.
type additionObject struct {
	Name    string   `json:"name"`
	Added   int      `json:"added"`
	Ended   int      `json:"decisions_deleted"`
	Present []string `json:"present"`
	Bad     []string `json:"invalid"`
	Expired int      `json:"expired"`
}

func additionObjectOf(name string, done *admin.AllowlistAdded, expired int) additionObject {
	return additionObject{name, done.Added, done.Ended, append([]string{}, done.Present...), append([]string{}, done.Bad...), expired}
}

// wouldAllowObject is what an addition would do, in JSON, with the first decisions that would
// end.
type wouldAllowObject struct {
	additionObject
	DryRun bool             `json:"dry_run"`
	First  []admin.Decision `json:"first"`
}

// addToAllowlist adds items; so many others were left out because they have
// expired. Values that are no addresses do not hold the others up: those are
// added, in one commit, and the verb fails afterwards with how many were
// left out.
func addToAllowlist(ctx context.Context, t *Terminal, q *admin.AllowlistAddition, expired int) error {
	name := q.Name
	return t.withClient(ctx, func(client *admin.Client) error {
		done, err := client.AddToAllowlist(ctx, q)
		if err != nil {
			return worded("", err)
		}
		// An error for the exit code; what could be added was added, and is told too.
		if n := len(done.Bad); n > 0 {
			err = fmt.Errorf("%d of %d values are no addresses or ranges, and were left out", n, len(q.Items))
		}
		if t.Output == jsonWords && q.Dry {
			return errors.Join(t.json(wouldAllowObject{additionObjectOf(name, done, expired), true, append([]admin.Decision{}, done.First...)}, " "), err)
		}
		if t.Output == jsonWords {
			return errors.Join(t.json(additionObjectOf(name, done, expired), " "), err)
		}
		for _, text := range done.Bad {
			t.log("error", "%s", text)
		}
		for _, v := range done.Present {
			t.log("warning", "value %s already in allowlist", v)
		}
		if q.Dry {
			tellEnded(t, &admin.Ended{N: done.Ended, First: done.First})
			t.print("Would add %d values to allowlist %s, and %d decisions would end\n", done.Added, name, done.Ended)
			return err
		}
		if done.Added == 0 {
			t.print("no new values for allowlist\n")
			return err
		}
		t.print("added %d values to allowlist %s\n", done.Added, name)
		if done.Ended > 0 {
			t.print("%d decisions deleted by allowlists\n", done.Ended)
		}
		return err
	})
}

// allowlistsImport is allowlists import. The whole file is read before anything is
// added, so a bad line in it changes nothing.
func allowlistsImport(t *Terminal) *cobra.Command {
	var file string
	var dry bool
	c := &cobra.Command{
		Use: "import NAME", Short: "Add what a CSV file lists (value, expiration, comment)", Args: exactArgs(1),
		Long: `Adds the values of a CSV file with a header line: value, and if wanted expiration (how long, or until when as in
2026-12-28T21:15:24Z; empty or never: for ever) and comment. What "allowlists inspect -o raw" prints is one.`,
		RunE: func(c *cobra.Command, args []string) error {
			in := t.In
			if file != "-" {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			items, expired, err := readAllowlist(t, in, time.Now())
			if err != nil {
				return err
			}
			if expired > 0 && t.Output != jsonWords {
				t.log("info", "left out: %d that have expired", expired)
			}
			return addToAllowlist(c.Context(), t, &admin.AllowlistAddition{Name: args[0], Items: items, Dry: dry}, expired)
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "add nothing, only say which decisions would end")
	c.Flags().StringVarP(&file, "input", "i", "", "CSV file, - for standard input")
	_ = c.MarkFlagRequired("input")
	return c
}

// allowlistColumns are those that mean something, and those of inspect that say
// nothing about an item.
var allowlistColumns = []string{"value", "expiration", "comment", "name", "description", "created_at", "console_managed"}

// errExpired: an item whose time is over. It is never shown: such items are
// counted.
var errExpired = errors.New("expired")

// lastingFrom is lasting, also for a moment at which it ends. now is the
// clock of this command; between the machines of a command and its server
// nothing but a difference is lost.
func lastingFrom(text string, now time.Time) (int64, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return lasting(text)
	}
	if at.IsZero() { // how JSON says never
		return 0, nil
	}
	if left := at.Sub(now); left > 0 {
		return int64(left), nil
	}
	return 0, errExpired
}

// maxAllowlist bounds the items of one import. A file beyond is an error before
// anything is added; what all lists together may hold is the server's to say.
const maxAllowlist = 1_000_000

// readAllowlist reads a CSV file with a header line of value, expiration and
// comment in any order. A bad expiration ends it before anything is added. What
// has expired is left out and counted.
func readAllowlist(t *Terminal, in io.Reader, now time.Time) (items []admin.NewAllowlistItem, expired int, err error) {
	r := csv.NewReader(in)
	r.TrimLeadingSpace, r.FieldsPerRecord = true, -1
	// A spreadsheet may have put a byte order mark before the first name.
	header, err := r.Read()
	if err != nil {
		return nil, 0, fmt.Errorf("reading the header line: %w", err)
	}
	// Columns may come in any order and be more than are known.
	at := map[string]int{}
	for i, name := range header {
		at[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))] = i
	}
	for _, name := range sortedKeys(at) {
		if !slices.Contains(allowlistColumns, name) {
			t.log("warning", "'%s' means nothing here and is ignored", name)
		}
	}
	if _, ok := at["value"]; !ok {
		return nil, 0, errors.New("the header line has no column 'value' (known are value, expiration, comment)")
	}
	field := func(record []string, name string) string {
		if i, ok := at[name]; ok && i < len(record) {
			return strings.TrimSpace(record[i])
		}
		return ""
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return items, expired, nil
		}
		if err != nil {
			return nil, 0, err
		}
		// The line in the file, not the number of the record: quoted texts may hold line ends.
		line, _ := r.FieldPos(0)
		lasts, err := lastingFrom(field(record, "expiration"), now)
		if errors.Is(err, errExpired) {
			expired++
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", line, err)
		}
		// The bound holds while reading, so that an endless input ends.
		if len(items) == maxAllowlist {
			return nil, 0, fmt.Errorf("more than %d items", maxAllowlist)
		}
		items = append(items, admin.NewAllowlistItem{Value: field(record, "value"), Comment: field(record, "comment"), Lasts: lasts})
	}
}

// allowlistsRemove is allowlists remove. Values that are not on the list are no
// error; the number that were is told. Nothing is banned again by it.
func allowlistsRemove(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME VALUE...", Short: "Take values out of an allowlist", Args: minArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				n, err := client.RemoveFromAllowlist(c.Context(), &admin.AllowlistRemoval{Name: args[0], Values: args[1:]})
				if err != nil {
					return worded("", err)
				}
				if t.Output == jsonWords {
					return t.json(map[string]any{"name": args[0], "removed": n}, " ")
				}
				t.print("removed %d values from allowlist %s%s", n, args[0], t.lineEnd())
				return nil
			})
		},
	}
}

// allowlistsCheck is allowlists check. It stops at the first value that is on no
// list, as the reference does; the exit code is 0 either way, so a script reads the
// words or, better, -o json.
func allowlistsCheck(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "check VALUE...", Short: "Say whether addresses or ranges are allowlisted; stops at the first that is not",
		Args: minArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				return checkAllowlists(c.Context(), t, client, args)
			})
		},
	}
}

// checkedObject is what a check found, in JSON.
type checkedObject struct {
	Value       string `json:"value"`
	Allowlisted bool   `json:"allowlisted"`
	Reason      string `json:"reason,omitempty"`
}

// checkAllowlists asks value by value and shows each answer at once, but JSON at the
// end, as one list. The reason names the item and its list.
func checkAllowlists(ctx context.Context, t *Terminal, client *admin.Client, values []string) error {
	out := []checkedObject{}
	for _, value := range values {
		reason, err := client.CheckAllowlists(ctx, value)
		if err != nil {
			return fmt.Errorf("unable to check if %s is allowlisted: %w", value, apiError(err))
		}
		out = append(out, checkedObject{value, reason != "", reason})
		switch {
		case t.Output == jsonWords:
		case reason == "":
			t.print("%s is not allowlisted\n", value)
		default:
			t.print("%s is allowlisted by item %s\n", value, reason)
		}
		// As the reference: what follows is not looked at any more.
		if reason == "" {
			break
		}
	}
	if t.Output == jsonWords {
		return t.json(out, " ")
	}
	return nil
}

// allowlistsList is allowlists list: the lists, and how many items each has that have
// not expired.
func allowlistsList(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all allowlists", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				list, err := client.Allowlists(c.Context())
				if err != nil {
					return err
				}
				return showAllowlists(t, list)
			})
		},
	}
}

// showAllowlists writes the lists in the chosen format. JSON has the items too, as in
// the reference.
func showAllowlists(t *Terminal, list *admin.Allowlists) error {
	switch t.Output {
	case jsonWords:
		out := make([]allowlistObject, 0, len(list.Allowlists))
		for i := range list.Allowlists {
			out = append(out, allowlistObjectOf(&list.Allowlists[i]))
		}
		return t.json(out, "  ")
	case raw:
		rows := make([][]string, 0, len(list.Allowlists))
		for i := range list.Allowlists {
			l := &list.Allowlists[i]
			rows = append(rows, []string{l.Name, l.Description, second(l.CreatedAt), second(l.UpdatedAt), fmt.Sprint(l.FromConsole), fmt.Sprint(len(l.Items))})
		}
		return t.csv([]string{"name", "description", "created_at", "updated_at", "console_managed", "size"}, rows)
	}
	table := lightTable()
	table.head(left, "Name", "Description", "Created at", "Updated at", "Managed by Console", "Size")
	table.body()
	for i := range list.Allowlists {
		l := &list.Allowlists[i]
		table.line(cell{text: l.Name}, cell{text: l.Description}, cell{text: milli(l.CreatedAt)}, cell{text: milli(l.UpdatedAt)},
			cell{text: yesOrNo(l.FromConsole)}, cell{text: fmt.Sprint(len(l.Items)), align: right})
	}
	t.show(table)
	return nil
}

func yesOrNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// noExpiration is how JSON says never.
const noExpiration = "0001-01-01T00:00:00.000Z"

// allowlistObject is an allowlist in JSON.
type allowlistObject struct {
	ConsoleID   string          `json:"allowlist_id,omitempty"`
	FromConsole bool            `json:"console_managed,omitempty"`
	CreatedAt   string          `json:"created_at"`
	Description string          `json:"description"`
	Items       []allowlistItem `json:"items"`
	Name        string          `json:"name"`
	UpdatedAt   string          `json:"updated_at"`
}

// allowlistItem is one address or range in JSON. Expiration is noExpiration for what
// counts for ever.
type allowlistItem struct {
	CreatedAt   string `json:"created_at"`
	Description string `json:"description,omitempty"`
	Expiration  string `json:"expiration"`
	Value       string `json:"value"`
}

// allowlistObjectOf is a list as JSON has it. Items is never null.
func allowlistObjectOf(l *admin.Allowlist) allowlistObject {
	o := allowlistObject{
		ConsoleID: l.ConsoleID, FromConsole: l.FromConsole,
		CreatedAt: milli(l.CreatedAt), Description: l.Description, Items: []allowlistItem{}, Name: l.Name, UpdatedAt: milli(l.UpdatedAt),
	}
	for _, i := range l.Items {
		expiration := noExpiration
		if i.ExpiresAt != 0 {
			expiration = milli(i.ExpiresAt)
		}
		o.Items = append(o.Items, allowlistItem{milli(i.CreatedAt), i.Comment, expiration, i.Value})
	}
	return o
}

// allowlistsInspect is allowlists inspect: one list with every item. What it prints
// with -o raw can be given to import.
func allowlistsInspect(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "inspect NAME", Short: "Show an allowlist with its items", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				l, err := client.Allowlist(c.Context(), args[0])
				if err != nil {
					return fmt.Errorf("unable to get allowlist: %w", apiError(worded("inspect", err)))
				}
				return showAllowlist(t, l)
			})
		},
	}
}

// showAllowlist writes one list in the chosen format. Raw repeats name and
// description in every row, as the reference does.
func showAllowlist(t *Terminal, l *admin.Allowlist) error {
	switch t.Output {
	case jsonWords:
		return t.json(allowlistObjectOf(l), "  ")
	case raw:
		rows := make([][]string, 0, len(l.Items))
		for _, i := range l.Items {
			rows = append(rows, []string{l.Name, l.Description, i.Value, i.Comment, never(i.ExpiresAt, second), second(i.CreatedAt), fmt.Sprint(l.FromConsole)})
		}
		return t.csv([]string{"name", "description", "value", "comment", "expiration", "created_at", "console_managed"}, rows)
	}
	about := lightTable()
	about.title("Allowlist: " + l.Name)
	about.body()
	about.row("Name", l.Name)
	about.row("Description", l.Description)
	about.row("Created at", milli(l.CreatedAt))
	about.row("Updated at", milli(l.UpdatedAt))
	about.row("Managed by Console", yesOrNo(l.FromConsole))
	t.show(about)
	t.print("\n")
	items := lightTable()
	items.head(left, "Value", "Comment", "Expiration", "Created at")
	items.body()
	for _, i := range l.Items {
		items.row(i.Value, i.Comment, never(i.ExpiresAt, milli), second(i.CreatedAt))
	}
	t.show(items)
	return nil
}
