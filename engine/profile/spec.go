package profile

// Spec is one profile as written. It is only data: the reader of the file
// decodes into it (strictly: a key that is not here is a mistake). Names and
// words are the reference's.
type Spec struct {
	Name string `yaml:"name"`

	// Debug logs every filter with its result, whatever the log level.
	Debug bool `yaml:"debug"`

	// Filters are alternatives. None means the profile never matches.
	Filters []string `yaml:"filters"`

	// Decisions are templates; each true filter gives the whole list.
	Decisions []DecisionSpec `yaml:"decisions"`

	// DurationExpr, when it gives a duration, replaces the one of each decision.
	DurationExpr string `yaml:"duration_expr"`

	OnSuccess string `yaml:"on_success"` // "", continue, break
	OnFailure string `yaml:"on_failure"` // "", continue, break, apply: checked, then without effect
	OnError   string `yaml:"on_error"`   // continue, ignore, apply, break; anything else as if absent

	// Notifications are names of notification settings, in the order they fire.
	Notifications []string `yaml:"notifications"`
}

// DecisionSpec is one template of a decision. The value is always the alert's.
// The scenario is the alert's too.
type DecisionSpec struct {
	Type     string `yaml:"type"`     // required: ban, captcha, any word
	Duration string `yaml:"duration"` // grammar of engine.ParseDuration; "": 4h
	Scope    string `yaml:"scope"`    // "": the alert's; else as written
	Origin   string `yaml:"origin"`   // "": crowdsec; else crowdsec/<origin>

	// Accepted for the sake of existing files, without effect.
	Simulated bool   `yaml:"simulated"`
	Value     string `yaml:"value"`
	Scenario  string `yaml:"scenario"`
	Until     string `yaml:"until"`
	UUID      string `yaml:"uuid"`
	ID        int64  `yaml:"id"`
}

// inert names the keys that were given and have no effect.
func (d *DecisionSpec) inert() []string {
	var keys []string
	for _, k := range []struct {
		name  string
		given bool
	}{
		{"simulated", d.Simulated}, {"value", d.Value != ""}, {"scenario", d.Scenario != ""},
		{"until", d.Until != ""}, {"uuid", d.UUID != ""}, {"id", d.ID != 0},
	} {
		if k.given {
			keys = append(keys, k.name)
		}
	}
	return keys
}

// Warning is something in a profile that loads but deserves a line in the log.
// It is for the operator, at a start, a reload and serve -t.
type Warning struct {
	Index int    // which of the list of specs, from 0
	Field string // what of it, such as filters[0], decisions[1].type or on_failure
	Text  string // one sentence, naming the profile
}

// Fault is the error about one profile that Compile refuses.
type Fault struct {
	Index int    // which of the list of specs, from 0
	Field string // as in Warning
	Err   error  // names the profile and what is wrong
}

// Error says what is wrong, without the place.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap gives the error behind it.
func (f *Fault) Unwrap() error { return f.Err }

// Default gives the rules that hold when there is no file: an alert that asks for
// remediation about an address or a range gets it banned for 4h. They are
// those that the reference ships.
func Default() []Spec {
	stock := func(name, scope string) Spec {
		return Spec{
			Name:      name,
			Filters:   []string{`Alert.Remediation == true && Alert.GetScope() == "` + scope + `"`},
			Decisions: []DecisionSpec{{Type: "ban", Duration: "4h"}},
			OnSuccess: "break",
		}
	}
	return []Spec{stock("default_ip_remediation", "Ip"), stock("default_range_remediation", "Range")}
}
