package verbs

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lapid/transport/admin"
)

// sightFlags are the flags that say what a bouncer may see, and for how long its polls are
// held.
type sightFlags struct {
	lists, texts map[string]*string // by their names
	canonical    bool
	seeAll       bool
}

// sightLists are the flags with a list, and what they mean.
var sightLists = [...][2]string{
	{"origins", "only decisions of these origins (crowdsec, cscli, cscli-import, console, lists, CAPI)"},
	{"not-origins", "no decisions of these origins"},
	{"scopes", "only these scopes (ip, range, as, country …)"},
	{"types", "only these types (ban, captcha …)"},
	{"scenarios-containing", "only scenarios in which one of these words occurs"},
	{"not-containing", "no scenarios in which one of these words occurs"},
	{"allowlist", "hide what these allowlists cover from this bouncer"},
}

// sightTexts are the others that have a value.
var sightTexts = [...][2]string{
	{"max-entries", `at most so many decisions at any moment, those with the highest priority; "" for no bound`},
	{"priority", "which come first with --max-entries: local-first, newest or longest"},
	{"max-duration", `tell no longer duration, and again before it is over; "" for no bound`},
	{"min-duration", `tell no shorter duration; "" for no bound`},
	{"hold", "hold a poll that has nothing new for so long, 60s at most; off: never, even if the bouncer asks; default: if it asks"},
}

func (f *sightFlags) add(c *cobra.Command) {
	f.lists, f.texts = map[string]*string{}, map[string]*string{}
	flags := c.Flags()
	for _, list := range sightLists {
		f.lists[list[0]] = flags.String(list[0], "", list[1]+`; "" takes it away`)
	}
	for _, text := range sightTexts {
		f.texts[text[0]] = flags.String(text[0], "", text[1])
	}
	flags.BoolVar(&f.canonical, "canonical", false, "tell each address in one clean spelling, once")
}

// edit is what the flags that were given change.
func (f *sightFlags) edit(c *cobra.Command) (*admin.BouncerEdit, error) {
	e := &admin.BouncerEdit{SeeAll: f.seeAll}
	given := c.Flags().Changed
	for name, text := range f.lists {
		if !given(name) {
			continue
		}
		list, err := admin.Words(*text)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		if err := e.SetList(name, list); err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
	}
	for _, flag := range sightTexts {
		if !given(flag[0]) {
			continue
		}
		if err := e.Set(flag[0], *f.texts[flag[0]]); err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
	}
	if given("canonical") {
		e.Canonical = &f.canonical
	}
	return e, nil
}

// bouncersEdit is bouncers edit.
func bouncersEdit(t *Terminal) *cobra.Command {
	var flags sightFlags
	c := &cobra.Command{
		Use: "edit NAME", Short: "Change what a bouncer may see, and for how long its polls are held", Args: exactArgs(1),
		Long: `Changes what a bouncer may see, decided by the server: what the bouncer asks for narrows it and
never widens it. Flags that are not given stay as they are; an empty value takes one away, and
--see-all all of them, before the others. Live queries obey it too, but for --max-entries. The next
delta of the bouncer tells what has left its sight as deleted and what has come into it as new.
Rows that were made from the bouncer's key have what it has: they cannot be edited by themselves.`,
		RunE: func(c *cobra.Command, args []string) error {
			edit, err := flags.edit(c)
			if err != nil {
				return err
			}
			if edit.IsNothing() {
				return fmt.Errorf("nothing is to be changed: see \"%s --help\"", c.CommandPath())
			}
			return t.withClient(c.Context(), func(client *admin.Client) error {
				done, err := client.EditBouncer(c.Context(), &admin.EditedBouncer{Name: args[0], Edit: *edit})
				if err != nil {
					return fmt.Errorf("unable to edit bouncer '%s': %w", args[0], worded("edit", err))
				}
				warnOf(t, done)
				t.success("bouncer '%s' edited", args[0])
				for _, name := range done.Rows {
					t.success("bouncer '%s', made from its key, follows", name)
				}
				if b, err := client.Bouncer(c.Context(), args[0]); err == nil {
					warnOfHold(t, b)
				}
				return nil
			})
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&flags.seeAll, "see-all", false, "take away all that hides or changes what the bouncer sees")
	return c
}

func warnOf(t *Terminal, done *admin.Edited) {
	for _, w := range done.Warnings {
		t.log("warning", "%s", w)
	}
}

// seesText marks in a list who does not see everything as it is, and how its polls are held
// if anything was said of that; "" for everybody else. bouncers inspect has the rest.
func seesText(b *admin.Bouncer) string {
	var marks []string
	if b.Sight != nil {
		marks = append(marks, "a part")
	}
	switch word := admin.HoldWord(b.Hold); word {
	case "":
	case "off":
		marks = append(marks, "never held")
	default:
		marks = append(marks, "held "+word)
	}
	return strings.Join(marks, ", ")
}

// warnOfHold says when a bouncer is held for longer than its type waits.
func warnOfHold(t *Terminal, b *admin.Bouncer) {
	if doubt := b.HoldDoubt(); doubt != "" {
		t.log("warning", "%s", doubt)
	}
}
