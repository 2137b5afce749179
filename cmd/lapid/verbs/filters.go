package verbs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// alertFlags are the filters of the two lists. decisions list takes them
// too, for it lists decisions by way of their alerts.
type alertFlags struct {
	targetFlags
	all, machines, contained, noSimulated bool
	// limit counts alerts; 0 is none. since and until are durations back from now, as
	// the operator writes them.
	limit                                         int
	since, until                                  string
	kindOfDecision, origin, scenario, kindOfAlert string
	batch, list                                   string
}

// listing registers the flags that both lists have. limit is the default number of
// alerts: enough for one screen, so that a list on a server with a million alerts is
// not a mistake that takes a minute.
func (f *alertFlags) listing(c *cobra.Command, limit int) {
	f.flags(c)
	s := c.Flags()
	s.BoolVarP(&f.all, "all", "a", false, "also those of the Central API and of lists, without a limit")
	s.BoolVarP(&f.machines, "machine", "m", false, "show the machine that sent the alert")
	s.IntVarP(&f.limit, "limit", "l", limit, "number of alerts (0: no limit)")
	s.StringVar(&f.since, "since", "", "not older than this (4h, 30d)")
	s.StringVar(&f.until, "until", "", "at least this old (4h, 30d)")
	s.StringVarP(&f.scenario, "scenario", "s", "", "scenario")
	s.StringVar(&f.origin, "origin", "", "origin (crowdsec, cscli, cscli-import, CAPI, lists ...)")
	s.StringVar(&f.scope, "scope", "", "scope (ip, range, as, country, any word)")
	s.BoolVar(&f.contained, "contained", false, "what lies inside the range")
}

// filter is what the flags ask for. The error is the operator's to mend: an
// address that is none, a duration that cannot be read.
//
// With active the filter is that of decisions list: only alerts with a running
// decision, and of those only the decisions that address, type and origin ask for
// (Concerned). Without it those three choose whole alerts.
func (f *alertFlags) filter(active bool) (*admin.AlertFilter, error) {
	out := &admin.AlertFilter{
		Scope: some(engine.CanonicalScope(f.scope)), Value: some(f.value), Scenario: some(f.scenario),
		DecisionType: some(f.kindOfDecision), Origin: some(f.origin), Kind: some(f.kindOfAlert), Inside: f.contained,
		Batch: f.batch, List: f.list, HideSimulated: f.noSimulated, HideCommunity: !f.all, Active: active, Limit: f.limit,
		Concerned: active && (f.ip != "" || f.ipRange != "" || f.kindOfDecision != "" || f.origin != ""),
	}
	if f.limit < 0 {
		return nil, fmt.Errorf("--limit %d: it must be 1 or more, or 0 for no limit", f.limit)
	}
	if f.batch != "" && f.list != "" {
		return nil, errors.New("give one of --batch-name and --name, not both")
	}
	// --all means everything, so the default limit must not cut it.
	if f.all {
		out.Limit = 0
	}
	var err error
	if out.Address, err = f.address(); err != nil {
		return nil, err
	}
	if out.Since, err = ago(f.since); err != nil {
		return nil, err
	}
	out.Until, err = ago(f.until)
	return out, err
}

// some is a filter on one text, nil for none. An empty text is no filter here: a flag
// that was not given and one that was given empty are the same.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// ago reads how long ago something may be, in nanoseconds; nothing is 0, which is no
// restriction. The server subtracts it from its own clock, so the operator's clock
// does not matter.
func ago(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := engine.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("while parsing duration: %w", err)
	}
	return int64(d), nil
}

// errNoFilter refuses to delete everything by accident. A variable that is
// empty in a script leaves a verb without a filter.
func errNoFilter(c *cobra.Command) error {
	return fmt.Errorf("at least one filter or --all must be specified; see \"%s --help\"", c.CommandPath())
}

// targetFlags are the ways to name what a decision is about. Every verb that
// filters or adds has the same, so that a line can be changed from list to
// delete by its verb alone.
type targetFlags struct {
	ip, ipRange, scope, value string
}

// flags registers them but --scope, whose default differs from verb to verb.
func (f *targetFlags) flags(c *cobra.Command) {
	s := c.Flags()
	s.StringVarP(&f.ip, "ip", "i", "", "an address")
	s.StringVarP(&f.ipRange, "range", "r", "", "a range, such as 192.0.2.0/24")
	s.StringVarP(&f.value, "value", "v", "", "a value, as it was written")
}

// target is what the decision is about. An address is one address and a range one
// range, whichever flag names it.
func (f *targetFlags) target(n *admin.NewDecision) error {
	named, err := f.address()
	switch {
	case err != nil:
		return err
	case named != "" && f.value != "":
		return errors.New("give one of --ip, --range and --value: a decision is about one thing")
	case f.ip != "":
		n.Scope, n.Value = engine.ScopeIP, named
	case f.ipRange != "":
		n.Scope, n.Value = engine.ScopeRange, named
	default:
		n.Scope, n.Value = engine.CanonicalScope(f.scope), f.value
	}
	if n.Value == "" {
		return errors.New("missing arguments, a value is required (--ip, --range or --scope and --value)")
	}
	return inputs.FitsScope(n.Scope, n.Value)
}

// given is a filter whose flag was written, also with an empty value that means
// something; an empty one that was not written is none.
func given(c *cobra.Command, name, value string) *string {
	if value == "" && !c.Flags().Changed(name) {
		return nil
	}
	return &value
}

// address is the address or range that was named, checked. An address with a
// prefix length belongs to --range and one without to --ip, so that a slip
// in a script is found and does not ban a network. "" when neither flag was
// given.
func (f *targetFlags) address() (string, error) {
	if f.ip != "" && f.ipRange != "" {
		return "", errors.New("give one of --ip and --range, not both")
	}
	if f.ip != "" {
		if _, err := engine.ParseTarget(f.ip); err != nil || strings.Contains(f.ip, "/") {
			return "", fmt.Errorf("%s is not a valid ip", f.ip)
		}
		return f.ip, nil
	}
	if f.ipRange != "" {
		if _, err := engine.ParseTarget(f.ipRange); err != nil || !strings.Contains(f.ipRange, "/") {
			return "", fmt.Errorf("%s is not a valid range", f.ipRange)
		}
	}
	return f.ipRange, nil
}
