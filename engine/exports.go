package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// NounExport is the noun of exports.
const NounExport Noun = "export"

// Export is a named list of banned addresses and ranges that devices pull: what of the
// decisions is on it, how it is written, and who may have it. What its format and options
// mean is the exporter's to know. A *Export is a value: every change makes a new one.
type Export struct {
	Name    string
	Path    string   // another path it is served at too; "": none
	Format  string   // as the exporter calls it
	Options []string // of the format, "name=value", by ascending name

	// What is on it. Types is ban alone when it is empty; the others are no filter then.
	Types, Origins, Containing []string
	Family                     Family
	Aggregate                  bool     // neighbours and what is covered are joined, exactly
	Limit                      int      // entries; 0: none
	Order                      Priority // which are kept where Limit cuts
	Allowlists                 []string // whose addresses are left out; empty: all
	NoAllowlists               bool     // none

	RefuseEmpty bool // an empty list is not served
	MayShrink   bool // also to less than half at once, whatever the reason

	// Who may have it.
	Auth      ExportAuth
	AllowFrom []netip.Prefix // empty: from anywhere
	User      string         // of ExportBasic; "": any
	OUs       []string       // of ExportCertificate; empty: those of bouncers
	Secrets   []ExportSecret // of ExportBasic and ExportToken, the newest first; two while one is rotated

	Declared  bool // it stands in lapid.yaml, which alone changes it
	CreatedAt int64
	UpdatedAt int64
}

// Family is which addresses are meant.
type Family uint8

// Families.
const (
	BothFamilies Family = iota
	IPv4
	IPv6
	families
)

// ExportAuth is how a device shows that it may have an export.
type ExportAuth uint8

// Ways to show it. ExportAddress is by the device's address alone, ExportNone by nothing.
const (
	ExportBasic ExportAuth = iota
	ExportToken
	ExportKey         // a bouncer's key
	ExportCertificate // a client's certificate
	ExportAddress
	ExportNone
	exportAuths
)

var (
	familyNames = [families]string{"both", "ipv4", "ipv6"}
	authNames   = [exportAuths]string{"basic", "token", "key", "certificate", "ip", "none"}
)

// String is the family's name in verbs and settings.
func (f Family) String() string { return familyNames[min(f, families-1)] }

// String is the way's name in verbs and settings.
func (a ExportAuth) String() string { return authNames[min(a, exportAuths-1)] }

// ParseFamily reads what String writes. ErrInvalid names those that there are.
func ParseFamily(name string) (Family, error) {
	if i := slices.Index(familyNames[:], strings.ToLower(name)); i >= 0 {
		return Family(i), nil
	}
	return 0, invalid("there is no family '%.40s': choose %s", name, strings.Join(familyNames[:], ", "))
}

// ParseExportAuth reads what String writes. ErrInvalid names those that there are.
func ParseExportAuth(name string) (ExportAuth, error) {
	if i := slices.Index(authNames[:], strings.ToLower(name)); i >= 0 {
		return ExportAuth(i), nil
	}
	return 0, invalid("there is no auth '%.40s': choose %s", name, strings.Join(authNames[:], ", "))
}

// HasSecret reports whether a device shows a secret that is the export's own.
func (a ExportAuth) HasSecret() bool { return a == ExportBasic || a == ExportToken }

// ExportSecret is a password or token, of which the hash alone is kept.
type ExportSecret struct {
	Hash KeyHash
	At   int64 // since when it is valid, Unix nanoseconds
}

// Bounds of exports. There is a rendered body of each in memory.
const (
	// MostExports is how many there are at most.
	MostExports = 256
	// LongestExportName is the most bytes of a name.
	LongestExportName = 64
	// mostExportSecrets is the one in use and the one before it.
	mostExportSecrets = 2
)

// Exports returns all exports by ascending name. Read only.
func (v *View) Exports() []*Export { return v.exports.order }

// Export returns the export of that name, nil when there is none. It does not allocate.
func (v *View) Export(name string) *Export { return v.exports.byName[name] }

// ExportNamed is Export for a name that is borrowed.
func (v *View) ExportNamed(name []byte) *Export { return v.exports.byName[string(name)] }

// ExportAt returns the export that has that path for its own, nil when there is none.
func (v *View) ExportAt(path string) *Export { return v.exports.byPath[path] }

// exportSet is all exports, never changed in place.
type exportSet struct {
	order          []*Export
	byName, byPath map[string]*Export
}

func newExportSet(list []*Export) *exportSet {
	s := &exportSet{order: list, byName: make(map[string]*Export, len(list)), byPath: map[string]*Export{}}
	slices.SortFunc(s.order, func(a, b *Export) int { return strings.Compare(a.Name, b.Name) })
	for _, x := range s.order {
		s.byName[x.Name] = x
		if x.Path != "" {
			s.byPath[x.Path] = x
		}
	}
	return s
}

// with returns a set that has some and lacks others.
func (s *exportSet) with(put []Export, drop []string) *exportSet {
	next := maps.Clone(s.byName)
	if next == nil {
		next = map[string]*Export{}
	}
	for _, name := range drop {
		delete(next, name)
	}
	for i := range put {
		next[put[i].Name] = &put[i]
	}
	return newExportSet(slices.Collect(maps.Values(next)))
}

// AddExport adds an export. A taken name or path is ErrExists, what is out of bounds
// ErrInvalid.
func (e *Engine) AddExport(ctx context.Context, x *Export) error {
	if err := x.fits(); err != nil {
		return err
	}
	return e.propose(ctx, &proposal{key: "export", resolve: func(v *View) (op, error) {
		if v.Export(x.Name) != nil {
			return nil, exists(NounExport, x.Name)
		}
		if len(v.exports.order) >= MostExports {
			return nil, invalid("there are %d exports, which is the most: delete one first", MostExports)
		}
		if err := v.exports.pathIsFree(x); err != nil {
			return nil, err
		}
		return &reviseExports{put: []Export{*x}}, nil
	}})
}

// ChangeExport applies change to a copy of an export, its lists included, and stores it; its
// name stays. change runs on the committer: it must be quick, and its error is returned.
// ErrNotFound when there is none, ErrRefused for one that stands in lapid.yaml, ErrInvalid
// when it becomes what no export can be.
func (e *Engine) ChangeExport(ctx context.Context, name string, change func(*Export) error) error {
	return e.propose(ctx, &proposal{key: "export", resolve: func(v *View) (op, error) {
		old, err := v.ownExport(name)
		if err != nil {
			return nil, err
		}
		x := old.clone()
		if err := change(&x); err != nil {
			return nil, err
		}
		x.Name, x.Declared, x.CreatedAt = old.Name, false, old.CreatedAt
		if err := x.fits(); err != nil {
			return nil, err
		}
		if err := v.exports.pathIsFree(&x); err != nil {
			return nil, err
		}
		return &reviseExports{put: []Export{x}}, nil
	}})
}

// DeleteExport removes an export. ErrNotFound when there is none, ErrRefused for one that
// stands in lapid.yaml.
func (e *Engine) DeleteExport(ctx context.Context, name string) error {
	return e.propose(ctx, &proposal{key: "export", resolve: func(v *View) (op, error) {
		if _, err := v.ownExport(name); err != nil {
			return nil, err
		}
		return &reviseExports{drop: []string{name}}, nil
	}})
}

// DeclareExports makes those that stand in lapid.yaml the ones of list, in one commit, or in
// none where they are these already. Their times are kept where nothing else changes. A name
// or path that another export has is ErrExists: then nothing is changed.
func (e *Engine) DeclareExports(ctx context.Context, list []Export) error {
	for i := range list {
		if err := list[i].fits(); err != nil {
			return err
		}
	}
	return e.propose(ctx, &proposal{key: "export", resolve: func(v *View) (op, error) {
		o := &reviseExports{}
		for _, old := range v.exports.order {
			if old.Declared && !slices.ContainsFunc(list, func(x Export) bool { return x.Name == old.Name }) {
				o.drop = append(o.drop, old.Name)
			}
		}
		for i := range list {
			x := list[i].clone()
			x.Declared = true
			if old := v.Export(x.Name); old != nil {
				if !old.Declared {
					return nil, exists(NounExport, x.Name)
				}
				x.CreatedAt = old.CreatedAt
				if same := x.as(old); bytes.Equal(same.append(nil), old.append(nil)) {
					continue
				}
			}
			o.put = append(o.put, x)
		}
		next := v.exports.with(o.put, o.drop)
		if len(next.order) > MostExports {
			return nil, invalid("these would be %d exports: %d are the most", len(next.order), MostExports)
		}
		for i := range o.put {
			if err := next.pathIsFree(&o.put[i]); err != nil {
				return nil, err
			}
		}
		if len(o.put)+len(o.drop) == 0 {
			return nil, nil
		}
		return o, nil
	}})
}

// as is an export with the times of another, and of its secrets.
func (x *Export) as(old *Export) Export {
	same := *x
	same.CreatedAt, same.UpdatedAt, same.Secrets = old.CreatedAt, old.UpdatedAt, slices.Clone(x.Secrets)
	for i := range min(len(same.Secrets), len(old.Secrets)) {
		same.Secrets[i].At = old.Secrets[i].At
	}
	return same
}

// ownExport is an export that an operator may change.
func (v *View) ownExport(name string) (*Export, error) {
	x := v.Export(name)
	switch {
	case x == nil:
		return nil, notFound(NounExport, name)
	case x.Declared:
		return nil, &Error{Kind: ErrRefused, Noun: NounExport, Name: name, Text: "export '" + name + "' stands in lapid.yaml: change it there and reload"}
	}
	return x, nil
}

// ownPaths are those outside of /v1 and /exports that the server answers itself. A stored export
// may have one, of before it was taken: it is not served there.
var ownPaths = []string{"/auth", "/health"}

func (s *exportSet) pathIsFree(x *Export) error {
	if x.Path == "" {
		return nil
	}
	if slices.Contains(ownPaths, x.Path) {
		return invalid("the path %s is the server's own: choose another", x.Path)
	}
	for _, other := range s.order {
		if other.Name != x.Name && other.Path == x.Path {
			return invalid("export '%s' has the path %s already: choose another", other.Name, x.Path)
		}
	}
	return nil
}

func (x *Export) clone() Export {
	c := *x
	for _, list := range c.lists() {
		*list = slices.Clone(*list)
	}
	c.AllowFrom, c.Secrets = slices.Clone(x.AllowFrom), slices.Clone(x.Secrets)
	return c
}

func (x *Export) lists() [6]*[]string {
	return [...]*[]string{&x.Options, &x.Types, &x.Origins, &x.Containing, &x.Allowlists, &x.OUs}
}

// Check is the error of what no export can be, ErrInvalid.
func (x *Export) Check() error { return x.fits() }

func (x *Export) fits() error {
	if err := ExportNameFits(x.Name); err != nil {
		return err
	}
	if err := exportPathFits(x.Path); err != nil {
		return err
	}
	for i, list := range x.lists() {
		if err := sightWords([...]string{"options", "types", "origins", "scenarios-containing", "allowlists", "allowed-ou"}[i], *list); err != nil {
			return err
		}
	}
	switch {
	case x.Format == "" || len(x.Format) > LongestExportName || len(x.User) > LongestExportName:
		return invalid("the format and the user of an export have 1 to %d bytes", LongestExportName)
	case x.Limit < 0:
		return invalid("limit is %d: it must be 1 or more, or 0 for none", x.Limit)
	case x.Order >= priorities || x.Family >= families || x.Auth >= exportAuths:
		return invalid("order, family or auth of the export is unknown")
	case len(x.AllowFrom) > SightWords:
		return invalid("allow-from has %d ranges: %d are the most", len(x.AllowFrom), SightWords)
	case x.Auth == ExportAddress && len(x.AllowFrom) == 0:
		return invalid("auth is ip, and allow-from is empty: say which addresses may have the export")
	case len(x.Secrets) > mostExportSecrets:
		return invalid("an export has %d secrets at most", mostExportSecrets)
	}
	return nil
}

// ExportNameFits is the error of what cannot be an export's name: it is a segment of a path.
func ExportNameFits(name string) error {
	if name == "" || len(name) > LongestExportName || strings.Trim(name, ".") == "" {
		return invalid("an export's name has 1 to %d letters, digits, '.', '_' and '-'", LongestExportName)
	}
	for _, b := range []byte(name) {
		if !plainNameByte(b) {
			return invalid("an export's name has letters, digits, '.', '_' and '-' alone: '%.64s' has others", name)
		}
	}
	return nil
}

func plainNameByte(b byte) bool {
	return b == '.' || b == '_' || b == '-' || '0' <= b && b <= '9' || 'a' <= lowerASCII(b) && lowerASCII(b) <= 'z'
}

func exportPathFits(path string) error {
	if path == "" {
		return nil
	}
	if path[0] != '/' || len(path) > 256 || strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/exports/") || strings.HasSuffix(path, "/") {
		return invalid("path must begin with '/', not end with it, and be neither below /v1/ nor below /exports/")
	}
	for _, b := range []byte(path) {
		if b != '/' && !plainNameByte(b) {
			return invalid("path has letters, digits, '/', '.', '_' and '-' alone")
		}
	}
	return nil
}

// append writes an export, without the length of the row.
func (x *Export) append(dst []byte) []byte {
	dst = appendString(appendString(appendString(dst, x.Name), x.Path), x.Format)
	for _, list := range x.lists() {
		dst = appendStrings(dst, *list)
	}
	dst = append(dst, byte(x.Family), byte(x.Order), byte(x.Auth))
	dst = binary.AppendUvarint(dst, uint64(x.Limit))
	for _, is := range [...]bool{x.Aggregate, x.NoAllowlists, x.RefuseEmpty, x.MayShrink, x.Declared} {
		dst = appendBool(dst, is)
	}
	dst = binary.AppendUvarint(dst, uint64(len(x.AllowFrom)))
	for _, p := range x.AllowFrom {
		dst = appendPrefix(dst, p)
	}
	dst = binary.AppendUvarint(appendString(dst, x.User), uint64(len(x.Secrets)))
	for i := range x.Secrets {
		dst = binary.AppendVarint(append(dst, x.Secrets[i].Hash[:]...), x.Secrets[i].At)
	}
	return binary.AppendVarint(binary.AppendVarint(dst, x.CreatedAt), x.UpdatedAt)
}

func (x *Export) decode(d *decoder) {
	x.Name, x.Path, x.Format = d.string(), d.string(), d.string()
	for _, list := range x.lists() {
		if *list = d.strings(); len(*list) == 0 {
			*list = nil
		}
	}
	x.Family, x.Order, x.Auth = Family(d.byte()), Priority(d.byte()), ExportAuth(d.byte())
	x.Limit = int(d.uvarint())
	for _, is := range [...]*bool{&x.Aggregate, &x.NoAllowlists, &x.RefuseEmpty, &x.MayShrink, &x.Declared} {
		*is = d.bool()
	}
	for range d.count(2) {
		x.AllowFrom = append(x.AllowFrom, d.prefix())
	}
	x.User = d.string()
	for range d.count(len(KeyHash{}) + 1) {
		var s ExportSecret
		d.fixed(s.Hash[:])
		s.At = d.varint()
		x.Secrets = append(x.Secrets, s)
	}
	x.CreatedAt, x.UpdatedAt = d.varint(), d.varint()
	if x.fits() != nil {
		d.fail()
	}
}

// reviseExports stores exports as they are from now on, and removes others.
type reviseExports struct {
	put  []Export
	drop []string
}

func (*reviseExports) number() byte { return numberReviseExports }
func (o *reviseExports) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(o.put)))
	for i := range o.put {
		dst = endRow(o.put[i].append(dst), len(dst))
	}
	return appendStrings(dst, o.drop)
}
func (o *reviseExports) decode(d *decoder) {
	o.put = make([]Export, d.count(2))
	for i := range o.put {
		behind := d.open()
		o.put[i].decode(d)
		d.close(behind)
	}
	o.drop = d.strings()
}
func (o *reviseExports) apply(s *state, rev Revision) {
	s.next.exports = s.next.exports.with(o.put, o.drop)
}

// writeExports adds them to a snapshot.
func (p *people) writeExports(w *sections) {
	for _, x := range p.exports {
		from := len(w.body)
		w.body = x.append(w.body)
		if w.row(from) {
			w.end(sectionExports)
		}
	}
	w.end(sectionExports)
}

// readExports is the mirror.
func (l *loader) readExports(d *decoder) {
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		behind, x := d.open(), &Export{}
		x.decode(d)
		d.close(behind)
		if len(l.exports) >= MostExports || slices.ContainsFunc(l.exports, func(o *Export) bool { return o.Name == x.Name }) {
			d.fail()
		}
		l.exports = append(l.exports, x)
	}
}
