package verbs

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// sightFlags are the flags that say what a bouncer may see, and for how long its polls are
// held.
type sightFlags struct {
	words                    map[string]*string
	maxEntries, priority     string
	maxDuration, minDuration string
	hold                     string
	canonical, seeAll        bool
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

func (f *sightFlags) add(c *cobra.Command) {
	f.words = map[string]*string{}
	flags := c.Flags()
	for _, list := range sightLists {
		f.words[list[0]] = flags.String(list[0], "", list[1]+`; "" takes it away`)
	}
	flags.StringVar(&f.maxEntries, "max-entries", "", `at most so many decisions at any moment, those with the highest priority; "" for no bound`)
	flags.StringVar(&f.priority, "priority", "", "which come first with --max-entries: local-first, newest or longest")
	flags.StringVar(&f.maxDuration, "max-duration", "", `tell no longer duration, and again before it is over; "" for no bound`)
	flags.StringVar(&f.minDuration, "min-duration", "", `tell no shorter duration; "" for no bound`)
	flags.BoolVar(&f.canonical, "canonical", false, "tell each address in one clean spelling, once")
	flags.StringVar(&f.hold, "hold", "", "hold a poll that has nothing new for so long, 60s at most; off: never, even if the bouncer asks; default: if it asks")
}

// edit is what the flags that were given change.
func (f *sightFlags) edit(c *cobra.Command) (*admin.BouncerEdit, error) {
	e := &admin.BouncerEdit{SeeAll: f.seeAll, Words: map[string][]string{}}
	given := c.Flags().Changed
	for name, text := range f.words {
		if given(name) {
			e.Words[name] = commaList(*text)
		}
	}
	if given("priority") {
		if _, err := engine.ParsePriority(f.priority); err != nil && f.priority != "" {
			return nil, fmt.Errorf("--priority: %w", err)
		}
		e.Priority = &f.priority
	}
	if given("canonical") {
		e.Canonical = &f.canonical
	}
	var err error
	if given("max-entries") {
		if e.MaxEntries, err = countOf(f.maxEntries); err != nil {
			return nil, err
		}
	}
	if given("max-duration") {
		if e.MaxDuration, err = boundOf("max-duration", f.maxDuration); err != nil {
			return nil, err
		}
	}
	if given("min-duration") {
		if e.MinDuration, err = boundOf("min-duration", f.minDuration); err != nil {
			return nil, err
		}
	}
	if given("hold") {
		if e.Hold, err = parseHold(f.hold); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// commaList takes a list apart; an empty text is an empty list.
func commaList(text string) []string {
	list := []string{}
	for _, word := range strings.Split(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			list = append(list, word)
		}
	}
	return list
}

func countOf(text string) (*int, error) {
	n := 0
	if text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 0 {
			return nil, fmt.Errorf(`--max-entries is '%s': it must be a number, 1 or more, or "" for no bound`, text)
		}
	}
	return &n, nil
}

func boundOf(name, text string) (*int64, error) {
	nanoseconds := int64(0)
	if text != "" && text != "0" {
		d, err := engine.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf(`--%s is '%s': it must be a duration such as 1h or 7d, or "" for no bound`, name, text)
		}
		nanoseconds = int64(d)
	}
	return &nanoseconds, nil
}

func parseHold(text string) (*engine.Hold, error) {
	hold := engine.Hold(0)
	switch text {
	case "", "default":
	case "off":
		hold = engine.HoldOff
	default:
		d, err := engine.ParseDuration(text)
		if err == nil {
			hold, err = engine.HoldFor(d)
		}
		if err != nil {
			return nil, fmt.Errorf("--hold is '%s': it must be a duration up to 60s such as 25s, or off, or default", text)
		}
	}
	return &hold, nil
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
			if !slices.ContainsFunc(editFlags(), c.Flags().Changed) {
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

func editFlags() []string {
	names := []string{"max-entries", "priority", "max-duration", "min-duration", "canonical", "hold", "see-all"}
	for _, list := range sightLists {
		names = append(names, list[0])
	}
	return names
}

func warnOf(t *Terminal, done *admin.Edited) {
	for _, w := range done.Warnings {
		t.log("warning", "%s", w)
	}
}

// sightObject is what a bouncer may see, by the names of the flags; nil: everything.
func sightObject(s *engine.Sight) map[string]any {
	if s == nil {
		return nil
	}
	o := map[string]any{}
	lists := [...][]string{s.Origins, s.NotOrigins, s.Scopes, s.Types, s.Containing, s.NotContaining, s.Allowlists}
	for i, list := range lists {
		if len(list) > 0 {
			o[sightLists[i][0]] = list
		}
	}
	if s.MaxEntries > 0 {
		o["max-entries"], o["priority"] = s.MaxEntries, s.Priority.String()
	}
	if s.MaxDuration > 0 {
		o["max-duration"] = s.MaxDuration.String()
	}
	if s.MinDuration > 0 {
		o["min-duration"] = s.MinDuration.String()
	}
	if s.Canonical {
		o["canonical"] = true
	}
	return o
}

// sightLines is the same for people.
func sightLines(s *engine.Sight) []string {
	if s == nil {
		return []string{"everything"}
	}
	var lines []string
	for name, v := range sightObject(s) {
		if list, is := v.([]string); is {
			v = strings.Join(list, ",")
		}
		lines = append(lines, fmt.Sprintf("%s %v", name, v))
	}
	slices.Sort(lines)
	return lines
}

// seesText marks in a list who does not see everything as it is, and how its polls are held
// if anything was said of that; "" for everybody else. bouncers inspect has the rest.
func seesText(b *admin.Bouncer) string {
	var marks []string
	if b.Sight != nil {
		marks = append(marks, "a part")
	}
	switch word := holdWord(b.Hold); word {
	case "":
	case "off":
		marks = append(marks, "never held")
	default:
		marks = append(marks, "held "+word)
	}
	return strings.Join(marks, ", ")
}

// holdWord is a hold as the flag has it; "" where nothing was said.
func holdWord(h engine.Hold) string {
	switch {
	case h < 0:
		return "off"
	case h == 0:
		return ""
	}
	return h.Duration().String()
}

// patient is how long a kind of bouncer waits for an answer, and the hold that suits it.
type patient struct {
	names []string // occur in its type
	waits time.Duration
	suits string
}

// patience is of the kinds that are known.
var patience = []patient{
	{[]string{"lua", "nginx", "openresty"}, 3 * time.Second, "2s"},
	{[]string{"npm", "nodejs", "express"}, 2 * time.Second, "1s or off"},
	{[]string{"fbonalair"}, 5 * time.Second, "4s"},
	{[]string{"traefik"}, 10 * time.Second, "8s"},
	{[]string{"firewall", "custom", "mirror", "spoa", "haproxy", "caddy", "pycrowdsec", "go-cs-bouncer"}, 0, "25s"},
}

func patienceOf(kind string) *patient {
	kind = strings.ToLower(kind)
	for i := range patience {
		if slices.ContainsFunc(patience[i].names, func(n string) bool { return strings.Contains(kind, n) }) {
			return &patience[i]
		}
	}
	return nil
}

// holdAdvice is which --hold suits a bouncer.
func holdAdvice(b *admin.Bouncer) string {
	if p := patienceOf(b.Type); p != nil {
		return p.suits
	}
	return "less than it waits for an answer"
}

// warnOfHold says when a bouncer is held for longer than its type waits.
func warnOfHold(t *Terminal, b *admin.Bouncer) {
	if p := patienceOf(b.Type); p != nil && p.waits > 0 && b.Hold.Duration() >= p.waits {
		t.log("warning", "bouncer '%s' is held for %s, and its type (%s) gives up after %s: use --hold %s", b.Name, b.Hold.Duration(), b.Type, p.waits, p.suits)
	}
}
