package verbs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"iter"
	"sort"
	"strings"

	"lapid/transport/admin"
)

// A list of alerts is shown while it comes, in the bytes that all of it at once would
// have: an alert may have a million decisions, and a list a million alerts. What is held
// is a stretch of it, for a table its rows, packed, since a table is as wide as its widest
// cell, and for decisions the targets that were seen.

// alertParts is a list of alerts as it comes. An error ends it.
type alertParts = iter.Seq2[*admin.AlertPart, error]

// listBuffer is how many bytes of a list are written at once.
const listBuffer = 64 << 10

// seenTargets knows which decisions are repeats: the same type on the same value. Alerts
// come newest first, so the newest decision on a target is the one that is shown. It holds
// 128 bits of each, by a key of this run: two targets that are taken for one do not happen.
type seenTargets struct {
	seeds   [2]maphash.Seed
	seen    map[[2]uint64]struct{}
	text    []byte
	skipped int
}

func newSeenTargets() *seenTargets {
	return &seenTargets{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, seen: map[[2]uint64]struct{}{}}
}

// again reports whether a decision of alert a is a repeat, and counts it.
func (s *seenTargets) again(a *admin.Alert, d *admin.Decision) bool {
	s.text = fmt.Appendf(s.text[:0], "%t %d %d ", a.Simulated, len(d.Type), len(d.Scope))
	s.text = append(append(append(s.text, d.Type...), d.Scope...), d.Value...)
	key := [2]uint64{maphash.Bytes(s.seeds[0], s.text), maphash.Bytes(s.seeds[1], s.text)}
	if _, known := s.seen[key]; known {
		s.skipped++
		return true
	}
	s.seen[key] = struct{}{}
	return false
}

// eachDecision goes through all decisions but repeats, each with the alert it came with.
func (s *seenTargets) eachDecision(parts alertParts, f func(*admin.Alert, *admin.Decision) error) error {
	var of *admin.Alert
	return eachPart(parts, func(p *admin.AlertPart) error {
		list := p.More
		if p.Alert != nil {
			of, list = p.Alert, p.Alert.Decisions
		}
		for i := range list {
			if s.again(of, &list[i]) {
				continue
			}
			if err := f(of, &list[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachPart hands each part over. Errors of the server's are the operator's to read.
func eachPart(parts alertParts, f func(*admin.AlertPart) error) error {
	for p, err := range parts {
		if err != nil {
			return apiError(err)
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// jsonAlerts writes alerts as a list in JSON, one blank to a level, with the decisions
// for which keep is true; end stands behind it. With an error the list is not ended.
func (t *Terminal) jsonAlerts(parts alertParts, keep func(*admin.Alert, *admin.Decision) bool, end string) error {
	w := &alertsWriter{out: bufio.NewWriterSize(t.Out, listBuffer), keep: keep}
	if err := eachPart(parts, w.part); err != nil {
		return err
	}
	w.endAlert()
	if !w.begun {
		_, _ = w.out.WriteString("[]")
	} else {
		_, _ = w.out.WriteString("\n]")
	}
	_, _ = w.out.WriteString(end)
	return w.out.Flush()
}

// alertsWriter writes what json.MarshalIndent would of a slice of alerts.
type alertsWriter struct {
	out   *bufio.Writer
	keep  func(*admin.Alert, *admin.Decision) bool
	begun bool

	of    *admin.Alert // the alert under way
	some  bool         // it came with decisions
	shown int          // how many of them are written
	rest  []byte       // what stands behind them
}

// noDecisions is where the decisions of an alert without any stand; before it is nothing
// that came from outside.
var noDecisions = []byte(`"decisions": null`)

func (w *alertsWriter) part(p *admin.AlertPart) error {
	list := p.More
	if p.Alert != nil {
		w.endAlert()
		list = p.Alert.Decisions
		if err := w.beginAlert(p.Alert); err != nil {
			return err
		}
	}
	for i := range list {
		w.some = true
		if w.keep != nil && !w.keep(w.of, &list[i]) {
			continue
		}
		text, err := json.MarshalIndent(&list[i], "   ", " ")
		if err != nil {
			return fmt.Errorf("writing JSON: %w", err)
		}
		separator := ",\n   "
		if w.shown == 0 {
			separator = "[\n   "
		}
		w.shown++
		_, _ = w.out.WriteString(separator)
		if _, err := w.out.Write(text); err != nil {
			return err
		}
	}
	return nil
}

func (w *alertsWriter) beginAlert(a *admin.Alert) error {
	head := *a
	head.Decisions = nil
	text, err := json.MarshalIndent(&head, " ", " ")
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	separator := ",\n "
	if !w.begun {
		separator = "[\n "
	}
	at := bytes.Index(text, noDecisions) + len(noDecisions) - len("null")
	w.begun, w.of, w.some, w.shown, w.rest = true, a, a.Decisions != nil, 0, text[at+len("null"):]
	_, _ = w.out.WriteString(separator)
	_, err = w.out.Write(text[:at])
	return err
}

func (w *alertsWriter) endAlert() {
	switch {
	case w.of == nil:
		return
	case w.shown > 0:
		_, _ = w.out.WriteString("\n  ]")
	case w.some:
		_, _ = w.out.WriteString("[]")
	default:
		_, _ = w.out.WriteString("null")
	}
	_, _ = w.out.Write(w.rest)
}

// decidedText is how many decisions of each type an alert has. In alphabetical order, so
// that the same alert always has the same cell.
func decidedText(counts map[string]int) string {
	kinds := make([]string, 0, len(counts))
	for k := range counts {
		kinds = append(kinds, k)
	}
	sort.Strings(kinds)
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%s:%d", k, counts[k])
	}
	return strings.Join(kinds, " ")
}
