package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"lapid/engine"
)

// Format is one tongue: how an entry is written, what stands around the entries, and what
// its reader takes. Adding one is a variable like those below, a line in formats, a golden
// file and something that reads it back.
type Format struct {
	Name    string
	Alias   []string // other names; what they mean is the same
	Reads   string   // who reads it, for people
	Type    string   // Content-Type; "": plain text
	Comment string   // what a line begins with that its reader skips; "": there are none
	Options []Option

	OneFamily bool          // a file has one; IPv4 unless the definition says IPv6
	NoSix     bool          // its reader knows IPv4 alone
	HostsOnly bool          // its reader knows no ranges
	Timed     bool          // what is left is told; not with timeout=off
	Longest   time.Duration // that its reader takes; 0: any
	Ends      bool          // ends are told as moments
	Words     bool          // types, origins or scenarios are told
	Dated     bool          // the revision is told, so equal lists may be other bytes
	Most      int           // entries that its reader bears; 0: any
	PerEntry  int           // bytes, about

	// head, line and foot write a body; whole does instead of them. Of a list without entries
	// there are head and foot alone.
	head, foot func(dst []byte, p *page) []byte
	line       func(dst []byte, p *page, e *Entry) []byte
	whole      func(dst []byte, p *page) []byte
}

// Option is a word of a definition that changes how a format writes.
type Option struct {
	Name, Usual string
	Takes       []string // "": any that fits
	Help        string
}

// briefest is what is left at least of an entry of a timed format: what ends sooner is over
// before the list is read.
const briefest = 5 * time.Second

// formats in the order of --help.
var formats = []*Format{
	&plainText, &paloalto, &fortigate, &cisco, &opnsense, &pfsense, &sophos, &sonicwall, &pf,
	&mikrotik, &nftables, &ipset, &nginxGeo4, &nginxGeo6, &nginxDeny, &haproxyMap, &haproxyACL,
	&juniper, &f5, &checkpoint, &csvFormat, &jsonFormat, &ndjson, &rbldnsd,
	&rpz, &apache, &awsIPSet, &cloudflare, &envoyRBAC, &caddy,
}

// Formats are all that there are. Read only.
func Formats() []*Format { return formats }

// FormatOf finds a format by its name or another name of it. What there is not is
// engine.ErrInvalid, and the error names those that there are.
func FormatOf(name string) (*Format, error) {
	var names []string
	for _, f := range formats {
		if f.Name == name || slices.Contains(f.Alias, name) {
			return f, nil
		}
		names = append(names, f.Name)
	}
	return nil, invalid("there is no format '%.40s': choose %s", name, strings.Join(names, ", "))
}

func invalid(format string, args ...any) error {
	return &engine.Error{Kind: engine.ErrInvalid, Text: fmt.Sprintf(format, args...)}
}

// Check says what of a definition the format cannot be, engine.ErrInvalid, and gives the
// format. Options are put in order.
func Check(x *engine.Export) (*Format, error) {
	f, err := FormatOf(x.Format)
	if err != nil {
		return nil, err
	}
	slices.Sort(x.Options)
	for i, text := range x.Options {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, invalid("option '%.60s' is not NAME=VALUE", text)
		}
		if i > 0 && strings.HasPrefix(x.Options[i-1], name+"=") {
			return nil, invalid("option %.40s is given twice", name)
		}
		if err := f.takes(name, value); err != nil {
			return nil, err
		}
	}
	if f == &nftables && f.option(x, "chain") != "none" && f.option(x, "family") == "netdev" {
		return nil, invalid("chain is for tables of the families inet, ip, ip6 and bridge: a netdev chain needs a device, so it is yours to write")
	}
	if f.slack(x) > 0 && (!x.Aggregate || !f.timed(x)) {
		return nil, invalid("merge_slack has no effect without aggregate, nor with timeout=off: leave it out")
	}
	if f.NoSix && x.Family == engine.IPv6 {
		return nil, invalid("%s knows IPv4 alone: leave out family ipv6", f.Name)
	}
	if f.fixed() != engine.BothFamilies && x.Family != engine.BothFamilies && x.Family != f.fixed() {
		return nil, invalid("%s is a file of %s alone", f.Name, f.fixed())
	}
	return f, nil
}

// takes is the error of an option that the format does not have, or not with this value.
func (f *Format) takes(name, value string) error {
	i := slices.IndexFunc(f.Options, func(o Option) bool { return o.Name == name })
	if i < 0 {
		var names []string
		for _, o := range f.Options {
			names = append(names, o.Name)
		}
		if len(names) == 0 {
			return invalid("format %s has no options: '%.40s' means nothing to it", f.Name, name)
		}
		return invalid("format %s has no option '%.40s': choose %s", f.Name, name, strings.Join(names, ", "))
	}
	o := &f.Options[i]
	if len(o.Takes) > 0 && !slices.Contains(o.Takes, value) {
		return invalid("option %s of %s is %s, not '%.40s'", name, f.Name, strings.Join(o.Takes, " or "), value)
	}
	if len(o.Takes) == 0 && (value == "" || string(appendPlain(nil, value)) != value && o.Name != "txt" && o.Name != "columns") {
		return invalid("option %s of %s has letters, digits and '._-/:' alone, %d of them at most", name, f.Name, longestWord)
	}
	if f.check(o.Name, value) != nil {
		return f.check(o.Name, value)
	}
	return nil
}

// check looks at what a list of values cannot say.
func (f *Format) check(name, value string) error {
	switch {
	case name == slackOption.Name:
		if d, err := time.ParseDuration(value); err != nil || d < 0 || d > longestSlack {
			return invalid("merge_slack is a duration of %v at most, such as 10m, not '%.40s'", longestSlack, value)
		}
	case f == &ipset && name == "set" && len(value) > 31-len("6-next"):
		return invalid("a set's name has at most %d characters here, for '6-next' is added to it", 31-len("6-next"))
	case f == &csvFormat && name == "columns":
		for _, c := range strings.Split(value, ",") {
			if !slices.Contains(csvColumns, c) {
				return invalid("columns are %s, not '%.40s'", strings.Join(csvColumns, ", "), c)
			}
		}
	case name == "txt":
		for i := range len(value) {
			if value[i] < ' ' || value[i] > '~' {
				return invalid("txt is one line of printable ASCII")
			}
		}
		if len(value) > 200 {
			return invalid("txt has 200 bytes at most")
		}
	}
	return nil
}

// fixed is the family of a format that has one alone.
func (f *Format) fixed() engine.Family {
	switch {
	case f.NoSix:
		return engine.IPv4
	case f == &nginxGeo6:
		return engine.IPv6
	}
	return engine.BothFamilies
}

// family is what a list of a format has.
func (f *Format) family(x *engine.Export) engine.Family {
	switch {
	case f.fixed() != engine.BothFamilies:
		return f.fixed()
	case f.OneFamily && x.Family == engine.BothFamilies:
		return engine.IPv4
	}
	return x.Family
}

// timed reports whether what is left of each entry is told.
func (f *Format) timed(x *engine.Export) bool {
	if f == &csvFormat {
		return slices.Contains(strings.Split(f.option(x, "columns"), ","), "duration")
	}
	return f.Timed && f.option(x, "timeout") != "off"
}

// longestSlack is how much sooner than decided an entry may end at most because it was joined.
const longestSlack = 24 * time.Hour

// slack is by how much ends of neighbours may differ that are joined.
func (f *Format) slack(x *engine.Export) time.Duration {
	d, _ := time.ParseDuration(f.option(x, slackOption.Name)) // it was looked at by Check
	return d
}

// TellsTime reports whether the bytes change while the list does not.
func (f *Format) TellsTime(x *engine.Export) bool { return f.timed(x) }

// most is how many entries there are at most; 0: any.
func (f *Format) most(x *engine.Export) int {
	most := f.Most
	if f == &ipset {
		most = ipsetMost
	}
	if x.Limit > 0 && (most == 0 || x.Limit < most) {
		most = x.Limit
	}
	return most
}

// option is the value of an option, or what it usually is.
func (f *Format) option(x *engine.Export, name string) string {
	for _, o := range x.Options {
		if value, ok := strings.CutPrefix(o, name+"="); ok {
			return value
		}
	}
	for i := range f.Options {
		if f.Options[i].Name == name {
			return f.Options[i].Usual
		}
	}
	return ""
}

// ContentType is what the body is.
func (f *Format) ContentType() string {
	if f.Type == "" {
		return "text/plain; charset=utf-8"
	}
	return f.Type
}

// page is what is written: a finished choice.
type page struct {
	*Choice
	format *Format
	x      *engine.Export
	texts  []text // by number of words
	option func(name string) string
}

// text is the words of a decision as the format may write them.
type text struct{ kind, origin, scenario, brief []byte }

// Render writes a finished choice. The bytes are the caller's.
func Render(c *Choice, f *Format, x *engine.Export) []byte {
	p := &page{Choice: c, format: f, x: x, option: func(name string) string { return f.option(x, name) }}
	p.texts = make([]text, len(c.words))
	for i := range c.words {
		w := &c.words[i]
		_, brief, found := strings.Cut(w.Scenario, "/")
		if !found {
			brief = w.Scenario
		}
		p.texts[i] = text{appendPlain(nil, w.Type), appendPlain(nil, w.Origin), appendPlain(nil, w.Scenario), appendPlain(nil, brief)}
	}
	dst := make([]byte, 0, len(c.Entries)*(f.PerEntry+f.PerEntry/4)+512)
	if f.whole != nil {
		return f.whole(dst, p)
	}
	if f.head != nil {
		dst = f.head(dst, p)
	}
	dst = p.remark(dst)
	for i := range c.Entries {
		dst = f.line(dst, p, &c.Entries[i])
	}
	if f.foot != nil {
		dst = f.foot(dst, p)
	}
	return dst
}

// remark says in a line of its own what the list lacks, or that it is empty, where the
// device knows comments.
func (p *page) remark(dst []byte) []byte {
	if p.format.Comment == "" {
		return dst
	}
	if n := p.Left.Omitted(); n > 0 {
		dst = fmt.Appendf(dst, "%s %d entries are left out\n", p.format.Comment, n)
	}
	if len(p.Entries) == 0 {
		dst = fmt.Appendf(dst, "%s no entries\n", p.format.Comment)
	}
	return dst
}

// left is what of an entry remains, in whole seconds, rounded down: at least one, and never
// longer than the reader takes.
func (p *page) left(e *Entry) int64 {
	s := (e.until - p.Now) / int64(time.Second)
	if most := int64(p.format.Longest / time.Second); most > 0 {
		s = min(s, most)
	}
	return max(s, 1)
}

// words are an entry's texts.
func (p *page) wordsOf(e *Entry) *text { return &p.texts[e.words] }
