package inputs

import (
	"errors"
	"fmt"
	"strings"

	"lapid/engine"
	"lapid/transport/admin"
)

// Judge looks at entries one by one, before anything of an input is stored. It remembers what it has said of
// words, for an input repeats them. It is for one goroutine.
type Judge struct {
	Scope  string // for entries that have none
	Scoped bool   // somebody has said so: a range is no reason for another one

	last   [2]string // the last duration, as it was given and as it is stored
	types  judgedWords
	scopes judgedWords
}

// Prepare makes an entry as it is to be stored, and tells whether it is to
// be: what was listed and is over or simulated by now is not. The error is
// what is wrong with it. It is called once when the input is judged and once
// more when it is sent, and gives the same both times but for what has run
// out in between.
func (j *Judge) Prepare(e *Entry) (take bool, err error) {
	if e.Value == "" {
		return false, errors.New("missing 'value'")
	}
	if e.Simulated {
		return false, nil
	}
	if e.Left {
		if d, err := engine.ParseDuration(e.Duration); err == nil && d <= 0 {
			return false, nil
		}
	}
	if err := admin.UsableName("the value", e.Value); err != nil {
		return false, err
	}
	if e.Type != "" {
		if err := j.types.judge(e.Type, TypeDoubt).err; err != nil {
			return false, err
		}
	}
	// A list of addresses often has ranges among them; only a scope that was written,
	// in the entry or as a flag, is taken at its word.
	if e.Scope == "" && !j.Scoped && strings.EqualFold(j.Scope, engine.ScopeIP) && strings.Contains(e.Value, "/") {
		e.Scope = engine.ScopeRange
	}
	scope := e.Scope
	if scope == "" {
		scope = j.Scope
	}
	if engine.HoldsAddress(scope) {
		if _, err := engine.ParseTarget(e.Value); err != nil {
			return false, err
		}
		if err := FitsScope(scope, e.Value); err != nil {
			return false, err
		}
	}
	if e.Duration != "" && e.Duration != j.last[0] { // they repeat themselves
		d, err := engine.DecisionDuration(e.Duration)
		if err != nil {
			return false, durationFault(e.Duration, err)
		}
		j.last = [2]string{e.Duration, d}
	}
	if e.Duration != "" {
		e.Duration = j.last[1]
	}
	return true, nil
}

// Doubts are what is to be said of the type and the scope of an entry, which it has by itself: they look like
// a slip. "": nothing.
func (j *Judge) Doubts(e *Entry) (kind, scope string) {
	if e.Type != "" {
		kind = j.types.judge(e.Type, TypeDoubt).doubt
	}
	return kind, j.scopes.judge(e.Scope, scopeDoubt).doubt
}

// judgedWords remembers what there was to be said of words: an input repeats them.
type judgedWords map[string]judgedWord

type judgedWord struct {
	doubt string
	err   error
}

// mostJudgedWords bounds what is remembered; beyond it that begins anew.
const mostJudgedWords = 1024

// judge is what there is to be said of a word, by how it is looked at.
func (w *judgedWords) judge(word string, look func(string) (string, error)) judgedWord {
	if known, ok := (*w)[word]; ok {
		return known
	}
	if *w == nil || len(*w) >= mostJudgedWords {
		*w = judgedWords{}
	}
	var one judgedWord
	one.doubt, one.err = look(word)
	(*w)[strings.Clone(word)] = one
	return one
}

// scopeDoubt is ScopeDoubt as judge takes it.
func scopeDoubt(scope string) (string, error) { return ScopeDoubt(scope), nil }

// durationFault names the duration, unless the sentence does already. Both
// kinds of sentence come from the engine; the operator sees one.
func durationFault(text string, err error) error {
	if strings.HasPrefix(err.Error(), "duration ") {
		return err
	}
	return fmt.Errorf("duration '%s': %w", text, err)
}
