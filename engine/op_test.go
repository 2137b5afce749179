package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"lapid/persist"
)

// twins are two engines that do not run: one makes commits, the other is given their bytes.
type twins struct {
	t        *testing.T
	made     *Engine
	followed *Engine
	seen     map[byte]bool // numbers of operations that were tried
}

// silent is a journal that nothing comes from.
type silent struct{ Journal }

func newTwins(t *testing.T) *twins {
	open := func(j Journal) *Engine {
		e, err := Open(&Options{Dir: "store", FS: persist.NewMemFS(), Journal: j})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return e
	}
	w := &twins{t: t, made: open(nil), followed: open(silent{}), seen: map[byte]bool{numberGenesis: true}}
	w.follow()
	w.same("genesis")
	return w
}

// commit makes one commit of an operation, has the other engine follow, and compares all
// that both have.
func (w *twins) commit(what string, o op) {
	w.t.Helper()
	w.seen[o.number()] = true
	p := &proposal{op: o, by: Actor{ActorOperator, "root"}}
	back, _ := o.(*setBack)
	e, at := w.made, w.made.state.at+1_000_000_000
	p.number(numbers{e.state.next.nextAlert, e.state.next.nextDecision})
	record := p.bytes
	if back != nil {
		w.made.write(nil, back, back.to, appendCommit(nil, back.to, 1, record, nil))
	} else {
		e.write([]*proposal{p}, nil, at, appendCommit(nil, at, 1, record, nil))
	}
	if p.err != nil {
		w.t.Fatalf("%s: %v", what, p.err)
	}
	decoded := w.follow()
	if got, want := answerOf(decoded), answerOf(o); !reflect.DeepEqual(got, want) {
		w.t.Errorf("%s: answered %v as made and %v as decoded", what, want, got)
	}
	w.same(what)
}

// follow applies the newest commit to the other engine and returns its last operation.
func (w *twins) follow() op {
	w.t.Helper()
	var last op
	rev := w.made.View().revision
	err := w.made.store.Replay(uint64(rev)-1, func(_ uint64, record []byte) error {
		c, err := decodeCommit(record)
		if err != nil {
			return err
		}
		last = c.ops[len(c.ops)-1].op
		return w.followed.follow(delivered{rev: rev, record: record, commit: c})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return last
}

func (w *twins) same(what string) {
	w.t.Helper()
	if a, b := w.made.Digest(), w.followed.Digest(); a != b {
		w.t.Errorf("%s: the digests are %x and %x", what, a, b)
	}
	if a, b := written(w.t, w.made), written(w.t, w.followed); !slices.Equal(a, b) {
		w.t.Errorf("%s: as made and as decoded there are\n%s\n%s", what, a, b)
	}
	for _, e := range []*Engine{w.made, w.followed} {
		if err := e.Check(); err != nil {
			w.t.Errorf("%s: %v", what, err)
		}
	}
}

// sectionTexts takes sections as text.
type sectionTexts []string

func (l *sectionTexts) Section(kind uint16, body []byte) error {
	*l = append(*l, fmt.Sprintf("section %d: %x", kind, body))
	return nil
}

// written is all that an engine would store of its state, and its rows.
func written(t *testing.T, e *Engine) []string {
	t.Helper()
	var l sectionTexts
	v := e.View()
	if err := v.write(context.Background(), &l, v.appendHeader(nil), v.people()); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []byte{rowAlert, rowUsage} {
		err := e.store.ScanRows(kind, nil, nil, false, func(key, value []byte) (bool, error) {
			l = append(l, fmt.Sprintf("row %d %x: %x", kind, key, value))
			return true, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// answerOf is what an applied operation tells its proposer.
func answerOf(o op) any {
	switch o := o.(type) {
	case *requested:
		return answerOf(o.op)
	case *addAlerts:
		return o.ids
	case *replaceList:
		return []any{o.ends.ended, o.add.ids}
	case *extendDecisions:
		return []any{o.ends.ended, o.add.ids}
	case *endDecisions:
		return o.ended
	case *dropAlerts:
		return o.dropped
	case *putBouncer:
		return []any{*o.row.Load(), o.row.place}
	case *grantToken:
		return o.id
	case *putAllowlist:
		return o.ends.ended
	case *extendAllowlist:
		return o.ends.ended
	case *reviseAllowlist:
		return o.ends.ended
	}
	return nil
}

// Every operation gives the same state and the same answer as it was made and as it is
// decoded.
func TestAppliedAsMadeAndAsDecoded(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	host := netip.MustParsePrefix("192.0.2.1/32")
	plans := func(until int64, values ...string) (list []plan) {
		for _, value := range values {
			target, _ := parseTarget(value)
			p := makePlan(ScopeIP, value, target)
			p.until, p.kind, p.origin, p.scenario = until, "ban", OriginCrowdsec, "s"
			list = append(list, p)
		}
		return list
	}
	alerts := func(until int64, values ...string) *addAlerts {
		a := &Alert{Scenario: "s", Message: "m", StartAt: Stamp{At: 5}, StopAt: Stamp{At: 6}}
		return &addAlerts{machine: "m1", at: w.made.state.at, alerts: []incoming{
			{body: a.appendBody(nil), scenario: "s", startAt: 5, plans: plans(until, values...), notify: []Notice{{"mail", true}, {"chat", false}}, batch: Batch{Name: "b"}},
			{body: a.appendBody(nil), scenario: "t", startAt: 5, simulated: true, community: true, batch: Batch{Name: "b", List: true}},
		}}
	}
	now := func() int64 { return w.made.state.at }
	const hour = int64(3600e9)

	w.commit("a machine", &putMachine{machine: Machine{ID: "m1", AuthType: AuthPassword, Validated: true}, fresh: true})
	w.commit("the machine again", &putMachine{machine: Machine{ID: "m1", AuthType: AuthPassword, Version: "2"}})
	w.commit("a bouncer", &putBouncer{bouncer: Bouncer{Name: "fw", AuthType: AuthAPIKey, KeyHash: KeyHash{1}}})
	w.commit("the bouncer again", &putBouncer{bouncer: Bouncer{Name: "fw", AuthType: AuthAPIKey, KeyHash: KeyHash{1}, IP: host.Addr()}})
	key := Bouncer{Name: "fw", AuthType: AuthAPIKey, KeyHash: KeyHash{1}, IP: host.Addr(), Hold: HoldOff, Sight: &Sight{
		Origins: []string{"CAPI", "lists"}, NotOrigins: []string{"cscli"}, Scopes: []string{ScopeIP}, Types: []string{"ban"}, Containing: []string{"ssh"},
		NotContaining: []string{"http"}, MaxEntries: 1000, Priority: Newest, MaxDuration: 1e13, MinDuration: 1e12, Allowlists: []string{"l"}, Canonical: true}}
	child := Bouncer{Name: "fw@192.0.2.2", AuthType: AuthAPIKey, KeyHash: KeyHash{1}, IP: host.Addr().Next(), AutoCreated: true}
	w.commit("a bouncer's sight", &putBouncer{bouncer: key})
	w.commit("a row of its key", &putBouncer{bouncer: child})
	key.Sight, key.Hold = &Sight{MaxEntries: 1}, 25_000
	w.commit("another sight, for its rows too", &putBouncer{bouncer: key, follow: []string{child.Name, "nobody"}})
	w.commit("visits that pass it", &visits{bouncers: []visit{{"fw", now(), uint64(w.made.View().revision), 2}, {child.Name, now(), uint64(w.made.View().revision) + 1, 0}}})
	for i := range 2 * pastSights {
		key.Sight = &Sight{MaxEntries: 10 + i}
		w.commit("sights without end", &putBouncer{bouncer: key})
	}
	key.Sight = nil
	w.commit("a bouncer that sees everything again", &putBouncer{bouncer: key})
	w.commit("alerts", alerts(now()+hour, "192.0.2.1", "198.51.100.0/24", "2001:db8::1", "192.0.2.001"))
	w.commit("a short ban", alerts(now()+5_000_000_000, "192.0.2.2"))
	w.commit("a ban that is over", alerts(now()-hour, "192.0.2.3"))
	w.commit("ended decisions", &endDecisions{at: now(), ids: []uint64{1, 1, 4, 999}})
	w.commit("visits", &visits{bouncers: []visit{{"fw", now(), 4, 3}, {"nobody", 1, 1, 0}}, machines: []visit{{name: "m1", at: now()}}})
	w.commit("visits of a node", &visitsOf{node: "b", start: 7, serial: 1, seen: 3, bouncers: []placed{{visit{"fw", now() + hour, 6, 7}, 0, false}, {visit{name: "nobody"}, 5, true}},
		machines: []visit{{name: "m1", at: now() + hour}, {name: "nobody"}}})
	w.commit("visits of a node that are less", &visitsOf{node: "c", start: 8, bouncers: []placed{{visit{"fw", 1, 2, 2}, 0, false}}, machines: []visit{{name: "m1", at: 1}}})
	w.commit("visits of a node, anew", &visitsOf{node: "c", start: 8, bouncers: []placed{{visit{"fw", now(), 0, 0}, 0, true}}})
	w.commit("a list", &putAllowlist{list: Allowlist{Name: "l", Description: "d", CreatedAt: now()}})
	w.commit("an item", &extendAllowlist{name: "l", at: now(), items: []AllowlistItem{{Value: "198.51.100.0/24", Prefix: netip.MustParsePrefix("198.51.100.0/24")},
		{Value: "203.0.113.1", Prefix: netip.MustParsePrefix("203.0.113.1/32"), ExpiresAt: now() + 1}}, ends: endDecisions{at: now(), ids: []uint64{2}}})
	w.commit("no list", &extendAllowlist{name: "gone", at: now()})
	w.commit("what ran out", &reduceAllowlist{name: "l", expired: now() + 2})
	w.commit("an item less", &reduceAllowlist{name: "l", at: now(), values: []string{"198.51.100.0/24", "nothing"}})
	w.commit("a list less", &dropAllowlist{name: "l"})
	console := Allowlist{Name: "c", Description: "d", CreatedAt: now(), UpdatedAt: now(), ConsoleID: "7", FromConsole: true}
	items := []AllowlistItem{{Value: "198.51.100.9", Prefix: netip.MustParsePrefix("198.51.100.9/32"), Comment: "c"}, {Value: "::/64", Prefix: netip.MustParsePrefix("::/64")}}
	w.commit("a list of the console", &reviseAllowlist{head: console, items: items, ends: endDecisions{at: now(), ids: []uint64{3}}})
	w.commit("a name that is taken", &reviseAllowlist{head: Allowlist{Name: "c"}, items: items})
	console.Name, console.Description = "e", "other"
	w.commit("another name", &reviseAllowlist{name: "c", head: console, values: []string{"::/64"}})
	items[0].Comment = "other"
	w.commit("an item that is another", &reviseAllowlist{name: "e", head: console, values: []string{"198.51.100.9", "nothing"}, items: items[:1]})
	w.commit("usage", &addUsage{usage: Usage{Kind: UsageBouncer, Name: "fw", ReceivedAt: now()}})
	w.commit("usage less", &dropUsage{before: now() + 1})
	w.commit("allowlists that win", &allowlistsWin{on: true})
	w.commit("allowlists that win again", &allowlistsWin{on: true})
	w.commit("allowlists that do not win", &allowlistsWin{})
	id := RequestID{After: 1, Name: [8]byte{7}}
	w.commit("a request", &requested{id, alerts(now()+hour, "192.0.2.77", "192.0.2.78")})
	w.commit("the request again", &requested{id, alerts(now()+hour, "192.0.2.77", "192.0.2.78")})
	w.commit("another kind of write under its id", &requested{id, &putSecret{name: "never", value: []byte("stored")}})
	w.commit("a deletion on request", &requested{RequestID{After: 2}, &dropAlerts{at: now(), ids: []uint64{999}}})
	w.commit("a secret", &putSecret{name: "s", value: []byte("value")})
	w.commit("another secret", &rotateSecret{name: "s", value: []byte("other"), at: now(), until: now() + hour})
	w.commit("the same secret", &rotateSecret{name: "s", value: []byte("other"), at: now(), until: now()})
	w.commit("a third secret", &rotateSecret{name: "s", value: []byte("third"), at: now() + 1, until: now() + 2*hour})
	w.commit("the first of its name", &rotateSecret{name: "t", value: []byte("value"), at: now(), until: now()})
	w.commit("an operator", &putOperator{operator: Operator{Name: "alice", Role: RoleAdmin, PasswordHash: "h", CreatedAt: now()}})
	w.commit("the operator again", &putOperator{operator: Operator{Name: "alice", Role: RoleViewer, Disabled: true, Link: OperatorLink{Hash: SecretHash{3}, ExpiresAt: 9}}})
	w.commit("a token", &grantToken{name: "alice", token: OperatorToken{Hash: SecretHash{1}, Comment: "c", CreatedAt: now(), ExpiresAt: now() + 1}})
	w.commit("a token of nobody", &grantToken{name: "nobody"})
	for i := range mostTokens + 1 {
		w.commit("tokens without end", &grantToken{name: "alice", token: OperatorToken{Hash: SecretHash{2, byte(i)}, CreatedAt: now() + 2}})
	}
	w.commit("a login", &visits{operators: []visit{{name: "alice", at: now()}, {name: "nobody", at: 1}}})
	w.commit("a login at a node", &visitsOf{node: "b", operators: []visit{{name: "alice", at: now() + 1}, {name: "nobody", at: 1}}})
	w.commit("another operator", &putOperator{operator: Operator{Name: "bob", Role: RoleOperator}})
	w.commit("an operator less", &dropOperator{name: "alice"})
	w.commit("nobody less", &dropOperator{name: "nobody"})
	w.commit("a bookmark", &moveBookmark{name: "b", to: 7})
	w.commit("a bookmark that does not go back", &moveBookmark{name: "b", to: 6})
	w.commit("a bookmark more", &moveBookmark{name: "c"})
	w.commit("a bookmark less", &dropBookmark{name: "b"})
	w.commit("a list pulled", &replaceList{ends: endDecisions{at: now(), ids: []uint64{3, 7}}, add: *alerts(now()+hour, "192.0.2.9", "2001:db8::/64")})
	w.commit("an extension", &extendDecisions{replaceList: replaceList{ends: endDecisions{at: now(), ids: []uint64{2}}, add: *alerts(now()+2*hour, "192.0.2.9")}})
	w.commit("an extension of a machine's", &extendDecisions{replaceList{ends: endDecisions{at: now()}, add: *alerts(now()+2*hour, "192.0.2.10")}, []string{"m1"}})
	w.commit("an end taken back", &extendDecisions{replaceList: replaceList{ends: endDecisions{at: now()}, add: *alerts(now()+2*hour, "192.0.2.12")}})
	w.commit("an extension of nobody's", &extendDecisions{replaceList{ends: endDecisions{at: now()}, add: *alerts(now()+2*hour, "192.0.2.11")}, []string{"nobody"}})
	w.commit("a list that only lost", &replaceList{ends: endDecisions{at: now(), ids: []uint64{9}}, add: addAlerts{at: now()}})
	export := Export{Name: "edge.txt", Path: "/lists/edge", Format: "plain_text", Types: []string{"ban"}, Family: IPv6, Auth: ExportToken, AllowFrom: []netip.Prefix{host},
		Secrets: []ExportSecret{{KeyHash{1}, 5}, {KeyHash{2}, 4}}, CreatedAt: 1, UpdatedAt: 2}
	w.commit("an export", &reviseExports{put: []Export{export}})
	export.Options, export.Aggregate, export.Declared = []string{"timeout=off"}, true, true
	w.commit("the export again, and two", &reviseExports{put: []Export{export, {Name: "b", Format: "f5"}, {Name: "a", Format: "rpz"}}, drop: []string{"nothing"}})
	w.commit("an export less", &reviseExports{drop: []string{"b"}})
	w.commit("numbers raised", &raiseIDs{alert: 100, decision: 200})
	w.commit("numbers that are raised already", &raiseIDs{alert: 50, decision: 60})
	brought := func(alert uint64, decisions ...uint64) arrival {
		a := arrival{id: alert, machine: "m1", createdAt: 7}
		a.incoming = alerts(0).alerts[0]
		for i, id := range decisions {
			a.plans = append(a.plans, plans(now()+hour, fmt.Sprintf("203.0.113.%d", i))...)
			a.decisions = append(a.decisions, broughtID{id: id, uuid: UUID{byte(i)}})
		}
		return a
	}
	w.commit("what was brought", &bringAlerts{at: now(), alerts: []arrival{brought(90, 190, 150, 151), brought(40, 160), brought(95)}})
	w.commit("what was brought further up", &bringAlerts{at: now(), alerts: []arrival{brought(300, 400, 250)}})
	w.commit("numbers that are taken", &bringAlerts{at: now(), alerts: []arrival{brought(1), brought(90), brought(41, 190), brought(42, 1), brought(43, 161, 161)}})
	w.commit("a ban between", alerts(now()+hour, "203.0.113.99"))
	w.commit("an end of it", &endDecisions{at: now(), ids: []uint64{150, 190}})
	w.commit("an alert of it less", &dropAlerts{at: now(), ids: []uint64{90, 300}})
	w.commit("a comparison", &compare{})
	w.commit("the clock set back", &setBack{to: now() - 10*hour})
	w.commit("a ban after that", alerts(now()+2_000_000_000, "192.0.2.4"))
	w.commit("expiry as older programs said it", &expire{at: now() + 3_000_000_000})
	w.commit("alerts less", &dropAlerts{at: now(), ids: []uint64{1, 1, 3, 999}})
	w.commit("a machine less", &dropMachines{ids: []string{"m1", "nobody"}})
	w.commit("a key", &rotateKey{name: "fw", owner: KeyHash{1}, key: KeyHash{2}, at: now(), until: now() + hour})
	w.commit("another key, the others ended", &rotateKey{name: "fw", owner: KeyHash{1}, key: KeyHash{3}, at: now() + 1, until: now() + 1})
	w.commit("a bouncer less", &dropBouncers{names: []string{"fw", "nobody"}})

	for n := range 256 {
		if o := newOp(byte(n)); o != nil && !w.seen[byte(n)] {
			t.Errorf("operation %d (%T) was not tried", n, o)
		}
	}
}

// A commit that was made on another state is refused and changes nothing.
func TestCommitOfAnotherState(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	before := written(t, w.followed)
	c := &commit{version: recordVersion, at: 1, ops: []act{{op: &putSecret{name: "s"}}, {op: &addAlerts{first: numbers{7, 1}}}}}
	if err := w.followed.follow(delivered{rev: 2, commit: c}); err == nil || w.followed.View().revision != 1 {
		t.Errorf("a commit of another state: %v", err)
	}
	if !slices.Equal(before, written(t, w.followed)) {
		t.Error("it changed something")
	}
	if !bytes.Equal(c.ops[0].op.append(nil), (&putSecret{name: "s"}).append(nil)) {
		t.Error("it was changed itself")
	}
}
