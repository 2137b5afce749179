package stream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Digest is a text by which nodes compare what must be alike on all of them, without saying what it is: a hash keyed by the
// seal. Only those of one seal can be compared; which it was stands in front.
func (s Seal) Digest(name string, content []byte) string {
	h := hmac.New(sha256.New, s.words[0][:])
	_, _ = h.Write([]byte(name + "\x00")) // never fails
	_, _ = h.Write(content)
	id := sha256.Sum256(s.words[0][:])
	return hex.EncodeToString(id[:4]) + ":" + hex.EncodeToString(h.Sum(nil)[:16])
}

// Differ reports whether two digests are of different contents. Those of different seals, or of a node that tells none, are not
// known to be.
func Differ(a, b string) bool {
	of, _, _ := strings.Cut(a, ":")
	return a != b && of != "" && strings.HasPrefix(b, of+":")
}

// unlike names what is not alike on all nodes that are alive, and which differ from the one that writes or, while nobody does,
// from the first.
func unlike(nodes []Node) (said []string) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n Node) bool { return !n.Alive || n.Digests == nil })
	if len(nodes) < 2 {
		return nil
	}
	with := nodes[max(slices.IndexFunc(nodes, func(n Node) bool { return n.Writes }), 0)]
	for _, what := range slices.Sorted(maps.Keys(with.Digests)) {
		var others []string
		for _, n := range nodes {
			if Differ(n.Digests[what], with.Digests[what]) {
				others = append(others, n.Node)
			}
		}
		if others != nil {
			said = append(said, fmt.Sprintf("%s: not the same at node %s as at node %s: make them alike, and reload (CS_LAPI_SECRET: restart)", what, strings.Join(others, ", "), with.Node))
		}
	}
	return said
}
