package verbs

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// completionPatience is how long a shell waits for names: no longer than somebody who types notices.
const completionPatience = 200 * time.Millisecond

// AddCompletions makes the shell offer what fits: words for flags with few values,
// and the names that the running server knows. Without a server no names are
// offered; the store is not opened for that.
func AddCompletions(t *Terminal, root *cobra.Command) {
	words := map[string][]string{
		"output": config.Outputs, "color": {"yes", "no", "auto"}, "format": {inputs.CSV, inputs.JSON, inputs.NDJSON, inputs.Values},
		"origin": {"crowdsec", "cscli", "cscli-import", "CAPI", "lists", "console"},
		"scope":  inputs.KnownScopes, "type": inputs.KnownTypes, "role": {"viewer", "operator", "admin"}, "duration": {"4h", "1d", "7d", "forever"},
	}
	// By the name of the flag: it means the same at each verb that has it.
	for _, c := range everyCommand(root) {
		for flag, values := range words {
			if c.Flags().Lookup(flag) != nil || c.PersistentFlags().Lookup(flag) != nil {
				_ = c.RegisterFlagCompletionFunc(flag, offer(values))
			}
		}
	}
	for _, verb := range []string{"decisions list", "decisions delete", "decisions import"} {
		if c, _, err := root.Find(strings.Fields(verb)); err == nil {
			_ = c.RegisterFlagCompletionFunc("batch-name", offerNamesOf(t, batchNames))
			_ = c.RegisterFlagCompletionFunc("name", offerNamesOf(t, namedLists))
		}
	}
	for path, names := range map[string]func(context.Context, *admin.Client) []string{
		"bouncers delete": bouncerNames(true), "bouncers inspect": bouncerNames(false), "bouncers wait": bouncerNames(false),
		"machines delete": machineNames, "machines inspect": machineNames, "machines validate": machineNames,
		"operators delete": operatorNames, "operators edit": operatorNames, "operators inspect": operatorNames,
		"operators token": operatorNames, "operators link": operatorNames,
		"allowlists add": listNames, "allowlists remove": listNames, "allowlists import": listNames,
		"allowlists inspect": listNames, "allowlists delete": listNames,
		"exports edit": exportNames, "exports accept": exportNames, "exports inspect": exportNames, "exports delete": exportNames, "exports rotate": exportNames, "exports render": exportNames,
	} {
		if c, _, err := root.Find(strings.Fields(path)); err == nil {
			// The line of use says whether more than one name is taken.
			many := strings.HasSuffix(c.Use, "NAME...")
			c.ValidArgsFunction = offerNames(t, names, many)
		}
	}
	if c, _, err := root.Find([]string{"why"}); err == nil {
		c.ValidArgsFunction = offer(nil)
		_ = c.RegisterFlagCompletionFunc("bouncer", offerNames(t, bouncerNames(false), true))
	}
	if c, _, err := root.Find([]string{"metrics", "show"}); err == nil {
		c.ValidArgsFunction = func(_ *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
			return without(metricNames(), given), cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// everyCommand lists a command with all below it.
func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, verb := range c.Commands() {
		all = append(all, everyCommand(verb)...)
	}
	return all
}

// offer is a completion of fixed words, and of no files.
func offer(values []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values, cobra.ShellCompDirectiveNoFileComp
	}
}

// offerNames offers names for the first argument, or for all of them. It must not
// print or wait long: it runs while an operator types. Whatever goes wrong, nothing
// is offered.
func offerNames(t *Terminal, names func(context.Context, *admin.Client) []string, many bool) cobra.CompletionFunc {
	return func(c *cobra.Command, given []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(given) > 0 && !many {
			return nil, cobra.ShellCompDirectiveDefault
		}
		t.loaded = nil // read before the line's own -c was
		s, err := t.Setup()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), cmp.Or(t.Patience, completionPatience))
		defer cancel()
		server, err := admin.Dial(ctx, s.Socket())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer server.Close()
		return without(names(ctx, server), given), cobra.ShellCompDirectiveNoFileComp
	}
}

// offerNamesOf offers names for a flag.
func offerNamesOf(t *Terminal, names func(context.Context, *admin.Client) []string) cobra.CompletionFunc {
	offer := offerNames(t, names, true)
	return func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		return offer(c, nil, typed)
	}
}

// batchNames are those of what imports have stored.
func batchNames(ctx context.Context, server *admin.Client) []string {
	if b, err := server.Batches(ctx); err == nil {
		return b.Batches
	}
	return nil
}

// namedLists are the names of lists that imports have set.
func namedLists(ctx context.Context, server *admin.Client) []string {
	if b, err := server.Batches(ctx); err == nil {
		return b.Lists
	}
	return nil
}

// without leaves out what was given already, and what no shell could take: a
// completion is one line.
func without(names, given []string) []string {
	var out []string
	for _, n := range names {
		if admin.UsableName("", n) == nil && !slices.Contains(given, n) {
			out = append(out, n)
		}
	}
	return out
}

// bouncerNames are those of bouncers; those that were made from a key cannot be
// deleted by themselves.
func bouncerNames(deletable bool) func(context.Context, *admin.Client) []string {
	return func(ctx context.Context, server *admin.Client) (names []string) {
		_ = server.EachBouncer(ctx, func(b *admin.Bouncer) error {
			if !deletable || !b.AutoCreated {
				names = append(names, b.Name)
			}
			return nil
		})
		return names
	}
}

// operatorNames are the operators, in order of creation.
func operatorNames(ctx context.Context, c *admin.Client) (names []string) {
	if list, err := c.Operators(ctx); err == nil {
		for i := range list.Operators {
			names = append(names, list.Operators[i].Name)
		}
	}
	return names
}

// machineNames are all machines, validated or not.
func machineNames(ctx context.Context, server *admin.Client) (names []string) {
	if list, err := server.Machines(ctx); err == nil {
		for i := range list.Machines {
			names = append(names, list.Machines[i].ID)
		}
	}
	return names
}

// listNames are all allowlists.
func listNames(ctx context.Context, server *admin.Client) (names []string) {
	if list, err := server.Allowlists(ctx); err == nil {
		for i := range list.Allowlists {
			names = append(names, list.Allowlists[i].Name)
		}
	}
	return names
}

// exportNames are all exports.
func exportNames(ctx context.Context, server *admin.Client) (names []string) {
	if list, err := server.Exports(ctx); err == nil {
		for i := range list.Exports {
			names = append(names, list.Exports[i].Name)
		}
	}
	return names
}
