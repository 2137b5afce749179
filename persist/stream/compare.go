package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lapid/engine"
)

// Compared is what a node held at a revision, for comparison: Digest is one of Seal.Digest.
type Compared struct {
	Revision engine.Revision `json:"revision"`
	Digest   string          `json:"digest"`
}

// Comparison is how what the nodes hold at one revision compares, of those that are alive; the others are named.
type Comparison struct {
	Revision engine.Revision `json:"revision"`
	Alike    [][]string      `json:"alike"`            // nodes that hold the same, the most first
	Odd      []string        `json:"odd,omitempty"`    // nodes that hold something else than most: more than half of those alive
	Untold   []string        `json:"untold,omitempty"` // nodes that have told nothing of this revision (yet)
	Away     []string        `json:"away,omitempty"`   // nodes that are known, and not alive: what they hold nobody knows
}

// Well reports whether all that told hold the same.
func (c *Comparison) Well() bool { return len(c.Alike) <= 1 }

// Whole reports whether every node that is known has told, and all hold the same. One that has left is known until it is forgotten.
func (c *Comparison) Whole() bool { return c.Well() && len(c.Untold)+len(c.Away) == 0 }

// ErrDiffers: this node holds something else than most at the same revision.
var ErrDiffers = errors.New("what this node holds differs from what most nodes hold at the same revision")

// compare compares at the newest revision that a node told of; nil: none did.
func compare(nodes []Known) *Comparison {
	c := &Comparison{}
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(k Known) bool {
		if !k.Alive {
			c.Away = append(c.Away, k.Node)
		}
		return !k.Alive
	})
	for _, k := range nodes {
		if k.Compared != nil {
			c.Revision = max(c.Revision, k.Compared.Revision)
		}
	}
	if c.Revision == 0 {
		return nil
	}
	var of []string // digests of Alike
	for _, k := range nodes {
		if k.Compared == nil || k.Compared.Revision != c.Revision {
			c.Untold = append(c.Untold, k.Node)
			continue
		}
		at := slices.IndexFunc(of, func(d string) bool { return !Differ(d, k.Compared.Digest) })
		if at < 0 {
			at, of, c.Alike = len(of), append(of, k.Compared.Digest), append(c.Alike, nil)
		}
		c.Alike[at] = append(c.Alike[at], k.Node)
	}
	slices.SortStableFunc(c.Alike, func(a, b []string) int { return len(b) - len(a) })
	if 2*len(c.Alike[0]) > len(nodes) {
		for _, others := range c.Alike[1:] {
			c.Odd = append(c.Odd, others...)
		}
	}
	return c
}

// said is what an operator should know of a comparison; "": nothing.
func (c *Comparison) said() string {
	switch {
	case c == nil || c.Well():
		return ""
	case c.Odd != nil:
		return fmt.Sprintf("at revision %d node %s holds something else than %s: it stops following, and joins anew at its next start", c.Revision, strings.Join(c.Odd, ", "), strings.Join(c.Alike[0], ", "))
	}
	var groups []string
	for _, g := range c.Alike {
		groups = append(groups, strings.Join(g, ", "))
	}
	return fmt.Sprintf("at revision %d nodes hold different things (%s), and no majority says which is right: all go on. Set the data directory of one that is wrong aside, "+
		"and it joins anew; `lapid check` tells of damage", c.Revision, strings.Join(groups, " | "))
}

// Differs returns ErrDiffers, with who holds what, if this node is outside of the majority at the newest comparison, as Run last
// heard of it.
func (l *Log) Differs() error {
	nodes := l.nodes()
	if !slices.ContainsFunc(nodes, func(k Known) bool { return k.Start == l.start }) {
		return nil // what is known of this node was told by the process before, whose store may be gone
	}
	if c := compare(nodes); c != nil && slices.Contains(c.Odd, l.options.Node) {
		return fmt.Errorf("%w: at revision %d nodes %s are alike, and this one is not. It follows and writes no more; restart it, and it joins anew", ErrDiffers, c.Revision, strings.Join(c.Alike[0], ", "))
	}
	return nil
}

// Stop ends the work of the log for ever, for a reason of whoever runs it: nothing is followed, written or confirmed any more.
func (l *Log) Stop(why error) { _ = l.stop(why) }

// Broken is why this log does nothing any more; nil: it does.
func (l *Log) Broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// Retell has Run tell of this node at once, and not only when it is due.
func (l *Log) Retell() {
	select {
	case l.retell <- struct{}{}:
	default: // it is about to
	}
}
