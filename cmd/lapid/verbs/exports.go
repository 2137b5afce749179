package verbs

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lapid/transport/admin"
	"lapid/transport/export"
)

// exportsCommand is the noun exports: lists for devices that cannot be bouncers.
func exportsCommand(t *Terminal) *cobra.Command {
	c := group("exports", "Lists of what is banned, for firewalls, proxies and DNS servers that cannot be bouncers",
		exportsList(t), exportsAdd(t), exportsEdit(t), exportsAccept(t), exportsInspect(t), exportsDelete(t), exportsRotate(t), exportsRender(t))
	c.Aliases = []string{"export"}
	c.Long = "Devices pull an export at /exports/NAME of the Local API's listener. The formats:\n\n" + formatLines() +
		"\nnginx stands for nginx_deny and haproxy for haproxy_map. What each device needs to be told is in docs/exports.md."
	return c
}

func formatLines() string {
	var b strings.Builder
	for _, f := range export.Formats() {
		fmt.Fprintf(&b, "  %-16s %s\n", f.Name, f.Reads)
		for _, o := range f.Options {
			values := strings.Join(o.Takes, "|")
			if values == "" {
				values = o.Usual
			}
			fmt.Fprintf(&b, "  %-16s   --option %s=%s  %s\n", "", o.Name, values, o.Help)
		}
	}
	return b.String()
}

// exportFlags are what an export is made of.
type exportFlags struct {
	text                                            map[string]*string
	lists                                           map[string]*string
	options                                         []string
	aggregate, noAllowlists, refuseEmpty, mayShrink bool
	limit                                           int
	password                                        string
}

var exportLists = [...][2]string{
	{"types", "only decisions of these types; ban when it is empty"},
	{"origins", "only decisions of these origins (crowdsec, cscli, cscli-import, console, lists, CAPI)"},
	{"scenarios-containing", "only scenarios in which one of these words occurs"},
	{"allowlists", "leave out what these allowlists cover; all of them when it is empty"},
	{"allow-from", "only for these addresses and ranges"},
	{"allowed-ou", "units of client certificates with --auth certificate; those of bouncers when it is empty"},
}

var exportTexts = [...][2]string{
	{"format", "how the list is written; see exports --help"},
	{"family", "both, ipv4 or ipv6"},
	{"order", "which entries are kept where there are more than --limit: local-first, newest or longest"},
	{"auth", "how a device shows that it may have the list: basic, token, key (a bouncer's), certificate, ip, none"},
	{"user", "the user of --auth basic; any when it is empty"},
	{"path", "another path at which the list is served too, such as /security/blocklist"},
}

func (f *exportFlags) add(c *cobra.Command) {
	f.text, f.lists = map[string]*string{}, map[string]*string{}
	flags := c.Flags()
	for _, o := range exportTexts {
		f.text[o[0]] = flags.String(o[0], "", o[1])
	}
	for _, o := range exportLists {
		f.lists[o[0]] = flags.String(o[0], "", o[1])
	}
	flags.StringArrayVar(&f.options, "option", nil, "NAME=VALUE of the format; may be repeated, and stands for all before")
	flags.BoolVar(&f.aggregate, "aggregate", false, "join neighbours, without covering an address more")
	flags.BoolVar(&f.noAllowlists, "no-allowlists", false, "leave nothing out for allowlists")
	flags.BoolVar(&f.refuseEmpty, "refuse-empty", false, "answer 503 to an empty list, so that devices keep their last one")
	flags.BoolVar(&f.mayShrink, "may-shrink", false, "serve a list that lost more than half at once, whatever the reason")
	flags.IntVar(&f.limit, "limit", 0, "entries at most; 0: all")
	flags.StringVar(&f.password, "password", "", "the password or token instead of a generated one, 16 characters or more")
}

// edit is what the flags that were given say, and whether there were any.
func (f *exportFlags) edit(c *cobra.Command, name string) (e *admin.ExportEdit, some bool, err error) {
	e = &admin.ExportEdit{Name: name, Words: map[string][]string{}}
	given := func(flag string) bool {
		is := c.Flags().Changed(flag)
		some = some || is
		return is
	}
	for flag, to := range map[string]**string{"format": &e.Format, "family": &e.Family, "order": &e.Order, "auth": &e.Auth, "user": &e.User, "path": &e.Path} {
		if given(flag) {
			*to = f.text[flag]
		}
	}
	for flag, text := range f.lists {
		if given(flag) {
			if e.Words[flag], err = admin.Words(*text); err != nil {
				return nil, false, fmt.Errorf("--%s: %w", flag, err)
			}
		}
	}
	if given("option") {
		e.Words["option"] = slices.DeleteFunc(f.options, func(o string) bool { return o == "" })
	}
	for flag, to := range map[string]**bool{"aggregate": &e.Aggregate, "no-allowlists": &e.NoAllowlists, "refuse-empty": &e.RefuseEmpty, "may-shrink": &e.MayShrink} {
		if given(flag) {
			is, _ := c.Flags().GetBool(flag)
			*to = &is
		}
	}
	if given("limit") {
		e.Limit = &f.limit
	}
	given("password")
	return e, some, nil
}

func exportsAdd(t *Terminal) *cobra.Command {
	var flags exportFlags
	c := &cobra.Command{
		Use: "add NAME", Short: "Make an export; its password or token is shown once", Args: exactArgs(1),
		Long: `Makes an export, served at /exports/NAME from now on. Without --auth it needs user NAME and a password
(Basic), which nearly all devices can do. The password or token is generated, shown once, and kept as a hash.`,
		RunE: func(c *cobra.Command, args []string) error {
			edit, _, err := flags.edit(c, args[0])
			if err != nil {
				return err
			}
			shown, err := edit.Begin(flags.password)
			if err != nil {
				return fmt.Errorf("--password: %w", err)
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				done, err := client.AddExport(c.Context(), edit)
				if err != nil {
					return fmt.Errorf("unable to add export '%s': %w", args[0], worded("add", err))
				}
				warnOf(t, done)
				return t.showSecret(shown)
			})
		},
	}
	flags.add(c)
	_ = c.MarkFlagRequired("format")
	return c
}

// showSecret tells the one time.
func (t *Terminal) showSecret(x *admin.ShownExport) error {
	switch t.Output {
	case jsonWords:
		return t.json(x, "  ")
	case raw:
		t.print("%s%s", x.Secret, t.lineEnd())
		return nil
	}
	t.success("export '%s' is served at %s", x.Name, x.Path)
	if x.Secret == "" {
		return nil
	}
	if x.User != "" {
		t.print("User for '%s':\n\n   %s\n\n", x.Name, x.User)
	}
	t.print("%s for '%s':\n\n   %s\n\nPlease keep it: it is not shown again.\n", map[string]string{"basic": "Password", "token": "Token"}[x.Auth], x.Name, x.Secret)
	return nil
}

func exportsEdit(t *Terminal) *cobra.Command {
	var flags exportFlags
	var accept bool
	c := &cobra.Command{
		Use: "edit NAME", Short: "Change an export", Args: exactArgs(1),
		Long: `Changes an export. Flags that are not given stay as they are; an empty value takes a list away.
With another --auth that needs a secret a new one is made and shown, and so is --password taken: those before end at
once. The same --auth again leaves the secret as it is. A list that was held back because it lost more than half is served
after any change of the export; "lapid exports accept", which --accept-shrunken does too, has it served without one.`,
		RunE: func(c *cobra.Command, args []string) error {
			edit, some, err := flags.edit(c, args[0])
			if err != nil {
				return err
			}
			if !some && !accept {
				return fmt.Errorf("nothing is to be changed: see \"%s --help\"", c.CommandPath())
			}
			shown, err := edit.Keyed(flags.password)
			if err != nil {
				return fmt.Errorf("--password: %w", err)
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				if some {
					if err := editExport(c.Context(), t, client, edit, shown); err != nil {
						return err
					}
				}
				if !accept {
					return nil
				}
				return acceptExport(c.Context(), t, client, args[0])
			})
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&accept, "accept-shrunken", false, "serve a list that is held back because it lost more than half")
	return c
}

// editExport changes a definition, and shows the secret that it has got by that.
func editExport(ctx context.Context, t *Terminal, client *admin.Client, edit *admin.ExportEdit, shown *admin.ShownExport) error {
	done, err := client.EditExport(ctx, edit)
	if err != nil {
		return fmt.Errorf("unable to edit export '%s': %w", edit.Name, worded("edit", err))
	}
	warnOf(t, done)
	switch {
	case done.Rekeyed && edit.Auth != nil:
		return t.showSecret(shown)
	case edit.Spare:
		t.success("export '%s' edited: its secret stays, for its auth is what it was; lapid exports rotate makes a new one", edit.Name)
	default:
		t.success("export '%s' edited", edit.Name)
	}
	return nil
}

func exportsAccept(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "accept NAME...", Short: "Serve lists that are held back because they lost more than half", Args: minArgs(1),
		Long: `Has a list that is held back ("held back" in lapid exports list) served as it is now, from the next pull on. It changes
no definition, so it is for exports of lapid.yaml too. See first what went: lapid exports render NAME writes the new list.`,
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				for _, name := range args {
					if err := acceptExport(c.Context(), t, client, name); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// acceptExport has lists served that were held back.
func acceptExport(ctx context.Context, t *Terminal, client *admin.Client, name string) error {
	n, err := client.AcceptExport(ctx, name)
	if err != nil {
		return fmt.Errorf("unable to accept the list of export '%s': %w", name, worded("accept", err))
	}
	if n == 0 {
		t.success("no list of export '%s' was held back", name)
		return nil
	}
	t.success("the list of export '%s' is served as it is now", name)
	return nil
}

func exportsDelete(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME...", Short: "Delete exports; devices get 404 from then on", Args: minArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				for _, name := range args {
					if err := client.DeleteExport(c.Context(), name); err != nil {
						return fmt.Errorf("unable to delete export '%s': %w", name, worded("delete", err))
					}
					t.success("export '%s' deleted", name)
				}
				return nil
			})
		},
	}
}

func exportsRotate(t *Terminal) *cobra.Command {
	var end bool
	c := &cobra.Command{
		Use: "rotate NAME", Short: "Give an export a new password or token; the old one stays valid until --end", Args: exactArgs(1),
		Long: `Makes a new password or token, shown once. The one before stays valid beside it, so that devices can be
changed one after the other; --end ends it.`,
		RunE: func(c *cobra.Command, args []string) error {
			q, secret := &admin.ExportRotation{Name: args[0], End: end}, ""
			if !end {
				secret = admin.NewExportSecret()
				q.Secret = hashKey(secret)
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				if err := client.RotateExport(c.Context(), q); err != nil {
					return fmt.Errorf("unable to rotate export '%s': %w", args[0], worded("rotate", err))
				}
				if end {
					t.success("only the newest secret of export '%s' is valid from now on", args[0])
					return nil
				}
				x, err := client.Export(c.Context(), args[0])
				if err != nil {
					return err
				}
				return t.showSecret(&admin.ShownExport{Name: x.Name, Path: "/exports/" + x.Name, Auth: x.Auth, User: x.User, Secret: secret})
			})
		},
	}
	c.Flags().BoolVar(&end, "end", false, "end the older secret, and make no new one")
	return c
}

func exportsRender(t *Terminal) *cobra.Command {
	var file, query string
	c := &cobra.Command{
		Use: "render NAME", Short: "Write an export as a device would get it now; to standard output, or into a file", Args: exactArgs(1),
		Long: `Writes the same bytes as a device would get: for devices without a network, and to see what is on the list.
What was left out, and why, is said on standard error. A file is written beside and renamed, so that nobody reads half of it.`,
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				r, err := client.RenderExport(c.Context(), &admin.ExportRequest{Name: args[0], Query: query})
				if err != nil {
					return fmt.Errorf("unable to render export '%s': %w", args[0], worded("render", err))
				}
				warnOf(t, &admin.Edited{Warnings: r.Warnings})
				t.log("info", "%d entries of %d, %d bytes, at revision %d; %s", r.Count, r.Total, len(r.Body), r.Revision, leftText(&r.Left))
				if file == "" {
					t.print("%s", r.Body)
					return nil
				}
				next := file + ".next"
				if err := os.WriteFile(next, r.Body, 0o644); err != nil {
					return err
				}
				return os.Rename(next, file)
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "write into this file instead")
	c.Flags().StringVar(&query, "query", "", "what a device would ask for beside the name, such as ipv4only&page=2")
	return c
}

// leftText is what was left out.
func leftText(l *export.Left) string {
	var parts []string
	for _, p := range [...]struct {
		n    int
		what string
	}{{l.OtherScopes, "decisions that name no address"}, {l.Allowlisted, "decisions left out or cut for allowlists"}, {l.Unsplit, "ranges in too many pieces for that"},
		{l.Limit, "entries beyond the limit"}, {l.Unfit, "entries that the format cannot say"}, {l.Brief, "entries that end within seconds"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	if len(parts) == 0 {
		return "nothing was left out"
	}
	return "not on it: " + strings.Join(parts, ", ")
}

func exportsList(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all exports, and how their devices pull them", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				list, err := client.Exports(c.Context())
				if err != nil {
					return err
				}
				return showExports(t, list)
			})
		},
	}
}

func showExports(t *Terminal, list *admin.Exports) error {
	heads := []string{"name", "format", "auth", "last_pull", "entries", "served", "unchanged", "refused", "attention"}
	rows, objects := [][]string{}, []map[string]any{}
	for i := range list.Exports {
		x := &list.Exports[i]
		rows = append(rows, []string{x.Name, x.Format, x.Auth, lastPull(x), strconv.FormatInt(x.Entries, 10), fmt.Sprint(x.Served), fmt.Sprint(x.Unchanged), fmt.Sprint(x.Refused), x.Attention(list.Now)})
		objects = append(objects, x.Object(list.Now, false))
	}
	switch t.Output {
	case jsonWords:
		return t.json(objects, "  ")
	case raw:
		return t.csv(heads, rows)
	}
	table := lightTable()
	table.head(left, "Name", "Format", "Auth", "Last pull", "Entries", "Served", "Unchanged", "Refused", "Attention")
	table.body()
	for _, row := range rows {
		table.row(row...)
	}
	t.show(table)
	return nil
}

func lastPull(x *admin.Export) string {
	if x.LastPull == 0 {
		return ""
	}
	return second(x.LastPull)
}

func exportsInspect(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "inspect NAME", Short: "Show an export, and the last pulls of it", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				list, err := client.Exports(c.Context())
				if err != nil {
					return err
				}
				x, err := client.Export(c.Context(), args[0])
				if err != nil {
					return fmt.Errorf("unable to show export '%s': %w", args[0], worded("inspect", err))
				}
				return showExport(t, x, list.Now)
			})
		},
	}
}

func showExport(t *Terminal, x *admin.Export, now int64) error {
	o := x.Object(now, true)
	if t.Output == jsonWords {
		return t.json(o, "  ")
	}
	if t.Output == raw {
		return t.unsupported()
	}
	about := lightTable()
	about.title("Export: " + x.Name)
	about.body()
	for _, key := range []string{"path", "other_path", "format", "options", "types", "origins", "scenarios_containing", "family", "aggregate", "limit", "order", "allowlists", "no_allowlists",
		"auth", "user", "allow_from", "allowed_ou", "secrets", "refuse_empty", "may_shrink", "declared", "created_at", "updated_at", "last_pull", "entries", "served", "unchanged", "refused", "attention"} {
		v := o[key]
		if words, is := v.([]string); is {
			v = strings.Join(words, ", ")
		}
		about.row(key, fmt.Sprint(v))
	}
	t.show(about)
	if len(x.Pulls) == 0 {
		return nil
	}
	t.print("\n")
	table := lightTable()
	table.head(left, "At", "Address", "Agent", "Status", "Entries", "Bytes")
	table.body()
	for _, p := range x.Pulls {
		table.row(second(p.At), p.Address.String(), p.Agent, strconv.Itoa(p.Status), strconv.Itoa(p.Entries), strconv.Itoa(p.Bytes))
	}
	t.show(table)
	return nil
}
