package shadow

import (
	"bytes"
	"fmt"
)

// compare judges the two answers and counts what came of it.
func (s *Shadow) compare(x *exchange) {
	s.settle(x, s.differences(x))
}

func (s *Shadow) differences(x *exchange) []difference {
	theirs, ours := &x.answers[Theirs], &x.answers[Ours]
	if theirs.status != ours.status {
		return []difference{{kind: fmt.Sprintf("status %d and %d", theirs.status, ours.status)}}
	}
	if x.route.kind == plainKind && !bytes.Equal(theirs.body.start(1<<20), ours.body.start(1<<20)) {
		return []difference{{kind: "body"}}
	}
	return nil
}

// learn takes from two answers what later requests need: pairs of tokens and of ids.
func (s *Shadow) learn(x *exchange) {
	if x.route.kind == accountKind {
		if theirs, ours := tokenIn(&x.answers[Theirs]), tokenIn(&x.answers[Ours]); theirs != "" && ours != "" {
			s.tokens.add(theirs, ours)
		}
	}
}
