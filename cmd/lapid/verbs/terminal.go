package verbs

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/transport/visible"
)

// The formats of what a verb shows.
const (
	human     = config.Human
	jsonWords = config.JSON
	raw       = config.Raw
)

// Terminal is where one command speaks: its streams and what the global flags
// say. It belongs to one command and one goroutine.
//
// What came from outside, names, values, reasons, is shown by print, log and tables as
// what it is (package visible); Guard sees to it that nothing else gets past them.
type Terminal struct {
	In    io.Reader          // what is asked of a person, and input named "-"
	Out   io.Writer          // what was asked for
	Err   io.Writer          // what happened
	Env   config.Environment // must not be nil
	Build Build

	// Environ is all of the environment, "NAME=value" each; needed in a container alone.
	Environ []string
	// Container has the configuration be what the environment of a container says.
	Container bool

	File    string // -c; "": the configuration is looked for
	Output  string // -o, one of config.Outputs; "" until settled
	Color   string // --color: accepted, and without an effect
	SafeCSV bool   // --safe-csv
	Init    bool   // --init: make the store if there is none
	Person  bool   // a person can be asked although In is no terminal: for tests
	Remote  Remote // verbs ask a server over HTTP
	alone   bool   // there is no server by intent, as in a quickstart before its start
	offline bool   // no server answered: the verb works on the store itself

	Patience time.Duration // how long a store that is held is waited for; 0: ten seconds
	loaded   *config.Setup
	rules    engine.Profiles // for a store without a server; nil: the verb asks none
}

// Guard puts the last guard before both streams and gives what flushes them: call it once,
// before anything is written, and flush at the end. In
// JSON what is not seen is escaped in its way; raw output is passed on as it
// is, which is what programs want of it.
func (t *Terminal) Guard() (flush func()) {
	out := visible.NewWriter(t.Out, func() visible.Form {
		switch t.Output {
		case jsonWords:
			return visible.ForJSON
		case raw:
			return visible.AsIs
		}
		return visible.ForPeople
	})
	err := visible.NewWriter(t.Err, visible.As(visible.ForPeople))
	t.Out, t.Err = out, err
	return func() { _, _ = out.Flush(), err.Flush() }
}

// Setup reads the configuration, once. A fault in it is an error of each
// verb that needs it, and names the file.
func (t *Terminal) Setup() (*config.Setup, error) {
	if t.loaded == nil {
		s, err := t.load()
		if err != nil {
			return nil, datadir.DeniedFile(err)
		}
		t.loaded = s
	}
	return t.loaded, nil
}

// load reads the configuration as the server does, in a container as the environment says.
func (t *Terminal) load() (*config.Setup, error) {
	if word, _ := t.Env(config.ContainerVariable); !t.Container && !strings.EqualFold(word, "true") {
		return config.Load(t.File, t.Env)
	}
	c, err := config.ReadContainer(t.Environ, config.SecretsFolder)
	if err != nil {
		return nil, err
	}
	return c.Load(t.File)
}

// Settle decides the format: the flag, else the configuration, else human.
// A configuration that cannot be read decides nothing here: the verb that needs it
// will say what is wrong.
func (t *Terminal) Settle() error {
	if t.Output == "" {
		if s, err := t.Setup(); err == nil {
			t.Output = s.Config.CLI.Output
		}
	}
	switch t.Output {
	case "":
		t.Output = human
	case human, jsonWords, raw:
	default:
		return fmt.Errorf("output format '%s' unknown: use human, json or raw", t.Output)
	}
	return nil
}

// success tells that something was done, unless a program is listening. It
// goes to standard error, as the reference's does; standard output is for
// what was asked for.
func (t *Terminal) success(format string, args ...any) {
	if t.Output == human {
		t.log("info", format, args...)
	}
}

// log writes one line to stderr as the reference's log does. Levels are the
// reference's words.
func (t *Terminal) log(level, format string, args ...any) {
	fmt.Fprintf(t.Err, "level=%s msg=%s\n", level, strconv.Quote(fmt.Sprintf(format, args...)))
}

// print writes a message to stdout. Each of the arguments is shown on one line,
// but in raw output; see write for texts of several.
func (t *Terminal) print(format string, args ...any) {
	if t.Output != raw {
		args = shownArgs(args)
	}
	fmt.Fprintf(t.Out, format, args...)
}

// write writes a text of several lines to stdout, JSON for example.
func (t *Terminal) write(text string) { _, _ = io.WriteString(t.Out, text) }

// shownArgs are the arguments of a message as they are shown.
func shownArgs(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case string:
			out[i] = foreign(v)
		case error:
			out[i] = foreign(v.Error())
		case []string:
			words := make([]foreign, len(v))
			for j, s := range v {
				words[j] = foreign(s)
			}
			out[i] = words
		case fmt.Stringer:
			out[i] = foreign(v.String())
		default:
			out[i] = v
		}
	}
	return out
}

// foreign is a text from outside in a message.
type foreign string

// Format writes it as it is seen; %q and the like escape by themselves.
func (s foreign) Format(f fmt.State, verb rune) {
	text := string(s)
	if verb == 's' || verb == 'v' {
		text, verb = visible.Text(text), 's'
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), text)
}

// json writes a value, each level indented so many blanks, and a newline.
func (t *Terminal) json(v any, indent string) error {
	text, err := jsonIndented(v, indent)
	if err == nil {
		t.write(text + "\n")
	}
	return err
}

// jsonIndented is a value as indented JSON without a newline at its end.
func jsonIndented(v any, indent string) (string, error) {
	b, err := json.MarshalIndent(v, "", indent)
	if err != nil {
		return "", fmt.Errorf("writing JSON: %w", err)
	}
	return string(b), nil
}

// csv writes a header line and rows; with --safe-csv no cell of a row is a
// formula. The header is the program's own and never changed.
func (t *Terminal) csv(header []string, rows [][]string) error {
	return t.csvEach(header, func(write func([]string) error) error {
		for _, row := range rows {
			if err := write(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// csvEach is csv for rows that come one at a time. The header waits for the first, so
// that nothing is written when there is nothing but an error.
func (t *Terminal) csvEach(header []string, each func(write func([]string) error) error) error {
	w, headed := csv.NewWriter(t.Out), false
	head := func() error {
		if headed {
			return nil
		}
		headed = true
		return w.Write(header)
	}
	err := each(func(row []string) error {
		if err := head(); err != nil {
			return err
		}
		if t.SafeCSV {
			row = slices.Clone(row)
			for i, cell := range row {
				row[i] = visible.Cell(cell)
			}
		}
		return w.Write(row)
	})
	if err == nil {
		err = head()
	}
	w.Flush()
	return errors.Join(err, w.Error())
}

// show writes a table, as wide as the terminal allows.
func (t *Terminal) show(table *table) { _ = table.write(t.Out, t.width()) }

// showLong is show for a table with packed rows, which may be in a file.
func (t *Terminal) showLong(table *table) error { return table.write(t.Out, t.width()) }

// width is the width of the terminal in columns, 0 when stdout is none.
func (t *Terminal) width() int {
	f, ok := visible.Under(t.Out).(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	w, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return w
}

// lineEnd ends the lines that the reference leaves open, where a person reads
// them; programs get them as they know them.
func (t *Terminal) lineEnd() string {
	if t.width() > 0 {
		return "\n"
	}
	return ""
}

// interactive tells whether a person can be asked.
func (t *Terminal) interactive() bool {
	f, ok := t.In.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// unsupported is the answer of verbs that have no raw form.
func (t *Terminal) unsupported() error {
	return fmt.Errorf("output format '%s' not supported for this command", t.Output)
}

// errAsked is what is left when a question found no person to answer it.
var errAsked = errors.New("EOF")

// confirm asks a yes-or-no question on the terminal. Without one the answer
// is an error: nothing is done by accident. Anything but y and yes means no,
// an empty line too.
func (t *Terminal) confirm(question string) (bool, error) {
	fmt.Fprintf(t.Err, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(t.In, &answer); err != nil {
		if errors.Is(err, io.EOF) {
			return false, errAsked
		}
		return false, nil // an empty line
	}
	return answer == "y" || answer == "Y" || answer == "yes", nil
}

// attended tells whether a person can be asked.
func (t *Terminal) attended() bool { return t.Person || t.interactive() }

// words writes what a person reads while something goes on; programs that read
// JSON get only that.
func (t *Terminal) words(format string, args ...any) {
	if t.Output != jsonWords {
		t.print(format, args...)
	}
}

// program is how this command was called, as far as it says which server is meant.
// It stands in advice, so that the line can be copied as it is.
func (t *Terminal) program() string {
	if t.File != "" {
		return "lapid -c " + t.File
	}
	return "lapid"
}

// agree is confirm that says so when nothing is going to happen.
func (t *Terminal) agree(question string) (bool, error) {
	ok, err := t.confirm(question)
	if err == nil && !ok {
		t.words("Nothing was changed.\n")
	}
	return ok, err
}

// Build is which program this is.
type Build struct {
	Version string // the tag of a release without its v
	Commit  string // what git knew of the files; "" where Go has noted it itself
}
