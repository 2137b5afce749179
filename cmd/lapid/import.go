package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"lapid/engine"
	"lapid/transport/admin"
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

// importing is what the flags of decisions import say.
type importing struct {
	file, format string
	batch        int
	chunk        admin.Chunk // the words for values that leave them out
}

func decisionsImport(t *terminal) *cobra.Command {
	var i importing
	c := &cobra.Command{
		Use: "import", Short: "Import decisions from a file or standard input", Args: noArgs,
		Long: `Imports decisions from a file (-i FILE) or standard input (-i -).

  csv     a header line with any of duration, reason, scope, type, value; value is needed
  json    a list of objects with these names
  values  one value per line

The whole input is read and checked before anything is stored: bad lines are named with their
numbers and nothing changes. Values that an allowlist protects are named and left out. Each
batch becomes one alert, stored whole or not at all.`,
		Example: "  lapid decisions import -i bad.csv\n  cat addresses | lapid decisions import -i - --format values -d 24h",
		RunE: func(c *cobra.Command, _ []string) error {
			return t.importDecisions(c.Context(), &i)
		},
	}
	s := c.Flags()
	s.StringVarP(&i.file, "input", "i", "", "file, or - for standard input")
	s.StringVar(&i.format, "format", "", "csv, json or values (default: by the extension of the file)")
	s.StringVarP(&i.chunk.Duration, "duration", "d", "4h", "duration where the input has none")
	s.StringVar(&i.chunk.Scope, "scope", engine.ScopeIP, "scope where the input has none")
	s.StringVarP(&i.chunk.Reason, "reason", "R", "manual", "reason where the input has none")
	s.StringVarP(&i.chunk.Type, "type", "t", "ban", "type where the input has none")
	s.IntVar(&i.batch, "batch", 0, fmt.Sprintf("values per alert (default %d)", defaultBatch))
	_ = c.MarkFlagRequired("input")
	return c
}

func (t *terminal) importDecisions(ctx context.Context, i *importing) error {
	if err := i.settle(); err != nil {
		return err
	}
	s, err := t.setup()
	if err != nil {
		return err
	}
	i.chunk.Machine = s.login()
	input, err := i.open(t.in)
	if err != nil {
		return err
	}
	defer input.Close()
	t.print("Parsing %s\n", i.format)
	total, err := i.check(t, input)
	if err != nil {
		return err
	}
	if total > announced {
		t.print("You are about to add %d decisions, this may take a while\n", total)
	}
	if i.batch > 0 {
		t.print("batch size: %d\n", i.batch)
	}
	return t.withDoor(ctx, func(door *admin.Client) error {
		stored, err := t.send(ctx, door, i, input, total)
		if err != nil {
			return fmt.Errorf("after %d of %d decisions: %w", stored, total, apiError(err))
		}
		t.print("Imported %d decisions%s", stored, t.lineEnd())
		return nil
	})
}

// settle fills in what the flags leave open and refuses what cannot be.
func (i *importing) settle() error {
	if i.format == "" {
		switch strings.ToLower(filepath.Ext(i.file)) {
		case ".csv":
			i.format = "csv"
		case ".json":
			i.format = "json"
		default:
			return errors.New("unable to guess format from file extension, please provide a format with --format flag")
		}
	}
	if _, ok := formats[i.format]; !ok {
		return fmt.Errorf("unknown format '%s': use csv, json or values", i.format)
	}
	if i.batch < 0 || i.batch > admin.MaxChunk {
		return fmt.Errorf("the batch size must lie between 0 and %d", admin.MaxChunk)
	}
	if _, err := engine.ParseDuration(i.chunk.Duration); err != nil {
		return fmt.Errorf("invalid duration '%s': %w", i.chunk.Duration, err)
	}
	i.chunk.Source = filepath.Base(i.file)
	if i.file == "-" {
		i.chunk.Source = "stdin"
	}
	return nil
}

// open gives the input as a file that can be read twice: what comes through a
// pipe is kept in a nameless file meanwhile.
func (i *importing) open(stdin io.Reader) (*os.File, error) {
	var from io.Reader = stdin
	if i.file != "-" {
		f, err := os.Open(i.file)
		if err != nil {
			return nil, err
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, nil
		}
		defer f.Close()
		from = f
	}
	kept, err := os.CreateTemp("", "lapid-import-*")
	if err != nil {
		return nil, fmt.Errorf("keeping the input: %w", err)
	}
	_ = os.Remove(kept.Name())
	if _, err := io.Copy(kept, from); err != nil {
		_ = kept.Close()
		return nil, fmt.Errorf("reading the input: %w", err)
	}
	return kept, nil
}

// check reads the whole input and counts its values. Bad ones are named, and
// then it is an error.
func (i *importing) check(t *terminal, input *os.File) (total int, err error) {
	faults := 0
	complain := func(where string, err error) {
		if faults++; faults <= shownFaults {
			t.log("error", "%s: %v", where, err)
		}
	}
	err = i.each(input, func(where string, item *admin.Item) error {
		total++
		if err := i.usable(item); err != nil {
			complain(where, err)
		}
		return nil
	}, complain)
	if err != nil {
		return 0, err
	}
	if faults > shownFaults {
		t.log("error", "... and %d more", faults-shownFaults)
	}
	if faults > 0 {
		return 0, fmt.Errorf("%d unusable entries in %s, nothing was imported", faults, i.chunk.Source)
	}
	return total, nil
}

// usable tells what is wrong with a value.
func (i *importing) usable(item *admin.Item) error {
	if item.Value == "" {
		return errors.New("missing 'value'")
	}
	scope := item.Scope
	if scope == "" {
		scope = i.chunk.Scope
	}
	if engine.HoldsAddress(scope) {
		if _, err := engine.ParseTarget(item.Value); err != nil {
			return err
		}
	}
	if item.Duration != "" {
		if _, err := engine.ParseDuration(item.Duration); err != nil {
			return fmt.Errorf("duration '%s': %w", item.Duration, err)
		}
	}
	return nil
}

// each reads the input from its beginning.
func (i *importing) each(input *os.File, yield func(where string, item *admin.Item) error, complain func(string, error)) error {
	if _, err := input.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the input: %w", err)
	}
	return formats[i.format](input, yield, complain)
}

// send stores the values chunk by chunk: while one is under way the next is
// read. stored counts what is stored, also when an error ended it.
func (t *terminal) send(ctx context.Context, door *admin.Client, i *importing, input *os.File, total int) (stored int, err error) {
	size := i.batch
	if size == 0 {
		size = defaultBatch
	}
	chunks := make(chan *admin.Chunk, 1) // one ready while one is under way
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(chunks)
		return i.cut(ctx, input, size, chunks)
	})
	bar := t.progress(total)
	group.Go(func() error {
		done := 0
		for chunk := range chunks {
			answer, err := door.Import(ctx, chunk)
			if err != nil {
				return err
			}
			for _, a := range answer.Allowlisted {
				bar.clear()
				t.print("Value %s is allowlisted by %s\n", a.Value, a.Reasons)
			}
			stored += answer.Stored
			done += len(chunk.Items)
			bar.at(done)
		}
		return nil
	})
	err = group.Wait()
	bar.clear()
	return stored, err
}

// cut makes chunks of the input.
func (i *importing) cut(ctx context.Context, input *os.File, size int, chunks chan<- *admin.Chunk) error {
	next := i.chunk
	hand := func() error {
		chunk := next
		next.Items = nil
		select {
		case chunks <- &chunk:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := i.each(input, func(_ string, item *admin.Item) error {
		next.Items = append(next.Items, *item)
		if len(next.Items) < size {
			return nil
		}
		return hand()
	}, func(string, error) {}) // the input was good a moment ago
	if err == nil && len(next.Items) > 0 {
		err = hand()
	}
	return err
}
