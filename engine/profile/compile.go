package profile

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"lapid/engine"
)

// Set is a compiled list of profiles. It never changes; all methods may be
// called from many goroutines.
type Set struct {
	profiles []profile
	options  Options
	needs    need      // what of an alert some expression looks at
	idle     sync.Pool // of *evaluation
}

// profile is one profile, ready to run.
type profile struct {
	spec     Spec
	filters  []*expression
	duration *expression // nil without duration_expr
	orders   []order
	breaks   bool
	onError  reaction
	unsent   []*unsent // its notifications
}

// unsent is the name of a notification, shared by all profiles of a set that name
// it. Nothing sends it, which is said when the profiles are read, and again the
// first time that an alert should have been told of.
type unsent struct {
	name string
	told atomic.Bool
}

// order is a decision template, ready to fill in.
type order struct {
	kind, scope, origin string
	duration            string // always parses
}

// reaction says what a failing filter does.
type reaction uint8

const (
	unsaid reaction = iota // refuse the request, unless Options.KeepGoing
	proceed
	apply
	halt
)

var reactions = map[string]reaction{"continue": proceed, "ignore": proceed, "apply": apply, "break": halt}

// Compile checks profiles in order and compiles their expressions. The error
// is for the operator: it names the profile and, for an expression, shows the
// place. The specs are not kept by reference. opts may be nil.
//
// Warnings come in the order of the profiles, also together with a Set that is
// good.
func Compile(specs []Spec, opts *Options) (*Set, []Warning, error) {
	if len(specs) == 0 {
		return nil, nil, fmt.Errorf("zero profiles loaded for LAPI")
	}
	s := &Set{options: opts.withDefaults()}
	c := &compiler{language: newLanguage(&s.options)}
	for i := range specs {
		p, err := c.profile(&specs[i])
		if err != nil {
			return nil, c.warnings, err
		}
		s.profiles = append(s.profiles, p)
	}
	s.needs = c.needs
	s.idle.New = func() any { return newEvaluation(s) }
	return s, c.warnings, nil
}

// Notifications lists the names of notifications the profiles use, each once,
// in order of first use, so that a missing one can be refused at load.
func (s *Set) Notifications() []string {
	var names []string
	for i := range s.profiles {
		for _, n := range s.profiles[i].spec.Notifications {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// compiler gathers what Compile finds out besides the profiles.
type compiler struct {
	language *language
	warnings []Warning
	needs    need
	unsent   []*unsent
}

func (c *compiler) profile(spec *Spec) (profile, error) {
	p := profile{spec: *spec, breaks: spec.OnSuccess == "break", onError: reactions[spec.OnError]}
	p.spec.Filters = slices.Clone(spec.Filters)
	p.spec.Notifications = slices.Clone(spec.Notifications)
	if err := c.words(spec); err != nil {
		return profile{}, err
	}
	for _, text := range spec.Filters {
		x, err := c.expression(text)
		if err != nil {
			return profile{}, fmt.Errorf("error compiling filter of '%s': %w", spec.Name, err)
		}
		p.filters = append(p.filters, x)
	}
	if spec.DurationExpr != "" {
		x, err := c.expression(spec.DurationExpr)
		if err != nil {
			return profile{}, fmt.Errorf("error compiling duration_expr of %s: %w", spec.Name, err)
		}
		p.duration = x
	}
	for _, name := range spec.Notifications {
		p.unsent = append(p.unsent, c.notification(spec, name))
	}
	for i := range spec.Decisions {
		o, err := c.order(spec, i)
		if err != nil {
			return profile{}, err
		}
		p.orders = append(p.orders, o)
	}
	return p, nil
}

// notification gives what a name stands for, with a warning the first time.
func (c *compiler) notification(spec *Spec, name string) *unsent {
	for _, u := range c.unsent {
		if u.name == name {
			return u
		}
	}
	c.warn(spec, "profile '%s' names the notification '%s': notifications are not sent by this server, nobody will be told", spec.Name, name)
	u := &unsent{name: name}
	c.unsent = append(c.unsent, u)
	return u
}

// words checks the three on_… keys.
func (c *compiler) words(spec *Spec) error {
	switch spec.OnSuccess {
	case "", "continue", "break":
	default:
		return fmt.Errorf("invalid 'on_success' for '%s': %s", spec.Name, spec.OnSuccess)
	}
	switch spec.OnFailure {
	case "":
	case "continue", "break", "apply":
		c.warn(spec, "on_failure of '%s' has no effect", spec.Name)
	default:
		return fmt.Errorf("invalid 'on_failure' for '%s' : %s", spec.Name, spec.OnFailure)
	}
	if _, known := reactions[spec.OnError]; !known && spec.OnError != "" {
		c.warn(spec, "on_error of '%s' is not continue, ignore, apply or break, and has no effect: %s", spec.Name, spec.OnError)
	}
	return nil
}

func (c *compiler) expression(text string) (*expression, error) {
	x, err := c.language.compile(text)
	if err != nil {
		return nil, err
	}
	c.needs |= x.needs
	return x, nil
}

func (c *compiler) order(spec *Spec, i int) (order, error) {
	d := &spec.Decisions[i]
	if d.Type == "" {
		return order{}, fmt.Errorf("decision %d of '%s' has no type", i+1, spec.Name)
	}
	o := order{kind: d.Type, scope: d.Scope, origin: engine.OriginCrowdsec, duration: d.Duration}
	if d.Origin != "" {
		o.origin += "/" + d.Origin
	}
	if keys := d.inert(); keys != nil {
		c.warn(spec, "decision %d of '%s' sets what has no effect in a profile: %s", i+1, spec.Name, strings.Join(keys, ", "))
	}
	if d.Duration == "" {
		o.duration = defaultDuration
		if spec.DurationExpr == "" {
			c.warn(spec, "No duration specified for %s, using default duration %s", spec.Name, defaultDuration)
		}
		return o, nil
	}
	if _, err := engine.ParseDuration(d.Duration); err != nil {
		if spec.DurationExpr == "" {
			return order{}, fmt.Errorf("error parsing duration '%s' of %s: %w", d.Duration, spec.Name, err)
		}
		o.duration = defaultDuration
		c.warn(spec, "duration '%s' of %s cannot be read, %s is used when duration_expr gives none", d.Duration, spec.Name, defaultDuration)
	}
	return o, nil
}

func (c *compiler) warn(spec *Spec, format string, args ...any) {
	c.warnings = append(c.warnings, Warning{Profile: spec.Name, Text: fmt.Sprintf(format, args...)})
}
