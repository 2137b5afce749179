package engine

import "fmt"

// end fills in when and by what a decision ended; nothing while it runs.
func (w *inquiry) end(out *WhyDecision, r *record) {
	v := w.view
	if !v.ended(r) && r.until > w.now {
		return
	}
	out.Ended = knownTime(v.endOf(r))
	by := Actor{Kind: ActorExpiry} // its end is not committed yet
	if v.ended(r) {
		by = Decision{v, r}.EndedBy()
	}
	out.EndedBy, out.EndedWho = by.Kind.String(), by.Name
	own := by.byHand() && v.state.ofOwnList(r)
	if by.Kind == ActorCentralAPI || by.Kind == ActorImport || own {
		out.ReplacedBy = w.replacement(r)
	}
	out.Ending = w.endedHow(r, by, out.ReplacedBy)
}

// endedHow is how a decision ended, in words that go on from "it ended".
func (w *inquiry) endedHow(r *record, by Actor, replaced DecisionID) string {
	switch {
	case w.view.ended(r) && bornOver(r):
		return "its time was over when it was reported"
	case by.Kind == ActorExpiry:
		return "its time was over"
	case w.withAlert(r, by):
		return "its alert was deleted by " + whoText(by)
	case replaced != 0:
		return fmt.Sprintf("decision %d took its place when %s was read again", replaced, w.listText(r, by))
	}
	switch by.Kind {
	case ActorOperator, ActorNamedOperator:
		if w.view.state.ofOwnList(r) { // which of both it was is not written down
			return fmt.Sprintf("it left %s, or was deleted, by %s", w.listText(r, by), whoText(by))
		}
	case ActorUnknown:
		return "it was ended early, and an older program did not write down by whom"
	case ActorAllowlist:
		return "allowlist " + by.Name + " covered it"
	case ActorConsole:
		return "the console ordered it"
	case ActorCentralAPI, ActorImport:
		return "it left " + w.listText(r, by)
	}
	return "it was deleted by " + whoText(by)
}

// withAlert reports whether a decision ended because its alert was deleted. Where that is not in
// memory any more, what drops old alerts is known to end decisions in no other way.
func (w *inquiry) withAlert(r *record, by Actor) bool {
	if h := w.view.state.alerts.At(r.alert); h != nil && h.gone.Load() != 0 {
		return h.gone.Load() == r.endedRev.Load()
	}
	return by.Kind == ActorRetention
}

// replacement is the decision on the same target, of the same origin, that began in the commit in
// which r ended; 0: none.
func (w *inquiry) replacement(r *record) (id DecisionID) {
	rev, steps := r.endedRev.Load(), 0
	w.view.chain(w.view.state.head(r), func(o *record) bool {
		if o != r && o.begun == rev && w.view.shows(o) && w.view.state.wordsOf(o).Origin == w.view.state.wordsOf(r).Origin && w.view.state.sameTarget(o, r) {
			id = DecisionID(o.id)
		}
		steps++
		return id == 0 && steps < mostSteps
	})
	return id
}

// mostSteps is how many decisions on one target are looked at for a replacement.
const mostSteps = 10_000

// whoText names what ended a decision, in words.
func whoText(by Actor) string {
	kind := map[ActorKind]string{
		ActorServer: "the server", ActorMachine: "machine", ActorBouncer: "bouncer", ActorOperator: "operator", ActorRetention: "the server, for it was old",
		ActorAllowlist: "allowlist", ActorCentralAPI: "the Central API", ActorConsole: "an order of the console", ActorImport: "the import of", ActorNode: "node", ActorNamedOperator: "operator",
	}[by.Kind]
	switch {
	case kind == "":
		return "something that an older program did not write down"
	case by.Name == "" && by.Kind == ActorImport:
		return "an import"
	case by.Name == "" || by.Kind == ActorRetention:
		return kind
	}
	return kind + " " + by.Name
}

// listText names a list that is replaced as a whole, of which a decision was.
func (w *inquiry) listText(r *record, by Actor) string {
	switch {
	case by.byHand():
		return "the list " + w.view.state.batchOf(r.alert).Name
	case by.Kind == ActorImport && by.Name != "":
		return "what was imported as " + by.Name
	case by.Kind == ActorImport:
		return "what was imported"
	case by.Name == "":
		return "the community list"
	}
	return "the list " + by.Name
}
