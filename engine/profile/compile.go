package profile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// Set is a compiled list of profiles. It never changes; all methods may be
// called from many goroutines.
type Set struct {
	profiles []profile
	options  Options
	language *language
	needs    need      // what of an alert some expression looks at
	idle     sync.Pool // of *evaluation
}

// profile is one profile, ready to run. It is shared by all goroutines and
// never changes.
type profile struct {
	spec     Spec
	filters  []*expression
	duration *expression // nil without duration_expr
	orders   []order
	breaks   bool
	onError  reaction
	notify   []string  // notifications that are sent, in their order
	unsent   []*unsent // those that are not
}

// unsent is the name of a notification that there is not, shared by all profiles of a set
// that name it. Nothing sends it, which is said when the profiles are read, and again the
// first time that an alert should have been told of.
type unsent struct {
	name string
	told atomic.Bool
}

// order is a decision template, ready to fill in. What comes from the alert
// (value, scenario, perhaps the scope) is filled in when it is judged.
type order struct {
	kind, scope, origin string
	duration            string // always parses
}

// reaction says what a failing filter does.
type reaction uint8

const (
	// The reference refuses the request, too.
	unsaid reaction = iota // refuse the request, unless Options.KeepGoing
	proceed
	apply
	halt
)

// reactions are the words of on_error; any other counts as none.
var reactions = map[string]reaction{"continue": proceed, "ignore": proceed, "apply": apply, "break": halt}

// Compile checks profiles in order and compiles their expressions. The error
// is for the operator: it names the profile and, for an expression, shows the
// place; it is a *Fault, which says which spec and which field of it. The specs are not kept by reference. opts may be nil.
//
// Warnings come in the order of the profiles, also together with a Set that is
// good.
func Compile(specs []Spec, opts *Options) (*Set, []Warning, error) {
	if len(specs) == 0 {
		return nil, nil, fmt.Errorf("zero profiles loaded for LAPI")
	}
	s := &Set{options: opts.withDefaults()}
	s.language = newLanguage(&s.options)
	c := &compiler{language: s.language, sends: s.options.Sends}
	for i := range specs {
		c.index = i
		c.name(specs)
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

// compiler gathers what Compile finds out besides the profiles. Warnings are
// gathered also when an error follows, for they may explain it.
type compiler struct {
	language *language
	sends    func(name string) bool
	warnings []Warning
	needs    need
	unsent   []*unsent
	index    int    // of the profile that is looked at
	stops    bool   // one in front of it stops always
	stopper  string // the name of that one
}

// fault is an error about a field of the profile that is looked at.
func (c *compiler) fault(field, format string, args ...any) error {
	return &Fault{Index: c.index, Field: field, Err: fmt.Errorf(format, args...)}
}

// profile checks one profile from the top down; the first error ends the whole, for
// rules that are in force in part would judge otherwise than it was written.
func (c *compiler) profile(spec *Spec) (profile, error) {
	p := profile{spec: *spec, breaks: spec.OnSuccess == "break", onError: reactions[spec.OnError]}
	p.spec.Filters = slices.Clone(spec.Filters)
	p.spec.Notifications = slices.Clone(spec.Notifications)
	if err := c.words(spec); err != nil {
		return profile{}, err
	}
	if c.stops {
		c.warn("", "profile '%s' is never reached: %s in front of it is always true and stops (on_success: break)", spec.Name, c.stopper)
	}
	if len(spec.Filters) == 0 {
		c.warn("", "profile '%s' has no filters and never matches: 'filters: [\"true\"]' matches every alert", spec.Name)
	}
	for i, text := range spec.Filters {
		x, err := c.filter(spec, i, text)
		if err != nil {
			return profile{}, err
		}
		p.filters = append(p.filters, x)
	}
	if p.breaks && !c.stops && p.stopsAlways() {
		c.stops, c.stopper = true, fmt.Sprintf("'%s'", spec.Name)
		if spec.Name == "" {
			c.stopper = fmt.Sprintf("profile %d", c.index+1)
		}
	}
	if spec.DurationExpr != "" {
		x, err := c.lasting(spec)
		if err != nil {
			return profile{}, err
		}
		p.duration = x
	}
	for i, name := range spec.Notifications {
		if c.sends(name) {
			p.notify = append(p.notify, name)
		} else {
			p.unsent = append(p.unsent, c.notification(spec, i, name))
		}
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

// stopsAlways tells whether one filter is true of every alert and none can fail,
// which would leave the stop out.
func (p *profile) stopsAlways() bool {
	sure := false
	for _, x := range p.filters {
		if x.seen.truth == depends {
			return false
		}
		sure = sure || x.seen.truth == always
	}
	return sure
}

// notification gives what a name stands for that nothing sends, with a warning the first
// time.
func (c *compiler) notification(spec *Spec, i int, name string) *unsent {
	for _, u := range c.unsent {
		if u.name == name {
			return u
		}
	}
	c.warn(at("notifications", i), "profile '%s' names the notification '%s', which is not configured: nobody will be told", spec.Name, name)
	u := &unsent{name: name}
	c.unsent = append(c.unsent, u)
	return u
}

// words checks the three on_… keys. A word that the reference refuses is
// refused; one that it passes over is warned of.
func (c *compiler) words(spec *Spec) error {
	switch spec.OnSuccess {
	case "", "continue", "break":
	default:
		return c.fault("on_success", "invalid 'on_success' for '%s': %s", spec.Name, spec.OnSuccess)
	}
	switch spec.OnFailure {
	case "":
	case "continue", "break", "apply":
		c.warn("on_failure", "on_failure of '%s' has no effect", spec.Name)
	default:
		return c.fault("on_failure", "invalid 'on_failure' for '%s' : %s", spec.Name, spec.OnFailure)
	}
	if _, known := reactions[spec.OnError]; !known && spec.OnError != "" {
		c.warn("on_error", "on_error of '%s' is not continue, ignore, apply or break, and has no effect: %s", spec.Name, spec.OnError)
	}
	return nil
}

// name warns of a profile that has no name, or that of an earlier one.
func (c *compiler) name(specs []Spec) {
	spec := &specs[c.index]
	if spec.Name == "" {
		c.warn("", "profile %d of %d has no name: lines about it in the log cannot say which it is", c.index+1, len(specs))
	} else if slices.ContainsFunc(specs[:c.index], func(s Spec) bool { return s.Name == spec.Name }) {
		c.warn("name", "two profiles are named '%s': lines in the log cannot tell them apart", spec.Name)
	}
}

// filter compiles one filter, and refuses it when it can never be true or false.
func (c *compiler) filter(spec *Spec, i int, text string) (*expression, error) {
	field := at("filters", i)
	x, err := c.expression(text)
	switch {
	case err != nil:
		return nil, c.fault(field, "error compiling filter of '%s': %w", spec.Name, err)
	case x.seen.wrong != nil:
		return nil, c.fault(field, "error compiling filter of '%s': %w\n | %s", spec.Name, x.seen.wrong, text)
	case x.seen.kind != nil && x.seen.kind.Kind() != reflect.Bool:
		return nil, c.fault(field, "error compiling filter of '%s': a filter must be true or false, this is %s: compare it with something\n | %s",
			spec.Name, spokenKind(x.seen.kind), text)
	}
	if x.seen.truth == never {
		c.warn(field, "filter %d of '%s' is never true: %s", i+1, spec.Name, clip(text))
	}
	for _, doubt := range x.seen.doubts {
		c.warn(field, "filter %d of '%s' %s", i+1, spec.Name, doubt)
	}
	return x, nil
}

// lasting compiles duration_expr. What can be known to be no duration is
// refused, what may be one is not.
func (c *compiler) lasting(spec *Spec) (*expression, error) {
	const field = "duration_expr"
	x, err := c.expression(spec.DurationExpr)
	if err == nil {
		err = x.seen.wrong
	}
	if err == nil && x.seen.text != nil {
		text := *x.seen.text
		if d, bad := engine.ParseDuration(text); bad != nil {
			err = fmt.Errorf("%q is no duration such as 30m, 24h or 7d: %w", clip(text), bad)
		} else {
			err = engine.Lasting(text, d)
		}
	}
	if err != nil {
		return nil, c.fault(field, "error compiling duration_expr of %s: %w", spec.Name, err)
	}
	if k := x.seen.kind; k != nil && k.Kind() != reflect.String && k != reflect.TypeFor[time.Duration]() {
		c.warn(field, "duration_expr of '%s' is %s and never gives a duration, the one of the decision is used: it must be a text such as \"4h\"",
			spec.Name, spokenKind(k))
	}
	for _, doubt := range x.seen.doubts {
		c.warn(field, "duration_expr of '%s' %s", spec.Name, doubt)
	}
	return x, nil
}

// expression compiles a text and notes what of the alert it looks at.
func (c *compiler) expression(text string) (*expression, error) {
	x, err := c.language.compile(text)
	if err != nil {
		return nil, err
	}
	c.needs |= x.needs
	return x, nil
}

// order checks one decision. A duration that is over at once would make decisions
// that no bouncer ever sees, so it is refused.
func (c *compiler) order(spec *Spec, i int) (order, error) {
	d := &spec.Decisions[i]
	if d.Type == "" {
		return order{}, c.fault(at("decisions", i), "decision %d of '%s' has no type", i+1, spec.Name)
	}
	o := order{kind: d.Type, scope: d.Scope, origin: engine.OriginCrowdsec, duration: d.Duration}
	if d.Origin != "" {
		o.origin += "/" + d.Origin
	}
	if keys := d.inert(); keys != nil {
		c.warn(at("decisions", i), "decision %d of '%s' sets what has no effect in a profile: %s", i+1, spec.Name, strings.Join(keys, ", "))
	}
	if d.Duration == "" {
		o.duration = defaultDuration
		if spec.DurationExpr == "" {
			c.warn(at("decisions", i), "No duration specified for %s, using default duration %s", spec.Name, defaultDuration)
		}
		return o, nil
	}
	lasts, err := engine.ParseDuration(d.Duration)
	if err != nil {
		if spec.DurationExpr == "" {
			return order{}, c.fault(at("decisions", i)+".duration", "error parsing duration '%s' of %s: %w", d.Duration, spec.Name, err)
		}
		o.duration = defaultDuration
		c.warn(at("decisions", i)+".duration", "duration '%s' of %s cannot be read, %s is used when duration_expr gives none", d.Duration, spec.Name, defaultDuration)
	} else if err := engine.Lasting(d.Duration, lasts); err != nil {
		return order{}, c.fault(at("decisions", i)+".duration", "decision %d of '%s' is never in force: %w", i+1, spec.Name, err)
	}
	return o, nil
}

// at names an element of a list of a spec.
func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// spokenKind is a type in the operator's words.
func spokenKind(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration"
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64, reflect.Float64, reflect.Float32:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map:
		return "a map"
	case reflect.Struct:
		if t.NumField() == 0 {
			return "nothing"
		}
	}
	return typeNames.Replace(t.String())
}

// warn adds a sentence, with the place of what it is about.
func (c *compiler) warn(field, format string, args ...any) {
	c.warnings = append(c.warnings, Warning{Index: c.index, Field: field, Text: fmt.Sprintf(format, args...)})
}
