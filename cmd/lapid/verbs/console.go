package verbs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/capi"
)

// consoleCommand is the noun console: what this server shares with the console of the
// Central API. Only enroll asks anybody; the others read and write console.yaml.
func consoleCommand(t *Terminal) *cobra.Command {
	return group("console", "What is shared with the console of the Central API",
		consoleEnroll(t), consoleStatus(t), consoleSwitch(t, true), consoleSwitch(t, false))
}

// consoleOption is one line of console.yaml.
type consoleOption struct {
	name string // of capi.Console.Option
	is   string
}

// consoleOptions are all, in the order in which they are shown.
var consoleOptions = []consoleOption{
	{"manual", "Share decisions that an operator made or imported"},
	{"custom", "Share alerts of scenarios that are not the hub's"},
	{"tainted", "Share alerts of the hub's scenarios that were changed here"},
	{"context", "Share the context of alerts with them"},
	{"console_management", "Report decisions that are deleted here"},
}

// allOptions stands for each of them.
const allOptions = "all"

// optionsNamed checks names, each of an option or all.
func optionsNamed(names []string) ([]consoleOption, error) {
	var list []consoleOption
	for _, name := range names {
		if name == allOptions {
			return consoleOptions, nil
		}
		at := slices.IndexFunc(consoleOptions, func(o consoleOption) bool { return o.name == name })
		if at < 0 {
			return nil, fmt.Errorf("unknown option %q: use %s or %s", name, optionWords(), allOptions)
		}
		list = append(list, consoleOptions[at])
	}
	return list, nil
}

func optionWords() string {
	var words []string
	for _, o := range consoleOptions {
		words = append(words, o.name)
	}
	return strings.Join(words, ", ")
}

// sharedWithConsole is console.yaml as it is in force after a reload.
func sharedWithConsole(t *Terminal) (*config.Setup, capi.Console, error) {
	s, err := t.Setup()
	if err != nil {
		return nil, capi.Console{}, err
	}
	if a := s.Config.API.Server; a == nil || a.Online == nil {
		return nil, capi.Console{}, fmt.Errorf("no configuration for Central API (CAPI) in '%s': api.server.online_client is missing there", s.File)
	}
	c, err := s.Console()
	return s, c, err
}

// consoleStatus is console status.
func consoleStatus(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show what is shared with the console", Args: NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, c, err := sharedWithConsole(t)
			if err != nil {
				return err
			}
			object := map[string]bool{}
			var rows [][]string
			table := boxedTable()
			table.head(center, "Option Name", "Activated", "Description")
			for _, o := range consoleOptions {
				on := *c.Option(o.name)
				object[o.name] = on
				rows = append(rows, []string{o.name, fmt.Sprint(on)})
				table.row(o.name, map[bool]string{false: "🚫", true: "✅"}[on], o.is)
			}
			switch t.Output {
			case jsonWords:
				return t.json(object, "  ")
			case raw:
				return t.csv([]string{"option", "enabled"}, rows)
			}
			t.show(table)
			return nil
		},
	}
}

// consoleSwitch is console enable and console disable.
func consoleSwitch(t *Terminal, on bool) *cobra.Command {
	word, short := "enable", "Share more with the console"
	if !on {
		word, short = "disable", "Share less with the console"
	}
	var all bool
	c := &cobra.Command{
		Use: word + " OPTION...", Short: short,
		Long: short + `: writes console.yaml (api.server.console_path), which a running server takes up at a reload (SIGHUP).
Options: ` + optionWords() + `.`,
		RunE: func(_ *cobra.Command, args []string) error {
			if all {
				args = append(args, allOptions)
			}
			if len(args) == 0 {
				return fmt.Errorf("please name at least one option (%s) or use --all", optionWords())
			}
			list, err := optionsNamed(args)
			if err != nil {
				return err
			}
			s, c, err := sharedWithConsole(t)
			if err != nil {
				return err
			}
			if err := setOptions(t, s, c, list, on); err != nil || t.Output != jsonWords {
				return err
			}
			if c, err = s.Console(); err != nil {
				return err
			}
			object := map[string]bool{}
			for _, o := range consoleOptions {
				object[o.name] = *c.Option(o.name)
			}
			return t.json(object, "  ")
		},
	}
	c.Flags().BoolVarP(&all, "all", "a", false, word+" all options")
	return c
}

// setOptions switches options and says what has changed.
func setOptions(t *Terminal, s *config.Setup, c capi.Console, list []consoleOption, on bool) error {
	word := map[bool]string{false: "disabled", true: "enabled"}[on]
	changed := false
	for _, o := range list {
		if *c.Option(o.name) == on {
			t.success("%s is already %s", o.name, word)
			continue
		}
		*c.Option(o.name), changed = on, true
		t.success("%s is %s", o.name, word)
	}
	if !changed && !datadir.Missing(s.ConsoleFile()) {
		return nil
	}
	if err := datadir.WriteSecret(s.ConsoleFile(), []byte(config.ConsoleText(c))); err != nil {
		return fmt.Errorf("nothing has changed: writing %s: %w", s.ConsoleFile(), err)
	}
	t.success("written to '%s'; reload the server (SIGHUP) to put it in force", s.ConsoleFile())
	return nil
}

// enrolment is what console enroll was told.
type enrolment struct {
	name, url     string
	tags          []string
	overwrite     bool
	quick         bool
	enable, leave []string
}

// consoleEnroll is console enroll: the Central API is asked to let a person take this
// server into his console.
func consoleEnroll(t *Terminal) *cobra.Command {
	var e enrolment
	c := &cobra.Command{
		Use: "enroll [KEY]", Short: "Enroll this server in the console",
		Long: `Asks the Central API to enroll this server with the key that the console shows, and switches on manual, tainted, context
and what -e names in console.yaml; -d only keeps an option from being switched on. The enrolment is then accepted in the
console, and the server reloaded (SIGHUP): it looks at its enrolment with each new token, and a reload makes it ask for one.
With --quick there is no key: the address to visit is shown, and how long it is valid.`,
		RunE: func(c *cobra.Command, args []string) error {
			if (len(args) == 1) == e.quick || len(args) > 1 {
				return errors.New("please give either the key that the console shows, or --quick")
			}
			return e.run(c.Context(), t, strings.Join(args, ""))
		},
	}
	f := c.Flags()
	f.StringVarP(&e.name, "name", "n", "", "name of this server in the console (default: the host's)")
	f.StringSliceVarP(&e.tags, "tags", "t", nil, "tags of this server in the console; may be given several times")
	f.BoolVar(&e.overwrite, "overwrite", false, "enroll again a server that is enrolled")
	f.BoolVar(&e.quick, "quick", false, "without a key: show the address at which a person accepts this server")
	f.StringSliceVarP(&e.enable, "enable", "e", nil, "also enable these options: "+optionWords()+", "+allOptions)
	f.StringSliceVarP(&e.leave, "disable", "d", nil, "leave these options as they are: "+optionWords()+", "+allOptions)
	f.StringVarP(&e.url, "url", "u", "", "address of the Central API, with a slash at its end (default: that of the credentials file)")
	return c
}

// toEnable are the options that an enrolment switches on.
func (e *enrolment) toEnable() ([]consoleOption, error) {
	more, err := optionsNamed(e.enable)
	if err != nil {
		return nil, err
	}
	less, err := optionsNamed(e.leave)
	if err != nil {
		return nil, err
	}
	var list []consoleOption
	for _, o := range consoleOptions {
		named := func(l []consoleOption) bool {
			return slices.ContainsFunc(l, func(one consoleOption) bool { return one.name == o.name })
		}
		if (o.name == "manual" || o.name == "tainted" || o.name == "context" || named(more)) && !named(less) {
			list = append(list, o)
		}
	}
	return list, nil
}

// enrolmentObject is what came of it, in JSON.
type enrolmentObject struct {
	Enrolled bool     `json:"enrolled"`         // now; false: it was already, and nothing has changed
	URL      string   `json:"url,omitempty"`    // where it is accepted, with --quick
	Expires  string   `json:"expire,omitempty"` // … until then, RFC 3339
	Enabled  []string `json:"enabled"`          // options of console.yaml that are on now
}

func (e *enrolment) run(ctx context.Context, t *Terminal, key string) error {
	list, err := e.toEnable()
	if err != nil {
		return err
	}
	s, shared, err := sharedWithConsole(t)
	if err != nil {
		return err
	}
	o, err := s.Central()
	if err != nil {
		return fmt.Errorf("%w; the Central API (CAPI) must be configured with 'lapid capi register'", err)
	}
	if o.Version = t.Build.Version; e.url != "" {
		o.Credentials.URL = e.url
	}
	if e.name == "" {
		if e.name, err = os.Hostname(); err != nil {
			return fmt.Errorf("the host's name cannot be found, please give one with --name: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, capiPatience)
	defer cancel()
	a, err := capi.Enroll(ctx, *o, &capi.Enrolment{Key: key, Name: e.name, Tags: e.tags, Overwrite: e.overwrite, Quick: e.quick})
	if err != nil {
		return fmt.Errorf("could not enroll instance: %w", err)
	}
	object := enrolmentObject{Enrolled: !a.Already || e.overwrite && !e.quick, URL: a.URL, Enabled: []string{}}
	if !object.Enrolled {
		t.log("warning", "This server is already enrolled, and nothing has changed; use '--overwrite' with a key to enroll it again")
	} else if err := e.enrolled(t, s, shared, list, a, &object); err != nil {
		return err
	}
	if t.Output == jsonWords {
		return t.json(object, " ")
	}
	return nil
}

// enrolled says what is to be done now, and switches options on.
func (e *enrolment) enrolled(t *Terminal, s *config.Setup, shared capi.Console, list []consoleOption, a capi.Enrolled, object *enrolmentObject) error {
	if err := setOptions(t, s, shared, list, true); err != nil {
		return fmt.Errorf("this server is enrolled, but %w", err)
	}
	for _, o := range consoleOptions {
		if *shared.Option(o.name) || slices.ContainsFunc(list, func(one consoleOption) bool { return one.name == o.name }) {
			object.Enabled = append(object.Enabled, o.name)
		}
	}
	if !e.quick {
		t.success("Successfully enrolled: accept it in the console, then reload the server (SIGHUP)")
		return nil
	}
	if !a.Expires.IsZero() {
		object.Expires = a.Expires.UTC().Format(time.RFC3339)
	}
	if t.Output != jsonWords {
		t.print("%s\n", a.URL)
	}
	t.success("visit this address to accept this server in the console (valid until %s), then reload the server (SIGHUP)", object.Expires)
	return nil
}
