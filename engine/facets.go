package engine

import (
	"cmp"
	"slices"
)

// usualFacets is how many values of a facet are told unless it is said.
const usualFacets = 10

// facets makes them of what was counted.
func (p *sieve) facets(q *PageQuery) []Facet {
	if len(q.Facets) == 0 {
		return nil
	}
	most := q.FacetLimit
	if most == 0 {
		most = usualFacets
	}
	out := make([]Facet, 0, len(q.Facets))
	for _, f := range q.Facets {
		t := facetTally{}
		p.eachCounted(f, t.add)
		out = append(out, p.facet(f, t.merged(), most))
	}
	return out
}

// facetTally is how often numbers of words occur; a word may be there more than once until it is merged.
type facetTally []facetCount

type facetCount struct{ word, label, count uint32 }

func (t *facetTally) add(word, label, count uint32) { *t = append(*t, facetCount{word, label, count}) }

func (t facetTally) merged() facetTally {
	slices.SortFunc(t, func(a, b facetCount) int { return cmp.Compare(a.word, b.word) })
	n := 0
	for _, c := range t {
		if n > 0 && t[n-1].word == c.word {
			t[n-1].count += c.count
			continue
		}
		t[n] = c
		n++
	}
	return t[:n]
}

// eachCounted yields the numbers of a field's words with their counts, where only the field itself may have
// been missed.
func (p *sieve) eachCounted(f Field, yield func(word, label, count uint32)) {
	only := func(miss uint8) bool { return miss&^(1<<f) == 0 }
	switch {
	case f == FieldMachine:
		p.machines.each(func(n, count uint32) {
			if p.view.machineID(n) == "" {
				n = 0 // those that are gone are one
			}
			yield(n, 0, count)
		})
	case f == FieldCountry || f == FieldAS || f == FieldScope && p.ofAlerts:
		p.sources.each(func(n, count uint32) {
			if !only(p.sources.at(n).miss) {
				return
			}
			var k sourceKey
			if n != 0 {
				k = p.state.sources.rows.At(slot(n)).sourceKey
			}
			switch f {
			case FieldCountry:
				yield(k.country, 0, count)
			case FieldAS:
				yield(k.asNumber, k.asName, count)
			default:
				yield(k.scope, 0, count)
			}
		})
	case f == FieldScenario && p.ofAlerts:
		p.scenarios.each(func(n, count uint32) {
			if only(p.scenarios.at(n).miss) {
				yield(n, 0, count)
			}
		})
	case p.ofAlerts: // origin and type of their decisions
		p.decisions[f].each(func(n, count uint32) { yield(n, 0, count) })
	default:
		p.wordings.each(func(n, count uint32) {
			if !only(p.wordings.at(n).miss) {
				return
			}
			w := p.state.wordings.at(n)
			yield([...]uint32{FieldScope: w.Scope, FieldOrigin: w.Origin, FieldType: w.Type, FieldScenario: w.Scenario}[f], 0, count)
		})
	}
}

// facet is the most frequent of them, and what is chosen.
func (p *sieve) facet(f Field, t facetTally, most int) Facet {
	text := func(n uint32) string {
		if f == FieldMachine {
			return p.view.machineID(n)
		}
		return p.state.strings.At(n)
	}
	slices.SortFunc(t, func(a, b facetCount) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(text(a.word), text(b.word)))
	})
	out := Facet{Field: f}
	for i, c := range t {
		value := text(c.word)
		if i >= most && (len(p.filter.Words[f].Any) == 0 || !slices.Contains(p.filter.Words[f].Any, value)) {
			out.More++
			continue
		}
		out.Values = append(out.Values, FacetValue{value, p.state.strings.At(c.label), int(c.count)})
	}
	return out
}
