package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/term"
)

// The formats of what a verb shows.
const (
	human     = "human"
	jsonWords = "json"
	raw       = "raw"
)

var outputs = []string{human, jsonWords, raw}

// terminal is where one command speaks: its streams and what the global flags
// say. It belongs to one command and one goroutine.
type terminal struct {
	in  io.Reader
	out io.Writer
	err io.Writer
	env environment

	file   string // -c
	output string // -o; "" until settled
	color  string // --color
	init   bool   // --init: make the store if there is none
	alone  bool   // there is no server by intent, as in a quickstart before its start

	patience time.Duration // see usualPatience; 0 is that
	loaded   *Setup
}

// setup reads the configuration, once.
func (t *terminal) setup() (*Setup, error) {
	if t.loaded == nil {
		s, err := loadSetup(t.file, t.env)
		if err != nil {
			return nil, deniedFile(err)
		}
		t.loaded = s
	}
	return t.loaded, nil
}

// settle decides the format: the flag, else the configuration, else human.
func (t *terminal) settle() error {
	if t.output == "" {
		if s, err := t.setup(); err == nil {
			t.output = s.Config.CLI.Output
		}
	}
	switch t.output {
	case "":
		t.output = human
	case human, jsonWords, raw:
	default:
		return fmt.Errorf("output format '%s' unknown: use human, json or raw", t.output)
	}
	return nil
}

// success tells that something was done, unless a program is listening.
func (t *terminal) success(format string, args ...any) {
	if t.output == human {
		t.log("info", format, args...)
	}
}

// log writes one line to stderr as the reference's log does.
func (t *terminal) log(level, format string, args ...any) {
	fmt.Fprintf(t.err, "level=%s msg=%s\n", level, strconv.Quote(fmt.Sprintf(format, args...)))
}

// print writes to stdout.
func (t *terminal) print(format string, args ...any) { fmt.Fprintf(t.out, format, args...) }

// json writes a value, each level indented so many blanks, and a newline.
func (t *terminal) json(v any, indent string) error {
	text, err := jsonIndented(v, indent)
	if err == nil {
		t.print("%s\n", text)
	}
	return err
}

func jsonIndented(v any, indent string) (string, error) {
	b, err := json.MarshalIndent(v, "", indent)
	if err != nil {
		return "", fmt.Errorf("writing JSON: %w", err)
	}
	return string(b), nil
}

// csv writes a header line and rows.
func (t *terminal) csv(header []string, rows [][]string) error {
	w := csv.NewWriter(t.out)
	if err := w.Write(header); err != nil {
		return err
	}
	return w.WriteAll(rows)
}

// show writes a table, as wide as the terminal allows.
func (t *terminal) show(table *table) { table.write(t.out, t.width()) }

// width is the width of the terminal in columns, 0 when stdout is none.
func (t *terminal) width() int {
	f, ok := t.out.(*os.File)
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
func (t *terminal) lineEnd() string {
	if t.width() > 0 {
		return "\n"
	}
	return ""
}

// interactive tells whether somebody can be asked.
func (t *terminal) interactive() bool {
	f, ok := t.in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// unsupported is the answer of verbs that have no raw form.
func (t *terminal) unsupported() error {
	return fmt.Errorf("output format '%s' not supported for this command", t.output)
}

// errAsked is what is left when a question found nobody to answer it.
var errAsked = errors.New("EOF")

// confirm asks a yes-or-no question on the terminal. Without one the answer is
// an error: nothing is done by accident.
func (t *terminal) confirm(question string) (bool, error) {
	fmt.Fprintf(t.err, "%s [y/N] ", question)
	var answer string
	if _, err := fmt.Fscanln(t.in, &answer); err != nil {
		if errors.Is(err, io.EOF) {
			return false, errAsked
		}
		return false, nil // an empty line
	}
	return answer == "y" || answer == "Y" || answer == "yes", nil
}
