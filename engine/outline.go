package engine

import (
	"fmt"
	"strings"
	"unicode"
)

// Outline is what a commit is made of: when it was made, and which kinds of operations it has. Of what they say it has nothing.
type Outline struct {
	At    int64 // by the clock of whoever made it, Unix nanoseconds
	Kinds []KindCount
}

// KindCount is how many operations of a kind a commit has.
type KindCount struct {
	Kind string `json:"kind"` // the operation's name in persist/FORMAT.md, such as add alerts
	N    int    `json:"n"`
}

// OutlineOf reads a commit, as a Journal has it. Kinds stand in the order in which the first of each came. An error is of bytes
// that are none, or of one that a newer program wrote.
func OutlineOf(record []byte) (o Outline, err error) {
	c, err := decodeCommit(record)
	if err != nil {
		return o, err
	}
	o.At = c.at
	at := map[string]int{}
	for _, a := range c.ops {
		kind := kindOf(a.op)
		i, has := at[kind]
		if !has {
			i = len(o.Kinds)
			at[kind], o.Kinds = i, append(o.Kinds, KindCount{Kind: kind})
		}
		o.Kinds[i].N++
	}
	return o, nil
}

// kindOf is the name of an operation in words.
func kindOf(o op) string {
	if passed, ok := o.(*requested); ok && passed.op != nil {
		o = passed.op
	}
	var b strings.Builder
	for _, r := range strings.TrimPrefix(fmt.Sprintf("%T", o), "*engine.") {
		if unicode.IsUpper(r) && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
