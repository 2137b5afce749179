package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// auditedOp says what an operation is to the audit. What is missing here is not told: a new
// operation gets one line, and TestEveryOperationIsAudited asks for it.
func (w *auditWalk) auditedOp(o op) {
	switch o := within(o).(type) { // the writer leaves out what is known already
	case *addAlerts:
		w.alerts(o)
	case *bringAlerts:
		w.deed("alert.bring", howMany(len(o.alerts), "alert"), nil, nil)
	case *replaceList:
		w.list(o)
	case *extendDecisions:
		w.extension(o)
	case *endDecisions:
		w.endings(o)
	case *dropAlerts:
		w.removals("alert.delete", "alert", o.ids)
	case *putMachine:
		w.machine(o)
	case *dropMachines:
		w.drops(auditedMachine, o.ids)
	case *putBouncer:
		w.bouncer(o)
	case *rotateKey:
		w.deed("bouncer.rotate", o.name, nil, auditFields{"key": printOf(o.key[:]), "old_keys_until": time.Unix(0, o.until).UTC().Format(time.RFC3339)})
	case *dropBouncers:
		w.drops(auditedBouncer, o.names)
	case *putAllowlist:
		w.changes(auditedAllowlist, o.list.Name, "put", allowlistFields(&o.list))
	case *extendAllowlist:
		w.deed("allowlist.add", o.name, nil, auditFields{"items": auditedItemsOf(spellings(o.items)), "ended": len(o.ends.ids)})
	case *reduceAllowlist:
		w.reduction(o)
	case *reviseAllowlist:
		w.revision(o)
	case *dropAllowlist:
		w.drops(auditedAllowlist, []string{o.name})
	case *reviseExports:
		w.exports(o)
	case *putOperator:
		w.changes(auditedOperator, o.operator.Name, "put", operatorFields(&o.operator))
	case *dropOperator:
		w.drops(auditedOperator, []string{o.name})
	case *grantToken:
		w.token(o)
	case *allowlistsWin:
		w.deed("setting.allowlist_wins", "", auditFields{"on": !o.on}, auditFields{"on": o.on})
	case *putSecret:
		w.deed("secret.put", o.name, nil, nil)
	case *rotateSecret:
		w.deed("secret.rotate", o.name, nil, auditFields{"earlier_until": time.Unix(0, o.until).UTC().Format(time.RFC3339)})
	}
}

// silentOps are the numbers of operations that the audit does not tell: what the server
// notes for itself, and reports of how machines and bouncers are.
var silentOps = map[byte]bool{
	numberGenesis: true, numberExpire: true, numberVisits: true, numberVisitsOf: true, numberAddUsage: true, numberDropUsage: true, numberSetBack: true, numberCompare: true,
	numberMoveBookmark: true, numberDropBookmark: true, numberRaiseIDs: true,
}

// auditFields are what a row's before or after says; nil: nothing was there.
type auditFields map[string]any

// auditedNoun is a kind of thing whose fields the audit remembers, to tell what they were
// before. It is stored.
type auditedNoun byte

// Nouns. Never reused.
const (
	auditedMachine   auditedNoun = 'm'
	auditedBouncer   auditedNoun = 'b'
	auditedAllowlist auditedNoun = 'a'
	auditedExport    auditedNoun = 'e'
	auditedOperator  auditedNoun = 'o'
)

func (n auditedNoun) String() string {
	switch n {
	case auditedMachine:
		return "machine"
	case auditedBouncer:
		return "bouncer"
	case auditedAllowlist:
		return "allowlist"
	case auditedExport:
		return "export"
	case auditedOperator:
		return "operator"
	}
	return "thing"
}

// byItself reports whether nobody asked for it: what such actors do is counted.
func (a Actor) byItself() bool {
	switch a.Kind {
	case ActorMachine, ActorBouncer, ActorServer, ActorExpiry, ActorRetention, ActorUnknown:
		return true
	}
	return false
}

// alerts are pushes, which are counted, or an operator's, the console's or an import's.
func (w *auditWalk) alerts(o *addAlerts) {
	if w.by.byItself() {
		w.tick(auditTick{action: "alert.push", who: Actor{ActorMachine, o.machine}}, len(o.alerts))
		return
	}
	for i := range o.alerts {
		a := &o.alerts[i]
		after := auditFields{"decisions": len(a.plans)}
		target := howMany(len(a.plans), "decision")
		if len(a.plans) == 1 {
			p := &a.plans[0]
			target = p.scope + ":" + p.spelling()
			after = auditFields{"scenario": a.scenario, "type": p.kind, "until": time.Unix(0, p.until).UTC().Format(time.RFC3339), "origin": p.origin}
		} else if len(a.plans) > 0 {
			after["scenario"], after["type"], after["origin"] = a.scenario, a.plans[0].kind, a.plans[0].origin
		}
		if a.batch.Name != "" {
			after["batch"] = a.batch.Name
		}
		if o.first.alert != 0 {
			after["alert"] = o.first.alert + uint64(i)
		}
		w.deed("decision.add", target, nil, after)
		if i == auditedNames-1 && len(o.alerts) > auditedNames {
			w.deed("decision.add", howMany(len(o.alerts)-auditedNames, "further alert"), nil, nil)
			return
		}
	}
}

func (w *auditWalk) list(o *replaceList) {
	begun, name := 0, w.by.Name
	for i := range o.add.alerts {
		begun += len(o.add.alerts[i].plans)
		if b := o.add.alerts[i].batch.Name; b != "" {
			name = b
		}
	}
	w.deed("list.replace", name, nil, auditFields{"begun": begun, "ended": len(o.ends.ids)})
}

// extension names a decision that is alone with its new end, and else the first numbers, as they were.
func (w *auditWalk) extension(o *extendDecisions) {
	if len(o.ends.ids) == 0 {
		n := 0
		for i := range o.add.alerts {
			n += len(o.add.alerts[i].plans)
		}
		w.deed("decision.restore", howMany(n, "decision"), nil, auditFields{"alerts": len(o.add.alerts)})
		return
	}
	before := auditFields{"decisions": o.ends.ids[:min(len(o.ends.ids), auditedItems)], "count": len(o.ends.ids)}
	if len(o.ends.ids) != 1 || len(o.add.alerts) != 1 || len(o.add.alerts[0].plans) != 1 {
		w.deed("decision.extend", howMany(len(o.ends.ids), "decision"), before, nil)
		return
	}
	p := &o.add.alerts[0].plans[0]
	if d, ok := w.e.View().Decision(DecisionID(o.ends.ids[0])); ok {
		before["until"] = time.Unix(0, d.Decided()).UTC().Format(time.RFC3339)
	}
	after := auditFields{"until": time.Unix(0, p.until).UTC().Format(time.RFC3339), "type": p.kind, "origin": p.origin}
	w.deed("decision.extend", p.scope+":"+p.spelling(), before, after)
}

// endings names what was decided, where that is still known.
func (w *auditWalk) endings(o *endDecisions) {
	if w.by.Kind == ActorExpiry || len(o.ids) == 0 {
		return
	}
	if len(o.ids) > 1 || w.by.byItself() {
		w.removals("decision.delete", "decision", o.ids)
		return
	}
	target, before := "decision:"+strconv.FormatUint(o.ids[0], 10), auditFields{"decision": o.ids[0]}
	if d, ok := w.e.View().Decision(DecisionID(o.ids[0])); ok {
		target = d.Scope().S + ":" + d.Value()
		before["type"], before["origin"] = d.Type().S, d.Origin().S
		if s := d.Scenario().S; s != "" {
			before["scenario"] = s
		}
		before["until"] = time.Unix(0, d.Decided()).UTC().Format(time.RFC3339)
	}
	w.deed("decision.delete", target, before, nil)
}

// removals is of things that have numbers alone. What machines take away is counted as what
// they push.
func (w *auditWalk) removals(action, noun string, ids []uint64) {
	if w.by.byItself() {
		w.tick(auditTick{action: action, who: w.by}, len(ids))
		return
	}
	w.deed(action, howMany(len(ids), noun), auditFields{noun + "s": ids[:min(len(ids), auditedItems)], "count": len(ids)}, nil)
}

// machine is told when it is new, or when something of it that concerns its rights is. What it
// says of itself at each login is counted.
func (w *auditWalk) machine(o *putMachine) {
	m := &o.machine
	if !o.fresh && w.by.byItself() {
		w.tick(auditTick{action: "machine.report", who: Actor{ActorMachine, m.ID}, address: m.IP}, 0)
	}
	verb := "change"
	if o.fresh {
		if verb = "add"; w.by.Kind == ActorMachine {
			verb = "register"
		}
	}
	if w.by.byItself() {
		w.address = m.IP
	}
	w.changes(auditedMachine, m.ID, verb, machineFields(m))
}

func machineFields(m *Machine) auditFields {
	f := auditFields{"auth": string(m.AuthType), "validated": m.Validated}
	if len(m.PasswordHash) > 0 {
		f["password"] = printOf(m.PasswordHash)
	}
	return f
}

// bouncer is told when an operator made or changed it, or its key is another. Rows that come
// from new addresses, and what software they say they are, are counted.
func (w *auditWalk) bouncer(o *putBouncer) {
	b := &o.bouncer
	if w.by.byItself() {
		if b.IP.IsValid() {
			w.address = b.IP.String()
		}
		w.tick(auditTick{action: "bouncer.report", who: Actor{ActorBouncer, BaseName(b.Name)}, address: w.address}, 0)
		if b.AutoCreated {
			return
		}
	}
	w.changes(auditedBouncer, b.Name, "put", bouncerFields(b))
}

func bouncerFields(b *Bouncer) auditFields {
	f := auditFields{"auth": string(b.AuthType), "shared": b.Shared}
	if b.KeyHash != (KeyHash{}) {
		f["key"] = printOf(b.KeyHash[:])
	}
	if b.Hold != 0 {
		f["hold"] = fmt.Sprint(b.Hold.Duration())
		if b.Hold == HoldOff {
			f["hold"] = "off"
		}
	}
	if s := b.Sight; s != nil {
		for i, list := range s.lists() {
			if len(*list) > 0 {
				f[sightLists[i]] = auditedItemsOf(*list)
			}
		}
		for name, n := range map[string]int64{"max_entries": int64(s.MaxEntries), "max_duration": int64(s.MaxDuration), "min_duration": int64(s.MinDuration)} {
			if n != 0 {
				f[name] = n
			}
		}
		if s.Canonical {
			f["canonical"] = true
		}
		f["priority"] = s.Priority.String()
	}
	return f
}

func allowlistFields(l *Allowlist) auditFields {
	return auditFields{"description": cutTo(l.Description, longestAuditWord)}
}

func (w *auditWalk) exports(o *reviseExports) {
	for i := range o.put {
		w.changes(auditedExport, o.put[i].Name, "put", exportFields(&o.put[i]))
	}
	w.drops(auditedExport, o.drop)
}

func exportFields(x *Export) auditFields {
	f := auditFields{"format": x.Format, "auth": x.Auth.String(), "family": x.Family.String(), "order": x.Order.String()}
	from := make([]string, len(x.AllowFrom))
	for i, p := range x.AllowFrom {
		from[i] = p.String()
	}
	secrets := make([]string, len(x.Secrets))
	for i := range x.Secrets {
		secrets[i] = printOf(x.Secrets[i].Hash[:])
	}
	for name, list := range map[string][]string{"options": x.Options, "types": x.Types, "origins": x.Origins, "containing": x.Containing,
		"allowlists": x.Allowlists, "ous": x.OUs, "allow_from": from, "secrets": secrets} {
		if len(list) > 0 {
			f[name] = auditedItemsOf(list)
		}
	}
	for name, on := range map[string]bool{"aggregate": x.Aggregate, "no_allowlists": x.NoAllowlists, "refuse_empty": x.RefuseEmpty, "may_shrink": x.MayShrink, "declared": x.Declared} {
		if on {
			f[name] = true
		}
	}
	if x.Path != "" {
		f["path"] = x.Path
	}
	if x.User != "" {
		f["user"] = x.User
	}
	if x.Limit != 0 {
		f["limit"] = x.Limit
	}
	return f
}

func operatorFields(o *Operator) auditFields {
	numbers := make([]uint32, len(o.Tokens))
	for i := range o.Tokens {
		numbers[i] = o.Tokens[i].ID
	}
	f := auditFields{"role": o.Role.String(), "tokens": numbers}
	if o.lastToken != 0 {
		f["last_token"] = o.lastToken
	}
	if o.PasswordHash != "" {
		f["password"] = printOf([]byte(o.PasswordHash))
	}
	if o.Disabled {
		f["disabled"] = true
	}
	if o.Link.Hash != (SecretHash{}) {
		f["link_until"] = time.Unix(0, o.Link.ExpiresAt).UTC().Format(time.RFC3339)
	}
	return f
}

// token tells of a new one with its number, which is the next one, and remembers that its
// operator has it.
func (w *auditWalk) token(o *grantToken) {
	after := auditFields{"comment": o.token.Comment}
	if o.token.ExpiresAt != 0 {
		after["expires"] = time.Unix(0, o.token.ExpiresAt).UTC().Format(time.RFC3339)
	}
	var f auditFields
	if json.Unmarshal([]byte(w.state(auditedOperator, o.name)), &f) == nil && f != nil {
		last, _ := f["last_token"].(float64)
		list, _ := f["tokens"].([]any) // an older program remembered how many there were
		after["token"], f["last_token"], f["tokens"] = int(last)+1, int(last)+1, append(list, int(last)+1)
		w.remember(auditedOperator, o.name, jsonText(f))
	}
	w.deed("operator.token", o.name, nil, after)
}

// reduction is told with what went; items that ran out are the retention's, and counted.
func (w *auditWalk) reduction(o *reduceAllowlist) {
	if len(o.values) == 0 {
		w.tick(auditTick{action: "allowlist.expire", who: w.by, target: o.name}, 0)
		return
	}
	w.deed("allowlist.remove", o.name, auditFields{"items": auditedItemsOf(o.values)}, nil)
}

func (w *auditWalk) revision(o *reviseAllowlist) {
	before, after := auditFields{}, auditFields{"description": cutTo(o.head.Description, longestAuditWord)}
	if o.name != "" && o.name != o.head.Name {
		before["name"], after["name"] = o.name, o.head.Name
	}
	if len(o.values) > 0 {
		before["items"] = auditedItemsOf(o.values)
	}
	if len(o.items) > 0 {
		after["items"] = auditedItemsOf(spellings(o.items))
	}
	w.deed("allowlist.set", o.head.Name, before, after)
}

// drops forgets things and tells of each, or of all in one row where they are very many.
func (w *auditWalk) drops(noun auditedNoun, names []string) {
	for _, name := range names {
		was := w.state(noun, name)
		w.remember(noun, name, "")
		switch {
		case noun == auditedBouncer && w.by.byItself() && w.by.Kind != ActorRetention:
			w.tick(auditTick{action: "bouncer.forget", who: Actor{ActorBouncer, BaseName(name)}}, 0)
		case len(names) <= auditedNames:
			w.row(&AuditRow{Action: noun.String() + ".delete", Target: name, Before: was})
		}
	}
	if len(names) > auditedNames && !(noun == auditedBouncer && w.by.byItself() && w.by.Kind != ActorRetention) {
		w.deed(noun.String()+".delete", howMany(len(names), noun.String()), auditFields{"names": auditedItemsOf(names)}, nil)
	}
}

// changes tells what of a thing's fields is another than it was; nothing, if they are the
// same. The verb put stands for
// change, or for what makes a new one.
func (w *auditWalk) changes(noun auditedNoun, name, verb string, now auditFields) {
	was, is := w.state(noun, name), jsonText(now)
	if was == is {
		return
	}
	w.remember(noun, name, is)
	if verb == "put" {
		switch {
		case was != "":
			verb = "change"
		case noun == auditedAllowlist:
			verb = "create" // items are added
		default:
			verb = "add"
		}
	}
	before, after := differing(was, is)
	w.row(&AuditRow{Action: noun.String() + "." + verb, Target: name, Before: before, After: after})
}

// differing leaves of two objects the fields that they do not share; one that is not there
// leaves the other whole.
func differing(was, is string) (before, after string) {
	if was == "" || is == "" {
		return was, is
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal([]byte(was), &a) != nil || json.Unmarshal([]byte(is), &b) != nil {
		return was, is
	}
	for k, v := range a {
		if other, ok := b[k]; ok && string(other) == string(v) {
			delete(a, k)
			delete(b, k)
		}
	}
	return jsonText(a), jsonText(b)
}

// deed tells one thing that was done.
func (w *auditWalk) deed(action, target string, before, after auditFields) {
	r := &AuditRow{Action: action, Target: target}
	if before != nil {
		r.Before = jsonText(before)
	}
	if after != nil {
		r.After = jsonText(after)
	}
	w.row(r)
}

// auditedItemsOf are the first of a list, and how many there are.
func auditedItemsOf(list []string) any {
	first := make([]string, 0, min(len(list), auditedItems)+1)
	for _, s := range list[:min(len(list), auditedItems)] {
		first = append(first, cutTo(s, 128))
	}
	if more := len(list) - len(first); more > 0 {
		first = append(first, fmt.Sprintf("and %d more", more))
	}
	return first
}

// printOf tells two secrets apart by what is stored of them, which is a hash already,
// and says nothing of use about either.
func printOf(stored []byte) string {
	sum := sha256.Sum256(stored)
	return "#" + hex.EncodeToString(sum[:4])
}

func howMany(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
