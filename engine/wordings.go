package engine

import "lapid/index"

// wordings keeps the words that decisions share, each combination once: there are a few
// hundred of them among a million decisions. A row holds its texts, and stays as long as
// a record has it.
//
// One writer, many readers; a reader comes from a record.
type wordings struct {
	rows index.Slab[wordingRow]

	// The committer's own.
	found  map[Wording]slot
	recent [recentWordings]recentWording
}

// recentWordings is how many combinations are found by comparing their texts, without a
// hash: what is imported goes through a few dozens again and again.
const recentWordings = 256

type recentWording struct {
	n                             slot // 0: none
	scope, kind, origin, scenario string
}

// recentOf is where four texts are kept, if they are. What it goes by is cheap, and tells
// most combinations apart.
func (w *wordings) recentOf(scope, kind, origin, scenario string) *recentWording {
	sum := uint(len(scope)) + uint(len(kind))*5 + uint(len(origin))*37 + uint(len(scenario))*59
	for _, text := range [...]string{scope, kind, origin} {
		if len(text) > 1 {
			sum = sum*7 + uint(text[1])
		}
	}
	if n := len(scenario); n > 3 {
		sum += uint(scenario[n-1])*3 + uint(scenario[n/2])*11 + uint(scenario[n-3])*41
	}
	return &w.recent[sum%recentWordings]
}

func (r *recentWording) is(scope, kind, origin, scenario string) bool {
	return r.n != 0 && r.scenario == scenario && r.origin == origin && r.kind == kind && r.scope == scope
}

type wordingRow struct {
	Wording
	holders uint32 // records; the committer's own
}

// at is a row's words.
func (w *wordings) at(n uint32) Wording { return w.rows.At(slot(n)).Wording }

// acquireWords returns the row of four words, making one if there is none, and counts one
// more record that has it.
func (s *state) acquireWords(scope, kind, origin, scenario string) uint32 {
	w := &s.wordings
	recent := w.recentOf(scope, kind, origin, scenario)
	if !recent.is(scope, kind, origin, scenario) {
		n := s.findWords(Wording{s.strings.Acquire(scope), s.strings.Acquire(kind), s.strings.Acquire(origin), s.strings.Acquire(scenario)})
		words := w.at(uint32(n))
		*recent = recentWording{n, s.strings.At(words.Scope), s.strings.At(words.Type), s.strings.At(words.Origin), s.strings.At(words.Scenario)}
	}
	w.rows.At(recent.n).holders++
	return uint32(recent.n)
}

// findWords returns the row of words that were acquired, making one if there is none; it
// holds them.
func (s *state) findWords(words Wording) slot {
	w := &s.wordings
	if n, known := w.found[words]; known {
		s.releaseTexts(words) // the row has them
		return n
	}
	n, row := w.rows.New()
	row.Wording, row.holders = words, 0
	if w.found == nil {
		w.found = map[Wording]slot{}
	}
	w.found[words] = n
	return n
}

// releaseWords counts one record less. No reader can reach it any more.
func (s *state) releaseWords(n uint32) {
	w := &s.wordings
	row := w.rows.At(slot(n))
	if row.holders--; row.holders > 0 {
		return
	}
	for i := range w.recent {
		if w.recent[i].n == slot(n) {
			w.recent[i] = recentWording{}
		}
	}
	delete(w.found, row.Wording)
	s.releaseTexts(row.Wording)
	w.rows.Free(slot(n))
}

func (s *state) releaseTexts(w Wording) {
	for _, text := range [...]uint32{w.Scope, w.Type, w.Origin, w.Scenario} {
		s.strings.Release(text)
	}
}
