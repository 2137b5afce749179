package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Sight is what one bouncer may see, decided on the server; nil sees everything. What the
// bouncer asks for narrows it further and never widens it.
//
// A Sight is a value: it is never changed after it was published, its lists neither. Those
// of stored bouncers are shared: equal ones are one pointer, however many rows have them,
// and their lists are sorted and hold nothing twice. Compare two of unknown make by their
// Fingerprint.
type Sight struct {
	// Filters, as the parameters of the stream are spelt: exact origins (a pulled list's is
	// lists), scopes in their canonical spelling, types; texts that occur in the scenario,
	// ASCII case ignored. An empty list is no filter.
	Origins, NotOrigins, Scopes, Types, Containing, NotContaining []string

	// MaxEntries is how many decisions the bouncer holds at most, those that come first
	// by Priority; 0: no bound. Live queries have none.
	MaxEntries int
	Priority   Priority

	// MaxDuration and MinDuration are between what the durations told are held; 0: no bound.
	// The decisions themselves end when they end.
	MaxDuration, MinDuration time.Duration

	Allowlists []string // names; what they cover is hidden from this bouncer
	Canonical  bool     // every address is told in its one clean spelling, once

	print uint64 // of a shared one; 0: to be computed
}

// Priority is which decisions are told first where there is room for so many alone.
type Priority uint8

// Priorities.
const (
	LocalFirst Priority = iota // by origin: decided here, then lists, then the community; then Longest
	Newest                     // decided last
	Longest                    // ends last, then Newest
	priorities                 // how many there are
)

var priorityNames = [priorities]string{"local-first", "newest", "longest"}

// String is the priority's name in verbs and settings.
func (p Priority) String() string {
	if p < priorities {
		return priorityNames[p]
	}
	return fmt.Sprintf("priority %d", uint8(p))
}

// ParsePriority reads what String writes. ErrInvalid names those that there are.
func ParsePriority(name string) (Priority, error) {
	if i := slices.Index(priorityNames[:], name); i >= 0 {
		return Priority(i), nil
	}
	return 0, invalid("there is no priority '%.40s': choose %s", name, strings.Join(priorityNames[:], ", "))
}

// Bounds of a sight.
const (
	// SightWords is how many words one list has at most.
	SightWords = 64
	// SightWord is how long one is, in bytes.
	SightWord = 1024
)

// Tidy returns the sight in its canonical form: lists sorted, without doubles, scopes in
// their canonical spelling; nil when nothing is left that could be hidden or changed.
// What is out of bounds, or would have no effect, is ErrInvalid. s itself is left as it is, and may be nil.
func (s *Sight) Tidy() (*Sight, error) {
	if s == nil {
		return nil, nil
	}
	out := *s
	out.print = 0
	for i, list := range out.lists() {
		words := make([]string, 0, len(*list))
		for _, w := range *list {
			if list == &out.Scopes {
				w = CanonicalScope(w)
			}
			words = append(words, w)
		}
		slices.Sort(words)
		if *list = slices.Compact(words); len(*list) == 0 {
			*list = nil
		}
		if err := sightWords(sightLists[i], *list); err != nil {
			return nil, err
		}
	}
	switch {
	case out.MaxEntries < 0:
		return nil, invalid("max-entries is %d: it must be 1 or more, or 0 for no bound", out.MaxEntries)
	case out.Priority >= priorities:
		return nil, invalid("%s is unknown: choose %s", out.Priority, strings.Join(priorityNames[:], ", "))
	case out.MaxEntries == 0 && out.Priority != LocalFirst:
		return nil, invalid("priority %s orders nothing without max-entries: say that too", out.Priority)
	case out.MinDuration < 0 || out.MaxDuration < 0:
		return nil, invalid("a bound of durations is negative: it must be longer than nothing, or 0 for no bound")
	case out.MaxDuration > 0 && out.MaxDuration < ShortestBound:
		return nil, invalid("max-duration is %s: it must be %s or more, for bouncers would forget their decisions between two polls", out.MaxDuration, ShortestBound)
	case out.MaxDuration > 0 && out.MinDuration > out.MaxDuration:
		return nil, invalid("min-duration is %s and max-duration %s: the first must not be longer", out.MinDuration, out.MaxDuration)
	}
	if out.isNothing() {
		return nil, nil
	}
	return &out, nil
}

// ShortestBound is the shortest MaxDuration.
const ShortestBound = 10 * time.Second

// sightLists are the lists' names, as the verbs have them, in the order of lists.
var sightLists = [...]string{"origins", "not-origins", "scopes", "types", "scenarios-containing", "not-containing", "allowlist"}

func (s *Sight) lists() [7]*[]string {
	return [...]*[]string{&s.Origins, &s.NotOrigins, &s.Scopes, &s.Types, &s.Containing, &s.NotContaining, &s.Allowlists}
}

func sightWords(name string, list []string) error {
	if len(list) > SightWords {
		return invalid("%s names %d words: %d are the most", name, len(list), SightWords)
	}
	for _, w := range list {
		if w == "" {
			return invalid("%s has an empty word: leave it out", name)
		}
		if len(w) > SightWord {
			return invalid("a word of %s has %d bytes: %d are the most", name, len(w), SightWord)
		}
	}
	return nil
}

func (s *Sight) isNothing() bool {
	for _, list := range s.lists() {
		if len(*list) > 0 {
			return false
		}
	}
	return s.MaxEntries == 0 && s.MaxDuration == 0 && s.MinDuration == 0 && !s.Canonical
}

// Filters reports whether the sight hides decisions by what they are: by origin, scope,
// type or scenario.
func (s *Sight) Filters() bool {
	return s != nil && len(s.Origins)+len(s.NotOrigins)+len(s.Scopes)+len(s.Types)+len(s.Containing)+len(s.NotContaining) > 0
}

// sightWordsOf are a sight's words as numbers of one state.
type sightWordsOf struct{ origins, notOrigins, scopes, types []uint32 }

func (w *sightWordsOf) reset() {
	w.origins, w.notOrigins, w.scopes, w.types = w.origins[:0], w.notOrigins[:0], w.scopes[:0], w.types[:0]
}

// look resolves a sight's words, for admits. A filter of which no word is known here
// admits nothing.
func (m *matcher) look(s *state, sight *Sight) {
	m.sight.reset()
	if sight == nil {
		return
	}
	w := &m.sight
	w.origins = m.only(s, w.origins, sight.Origins)
	w.scopes = m.only(s, w.scopes, sight.Scopes)
	w.types = m.only(s, w.types, sight.Types)
	w.notOrigins = lookup(s, w.notOrigins, sight.NotOrigins)
}

func (m *matcher) only(s *state, dst []uint32, words []string) []uint32 {
	dst = lookup(s, dst, words)
	m.never = m.never || len(dst) == 0 && len(words) > 0
	return dst
}

func lookup(s *state, dst []uint32, words []string) []uint32 {
	for _, text := range words {
		if n, ok := s.strings.Lookup(text); ok {
			dst = append(dst, n)
		}
	}
	return dst
}

// Occurs reports whether a word stands in anything that is stored, letter by letter: a type or
// scope that does not is that of no decision here. It does not allocate.
func (v *View) Occurs(word string) bool {
	_, known := v.state.strings.Lookup(word)
	return known
}

// sees reports whether a record passes the sight's filters.
func (w *sightWordsOf) sees(s *state, sight *Sight, r *record) bool {
	has := s.wordsOf(r)
	if len(sight.Origins) > 0 && !slices.Contains(w.origins, has.Origin) ||
		len(sight.Scopes) > 0 && !slices.Contains(w.scopes, has.Scope) ||
		len(sight.Types) > 0 && !slices.Contains(w.types, has.Type) ||
		slices.Contains(w.notOrigins, has.Origin) {
		return false
	}
	if len(sight.Containing)+len(sight.NotContaining) == 0 {
		return true
	}
	return sight.seesScenario(s.strings.At(has.Scenario))
}

func (s *Sight) seesScenario(scenario string) bool {
	occurs := func(w string) bool { return containsFold(scenario, w) }
	return (len(s.Containing) == 0 || slices.ContainsFunc(s.Containing, occurs)) && !slices.ContainsFunc(s.NotContaining, occurs)
}

// Fingerprint is the same for equal sights, on every machine and for ever, and another for
// others; 0 for nil. Of a shared one it costs nothing.
func (s *Sight) Fingerprint() uint64 {
	if s == nil {
		return 0
	}
	if s.print != 0 {
		return s.print
	}
	return fingerprint(s.append(nil))
}

func fingerprint(encoded []byte) uint64 {
	sum := sha256.Sum256(encoded)
	return cmp.Or(binary.BigEndian.Uint64(sum[:8]), 1)
}

// append writes a tidy sight, as a row.
func (s *Sight) append(dst []byte) []byte {
	from := len(dst)
	for _, list := range s.lists() {
		dst = appendStrings(dst, *list)
	}
	dst = append(binary.AppendUvarint(dst, uint64(s.MaxEntries)), byte(s.Priority))
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(s.MaxDuration)), uint64(s.MinDuration))
	return endRow(appendBool(dst, s.Canonical), from)
}

// sight reads what append wrote. What is no tidy sight fails.
func (d *decoder) sight() *Sight {
	s, behind := &Sight{}, d.open()
	for _, list := range s.lists() {
		*list = d.strings()
	}
	s.MaxEntries, s.Priority = int(d.uvarint()), Priority(d.byte())
	s.MaxDuration, s.MinDuration = time.Duration(d.uvarint()), time.Duration(d.uvarint())
	s.Canonical = d.bool()
	d.close(behind)
	if tidy, err := s.Tidy(); err != nil || tidy == nil || tidy.Fingerprint() != s.Fingerprint() {
		d.fail()
	}
	return s
}

// appendSight writes a sight or that there is none.
func appendSight(dst []byte, s *Sight) []byte {
	if s == nil {
		return append(dst, 0)
	}
	return s.append(append(dst, 1))
}

func (d *decoder) optionalSight() *Sight {
	if d.byte() == 0 {
		return nil
	}
	return d.sight()
}

// sightTable keeps each sight once. Owned by the committer.
type sightTable struct{ known map[string]*sharedSight }

type sharedSight struct {
	Sight
	rows int // that have it, or had it and may be behind that
}

// acquire returns the shared sight that is equal to a tidy one, and counts one more row of
// it; nil stays nil.
func (t *sightTable) acquire(s *Sight) *Sight {
	if s == nil {
		return nil
	}
	key := s.append(nil)
	one := t.known[string(key)]
	if one == nil {
		if t.known == nil {
			t.known = map[string]*sharedSight{}
		}
		one = &sharedSight{Sight: *s}
		one.print = fingerprint(key)
		t.known[string(key)] = one
	}
	one.rows++
	return &one.Sight
}

// release is the mirror of acquire, and says whether it was the last row. A sight without rows is forgotten; who holds it may
// go on.
func (t *sightTable) release(s *Sight) (last bool) {
	if s == nil {
		return false
	}
	key := s.append(nil)
	one := t.known[string(key)]
	if one.rows--; one.rows == 0 {
		delete(t.known, string(key))
	}
	return one.rows == 0
}

func (s *state) releaseSight(sight *Sight) {
	if s.sights.release(sight) && sight.MaxDuration > 0 {
		s.dropBounds()
	}
}

// Left is what of a duration is told of a decision, which ends in that time.
func (s *Sight) Left(left int64) int64 {
	if s == nil || left <= 0 {
		return left
	}
	if s.MaxDuration > 0 {
		left = min(left, int64(s.MaxDuration))
	}
	return max(left, int64(s.MinDuration))
}
