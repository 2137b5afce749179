package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Bounds of what is stored. Every text of every record has one, which is checked before
// it is stored: no machine, bouncer or operator can make a record that is expensive to
// hold, to write down or to list. They are far above what is usual.
//
// What a bouncer or machine says of itself, or an operator types, is refused when it is
// longer (ErrInvalid), and nothing of it is stored. An alert is never refused for it: its
// long texts are cut, its surplus is left out, a decision whose value is too long
// is dropped, and with its last decision the alert; all of it is counted
// (Metrics.Bounded) and said in the log. A value is never cut, for half of one names
// something else.
//
// Records of programs that had no bounds stay as they are: a change of one is
// refused only for a text that it makes longer than it may be.
const (
	// LongestName is for what names something, in bytes: a machine, a bouncer, an
	// allowlist, a hub item, a data source, a scenario.
	LongestName = 1024
	// longestRowName is for the names of rows, in bytes: a name of the longest and
	// the address it was used from.
	longestRowName = LongestName + 64
	// LongestWord is for versions and operating systems, in characters. It is the
	// contract's for usage metrics.
	LongestWord = 255
	// LongestText is for what only operators read, in bytes: the description of an
	// allowlist, the comment on an item.
	LongestText = 1024
	// longestHash is for password hashes, in bytes (bcrypt has 60).
	longestHash = 256
	// longestSecret is for the server's own secrets, in bytes.
	longestSecret = 64 << 10

	// LongestScenarios is for the list of scenarios of a login, joined, in bytes.
	// A longer one is cut between two scenarios; the login goes on.
	LongestScenarios = 64 << 10

	// What a machine or bouncer reports about itself.
	mostFlags   = 64      // feature flags
	mostFlagged = 16384   // their texts together, in bytes
	mostSources = 1024    // data sources
	mostHubKind = 64      // kinds of hub items
	mostHub     = 10_000  // hub items of all kinds
	mostHubText = 1 << 20 // their texts together, in bytes

	// mostItems is for the items of all allowlists.
	mostItems = 4 << 20
	// mostItemText is for the texts of the items that are added at once, in bytes.
	mostItemText = 64 << 20

	// LongestValue is for the value of a decision, in bytes; longer, the decision is
	// dropped. The value of a source is left out.
	LongestValue = 4096
	// longestMessage is for that of an alert, in bytes. Its other texts, and the
	// words of decisions, may be as long as a name.
	longestMessage = 256 << 10
	// Metadata of an alert and its events: longer keys and values are cut.
	longestMetaKey   = 1024    // bytes
	longestMetaValue = 8 << 10 // bytes
	mostMetaText     = 1 << 20 // of an alert, not of its events, in bytes
	// mostAlert is for what is kept of one alert, in bytes. Events that go beyond are
	// left out, the last first; there is room for ten thousand usual ones.
	mostAlert = 16 << 20

	// Usage metrics, in bytes of the metrics part. What goes beyond is not kept; what
	// the report says of its sender is.
	mostUsageReport  = 1 << 20   // of one report
	mostUsageSender  = 16 << 20  // of one sender on one day
	mostUsageReports = 2_000     // reports of one sender on one day; one a minute are 1 440
	mostUsageKey     = 256 << 20 // of all rows of one name, on one day
)

// fitting finds the first text of a record that is too long.
type fitting struct{ problem string }

func (f *fitting) err() error {
	if f.problem == "" {
		return nil
	}
	return &Error{Kind: ErrInvalid, Text: f.problem}
}

func (f *fitting) add(format string, args ...any) {
	if f.problem == "" {
		f.problem = fmt.Sprintf(format, args...)
	}
}

// bytes checks a text; one that has not changed may be as long as it is.
func (f *fitting) bytes(name, text, old string, most int) {
	if len(text) > most && text != old {
		f.add("%s in body should be at most %d bytes long", name, most)
	}
}

func (f *fitting) word(name, text, old string) {
	if !isWord(text) && text != old {
		f.add("%s in body should be at most %d chars long", name, LongestWord)
	}
}

func isWord(text string) bool {
	return len(text) <= LongestWord || utf8.RuneCountInString(text) <= LongestWord
}

func (f *fitting) number(name string, n, most int) {
	if n > most {
		f.add("%s in body should have at most %d items", name, most)
	}
}

func (f *fitting) os(o, old OS) {
	f.word("os.family", o.Family, old.Family)
	f.word("os.name", o.Name, old.Name)
	f.word("os.version", o.Version, old.Version)
}

func (f *fitting) flags(list, old []string) {
	if slices.Equal(list, old) {
		return
	}
	f.number("feature_flags", len(list), mostFlags)
	size := 0
	for _, flag := range list {
		f.bytes("feature_flags", flag, "", LongestName)
		size += len(flag)
	}
	if size > mostFlagged {
		f.add("feature_flags in body should be at most %d bytes long", mostFlagged)
	}
}

func (f *fitting) sources(list, old []Count) {
	if slices.Equal(list, old) {
		return
	}
	f.number("datasources", len(list), mostSources)
	for _, c := range list {
		f.bytes("datasources", c.Name, "", LongestName)
	}
}

func (f *fitting) hub(hub map[string][]HubItem) {
	f.number("hub_items", len(hub), mostHubKind)
	n, size := 0, 0
	for kind, items := range hub {
		f.bytes("hub_items", kind, "", LongestName)
		n, size = n+len(items), size+len(kind)
		for i := range items {
			for _, text := range [...]string{items[i].Name, items[i].Version, items[i].Status} {
				f.bytes("hub_items", text, "", LongestName)
				size += len(text)
			}
		}
	}
	f.number("hub_items", n, mostHub)
	if size > mostHubText {
		f.add("hub_items in body should be at most %d bytes long", mostHubText)
	}
}

// longestNameOf is for a name that was chosen, or one that ends with an
// address.
func longestNameOf(proof AuthType, automatic bool) int {
	if automatic || proof == AuthTLS {
		return longestRowName
	}
	return LongestName
}

// fits checks a machine that takes the place of another, or of none.
func (m *Machine) fits(old *Machine) error {
	if old == nil {
		old = &Machine{}
	}
	var f fitting
	f.bytes("machine_id", m.ID, old.ID, longestNameOf(m.AuthType, false))
	f.bytes("password", string(m.PasswordHash), string(old.PasswordHash), longestHash)
	f.word("auth_type", string(m.AuthType), string(old.AuthType))
	f.word("ip", m.IP, old.IP)
	f.word("version", m.Version, old.Version)
	f.bytes("scenarios", m.Scenarios, old.Scenarios, LongestScenarios)
	f.os(m.OS, old.OS)
	f.flags(m.FeatureFlags, old.FeatureFlags)
	f.sources(m.DataSources, old.DataSources)
	if !maps.EqualFunc(m.HubItems, old.HubItems, slices.Equal) {
		f.hub(m.HubItems)
	}
	return f.err()
}

// fits checks a bouncer that takes the place of another, or of none.
func (b *Bouncer) fits(old *Bouncer) error {
	if old == nil {
		old = &Bouncer{}
	}
	says, said := b.Software, old.Software
	if says == nil {
		says = &Software{}
	}
	if said == nil {
		said = &Software{}
	}
	var f fitting
	f.bytes("name", b.Name, old.Name, longestNameOf(b.AuthType, b.AutoCreated))
	f.word("auth_type", string(b.AuthType), string(old.AuthType))
	f.bytes("type", says.Type, said.Type, LongestName)
	f.word("version", says.Version, said.Version)
	f.os(says.OS, said.OS)
	f.flags(says.FeatureFlags, said.FeatureFlags)
	if _, err := b.Sight.Tidy(); err != nil {
		return err
	}
	if err := b.Hold.fits(); err != nil {
		return err
	}
	return f.err()
}

// fits checks what a report says of its sender. The metrics have bounds of their
// own (usage.go).
func (u *Usage) fits() error {
	var f fitting
	f.bytes("name", u.Name, "", longestRowName)
	f.bytes("type", u.Type, "", LongestName)
	f.word("version", u.Version, "")
	f.os(u.OS, OS{})
	f.flags(u.FeatureFlags, nil)
	f.sources(u.DataSources, nil)
	f.hub(u.HubItems)
	return f.err()
}

// fits checks a new list.
func (l *Allowlist) fits() error {
	var f fitting
	f.bytes("name", l.Name, "", LongestName)
	f.bytes("description", l.Description, "", LongestText)
	f.bytes("id", l.ConsoleID, "", LongestName)
	return f.err()
}

// itemsFit checks items that are to be added.
func itemsFit(items []AllowlistItem) error {
	var f fitting
	f.number("items", len(items), mostItems)
	size := 0
	for i := range items {
		f.bytes("value", items[i].Value, "", LongestWord)
		f.bytes("comment", items[i].Comment, "", LongestText)
		if p := items[i].Prefix; !p.IsValid() || p != p.Masked() {
			f.add("item %.100q has no address or range", items[i].Value)
		}
		size += items[i].size()
	}
	if size > mostItemText {
		f.add("the items are %d bytes in all, and at most %d can be added at once: add them in several steps", size, mostItemText)
	}
	return f.err()
}

// cutScenarios shortens a list of scenarios, joined by commas, between two of
// them.
func cutScenarios(list string) string {
	if len(list) <= LongestScenarios {
		return list
	}
	list = list[:LongestScenarios+1]
	return strings.Clone(list[:max(strings.LastIndexByte(list, ','), 0)])
}

// cutBytes shortens a text to at most so many bytes, between two characters, and
// counts it. The rest is not kept alive.
func cutBytes(text *string, most int, cut *cuts) {
	if len(*text) <= most {
		return
	}
	for most > 0 && !utf8.RuneStart((*text)[most]) {
		most--
	}
	*text = strings.Clone((*text)[:most])
	cut.texts++
}

// cuts is what one alert lost.
type cuts struct {
	texts     int // that were cut
	values    int // of sources, left out
	decisions int // dropped, for their values
	events    int // left out
	meta      int // entries of the alert's own metadata, left out
}

// bound cuts an alert to what may be stored of it; decisions are bound by plans.
func (a *Alert) bound(c *cuts) {
	cutBytes(&a.Message, longestMessage, c)
	s := &a.Source
	for _, text := range [...]*string{&a.Scenario, &a.ScenarioHash, &a.ScenarioVersion, &a.Kind, &a.Leakspeed, &s.Scope, &s.AsName, &s.AsNumber, &s.Cn} {
		cutBytes(text, LongestName, c)
	}
	for _, value := range [...]*string{&s.Value, &s.IP, &s.Range} {
		if len(*value) > LongestValue {
			*value = ""
			c.values++
		}
	}
	a.boundMeta(c)
	a.boundEvents(c)
}

func (a *Alert) boundMeta(c *cuts) {
	size := 0
	for i := range a.Meta {
		m := &a.Meta[i]
		m.bound(c)
		if size += len(m.Key) + len(m.Value) + metaOverhead; size > mostMetaText {
			c.meta += len(a.Meta) - i
			a.Meta = slices.Clone(a.Meta[:i])
			return
		}
	}
}

func (m *Meta) bound(c *cuts) {
	cutBytes(&m.Key, longestMetaKey, c)
	cutBytes(&m.Value, longestMetaValue, c)
}

// metaOverhead is how many bytes an entry takes beside its texts, at most.
const metaOverhead = 6

func (a *Alert) boundEvents(c *cuts) {
	size := 0
	for i := range a.Events {
		e := &a.Events[i]
		e.bound(c)
		size += 16
		for j := range e.Meta {
			size += len(e.Meta[j].Key) + len(e.Meta[j].Value) + metaOverhead
		}
		if size > mostAlert {
			c.events += len(a.Events) - i
			a.Events = slices.Clone(a.Events[:i])
			return
		}
	}
}

func (e *Event) bound(c *cuts) {
	for i := range e.Meta {
		cutBytes(&e.Meta[i].Key, longestMetaValue, c)
		cutBytes(&e.Meta[i].Value, longestMetaValue, c)
	}
}

// Lost is what an alert is stored without, because it is beyond a bound.
type Lost struct {
	Texts  int // that were cut
	Values int // of the source, left out
	Events int // left out, the last of them
	Meta   int // entries of the alert's own metadata, left out, the last of them
}

// Bound cuts an alert to what is stored of it, as storing does, and says what it lost. Its
// Decisions stay. The caller owns the alert, and its lists are changed in place.
func (a *Alert) Bound() Lost {
	var c cuts
	a.bound(&c)
	return Lost{c.texts, c.values, c.events, c.meta}
}

// Bound cuts an event to what is stored of it, and reports whether it lost something. Its list
// is changed in place.
func (e *Event) Bound() bool {
	var c cuts
	e.bound(&c)
	return c.any()
}

// Bound cuts an entry of an alert's metadata to what is stored of it, and reports whether it
// lost something.
func (m *Meta) Bound() bool {
	var c cuts
	m.bound(&c)
	return c.any()
}

// bound cuts the words of a decision, and reports whether its value can be kept.
func (d *NewDecision) bound(c *cuts) bool {
	if len(d.Value) > LongestValue {
		c.decisions++
		return false
	}
	for _, word := range [...]*string{&d.Scope, &d.Type, &d.Origin, &d.Scenario} {
		cutBytes(word, LongestName, c)
	}
	return true
}

func (c *cuts) any() bool { return *c != cuts{} }

// Fits checks a decision that an operator asks for. The operator is told what is too
// long, where a log processor's is cut or dropped. The error is an ErrInvalid.
func (d *NewDecision) Fits() error {
	var f fitting
	f.bytes("value", d.Value, "", LongestValue)
	f.bytes("scope", d.Scope, "", LongestName)
	f.bytes("type", d.Type, "", LongestName)
	f.bytes("origin", d.Origin, "", LongestName)
	f.bytes("reason", d.Scenario, "", LongestName)
	return f.err()
}

// BoundedCount is how often something was cut or left out because it was beyond
// a bound.
type BoundedCount struct {
	What string // a word in snake case
	N    uint64
}

// boundCounts counts what did not fit, since the start. Any goroutine.
type boundCounts struct {
	n        [boundKinds]atomic.Uint64
	logged   atomic.Int64  // when a line was written last, Unix nanoseconds
	unlogged atomic.Uint64 // how many lines were left out since
}

// What can be beyond a bound and is stored all the same, without it.
const (
	boundText = iota
	boundValue
	boundDecision
	boundEvent
	boundMeta
	boundScenarios
	boundUsage
	boundKinds
)

var boundWords = [boundKinds]string{"text", "value", "decision", "event", "meta", "scenarios", "usage_report"}

func (b *boundCounts) counts() []BoundedCount {
	list := make([]BoundedCount, boundKinds)
	for i := range list {
		list[i] = BoundedCount{boundWords[i], b.n[i].Load()}
	}
	return list
}

// boundLogged is how often at most something beyond a bound is said in the log.
const boundLogged = int64(10 * time.Second)

// log writes a line, unless one was written just now.
func (b *boundCounts) log(e *Engine, line string, details ...any) {
	now, last := e.Now(), b.logged.Load()
	if last != 0 && now-last < boundLogged && now >= last || !b.logged.CompareAndSwap(last, now) {
		b.unlogged.Add(1)
		return
	}
	if more := b.unlogged.Swap(0); more > 0 {
		details = append(details, "more_since_the_last_line", more)
	}
	e.log.Warn(line, details...)
}

// alert counts what an alert lost.
func (b *boundCounts) alert(e *Engine, a *Alert, c *cuts) {
	for kind, n := range [...]int{boundText: c.texts, boundValue: c.values, boundDecision: c.decisions, boundEvent: c.events, boundMeta: c.meta} {
		b.n[kind].Add(uint64(n))
	}
	b.log(e, "an alert is stored without what is beyond the bounds", "machine", a.MachineID, "scenario", a.Scenario,
		"texts_cut", c.texts, "values_left_out", c.values, "decisions_dropped", c.decisions, "events_left_out", c.events, "meta_left_out", c.meta)
}

// FitScenarios shortens a machine's list of scenarios, joined by commas, to what
// is stored of it: between two of them, and counted.
func (e *Engine) FitScenarios(machine, list string) string {
	fitting := cutScenarios(list)
	if len(fitting) < len(list) {
		e.bounded.n[boundScenarios].Add(1)
		e.bounded.log(e, "a machine's list of scenarios is cut", "machine", machine, "bytes", len(list), "kept", len(fitting))
	}
	return fitting
}
