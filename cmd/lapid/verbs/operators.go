package verbs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lapid/engine"
	"lapid/transport/admin"
)

// operatorsCommand is the noun operators: named people and programs that do over HTTP what these
// verbs do on the machine.
func operatorsCommand(t *Terminal) *cobra.Command {
	c := group("operators", "People and programs that may use the console's listener, with their roles",
		operatorsList(t), operatorsAdd(t), operatorsEdit(t), operatorsDelete(t), operatorsInspect(t), operatorsToken(t), operatorsRevoke(t), operatorsLink(t))
	c.Aliases = []string{"operator"}
	return c
}

// operatorsList is operators list, in the order in which they were added.
func operatorsList(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all operators", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				list, err := client.Operators(c.Context())
				if err != nil {
					return err
				}
				return showOperators(t, list)
			})
		},
	}
}

// showOperators writes all operators in the chosen format.
func showOperators(t *Terminal, list *admin.Operators) error {
	switch t.Output {
	case jsonWords:
		out := make([]admin.OperatorObject, 0, len(list.Operators))
		for i := range list.Operators {
			out = append(out, list.Operators[i].Object())
		}
		return t.json(out, "  ")
	case raw:
		rows := make([][]string, 0, len(list.Operators))
		for i := range list.Operators {
			o := &list.Operators[i]
			rows = append(rows, []string{o.Name, o.Role, fmt.Sprint(o.Password), fmt.Sprint(o.Disabled), fmt.Sprint(len(o.Tokens)), orDash(o.LastLogin)})
		}
		return t.csv([]string{"name", "role", "password", "disabled", "tokens", "last_login"}, rows)
	}
	table := lightTable()
	table.head(left, "Name", "Role", "Enabled", "Password", "Tokens", "Last Login")
	table.body()
	for i := range list.Operators {
		o := &list.Operators[i]
		table.row(o.Name, o.Role, tick(!o.Disabled), tick(o.Password), fmt.Sprint(len(o.Tokens)), orDash(o.LastLogin))
	}
	t.show(table)
	return nil
}

// operatorsInspect is operators inspect: one operator with its tokens.
func operatorsInspect(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "inspect NAME", Short: "Show an operator with the tokens", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				o, err := client.Operator(c.Context(), args[0])
				if err != nil {
					return worded("inspect", err)
				}
				return showOperator(t, o)
			})
		},
	}
}

func showOperator(t *Terminal, o *admin.Operator) error {
	switch t.Output {
	case jsonWords:
		return t.json(o.Object(), "  ")
	case raw:
		rows := make([][]string, 0, len(o.Tokens))
		for i := range o.Tokens {
			token := &o.Tokens[i]
			rows = append(rows, []string{fmt.Sprint(token.ID), token.Comment, second(token.CreatedAt), orDash(token.ExpiresAt)})
		}
		return t.csv([]string{"token", "comment", "created_at", "expires_at"}, rows)
	}
	if err := showOperators(t, &admin.Operators{Operators: []admin.Operator{*o}}); err != nil || len(o.Tokens) == 0 {
		return err
	}
	table := lightTable()
	table.head(left, "Token", "Comment", "Created", "Expires")
	table.body()
	for i := range o.Tokens {
		token := &o.Tokens[i]
		table.row(fmt.Sprint(token.ID), token.Comment, second(token.CreatedAt), orDash(token.ExpiresAt))
	}
	t.show(table)
	return nil
}

// operatorsAdd is operators add. The password is given, asked for on a terminal, or made up and
// printed once; it is hashed here and never sent.
func operatorsAdd(t *Terminal) *cobra.Command {
	var role, password string
	c := &cobra.Command{
		Use: "add NAME", Short: "Add an operator", Args: exactArgs(1),
		Long: `Adds an operator, who may log in at once. Roles: a viewer reads everything but secrets; an
operator also adds and ends decisions, deletes alerts and edits the items of allowlists; an admin may
do everything. Without --password it is asked for on a terminal; an empty answer, or no terminal, has
one made up, which is printed once. Before the first start of the server it needs --init.`,
		RunE: func(c *cobra.Command, args []string) error {
			return addOperator(c.Context(), t, args[0], role, password, c.Flags().Changed("password"))
		},
	}
	c.Flags().StringVar(&role, "role", "", "viewer, operator or admin")
	c.Flags().StringVarP(&password, "password", "p", "", fmt.Sprintf("password, %d to %d bytes", admin.ShortestPassword, admin.LongestPassword))
	return c
}

func addOperator(ctx context.Context, t *Terminal, name, role, password string, given bool) error {
	if role == "" {
		return errors.New("please say what the operator may do, with --role viewer, operator or admin")
	}
	if _, err := engine.ParseRole(role); err != nil {
		return err
	}
	if err := admin.UsableOperatorName(name); err != nil {
		return err
	}
	made := false
	if !given {
		var err error
		if password, err = askOperatorPassword(t); err != nil {
			return err
		}
		if made = password == ""; made {
			password = letters(24)
		}
	}
	hash, err := admin.HashPassword(password)
	if err != nil {
		return err
	}
	err = t.withClient(ctx, func(client *admin.Client) error {
		return client.AddOperator(ctx, &admin.NewOperator{Name: name, Role: role, PasswordHash: hash})
	})
	if err != nil {
		return fmt.Errorf("unable to add operator: %w", worded("add", err))
	}
	if !made {
		t.success("operator '%s' added successfully, as %s", name, role)
		return nil
	}
	return showSecret(t, password, fmt.Sprintf("Password of operator '%s'", name), "password")
}

// askOperatorPassword reads a password without showing it; "" where nobody can be asked.
func askOperatorPassword(t *Terminal) (string, error) {
	if !t.interactive() {
		return "", nil
	}
	fmt.Fprint(t.Err, "Password for the operator (empty: one is made up): ")
	b, err := term.ReadPassword(int(t.In.(*os.File).Fd()))
	fmt.Fprintln(t.Err)
	return string(b), err
}

// showSecret prints what is shown once: alone as raw and as JSON, so that a script can take standard
// output for it.
func showSecret(t *Terminal, secret, what, noun string) error {
	switch t.Output {
	case jsonWords:
		text, err := jsonIndented(secret, "")
		t.write(text)
		return err
	case raw:
		t.print("%s\n", secret)
	default:
		t.print("%s:\n\n   %s\n\nPlease keep this %s since you will not be able to retrieve it!\n", what, secret, noun)
	}
	return nil
}

// operatorsEdit is operators edit: what is given changes, all else stays.
func operatorsEdit(t *Terminal) *cobra.Command {
	var role, password string
	var disable, enable, noPassword bool
	c := &cobra.Command{
		Use: "edit NAME", Short: "Change an operator's role or password, disable or enable it", Args: exactArgs(1),
		Long: `Changes what is given. Another role or password, and --disable, end the operator's sessions;
tokens stay, and are refused while it is disabled. --no-password has only tokens, links and
certificates be taken. Over HTTP the last admin stays one; over the socket it is warned of.`,
		RunE: func(c *cobra.Command, args []string) error {
			e := admin.OperatorEdit{Name: args[0]}
			if c.Flags().Changed("role") {
				e.Role = &role
			}
			if c.Flags().Changed("password") {
				hash, err := admin.HashPassword(password)
				if err != nil {
					return err
				}
				e.PasswordHash = &hash
			}
			if none := ""; noPassword {
				e.PasswordHash = &none
			}
			if disable || enable {
				e.Disabled = &disable
			}
			if e.IsNothing() {
				return errors.New("nothing is to be changed: give --role, --password, --no-password, --disable or --enable")
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				admins := administers(c.Context(), client, args[0])
				if _, err := client.EditOperator(c.Context(), &e); err != nil {
					return fmt.Errorf("unable to edit operator: %w", worded("edit", err))
				}
				t.success("operator '%s' edited successfully", args[0])
				if admins {
					warnNoAdmin(c.Context(), t, client)
				}
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringVar(&role, "role", "", "viewer, operator or admin")
	f.StringVarP(&password, "password", "p", "", fmt.Sprintf("password, %d to %d bytes", admin.ShortestPassword, admin.LongestPassword))
	f.BoolVar(&noPassword, "no-password", false, "take no password of it any more")
	f.BoolVar(&disable, "disable", false, "let it do nothing, until it is enabled")
	f.BoolVar(&enable, "enable", false, "take --disable back")
	c.MarkFlagsMutuallyExclusive("disable", "enable")
	c.MarkFlagsMutuallyExclusive("password", "no-password")
	return c
}

// administers reports whether an operator is an admin that may do things; of one that cannot be asked for it is not.
func administers(ctx context.Context, client *admin.Client, name string) bool {
	o, err := client.Operator(ctx, name)
	return err == nil && o.Role == engine.RoleAdmin.String() && !o.Disabled
}

// warnNoAdmin says that no admin is left, when that is so.
func warnNoAdmin(ctx context.Context, t *Terminal, client *admin.Client) {
	list, err := client.Operators(ctx)
	if err != nil || slices.ContainsFunc(list.Operators, func(o admin.Operator) bool { return o.Role == engine.RoleAdmin.String() && !o.Disabled }) {
		return
	}
	t.log("warning", "no operator is an admin any more: over HTTP nobody can change operators, bouncers or machines; 'lapid operators add NAME --role admin' makes one")
}

// operatorsDelete is operators delete. Names are deleted one by one; the first that is missing ends
// it, unless --ignore-missing is given, and those before it are gone.
func operatorsDelete(t *Terminal) *cobra.Command {
	var ignore bool
	c := &cobra.Command{
		Use: "delete NAME...", Short: "Delete operators with their tokens", Args: minArgs(1),
		Aliases: []string{"remove"},
		RunE: func(c *cobra.Command, args []string) error {
			return t.withClient(c.Context(), func(client *admin.Client) error {
				for _, name := range args {
					admins := administers(c.Context(), client, name)
					err := client.DeleteOperator(c.Context(), name)
					if ignore && errors.Is(err, engine.ErrNotFound) {
						continue
					}
					if err != nil {
						return fmt.Errorf("unable to delete operator: %w", worded("delete", err))
					}
					t.success("operator '%s' deleted successfully", name)
					if admins {
						warnNoAdmin(c.Context(), t, client)
					}
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&ignore, "ignore-missing", false, "no complaint about operators that do not exist")
	return c
}

// operatorsToken is operators token: a new one, printed once.
func operatorsToken(t *Terminal) *cobra.Command {
	var expires, comment string
	c := &cobra.Command{
		Use: "token NAME", Short: "Make an API token of an operator and print it, this once", Args: exactArgs(1),
		Long: `Makes a token with which the operator, or a program, is let in over HTTP: Authorization: Bearer
TOKEN, or --token-file of lapid --remote. It is printed once and kept only as a hash. "operators
inspect" lists the tokens, "operators revoke" has one refused.`,
		RunE: func(c *cobra.Command, args []string) error {
			q := admin.NewToken{Name: args[0], Comment: comment}
			if expires != "" && expires != "never" {
				d, err := engine.ParseDuration(expires)
				if err != nil || d <= 0 {
					return fmt.Errorf("--expires is a duration such as 90d, or never, not %q", expires)
				}
				q.Expires = int64(d)
			}
			secret := admin.NewSecret()
			q.Hash = admin.HashSecret(secret)
			err := t.withClient(c.Context(), func(client *admin.Client) error {
				_, err := client.GrantToken(c.Context(), &q)
				return err
			})
			if err != nil {
				return fmt.Errorf("unable to make a token: %w", worded("token", err))
			}
			return showSecret(t, secret, fmt.Sprintf("API token for '%s'", args[0]), "token")
		},
	}
	c.Flags().StringVar(&expires, "expires", "90d", "for how long it is good, or never")
	c.Flags().StringVar(&comment, "comment", "", "what it is for, for the list")
	return c
}

// operatorsRevoke is operators revoke.
func operatorsRevoke(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME TOKEN...", Short: "Have tokens of an operator refused, by their numbers", Args: minArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			var ids []uint32
			for _, text := range args[1:] {
				id, err := strconv.ParseUint(text, 10, 32)
				if err != nil {
					return fmt.Errorf("%q is no number of a token: operators inspect %s lists them", text, args[0])
				}
				ids = append(ids, uint32(id))
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				for _, id := range ids {
					if err := client.RevokeToken(c.Context(), args[0], id); err != nil {
						return fmt.Errorf("unable to revoke token %d: %w", id, worded("revoke", err))
					}
					t.success("token %d of operator '%s' revoked successfully", id, args[0])
				}
				return nil
			})
		},
	}
}

// linkInto is the address that a link leads to.
func linkInto(link *admin.GrantedLink, secret string) string {
	return strings.TrimSuffix(link.Console, "/") + "/login?link=" + url.QueryEscape(secret)
}

// operatorsLink is operators link: where an operator is let in once, without a password.
func operatorsLink(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "link NAME", Short: "Print a link that logs an operator in, once and within a minute", Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			secret := admin.NewSecret()
			return t.withClient(c.Context(), func(client *admin.Client) error {
				link, err := client.LinkOperator(c.Context(), &admin.NewLink{Name: args[0], Hash: admin.HashSecret(secret)})
				if err != nil {
					return fmt.Errorf("unable to make a link: %w", worded("link", err))
				}
				where := linkInto(link, secret)
				switch t.Output {
				case jsonWords:
					return t.json(map[string]any{"link": where, "expires_at": moment(link.ExpiresAt)}, "  ")
				case raw:
					t.print("%s\n", where)
				default:
					t.print("%s\n\nIt lets '%s' in once, within %s.\n", where, args[0], admin.LinkLasts)
				}
				return nil
			})
		},
	}
}
