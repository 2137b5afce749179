package config

import (
	"crypto/sha512"
	"fmt"
	"slices"

	"lapid/engine"
	"lapid/transport/export"
)

// ExportSetting is one list for devices as lapid.yaml defines it. Words are those of the
// verbs; docs/exports.md has all.
type ExportSetting struct {
	Name       string            `yaml:"name"`                 // of the list, and its path below /exports
	Format     string            `yaml:"format"`               // one of lapid exports --help
	Path       string            `yaml:"path"`                 // another path
	Options    map[string]string `yaml:"options"`              // of the format, such as list=blocked
	Types      []string          `yaml:"types"`                // default: ban
	Origins    []string          `yaml:"origins"`              // default: all
	Containing []string          `yaml:"scenarios_containing"` // scenarios with one of these words
	Family     string            `yaml:"family"`               // ipv4 or ipv6; default: both
	Aggregate  string            `yaml:"aggregate"`            // none or exact
	Limit      int               `yaml:"limit"`                // 0: none
	Order      string            `yaml:"order"`                // as of bouncers' --priority
	Allowlists []string          `yaml:"allowlists"`           // names, or [all], or [none]
	WhenEmpty  string            `yaml:"when_empty"`           // serve or refuse
	MayShrink  bool              `yaml:"may_shrink"`           // serve it also where it has lost most of its entries
	AllowFrom  []string          `yaml:"allow_from"`           // addresses and ranges that may have it
	Auth       ExportAuthSetting `yaml:"auth"`
	Open       bool              `yaml:"open"` // anybody may have it who reaches the server
}

// ExportAuthSetting is how a device shows that it may have a list: one of them. With none
// of them allow_from decides alone.
type ExportAuthSetting struct {
	Basic *struct {
		User     string `yaml:"user"`     // any name
		Password string `yaml:"password"` // 16 characters at least
	} `yaml:"basic"`
	Token       string `yaml:"token"` // 16 characters at least
	Key         bool   `yaml:"key"`   // true: the key of any bouncer
	Certificate *struct {
		AllowedOU []string `yaml:"allowed_ou"` // units whose holders may have it
	} `yaml:"certificate"`
}

// DeclaredExports are the exports of lapid.yaml, as the engine keeps them. now is when their
// secrets begin to be valid, Unix nanoseconds.
func (s *Settings) DeclaredExports(now int64) (list []engine.Export, err error) {
	for i := range s.Exports {
		x, err := s.Exports[i].export(now)
		if err != nil {
			return nil, fmt.Errorf("exports: '%s': %w", s.Exports[i].Name, err)
		}
		if slices.ContainsFunc(list, func(o engine.Export) bool { return o.Name == x.Name }) {
			return nil, fmt.Errorf("exports: '%s' is there twice", x.Name)
		}
		list = append(list, *x)
	}
	return list, nil
}

func (e *ExportSetting) export(now int64) (*engine.Export, error) {
	x := &engine.Export{Name: e.Name, Path: e.Path, Types: e.Types, Origins: e.Origins, Containing: e.Containing, Limit: e.Limit, MayShrink: e.MayShrink, CreatedAt: now, UpdatedAt: now}
	f, err := export.FormatOf(e.Format)
	if err != nil {
		return nil, err
	}
	x.Format = f.Name
	for name, value := range e.Options {
		x.Options = append(x.Options, name+"="+value)
	}
	if e.Family != "" {
		if x.Family, err = engine.ParseFamily(e.Family); err != nil {
			return nil, err
		}
	}
	if e.Order != "" {
		if x.Order, err = engine.ParsePriority(e.Order); err != nil {
			return nil, err
		}
	}
	switch {
	case slices.Equal(e.Allowlists, []string{"none"}):
		x.NoAllowlists = true
	case !slices.Equal(e.Allowlists, []string{"all"}):
		x.Allowlists = e.Allowlists
	}
	if x.Aggregate = e.Aggregate == "exact"; e.Aggregate != "" && e.Aggregate != "none" && !x.Aggregate {
		return nil, fmt.Errorf("aggregate must be none or exact, not %q", e.Aggregate)
	}
	if x.RefuseEmpty = e.WhenEmpty == "refuse"; e.WhenEmpty != "" && e.WhenEmpty != "serve" && !x.RefuseEmpty {
		return nil, fmt.Errorf("when_empty must be serve or refuse, not %q", e.WhenEmpty)
	}
	if x.AllowFrom, err = export.ParsePrefixes(e.AllowFrom); err != nil {
		return nil, err
	}
	if err := e.auth(x, now); err != nil {
		return nil, err
	}
	if _, err := export.Check(x); err != nil {
		return nil, err
	}
	return x, x.Check()
}

// auth says how devices show who they are.
func (e *ExportSetting) auth(x *engine.Export, now int64) error {
	a, ways, secret := &e.Auth, 0, ""
	if a.Basic != nil {
		x.Auth, x.User, secret = engine.ExportBasic, a.Basic.User, a.Basic.Password
		ways++
	}
	if a.Token != "" {
		x.Auth, secret = engine.ExportToken, a.Token
		ways++
	}
	if a.Key {
		x.Auth = engine.ExportKey
		ways++
	}
	if a.Certificate != nil {
		x.Auth, x.OUs = engine.ExportCertificate, a.Certificate.AllowedOU
		ways++
	}
	switch {
	case ways > 1:
		return fmt.Errorf("auth must be one of basic, token, key and certificate, not %d of them", ways)
	case ways == 1 && e.Open, len(x.AllowFrom) > 0 && e.Open:
		return fmt.Errorf("open: true lets anybody in: leave out auth and allow_from, or open")
	case ways == 0 && e.Open:
		x.Auth = engine.ExportNone
	case ways == 0 && len(x.AllowFrom) == 0:
		return fmt.Errorf("nobody may have it: say auth (basic, token, key or certificate), allow_from, or open: true")
	case ways == 0:
		x.Auth = engine.ExportAddress
	}
	if !x.Auth.HasSecret() {
		return nil
	}
	if err := export.SecretFits(secret); err != nil {
		return fmt.Errorf("%w; it may be a variable of the environment", err)
	}
	x.Secrets = []engine.ExportSecret{{Hash: sha512.Sum512([]byte(secret)), At: now}}
	return nil
}
