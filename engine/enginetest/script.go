package enginetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"lapid/engine"
	"lapid/persist"
)

// Script plays the scenario files below dir, each as a subtest. A scenario is
// a text file a bouncer's author could read:
//
//	alerts machine=edge-1 [simulated]     one decision a line: SCOPE VALUE SCENARIO TYPE DURATION [ORIGIN]
//	alert machine=edge-1 scope=Ip value=… an alert without decisions, for allowlists and profiles
//	live ip=… | range=… [inside]          what is banned now
//	stream bouncer=fw [startup] [origins=a,b] [scopes=…] [dedup=false]
//	delete id=… | ip=…                    ends decisions
//	delete-alert id=…
//	alert-show id=…                       an alert with its decisions
//	allowlist add=… | remove=…            on the list named "trusted"
//	advance DURATION
//	restart | crash | snapshot            crash forgets what was not synced
//	restart clock=DURATION [trust]        … with the wall clock set by so much while it is off
//	keep alerts=AGE bouncers=AGE machines=AGE   retention, from the next restart on
//	machine id=…                          registers a machine that is heard of
//	why [TARGET] [bouncer=…] [at=DURATION] what is decided on it, or on what stands below the command, and who
//	                                      knows; at: as long ago, +… ahead
//	people                                bouncers and machines, and what is wrong
//	flush items=… age=…
//	read name=… [stay]                    what a reader of the history is told from its bookmark on,
//	                                      which moves there unless it is to stay
//	bookmarks                             how far each is, and whether it was left behind
//	forget bytes=…                        what is kept of the journal for bookmarks, from the next restart on
//
// Revisions are not shown: which writes share a commit is a matter of chance.
// `go test -args -rewrite` writes the answers anew. Every scenario ends with
// the engine's Check.
//
// Folders named fuzz, backup and frozen hold other things.
func Script(t *testing.T, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "fuzz" && name != "backup" && name != "frozen" {
			t.Run(name, func(t *testing.T) { play(t, filepath.Join(dir, name)) })
		}
	}
}

// play runs the scenarios of one folder, each on a rig of its own whose disk can lose
// its power.
func play(t *testing.T, dir string) {
	datadriven.Walk(t, dir, func(t *testing.T, path string) {
		s := &script{clients: map[string]*Client{}}
		s.Rig = NewRig(t, func(o *engine.Options) { o.FS = persist.NewCrashFS() })
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(d) })
	})
}

// script is one scenario while it runs: the rig, and the bouncers that have come by,
// by name.
type script struct {
	*Rig
	clients map[string]*Client
}

// run answers one command. An error of the engine's is a part of the answer; one of
// the script's own ends the test.
func (s *script) run(d *datadriven.TestData) string {
	var b strings.Builder
	ctx := context.Background()
	now := s.Rig.Now().UnixNano()
	var err error
	switch d.Cmd {
	case "alerts":
		err = s.alerts(ctx, &b, d, now)
	case "alert":
		a := &engine.Alert{Scenario: "ssh-bf", Remediation: true, StopAt: engine.StampOf(s.Rig.Now()),
			Source: engine.Source{Scope: arg(d, "scope"), Value: arg(d, "value")}}
		var ids []engine.AlertID
		ids, err = s.AddAlerts(ctx, arg(d, "machine"), []*engine.Alert{a}, now)
		fmt.Fprintf(&b, "stored %v\n", ids)
	case "live":
		err = s.live(&b, d, now)
	case "stream":
		err = s.stream(&b, d, now)
	case "delete", "delete-alert", "flush":
		err = s.remove(ctx, &b, d, now)
	case "alert-show":
		err = s.show(&b, d, now)
	case "allowlist":
		err = s.allowlist(ctx, &b, d, now)
	case "advance":
		var by time.Duration
		if by, err = engine.ParseDuration(d.CmdArgs[0].Key); err == nil {
			s.Advance(by)
		}
		fmt.Fprintln(&b, "ok")
	case "restart", "crash", "snapshot":
		err = s.disturb(ctx, &b, d)
	case "keep":
		err = s.keep(d)
		fmt.Fprintln(&b, "ok")
	case "machine":
		if err = s.AddMachine(ctx, &engine.Machine{ID: arg(d, "id"), Validated: true, IP: "192.0.2.99"}, false); err == nil {
			s.Heartbeat(arg(d, "id"), now)
		}
		fmt.Fprintln(&b, "ok")
	case "read":
		err = s.read(ctx, &b, d)
	case "bookmarks":
		for _, m := range s.Metrics().Bookmarks {
			fmt.Fprintf(&b, "%s: up to date %v, left behind %v\n", m.Name, m.Behind <= 1, m.Lost)
		}
	case "forget":
		s.Options.BookmarkBytes, err = strconv.ParseInt(arg(d, "bytes"), 10, 64)
		fmt.Fprintln(&b, "ok")
	case "people":
		s.people(&b)
	case "why":
		err = s.why(ctx, &b, d, now)
	default:
		d.Fatalf(s.T, "unknown command %q", d.Cmd)
	}
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
	}
	return b.String()
}

// alerts stores one alert with the decisions of the lines below the command.
func (s *script) alerts(ctx context.Context, b *strings.Builder, d *datadriven.TestData, now int64) error {
	a := &engine.Alert{Scenario: "script", Simulated: d.HasArg("simulated"), StopAt: engine.StampOf(s.Rig.Now())}
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		if len(f) < 5 {
			d.Fatalf(s.T, "a decision is SCOPE VALUE SCENARIO TYPE DURATION [ORIGIN]: %q", line)
		}
		origin := engine.OriginCrowdsec
		if len(f) > 5 {
			origin = f[5]
		}
		a.Decisions = append(a.Decisions, engine.NewDecision{Scope: f[0], Value: f[1], Scenario: f[2], Type: f[3], Duration: f[4], Origin: origin})
	}
	ids, err := s.AddAlerts(ctx, arg(d, "machine"), []*engine.Alert{a}, now)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "alerts %v\n", ids)
	return nil
}

// live asks as a bouncer does about one address or range, in any scope.
func (s *script) live(b *strings.Builder, d *datadriven.TestData, now int64) error {
	q := s.Ask()
	q.Scopes = engine.Words{}
	p, err := engine.ParseTarget(arg(d, "ip") + arg(d, "range"))
	if err != nil {
		return err
	}
	q.Address, q.Inside, q.Simulated = p, d.HasArg("inside"), d.HasArg("simulated")
	found := s.View().Find(nil, q)
	for _, x := range found {
		fmt.Fprintln(b, describe(x, now))
	}
	if len(found) == 0 {
		fmt.Fprintln(b, "none")
	}
	return nil
}

// stream polls as a bouncer that has the server keep its place, and shows what it was
// told.
func (s *script) stream(b *strings.Builder, d *datadriven.TestData, now int64) error {
	name := arg(d, "bouncer")
	row := s.View().Bouncer(name)
	if row == nil {
		var err error
		if row, err = s.AddBouncer(context.Background(), &engine.Bouncer{Name: name, AuthType: engine.AuthTLS}); err != nil {
			return err
		}
	}
	c := s.clients[name]
	if c == nil || d.HasArg("startup") {
		c = &Client{}
		s.clients[name] = c
	}
	if !d.HasArg("startup") {
		c.cursor, c.pulled = row.Cursor() // what survived counts, not what the client remembers
	}
	c.Query = s.Ask()
	c.Query.Dedup = arg(d, "dedup") != "false"
	if o := arg(d, "origins"); o != "" {
		c.Query.Origins = engine.Words{Given: true, List: strings.Split(o, ",")}
	}
	if o := arg(d, "scopes"); o != "" {
		c.Query.Scopes = engine.Words{Given: true, List: strings.Split(o, ",")}
	}
	err := c.Poll(s.Engine, now)
	row.Advance(c.cursor, now)
	for _, x := range c.new {
		fmt.Fprintf(b, "new %s\n", describe(x, now))
	}
	for _, x := range c.deleted {
		fmt.Fprintf(b, "deleted %s\n", describe(x, now))
	}
	if len(c.new)+len(c.deleted) == 0 {
		fmt.Fprintln(b, "nothing")
	}
	return err
}

// read is one reader of the history: it is told what came since its bookmark, or that it
// has to start over, which it does at the newest.
func (s *script) read(ctx context.Context, b *strings.Builder, d *datadriven.TestData) error {
	mark := s.Bookmark(arg(d, "name"))
	after, stored := mark.At()
	newest := s.View().Revision()
	commits, ok := s.Commits(after)
	switch {
	case !stored:
		fmt.Fprintln(b, "begins")
	case !ok:
		fmt.Fprintln(b, "too far behind: starts over")
	default:
		for rev, c := range commits {
			if rev != after+1 {
				return fmt.Errorf("revision %d follows %d", rev, after)
			}
			for change := range c.Changes() {
				fmt.Fprintln(b, told(&change))
			}
			after = rev
		}
		newest = after
	}
	if d.HasArg("stay") {
		return nil
	}
	return mark.Move(ctx, newest)
}

// told is a change in one line.
func told(c *engine.Change) string {
	what := c.Name
	switch c.Kind {
	case engine.DecisionBegun, engine.DecisionEnded:
		what = fmt.Sprintf("%d %s %s", c.Decision.ID(), c.Decision.Type().S, c.Decision.Value())
	case engine.AlertStored:
		a, err := c.Report()
		if err != nil {
			return err.Error()
		}
		what = fmt.Sprintf("%d %s", c.Alert, a.Scenario)
	case engine.AlertDeleted:
		what = fmt.Sprint(c.Alert)
	}
	if len(c.Items) > 0 {
		what += " " + strings.Join(c.Items, ",")
	}
	return fmt.Sprintf("%s: %s (by %s)", c.Kind, what, c.By)
}

// remove is every way of taking something away, and shows how many went.
func (s *script) remove(ctx context.Context, b *strings.Builder, d *datadriven.TestData, now int64) error {
	var n int
	var err error
	var id uint64
	if d.HasArg("id") {
		id = number(s.T, d, "id")
	}
	switch {
	case d.Cmd == "flush":
		var items int
		var age time.Duration
		items = int(number(s.T, d, "items"))
		if text := arg(d, "age"); text != "" {
			age, err = engine.ParseDuration(text)
		}
		if err == nil {
			n, err = s.FlushAlerts(ctx, items, age, now)
		}
	case d.Cmd == "delete-alert":
		n, err = 1, s.DeleteAlert(ctx, engine.AlertID(id), now)
	case d.HasArg("id"):
		n, err = 1, s.EndDecision(ctx, engine.DecisionID(id), now)
	default:
		q := s.Ask()
		q.Scopes, q.Simulated = engine.Words{}, true
		if q.Address, err = engine.ParseTarget(arg(d, "ip")); err == nil {
			n, err = s.EndDecisions(ctx, q)
		}
	}
	if err == nil {
		fmt.Fprintf(b, "%d\n", n)
	}
	return err
}

// show reads an alert back, with its body from the disk.
func (s *script) show(b *strings.Builder, d *datadriven.TestData, now int64) error {
	id := number(s.T, d, "id")
	a, decisions, err := s.Alert(s.View(), engine.AlertID(id))
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "alert %d %s by %q\n", a.ID, a.Scenario, a.MachineID)
	for _, x := range decisions {
		fmt.Fprintln(b, describe(x, now))
	}
	return nil
}

// allowlist makes the list when it is missing.
func (s *script) allowlist(ctx context.Context, b *strings.Builder, d *datadriven.TestData, now int64) error {
	const name = "trusted"
	if s.View().Allowlist(name) == nil {
		if err := s.CreateAllowlist(ctx, name, "", now); err != nil {
			return err
		}
	}
	if d.HasArg("remove") {
		n, err := s.RemoveFromAllowlist(ctx, name, []string{arg(d, "remove")}, now)
		fmt.Fprintf(b, "removed %d\n", n)
		return err
	}
	p, err := engine.ParseTarget(arg(d, "add"))
	if err != nil {
		return err
	}
	added, ended, err := s.AddToAllowlist(ctx, name, []engine.AllowlistItem{{Value: arg(d, "add"), Prefix: p}}, now)
	fmt.Fprintf(b, "added %d, ended %d\n", added, ended)
	return err
}

// keep changes the options that the next restart takes.
func (s *script) keep(d *datadriven.TestData) (err error) {
	r := &s.Options.Retention
	for name, ages := range map[string][]*time.Duration{"alerts": {&r.MaxAge}, "bouncers": {&r.BouncersKey, &r.BouncersCert},
		"machines": {&r.MachinesPassword, &r.MachinesCert}} {
		for _, age := range ages {
			if text := arg(d, name); text != "" && err == nil {
				*age, err = engine.ParseDuration(text)
			}
		}
	}
	return err
}

// people lists bouncers and machines, and the troubles.
func (s *script) people(b *strings.Builder) {
	v := s.View()
	for _, r := range v.Bouncers() {
		fmt.Fprintln(b, "bouncer", r.Load().Name)
	}
	for _, m := range v.Machines() {
		fmt.Fprintln(b, "machine", m.ID)
	}
	for _, t := range s.Troubles() {
		fmt.Fprintf(b, "trouble %s: %s\n", t.Kind, t.Text)
	}
}

// why asks Why and tells all of the answer but revisions.
func (s *script) why(ctx context.Context, b *strings.Builder, d *datadriven.TestData, now int64) error {
	q := &engine.WhyQuery{Target: d.Input, Bouncer: arg(d, "bouncer")}
	if len(d.CmdArgs) > 0 && len(d.CmdArgs[0].Vals) == 0 {
		q.Target = d.CmdArgs[0].Key
	}
	if text := arg(d, "at"); text != "" {
		ago, err := engine.ParseDuration(strings.TrimPrefix(text, "+"))
		if err != nil {
			return err
		}
		if strings.HasPrefix(text, "+") {
			ago = -ago
		}
		q.At = now - int64(ago)
	}
	a, err := s.Why(ctx, q)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "%s\n%s %s, decided %v\n", a.Verdict, a.Kind, a.Target, a.Decided)
	for _, text := range a.Notes {
		fmt.Fprintf(b, "note: %s\n", text)
	}
	whyDecisions(b, "in force", &a.Decisions)
	if a.Inside != nil {
		whyDecisions(b, "inside", a.Inside)
	}
	for _, e := range a.Allowlists.First {
		fmt.Fprintf(b, "allowlist %s %s covers %v ended %v dropped %d", e.List, e.Entry, e.Covers, e.Ended, e.Dropped)
		if e.Removed != nil {
			fmt.Fprintf(b, " removed %s", e.Removed.Format(time.TimeOnly))
		}
		fmt.Fprintln(b)
	}
	if a.Bouncers != nil {
		for _, x := range a.Bouncers.First {
			fmt.Fprintf(b, "bouncer %s rows %d %s decision %d %s\n", x.Name, x.Rows, x.Standing, x.Decision, x.By)
		}
	}
	whyDecisions(b, "before", &a.Before)
	return nil
}

func whyDecisions(b *strings.Builder, what string, list *engine.WhyDecisions) {
	for i := range list.First {
		d := &list.First[i]
		fmt.Fprintf(b, "%s %d/%d: %d %s %s:%s %s alert %d %s", what, i+1, list.Count, d.ID, d.Type, d.Scope, d.Value, d.Origin, d.Alert, d.Machine)
		for _, flag := range [...]struct {
			text string
			is   bool
		}{{" simulated", d.Simulated}, {" wider", d.Wider}, {" alert-deleted", d.AlertGone}} {
			if flag.is {
				b.WriteString(flag.text)
			}
		}
		if d.OutlastedBy != 0 {
			fmt.Fprintf(b, " outlasted by %d", d.OutlastedBy)
		}
		if d.Ended != nil {
			fmt.Fprintf(b, " ended %s: %s", d.Ended.Format(time.TimeOnly), d.Ending)
		}
		b.WriteByte('\n')
	}
}

// disturb is what happens to servers.
func (s *script) disturb(ctx context.Context, b *strings.Builder, d *datadriven.TestData) error {
	switch d.Cmd {
	case "snapshot":
		if err := s.Snapshot(ctx); err != nil {
			return err
		}
	case "restart":
		by := time.Duration(0)
		if text := arg(d, "clock"); text != "" {
			var err error
			if by, err = engine.ParseDuration(text); err != nil {
				return err
			}
		}
		s.Options.TrustClock = d.HasArg("trust")
		s.RestartAt(by)
	case "crash":
		s.Crash()
	}
	fmt.Fprintln(b, "ok")
	return nil
}

// arg is the value of an argument, lists joined by commas; "" when it is not there.
func arg(d *datadriven.TestData, key string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return strings.Join(a.Vals, ",")
		}
	}
	return ""
}

// number reads a whole number; none is 0.
func number(t testing.TB, d *datadriven.TestData, key string) uint64 {
	text := arg(d, key)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		d.Fatalf(t, "%s: %v", key, err)
	}
	return n
}

// describe is a decision as scenarios show it: what is left is in whole seconds.
func describe(d engine.Decision, now int64) string {
	left := time.Duration(d.Until() - now).Round(time.Second)
	return fmt.Sprintf("#%d %s %s:%s %v %s", d.ID(), d.Type().S, d.Scope().S, d.Value(), left, d.Origin().S)
}
