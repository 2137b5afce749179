package verbs

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

const (
	// defaultBatch is how many values become one alert when --batch does not say.
	// The reference puts everything into one; so does this for a list that is no
	// longer. A million values then need the memory of ten thousand.
	defaultBatch = 10_000

	// announced is the number of values above which an import is announced.
	announced = 1000

	// shownFaults is how many bad lines are named; the others are counted.
	shownFaults = 20
)

// importing is what the flags of decisions import say, and what came of it.
// It belongs to one run of the verb. What the reading of the input counts (over,
// simulated, strange) is complete before anything is sent; what the server answers is
// added by one goroutine.
type importing struct {
	revision uint64 // behind all that was stored; 0: not known

	// As given, and after settle as they are meant.
	file, format string
	batch        int
	allowEmpty   bool
	head         admin.ImportHead // the words for values that leave them out
	add          bool             // --append
	dry          bool
	skip         bool // entries that cannot be used
	list         importList

	guessed         bool     // the format
	scoped          bool     // --scope was given
	skipped         int      // entries that could not be used
	over, simulated int      // entries of a list that were left out
	strange         []string // names in the input that mean nothing here

	judge inputs.Judge

	// first is the first entry, with all of its words. A request says once what most entries
	// have in common with it, and each says what it has not (brief).
	first admin.Item

	stored      int
	outlook     admin.Outlook // of a dry run
	alerts      []uint64
	allowlisted []admin.Allowlisted
}

// decisionsImport is decisions import: a list of values from elsewhere, of which each
// becomes a decision.
func decisionsImport(t *Terminal) *cobra.Command {
	var i importing
	c := &cobra.Command{
		Use: "import", Short: "Import decisions from a file or standard input", Args: NoArgs,
		Long: `Imports decisions from a file (-i FILE) or standard input (-i -).

  csv     a header line with any of duration, reason, scope, type, value; value is needed
  json    a list of objects with these names
  ndjson  one object with these names on each line
  values  one value per line

The format is told by --format, by the extension of the file, or else by how the input begins. Blank
lines and # comments are skipped (in JSON: whole lines), and gzip files are unpacked. What "decisions
list" and cscli print with -o json and -o raw can be imported too (add -a there for everything): with
what is left of each duration, and with the origin of an import. A value with a slash is a Range where
no scope is given.

The whole input is read and judged before anything is stored, each entry as "decisions add" judges.
Refused are a missing value, an address or a range that is none or does not fit its scope, a duration
that is over at once or cannot be counted ("forever" stands for the longest), and a known type in
capitals: the first 20 are named with their lines, and nothing changes, unless --skip-invalid is given.
Warned of are columns and fields that mean nothing here, and types and scopes that look like a slip.
Left out and counted are decisions of a list that are over or simulated; left out and named, values that
an allowlist protects.

What an import has stored is a batch with a name: --batch-name chooses it, else it is made up and told.
"decisions delete --batch-name NAME" takes all of it back as one commit, "decisions list --batch-name
NAME" shows it. A name that exists is refused, unless --append is given. --batch values become one
alert, stored whole or not at all; an import that ends early says which alerts it has made and how to
take them back.

--name X --replace makes the input the whole content of the named list X, as one commit: what is new
begins, what is not in it any more ends, and what is in both stays as it is, so that bouncers are told
only of what has changed. A decision is told anew when less than a quarter to three quarters of its
duration is left, or more than the input gives it: let --duration be longer than twice the time between
two imports. The decisions have the origin "lists" and the name as their scenario. Refused are a content
that is empty or less than half as long as what runs, unless --allow-shrink is given; an input whose last
line has no end, since it may have been cut off; and the name of a list that is pulled from the Central
API. An entry that is there twice counts once. "decisions delete --name X" takes the list back.

--dry-run stores nothing and says what would be: how many are new, how many known already (a decision of
that type runs on the same target: the new one would stand beside it), repeated in the input, protected
by an allowlist, and which bouncers would be told of more than their --max-entries.

Exit code 0: all that was not left out is stored. 1: nothing is stored, or as much as the error says; so
is an input without a single decision, that a fetch which failed is noticed, unless --allow-empty is
given. 130: interrupted. A dry run exits as the import would.`,
		RunE: func(c *cobra.Command, _ []string) error {
			i.scoped = c.Flags().Changed("scope")
			if err := i.combined(c); err != nil {
				return err
			}
			return importDecisions(c.Context(), t, &i)
		},
	}
	i.flags(c)
	return c
}

func (i *importing) flags(c *cobra.Command) {
	s := c.Flags()
	s.StringVarP(&i.file, "input", "i", "", "file, or - for standard input")
	s.StringVar(&i.format, "format", "", "csv, json, ndjson or values (default: by the extension of the file, or its beginning)")
	s.StringVarP(&i.head.Duration, "duration", "d", "4h", "duration where the input has none (4h, 7d ..., forever)")
	s.StringVar(&i.head.Scope, "scope", engine.ScopeIP, "scope where the input has none")
	s.StringVarP(&i.head.Reason, "reason", "R", "manual", "reason where the input has none")
	s.StringVarP(&i.head.Type, "type", "t", "ban", "type where the input has none")
	s.IntVar(&i.batch, "batch", 0, fmt.Sprintf("values per alert (default %d)", defaultBatch))
	s.StringVar(&i.head.Batch, "batch-name", "", "name of what is stored (default: made up of the file's name and the time)")
	s.BoolVar(&i.add, "append", false, "add to a batch that exists")
	s.BoolVar(&i.allowEmpty, "allow-empty", false, "an input without decisions is no error")
	s.BoolVar(&i.skip, "skip-invalid", false, "leave out what cannot be used, instead of refusing all")
	s.BoolVar(&i.dry, "dry-run", false, "store nothing, only say what would be")
	s.StringVar(&i.list.name, "name", "", "named list whose content this is (with --replace)")
	s.BoolVar(&i.list.replace, "replace", false, "make the input the whole content of the list")
	s.BoolVar(&i.list.shrink, "allow-shrink", false, "also a content that is empty, or less than half of what there is")
	_ = c.MarkFlagRequired("input")
}

// combined refuses flags that say nothing beside others, by name.
func (i *importing) combined(c *cobra.Command) error {
	given := c.Flags().Changed
	if given("name") != i.list.replace {
		return errors.New("--name and --replace belong together: a named list is replaced as a whole (--batch-name names what a plain import stores)")
	}
	if i.list.replace {
		for _, flag := range []string{"batch", "batch-name", "append", "reason"} {
			if given(flag) {
				return fmt.Errorf("--%s means nothing with --name: the list's name stands for it, and all of it is one commit", flag)
			}
		}
		if i.allowEmpty {
			return errors.New("--allow-empty means nothing with --name: --allow-shrink takes an empty content")
		}
		return admin.UsableBatchName("the list's name", i.list.name)
	}
	if i.list.shrink {
		return errors.New("--allow-shrink means nothing without --name and --replace")
	}
	if i.add && i.head.Batch == "" {
		return errors.New("--append needs the --batch-name to add to")
	}
	if given("batch-name") {
		return admin.UsableBatchName("the batch's name", i.head.Batch)
	}
	return nil
}

// importDecisions reads the input twice: once to judge all of it, once to send it. So
// a bad line at the end of a million costs nothing that would have to be taken back,
// and no more than a batch is in memory.
func importDecisions(ctx context.Context, t *Terminal, i *importing) error {
	if err := i.settle(t); err != nil {
		return err
	}
	s, err := t.Setup()
	if err != nil {
		return err
	}
	i.head.Machine = s.Login()
	input, err := i.open(t.In)
	if err != nil {
		return err
	}
	defer input.Close()
	if err := i.recognize(input); err != nil {
		return err
	}
	t.words("Parsing %s\n", i.format)
	total, err := i.check(t, input)
	if err != nil {
		return fmt.Errorf("%w%s", err, i.readAs())
	}
	if i.list.replace {
		return replaceList(ctx, t, i, input, total)
	}
	// A fetch that failed leaves an empty file; a job that imports it must not look
	// like one that worked.
	if total == 0 && !i.allowEmpty {
		return fmt.Errorf("no decisions found%s", i.leftOut(" (left out: ", ")"))
	}
	if i.head.Dry = i.dry; i.dry {
		return dryImport(ctx, t, i, input, total)
	}
	if i.head.Batch == "" {
		i.head.Batch = inputs.BatchName(i.head.Source, time.Now())
	}
	if total > announced {
		t.words("You are about to add %d decisions, this may take a while\n", total)
	}
	if i.batch > 0 {
		t.words("batch size: %d\n", i.batch)
	}
	return t.withClient(ctx, func(client *admin.Client) error {
		if err := sendImport(ctx, t, client, i, input, total); err != nil {
			return i.endedEarly(err, total, t.program())
		}
		i.revision = newestRevision(ctx, client)
		return showImport(t, i)
	})
}

// showImport says what came of an import that went to its end. Without -o
// json the number stands alone in its line, as scripts know it from the
// reference; what was left out is told on standard error.
func showImport(t *Terminal, i *importing) error {
	if t.Output == jsonWords {
		return t.json(i.object(), " ")
	}
	t.print("Imported %d decisions%s", i.stored, t.lineEnd())
	if text := i.leftOut("left out: ", ""); text != "" {
		t.log("info", "%s", text)
	}
	if i.stored > 0 {
		t.success("batch %s: \"%s decisions delete --batch-name %s\" takes it back", i.head.Batch, t.program(), quoted(i.head.Batch))
	}
	return nil
}

// quoted is a name as an argument on a command line.
func quoted(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool {
		return !(strings.ContainsRune("._-+:,@%/=", r) || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}) {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

// importedObject is an import in JSON. Alerts are the numbers by which the
// import can be taken back. Lists are never null.
type importedObject struct {
	Imported    int                 `json:"imported"`
	Batch       string              `json:"batch"` // "": nothing was stored
	Alerts      []uint64            `json:"alerts"`
	Allowlisted []allowlistedObject `json:"allowlisted"`
	Over        int                 `json:"over"`
	Simulated   int                 `json:"simulated"`
	Invalid     int                 `json:"invalid"` // left out with --skip-invalid
	Ignored     []string            `json:"ignored_fields"`
	Revision    uint64              `json:"revision,omitempty"` // that has them all, for bouncers wait
}

// allowlistedObject is a value that an allowlist protects, and which items do.
type allowlistedObject struct {
	Value   string   `json:"value"`
	Reasons []string `json:"reasons"`
}

// object is what came of the import, for JSON.
func (i *importing) object() importedObject {
	o := importedObject{
		Imported: i.stored, Alerts: append([]uint64{}, i.alerts...), Allowlisted: []allowlistedObject{},
		Over: i.over, Simulated: i.simulated, Invalid: i.skipped, Ignored: append([]string{}, i.strange...), Revision: i.revision,
	}
	if i.stored > 0 {
		o.Batch = i.head.Batch
	}
	for _, a := range i.allowlisted {
		o.Allowlisted = append(o.Allowlisted, allowlistedObject(a))
	}
	return o
}

// leftOut says what was not imported, between two texts; "" when all was.
// What an allowlist protects is not in it: each such value is named while it happens.
func (i *importing) leftOut(before, after string) string {
	var parts []string
	if i.over > 0 {
		parts = append(parts, fmt.Sprintf("%d that are over", i.over))
	}
	if i.simulated > 0 {
		parts = append(parts, fmt.Sprintf("%d simulated", i.simulated))
	}
	if i.skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d that cannot be used", i.skipped))
	}
	if len(parts) == 0 {
		return ""
	}
	return before + strings.Join(parts, ", ") + after
}

// ErrInterrupted: the operator has ended an import by a signal. What wraps it says which
// alerts are stored.
var ErrInterrupted = errors.New("interrupted")

// earlyEnd is why an import has ended before its end, and how far it came.
// The cause chooses the exit code; the text says what is stored.
type earlyEnd struct {
	cause error
	text  string
}

func (e *earlyEnd) Error() string { return e.text }

func (e *earlyEnd) Unwrap() error { return e.cause }

// endedEarly says what is stored of an import, and how to be rid of it. An
// answer of the server's, also a refusal, settles what became of its chunk.
// When the connection broke instead, or the node that writes was lost, the chunk under way may be stored or
// not, so the numbers are "at least", and the batch is what has all of it.
func (i *importing) endedEarly(cause error, total int, program string) error {
	unsure, batch := errors.Is(cause, engine.ErrUnsure), quoted(i.head.Batch)
	if len(i.alerts) == 0 && unsure && batch != "" {
		return &earlyEnd{cause, fmt.Sprintf("%v: \"%s decisions list --batch-name %s\" shows what is stored of %d decisions, and \"%s decisions delete --batch-name %s\" takes it back",
			apiError(cause), program, batch, total, program, batch)}
	}
	if len(i.alerts) == 0 {
		return &earlyEnd{cause, fmt.Sprintf("%v: none of %d decisions was stored", apiError(cause), total)}
	}
	known := "are stored"
	var said *engine.Error
	if unsure || !errors.As(cause, &said) && !errors.Is(cause, ErrInterrupted) { // the last answer was lost
		known = "at least are stored"
		if batch != "" && !i.add { // with --add there was something in it before
			return &earlyEnd{cause, fmt.Sprintf("%v: %d of %d decisions %s, as the batch %s; \"%s decisions delete --batch-name %s\" takes all of it back",
				apiError(cause), i.stored, total, known, i.head.Batch, program, batch)}
		}
	}
	ids := ranges(i.alerts)
	return &earlyEnd{cause, fmt.Sprintf("%v: %d of %d decisions %s, as alerts %s; \"%s alerts delete --id %s\" takes them back",
		apiError(cause), i.stored, total, known, ids, program, ids)}
}

// settle fills in what the flags leave open and refuses what cannot be. It
// must not change anything outside: a wrong flag is an error before the
// input is opened. Durations are brought into the form that the server
// stores.
func (i *importing) settle(t *Terminal) error {
	if i.format == "" {
		i.format = inputs.FormatOf(i.file)
	}
	if _, ok := inputs.Formats[i.format]; !ok && i.format != "" {
		return fmt.Errorf("unknown format '%s': use csv, json, ndjson or values", i.format)
	}
	if i.batch < 0 || i.batch > admin.MaxChunk {
		return fmt.Errorf("the batch size must lie between 0 and %d", admin.MaxChunk)
	}
	var err error
	if i.head.Duration, err = engine.DecisionDuration(i.head.Duration); err != nil {
		return fmt.Errorf("invalid duration: %w", err)
	}
	if err := warnOfType(t, i.head.Type); err != nil {
		return err
	}
	warnOfScope(t, i.head.Scope)
	i.judge.Scope, i.judge.Scoped = i.head.Scope, i.scoped
	// The alert's text names the file without its folder, which other users need not
	// know.
	i.head.Source = filepath.Base(i.file)
	if i.file == "-" {
		i.head.Source = "stdin"
	}
	return nil
}

// open gives the input as a file that can be read twice: what comes through
// a pipe is kept in a nameless file meanwhile. The nameless file vanishes
// with this process, however it ends. The caller closes it.
func (i *importing) open(stdin io.Reader) (*os.File, error) {
	var from io.Reader = stdin
	if i.file != "-" {
		f, err := os.Open(i.file)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && info.Mode().IsRegular() {
			return f, nil
		}
		defer f.Close()
		if err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a directory: give a file, or - for standard input", i.file)
		}
		from = f
	}
	kept, err := os.CreateTemp("", "lapid-import-*")
	if err != nil {
		return nil, fmt.Errorf("keeping the input: %w", err)
	}
	// From here on the file has no name; a crash leaves nothing behind.
	_ = os.Remove(kept.Name())
	if _, err := io.Copy(kept, from); err != nil {
		_ = kept.Close()
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	return kept, nil
}

// check reads the whole input and counts the decisions that it will make.
// Bad ones are named, and then it is an error. No more than shownFaults
// faults and as many doubts are shown, each doubt once, for a list of a
// million may be wrong in every line. The others are counted.
func (i *importing) check(t *Terminal, input *os.File) (total int, err error) {
	faults := 0
	complain := func(where inputs.Place, err error) {
		if faults++; faults <= shownFaults {
			t.log("error", "%s: %v", where, err)
		}
	}
	doubted := map[string]bool{}
	doubt := func(where inputs.Place, text string) {
		if text != "" && !doubted[text] && len(doubted) < shownFaults {
			doubted[text] = true
			t.log("warning", "%s: %s", where, text)
		}
	}
	err = i.each(input, &inputs.Sink{
		Entry: func(where inputs.Place, e *inputs.Entry) error {
			take, err := i.judge.Prepare(e)
			switch {
			case err != nil:
				complain(where, err)
			case take:
				if total++; total == 1 {
					i.first = i.whole(e)
				}
				kind, scope := i.judge.Doubts(e)
				doubt(where, kind)
				if i.list.replace && e.Reason != "" && !e.Left {
					doubt(where, "a reason means nothing in a named list, whose name is the scenario of all its decisions")
				}
				doubt(where, scope)
			case e.Simulated:
				i.simulated++
			default:
				i.over++
			}
			return nil
		},
		Complain: complain,
		Strange: func(name string) {
			if len(i.strange) < shownFaults && !slices.Contains(i.strange, name) {
				i.strange = append(i.strange, name)
				t.log("warning", "'%s' means nothing here and is ignored%s", name, meant(name))
			}
		},
	})
	if err != nil {
		return 0, err
	}
	if faults > shownFaults {
		t.log("error", "... and %d more", faults-shownFaults)
	}
	if i.skip {
		i.skipped = faults
		return total, nil
	}
	if faults > 0 {
		return 0, fmt.Errorf("%d unusable entries in %s, nothing was imported", faults, i.head.Source)
	}
	return total, nil
}

// meant names the column that was probably meant. Names are compared without
// regard to slips of a letter or two (nearest).
func meant(name string) string {
	if near := inputs.Nearest(name, inputs.Columns); near != "" {
		return fmt.Sprintf("; did you mean '%s'?", near)
	}
	return fmt.Sprintf(" (known are %s)", strings.Join(inputs.Columns, ", "))
}

// whole is an entry with the flags' words where it has none.
func (i *importing) whole(e *inputs.Entry) admin.Item {
	w := e.Item
	for _, f := range []struct {
		into *string
		flag string
	}{{&w.Duration, i.head.Duration}, {&w.Reason, i.head.Reason}, {&w.Scope, i.head.Scope}, {&w.Type, i.head.Type}} {
		if *f.into == "" {
			*f.into = f.flag
		}
	}
	return w
}

// common are the words that stand for those of entries that have none in a request: the
// first entry's. A word that no flag gives has none to stand for it: there, an entry
// without one means to have none.
func (i *importing) common() admin.Item {
	w := admin.Item{Duration: i.head.Duration, Reason: i.head.Reason, Scope: i.head.Scope, Type: i.head.Type}
	for _, f := range []struct {
		into  *string
		first string
	}{{&w.Duration, i.first.Duration}, {&w.Reason, i.first.Reason}, {&w.Scope, i.first.Scope}, {&w.Type, i.first.Type}} {
		if *f.into != "" && f.first != "" {
			*f.into = f.first
		}
	}
	return w
}

// brief is an entry without the words that it has in common with others.
func (i *importing) brief(e *inputs.Entry, common *admin.Item) admin.Item {
	b := i.whole(e)
	if b.Duration == common.Duration {
		b.Duration = ""
	}
	if b.Reason == common.Reason {
		b.Reason = ""
	}
	if b.Scope == common.Scope {
		b.Scope = ""
	}
	if b.Type == common.Type {
		b.Type = ""
	}
	return b
}

// fromStart gives the input as text, from its beginning.
func fromStart(input *os.File) (*bufio.Reader, error) {
	if _, err := input.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	return inputs.Text(input)
}

// recognize finds out the format where neither a flag nor the extension tells it.
func (i *importing) recognize(input *os.File) error {
	if i.format != "" {
		return nil
	}
	in, err := fromStart(input)
	if err != nil {
		return err
	}
	i.format, err = inputs.Recognize(in)
	i.guessed = true
	return err
}

// readAs says how the input was read, behind an error that may come from that.
func (i *importing) readAs() string {
	if !i.guessed {
		return ""
	}
	return fmt.Sprintf(" (it was read as %s, by its beginning: %s; --format says what it is)", i.format, inputs.Expected[i.format])
}

// each reads the input from its beginning. The sink sees every entry in
// order; what it returns ends the reading.
func (i *importing) each(input *os.File, to *inputs.Sink) error {
	in, err := fromStart(input)
	if err != nil {
		return err
	}
	if !i.list.replace || i.format == inputs.JSON || i.format == inputs.NDJSON {
		return inputs.Formats[i.format](in, to)
	}
	end := &ending{in: in, last: '\n'}
	if err := inputs.Formats[i.format](end, to); err != nil {
		return err
	}
	if end.last != '\n' {
		return errors.New("the last line has no line end, so the input may have been cut off: add one if it is whole")
	}
	return nil
}

// sendImport has the values stored chunk by chunk: while one is stored the next ones are read and
// sent. Ctrl-C ends it behind the chunk that is being sent, so that what is stored is known; a
// second one ends the program at once. Memory is bounded by one line of a request. The server
// stores a chunk whole or not at all, and none behind one that it has refused.
func sendImport(ctx context.Context, t *Terminal, client *admin.Client, i *importing, input *os.File, total int) error {
	until, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default handling is back, so a second one ends the
	// program.
	context.AfterFunc(until, stop)
	common := i.common()
	head := i.head
	head.Duration, head.Reason, head.Scope, head.Type = common.Duration, common.Reason, common.Scope, common.Type
	head.First = !i.add && head.Batch != ""
	bar, done, short := newProgress(t, total), 0, false
	err := client.Import(ctx, &head, func(to *admin.Chunks) error {
		err := i.cut(until, input, to)
		if short = errors.Is(err, ErrInterrupted); short {
			return nil // what was sent is answered
		}
		return err
	}, func(answer *admin.Imported) {
		i.note(answer)
		for _, a := range answer.Allowlisted {
			bar.clear()
			t.words("Value %s is allowlisted by %s\n", a.Value, a.Reasons)
		}
		done += answer.Stored + len(answer.Allowlisted)
		bar.at(done)
	})
	bar.clear()
	if errors.Is(err, engine.ErrExists) {
		err = fmt.Errorf("%w, or --append to add to it", err)
	}
	if err == nil && short {
		err = cmp.Or(ctx.Err(), ErrInterrupted)
	}
	return err
}

// note keeps what became of a chunk. A chunk of which everything was left
// out has no alert.
func (i *importing) note(answer *admin.Imported) {
	i.stored += answer.Stored
	if answer.Alert != 0 {
		i.alerts = append(i.alerts, answer.Alert)
	}
	i.allowlisted = append(i.allowlisted, answer.Allowlisted...)
	if look := answer.Outlook; look != nil {
		i.outlook.New += look.New
		i.outlook.Known += look.Known
		i.outlook.Again += look.Again
		i.outlook.Overflows = addOverflows(i.outlook.Overflows, look.Overflows)
	}
}

// judged is an error of prepare's at the second reading, as it was judged at the first.
func (i *importing) judged(err error) error {
	if i.skip {
		return nil
	}
	return err
}

// cut makes chunks of the input, of the size that was asked for, the last one of what is left. When
// until ends, it ends behind the chunk that was begun, with ErrInterrupted.
func (i *importing) cut(until context.Context, input *os.File, to *admin.Chunks) error {
	size, n, common := i.batch, 0, i.common()
	if size == 0 {
		size = defaultBatch
	}
	var again *inputs.Repeats
	if i.dry {
		again = &inputs.Repeats{}
	}
	err := i.each(input, &inputs.Sink{
		Entry: func(_ inputs.Place, e *inputs.Entry) error {
			take, err := i.judge.Prepare(e)
			if !take || err != nil {
				return i.judged(err)
			}
			if again != nil {
				e.Again = again.Has(e, i.head.Scope, i.head.Type)
			}
			if n == 0 && until.Err() != nil {
				return ErrInterrupted
			}
			item := i.brief(e, &common)
			if err := to.Add(&item); err != nil {
				return err
			}
			if n++; n < size {
				return nil
			}
			n = 0
			return to.End()
		},
		Complain: func(inputs.Place, error) {}, // the input was good a moment ago
	})
	if err != nil {
		return err
	}
	return to.End()
}

// ending notes the last byte of what was read.
type ending struct {
	in   io.Reader
	last byte
}

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.in.Read(b)
	if n > 0 {
		e.last = b[n-1]
	}
	return n, err
}
