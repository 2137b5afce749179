package verbs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/persist"
	"lapid/transport/admin"
)

// How well one thing is, from the best to the worst. What cannot be told is no reason for an exit code.
const (
	isWell    = "well"
	isUnknown = "unknown"
	isAdvice  = "advice"
	isBroken  = "broken"
)

// Sick is how a doctor's visit ends that has found something. It has been shown.
type Sick struct{ Broken bool }

// Error implements error.
func (s Sick) Error() string {
	if s.Broken {
		return "something is broken"
	}
	return "something could be better"
}

// Prospect is what a start would find.
type Prospect struct {
	Warnings     []string // lines of its log
	Memory       int64    // bytes that it may take; 0: it cannot be told
	MemorySource string   // what says so
}

// finding is one thing that was looked at.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"`
}

// visit is what doctor has in its hands.
type visit struct {
	t        *Terminal
	setup    *config.Setup
	prospect *Prospect
	now      time.Time
	backups  string // folder; "": that of the settings, or else the usual one
	deep     bool

	server    *admin.Client // nil: none runs
	status    *admin.Status
	decisions int // in the store; -1: not known
	resident  float64

	found []finding
}

// Doctor is the verb doctor. look tries a start, as serve -t does, and makes nothing.
func Doctor(t *Terminal, look func(ctx context.Context, s *config.Setup) (*Prospect, error)) *cobra.Command {
	v := &visit{t: t, decisions: -1}
	c := &cobra.Command{
		Use: "doctor", Short: "Look at everything that may be wrong, and say what to do", Args: NoArgs,
		Long: `Looks at the configuration (as serve -t), the store (as check; beside a running server it asks that), the disk and
what kind it is, the clock, limits of open files and of memory, ports and who holds them, certificates, modes of files
with secrets, bouncers that are silent or behind, machines without a heartbeat, the cluster and how its etcd keeps up, the Central API,
and the age of backups. It changes nothing and asks nobody but the running server, the resolver and, where no server of a
node runs, its etcd. Run it as the server's user, or as root:
another user sees less, and what cannot be seen is unknown. A server that does not answer for 30 seconds, or sends nothing
of a backup for as long, is waited for no longer.

Exit code 0: all is well, or unknown; 1: there is advice; 2: something is broken.`,
		RunE: func(c *cobra.Command, _ []string) error {
			v.now = time.Now()
			v.examine(c.Context(), look)
			return v.tell()
		},
	}
	c.Flags().StringVar(&v.backups, "backups", "", "folder of backups, or none: their age is not looked at (default backup.dir of lapid.yaml, or else "+usualBackups+")")
	c.Flags().BoolVar(&v.deep, "deep", false, "beside a running server: read a backup of it to its end, which reads the whole store")
	return c
}

// visitPatience bounds all that is asked of a server, and how long it sends nothing of a backup.
const visitPatience = 30 * time.Second

// patience is visitPatience, or what the terminal has.
func (v *visit) patience() time.Duration { return cmp.Or(v.t.Patience, visitPatience) }

// examine looks at one thing after the other. Where the configuration cannot be read nothing else can be found.
func (v *visit) examine(ctx context.Context, look func(ctx context.Context, s *config.Setup) (*Prospect, error)) {
	s, err := v.t.Setup()
	if err != nil {
		v.broken("configuration", err.Error(), "mend it; the rest was not looked at")
		return
	}
	v.setup = s
	asking, cancel := context.WithTimeout(ctx, v.patience())
	defer cancel()
	v.meet(asking)
	if v.server != nil {
		defer v.server.Close()
	}
	v.configuration(ctx, look)
	v.store(ctx)
	v.disk()
	v.clock()
	v.limits(asking)
	v.ports()
	v.certificates()
	v.secrets()
	v.bouncers(asking)
	v.machines(asking)
	v.cluster(asking)
	v.central(asking)
	v.oldBackups()
}

// meet finds the running server.
func (v *visit) meet(ctx context.Context) {
	c, err := admin.Dial(ctx, v.setup.Socket())
	if errors.Is(err, admin.ErrNotRunning) {
		v.note(isUnknown, "server", "no server is running: nobody listens on "+datadir.Absolute(v.setup.Socket()), "start it, and look again: half of this is asked of it")
		return
	}
	if err == nil {
		v.status, err = c.Status(ctx)
	}
	if err != nil {
		v.unanswered(err)
		if c != nil {
			c.Close()
		}
		return
	}
	v.server = c
	if p := v.status.Program; p != v.t.Build.Version {
		v.advise("server", fmt.Sprintf("process %d runs version %s, and this program is %s", v.status.PID, p, v.t.Build.Version), "restart it, so that what is installed is what runs")
		return
	}
	v.well("server", fmt.Sprintf("process %d, version %s, revision %d", v.status.PID, v.status.Program, v.status.Revision))
}

// unanswered says why there was no answer from a server that listens, and what to do about that.
func (v *visit) unanswered(err error) {
	const check, socket = "server", "nobody answers on "
	path := datadir.Absolute(v.setup.Socket())
	switch {
	case errors.Is(err, fs.ErrPermission):
		v.note(isUnknown, check, datadir.Permitted(err, path).Error(), "run this as the server's user, in its group, or as root: half of this is asked of it")
	case errors.Is(err, context.Canceled):
		v.note(isUnknown, check, "it was not waited for: "+err.Error(), "")
	case outOfTime(err):
		v.broken(check, fmt.Sprintf("%s%s within %s, though a server listens there: it hangs, or its machine has no processor or disk for it", socket, path, v.patience()),
			"see its log and what its process waits for; kill -QUIT has it write that into its log and end, and then it can be started again")
	default:
		v.broken(check, err.Error(), "if it is another program that listens there, name another admin_socket; if versions differ, restart the server; see its log")
	}
}

// outOfTime reports whether nobody answered in time.
func outOfTime(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// configuration tries a start. Each warning is advice, but for those that name what is accepted for others.
func (v *visit) configuration(ctx context.Context, look func(ctx context.Context, s *config.Setup) (*Prospect, error)) {
	const check = "configuration"
	prospect, err := look(ctx, v.setup)
	v.prospect = cmp.Or(prospect, &Prospect{})
	if err != nil {
		v.broken(check, err.Error(), "mend it: a start would fail; lapid serve -t tries again")
	}
	for _, line := range v.prospect.Warnings {
		if config.Harmless(line) {
			v.well(check, line)
			continue
		}
		v.advise(check, line, "")
	}
	if err == nil && len(v.prospect.Warnings) == 0 {
		v.well(check, v.setup.Origin())
	}
}

// store asks the running server, or reads what is there.
func (v *visit) store(ctx context.Context) {
	const check = "store"
	switch {
	case v.server != nil:
		v.askStore(ctx)
		return
	case datadir.Missing(v.setup.Store()):
		if err := v.setup.Data().AsMade(); err != nil {
			v.broken(check, err.Error(), "")
			return
		}
		v.well(check, "there is none yet: the first start makes it in "+datadir.Absolute(v.setup.Store()))
		return
	}
	back, err := v.setup.Data().AsOwner()
	if err == nil {
		defer back()
		var found *engine.Inspection
		if err = v.setup.Data().AsMade(); err == nil {
			found, err = engine.Inspect(ctx, v.setup.EngineOptions(slog.New(slog.DiscardHandler)))
		}
		if err == nil {
			v.inspected(found)
			return
		}
	}
	if errors.Is(err, persist.ErrLocked) {
		v.note(isUnknown, check, err.Error(), "a server that is starting, or another verb, has it: look again later")
		return
	}
	v.broken(check, datadir.Permitted(err, v.setup.Store()).Error(), "lapid check tells more")
}

// inspected says what a check has found.
func (v *visit) inspected(found *engine.Inspection) {
	v.decisions = found.Decisions
	if n := len(found.Damage); n > 0 {
		v.broken("store", fmt.Sprintf("damage: %d findings, the first: %s", n, found.Damage[0]), "lapid check tells all of it, and what to do")
		return
	}
	v.well("store", fmt.Sprintf("no damage: revision %d, %d alerts, %d decisions", found.Revision, found.Alerts, found.Decisions))
}

// askStore asks the server what is wrong with its store, and reads a backup of it where that is wanted.
func (v *visit) askStore(ctx context.Context) {
	const check = "store"
	asking, cancel := context.WithTimeout(ctx, v.patience())
	defer cancel()
	r, err := v.server.Ready(asking)
	if err != nil {
		v.unanswered(err)
		return
	}
	for _, one := range r.Troubles {
		state := isBroken
		if one.Kind.Aside() || one.Kind == engine.TroubleClock || one.Kind == engine.TroubleStarting || one.Kind == engine.TroubleStopping {
			state = isAdvice
		}
		v.note(state, string(one.Kind), line(one.Text)+" (since "+time.Unix(0, one.Since).UTC().Format(time.RFC3339)+")", "")
	}
	if v.deep {
		err := v.readAll(ctx)
		if outOfTime(err) {
			v.broken(check, fmt.Sprintf("nothing came of a backup of it for %s: its disk hangs, or is overloaded", v.patience()), "see the server's log and the kernel's (dmesg); look again when the machine is idle")
			return
		}
		if err != nil {
			v.broken(check, "a backup of it cannot be read to its end: "+err.Error(), "see the server's log, then stop it and run: lapid check")
			return
		}
		v.well(check, "the whole of it was read, and no damage found")
		return
	}
	if len(r.Troubles) == 0 {
		v.well(check, "the server says that it is ready; --deep reads all of it, lapid check too while no server runs")
	}
}

// readAll reads a backup to its end, as long as something comes.
func (v *visit) readAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	enough := time.AfterFunc(v.patience(), func() { cancel(context.DeadlineExceeded) })
	defer enough.Stop()
	stream, err := v.server.Backup(ctx)
	if err == nil {
		_, err = persist.Verify(&flowing{stream, func() { enough.Reset(v.patience()) }})
		_ = stream.Close()
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// flowing tells when something was read.
type flowing struct {
	io.Reader
	came func()
}

func (f *flowing) Read(p []byte) (n int, err error) {
	if n, err = f.Reader.Read(p); n > 0 {
		f.came()
	}
	return n, err
}

// note adds a finding.
func (v *visit) note(state, check, found, do string) {
	v.found = append(v.found, finding{check, state, found, do})
}

func (v *visit) well(check, found string)       { v.note(isWell, check, found, "") }
func (v *visit) advise(check, found, do string) { v.note(isAdvice, check, found, do) }
func (v *visit) broken(check, found, do string) { v.note(isBroken, check, found, do) }

// diagnosis is all of it in JSON.
type diagnosis struct {
	State  string    `json:"state"` // the worst of all; unknown counts as well
	Checks []finding `json:"checks"`
}

// tell shows what was found, the worst first, and gives the exit code.
func (v *visit) tell() error {
	d := diagnosis{State: isWell, Checks: v.found}
	count := map[string]int{}
	for _, f := range v.found {
		count[f.State]++
	}
	worst := []string{isBroken, isAdvice, isUnknown, isWell}
	slices.SortStableFunc(d.Checks, func(a, b finding) int { return slices.Index(worst, a.State) - slices.Index(worst, b.State) })
	for _, state := range worst[:2] {
		if count[state] > 0 {
			d.State = state
			break
		}
	}
	var err error
	switch v.t.Output {
	case jsonWords:
		err = v.t.json(d, " ")
	case raw:
		var rows [][]string
		for _, f := range d.Checks {
			rows = append(rows, []string{f.State, f.Check, f.Found, f.Do})
		}
		err = v.t.csv([]string{"state", "check", "found", "do"}, rows)
	default:
		v.show(d.Checks, count)
	}
	if err == nil && d.State != isWell {
		return Sick{Broken: d.State == isBroken}
	}
	return err
}

// show is for people.
func (v *visit) show(list []finding, count map[string]int) {
	for _, f := range list {
		text := visibleLines(f.Found)
		v.t.print("%-8s %-14s %s\n", foreign(f.State), foreign(f.Check), text[0])
		for _, more := range text[1:] {
			v.t.print("%23s %s\n", foreign(""), more)
		}
		if f.Do != "" {
			v.t.print("%23s → %s\n", foreign(""), f.Do)
		}
	}
	v.t.print("\n%d broken, %d with advice, %d unknown, %d well\n", count[isBroken], count[isAdvice], count[isUnknown], count[isWell])
}

// visibleLines is a text by its lines; there is one at least.
func visibleLines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }

// fewOf are the first names of a list, and how many more there are.
func fewOf(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
