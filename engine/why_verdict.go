package engine

import (
	"fmt"
	"strings"
)

// verdict is the answer in a sentence, and settles whether the target is decided against.
func (w *inquiry) verdict() string {
	running := w.running.sorted()
	a := w.answer
	a.Decided = len(running) > 0 && running[0].flags()&flagSimulated == 0
	won := a.Decided && w.prefix.IsValid() && w.subject.Kind != SubjectDecision && w.wonThen(running[0])
	var text string
	switch {
	case w.subject.Kind == SubjectDecision:
		a.Decided = w.runs(w.one) && !w.hadNotBegun(w.one) && w.one.flags()&flagSimulated == 0
		text = w.decisionVerdict()
	case w.subject.Kind == SubjectAlert:
		a.Decided = w.stands > 0
		text = w.alertVerdict(running) + w.beatenText()
	case won:
		a.Decided = false
		text = a.Target + " " + w.be() + " free: " + w.coveringText() + ", and allowlists win (allowlist_wins) over " + w.decisionText(running[0])
	case a.Decided:
		text = w.decidedVerdict(running)
	default:
		text = a.Target + " " + w.be() + " not decided against" + w.whyNot()
		text = strings.Replace(text, "would be not", "would not be", 1)
	}
	if told := w.toldText(); told != "" {
		text += "; " + told
	}
	return w.moment() + text + "."
}

// decidedVerdict names what decides: the ban that runs longest, or else what runs longest.
func (w *inquiry) decidedVerdict(running []*record) string {
	first := running[0]
	for _, r := range running {
		if r.flags()&flagSimulated == 0 && w.view.state.strings.At(w.view.state.wordsOf(r).Type) == "ban" {
			first = r
			break
		}
	}
	text := w.answer.Target + " " + w.be() + " " + w.typeText(first) + " until " + spellTime(w.view.endOf(first)) + " by " + w.decisionText(first)
	var wider *record
	others := 0
	for _, r := range running {
		if r == first || r.flags()&flagSimulated != 0 {
			continue
		}
		if t := w.view.state.targetOf(r); wider == nil && t.IsValid() && t != w.view.state.targetOf(first) && w.view.state.targetOf(first).IsValid() && t.Bits() < w.view.state.targetOf(first).Bits() {
			wider = r
			continue
		}
		others++
	}
	if wider != nil {
		text += ", and covered by " + w.decisionText(wider)
	}
	if others += max(0, w.running.count-len(running)); others > 0 {
		text += fmt.Sprintf(", and by %d more", others)
	}
	if e := w.covering(); e != nil {
		text += ", although allowlist " + e.List + " covers it (" + e.Item.Value + ")"
	}
	return text
}

// whyNot goes on from "is not decided against".
func (w *inquiry) whyNot() (text string) {
	if n := w.parts; n > 0 {
		text = " as a whole, but " + partsHold(n) + " on parts of it"
	}
	if e := w.covering(); e != nil {
		text += ": allowlist " + e.List + " covers it (" + e.Item.Value + ")"
		if len(e.ended) > 0 {
			text += fmt.Sprintf(", and has ended decision %d", e.ended[0])
		}
		return text
	}
	if n := w.running.count; n > 0 { // simulated ones
		return text + "; " + simulatedText(n)
	}
	over := w.over.sorted()
	switch {
	case len(over) > 0:
		text += "; " + w.lastText(over[0])
	case text == "":
		text = ", and no decision on it is kept"
	}
	return text
}

// lastText tells of a decision that is over.
func (w *inquiry) lastText(r *record) string {
	d := w.decision(r)
	if d.Ended == nil {
		return fmt.Sprintf("%s ended", w.decisionText(r))
	}
	return fmt.Sprintf("%s ended at %s: %s", w.decisionText(r), spellTime(w.view.endOf(r)), d.Ending)
}

func (w *inquiry) decisionVerdict() string {
	r := w.one
	on := w.view.state.strings.At(w.view.state.wordsOf(r).Scope) + " " + cutText(Decision{w.view, r}.Value())
	text := fmt.Sprintf("decision %d (%s on %s, %s)", r.id, cutText(w.view.state.strings.At(w.view.state.wordsOf(r).Type)), on, w.originText(r))
	switch {
	case w.hadNotBegun(r):
		return text + " had not begun"
	case !w.runs(r):
		text += " ended at " + spellTime(w.view.endOf(r)) + ": " + w.decision(r).Ending
	case r.flags()&flagSimulated != 0:
		return text + " " + w.be() + " simulated: bouncers are not told of it"
	default:
		text += " " + w.be() + " in force until " + spellTime(w.view.endOf(r))
		if w.wonThen(r) {
			w.answer.Decided = false
			return text + ", but " + w.coveringText() + ", and allowlists win (allowlist_wins)"
		}
	}
	for _, o := range w.running.sorted() {
		if o != r && o.flags()&flagSimulated == 0 && (!w.runs(r) || o.until > r.until) {
			return text + ", and what it is on " + w.be() + " " + w.typeText(o) + " until " + spellTime(w.view.endOf(o)) + " by " + w.decisionText(o)
		}
	}
	return text
}

// hadNotBegun reports whether a decision is known to have come after the moment that is asked about.
func (w *inquiry) hadNotBegun(r *record) bool {
	at, known := w.begunAt(r)
	return w.at < w.now && known && at > w.at
}

func (w *inquiry) alertVerdict(running []*record) string {
	h := w.view.alert(w.subject.Number)
	text := fmt.Sprintf("alert %d (%s, received at %s)", w.subject.Number, cutText(w.view.state.strings.At(h.scenario)), spellTime(h.createdAt))
	all := w.running.count + w.over.count
	switch {
	case h.count == 0:
		return text + " has no decisions"
	case all == 0:
		return text + " had not come"
	case w.running.count == 0:
		over := w.over.sorted()[0]
		return text + " has " + countText(all, "decision") + ", none in force; the last ended at " + spellTime(w.view.endOf(over)) + ": " + w.decision(over).Ending
	}
	text += fmt.Sprintf(" has %s, %d of them in force until %s at most", countText(all, "decision"), w.running.count, spellTime(running[0].until))
	if running[0].flags()&flagSimulated != 0 {
		text += ", simulated"
	}
	return text
}

// beatenText goes on from what an alert has in force.
func (w *inquiry) beatenText() string {
	on := "what it is on is on an allowlist"
	switch {
	case w.beaten == 0:
		return ""
	case w.stands > 0:
		on = fmt.Sprintf("what %d of them are on is on allowlists", w.beaten)
		if w.beaten == 1 {
			on = "what one of them is on is on an allowlist"
		}
	case w.beaten > 1:
		on = "what they are on is on allowlists"
	}
	return ", but " + on + ", and allowlists win (allowlist_wins)"
}

// covering is the first allowlist entry that covers the whole target; nil: none.
func (w *inquiry) covering() *whyMatch {
	if len(w.matches) > 0 && w.matches[0].covers {
		return &w.matches[0]
	}
	return nil
}

// coveringText names that entry.
func (w *inquiry) coveringText() string {
	if e := w.covering(); e != nil {
		return "allowlist " + e.List + " covers it (" + e.Item.Value + ")"
	}
	return "an allowlist covers it"
}

// be is the verb for the moment that is asked about.
func (w *inquiry) be() string {
	switch {
	case w.at < w.now:
		return "was"
	case w.at > w.now:
		return "would be"
	}
	return "is"
}

func (w *inquiry) moment() string {
	if w.at == w.now {
		return ""
	}
	return "at " + spellTime(w.at) + " "
}

// typeText is the type of a decision as what it does.
func (w *inquiry) typeText(r *record) string {
	if kind := w.view.state.strings.At(w.view.state.wordsOf(r).Type); kind != "ban" {
		return "decided against (" + cutText(kind) + ")"
	}
	return "banned"
}

// decisionText names a decision, its origin and, where that is not the target itself, what it is on.
func (w *inquiry) decisionText(r *record) string {
	on := ""
	if t := w.view.state.targetOf(r); t.IsValid() && t != w.prefix {
		on = " on " + spellPrefix(t)
	}
	return fmt.Sprintf("decision %d%s (%s)", r.id, on, w.originText(r))
}

// originText is where a decision comes from; of a list also which.
func (w *inquiry) originText(r *record) string {
	origin := cutText(w.view.state.strings.At(w.view.state.wordsOf(r).Origin))
	if scenario := w.view.state.strings.At(w.view.state.wordsOf(r).Scenario); origin == OriginLists && scenario != "" {
		return origin + ":" + cutText(scenario)
	}
	return origin
}

// toldText says in a few words how bouncers stand.
func (w *inquiry) toldText() string {
	b := w.answer.Bouncers
	if b == nil {
		return ""
	}
	if !w.answer.Decided {
		if n := b.Count[StandingHolding]; n > 0 {
			return fmt.Sprintf("%d of %s not been told that it ended", n, haveBouncers(b.Rows))
		}
		return ""
	}
	if b.Rows == 0 {
		return "there are no bouncers"
	}
	parts := []string{fmt.Sprintf("%d of %s been told", b.Count[StandingTold], haveBouncers(b.Rows))}
	if told := b.Count[StandingTold]; told > 0 && b.Acked < told {
		parts[0] += fmt.Sprintf(" (%d acknowledged)", b.Acked)
	}
	for _, s := range [...]struct {
		standing   BouncerStanding
		one, other string
	}{
		{StandingHidden, "may not see it", "may not see it"}, {StandingLive, "asks live", "ask live"}, {StandingNever, "never asked", "never asked"},
		{StandingSent, "is being told", "are being told"},
	} {
		switch n := b.Count[s.standing]; n {
		case 0:
		case 1:
			parts = append(parts, "1 "+s.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, s.other))
		}
	}
	return strings.Join(parts, ", ")
}

func haveBouncers(n int) string {
	if n == 1 {
		return "1 bouncer has"
	}
	return fmt.Sprintf("%d bouncers have", n)
}

func countText(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func partsHold(n int) string {
	if n == 1 {
		return "1 decision holds"
	}
	return fmt.Sprintf("%d decisions hold", n)
}

func simulatedText(n int) string {
	if n == 1 {
		return "1 decision on it is simulated"
	}
	return fmt.Sprintf("%d decisions on it are simulated", n)
}
