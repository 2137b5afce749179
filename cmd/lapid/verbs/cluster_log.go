package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/persist/stream"
	"lapid/transport/admin"
)

// clusterLog is cluster log.
func clusterLog(t *Terminal) *cobra.Command {
	n, follow := 0, false
	c := &cobra.Command{
		Use: "log", Short: "Show the newest commits of the history in etcd, and who wrote them", Args: NoArgs,
		Long: `Shows the newest commits that etcd has: revision, term and the node that had it, when it was made by that node's clock, its
size, its size in etcd, and how many operations of which kinds it has. What they say is not shown: alerts, keys and passwords stay sealed.

etcd keeps the last minutes alone (cluster.keep). The node's server is asked or, where none runs, etcd with the node's settings.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if n < 1 || n > stream.EntriesAtMost {
				return fmt.Errorf("-n must be from 1 to %d, not %d", stream.EntriesAtMost, n)
			}
			return showLog(c.Context(), t, n, follow)
		},
	}
	c.Flags().IntVarP(&n, "number", "n", 20, "how many, the newest")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes, until Ctrl-C; with -o json one object a line")
	return c
}

// logEvery is the pause between two questions for what is new.
const logEvery = time.Second

func showLog(ctx context.Context, t *Terminal, n int, follow bool) error {
	after, seen := uint64(0), false
	for {
		entries, err := entriesAfter(ctx, t, after, n)
		if ctx.Err() != nil && seen {
			return nil // it was ended
		}
		if err != nil {
			return err
		}
		if err := t.writeEntries(entries, follow); err != nil || !follow {
			return err
		}
		if len(entries) > 0 {
			after, n = uint64(entries[len(entries)-1].Revision), stream.EntriesAtMost
		}
		seen = true
		select {
		case <-time.After(logEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

func entriesAfter(ctx context.Context, t *Terminal, after uint64, n int) (entries []stream.Entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	err = t.ofHistory(ctx, &entries, func(c *admin.Client) (json.RawMessage, error) {
		return c.ClusterLog(ctx, &admin.LogRequest{After: after, N: n})
	}, func(log *stream.Log) (err error) {
		entries, err = log.Entries(ctx, engine.Revision(after), n)
		return err
	})
	return entries, err
}

// writeEntries shows some. In JSON they are a list or, where more will follow, lines.
func (t *Terminal) writeEntries(entries []stream.Entry, more bool) error {
	switch {
	case t.Output == jsonWords && !more:
		if entries == nil {
			entries = []stream.Entry{}
		}
		return t.json(entries, " ")
	case t.Output == jsonWords:
		for i := range entries {
			text, err := json.Marshal(&entries[i])
			if err != nil {
				return err
			}
			t.print("%s\n", text)
		}
		return nil
	case more:
		for i := range entries {
			e := &entries[i]
			t.print("%d  %s  %s  %s\n", e.Revision, e.At.Format(time.RFC3339), e.Node, entryWords(e))
		}
		return nil
	case t.Output == raw:
		for i := range entries {
			e := &entries[i]
			t.print("%d,%d,%s,%s,%d,%d,%s\n", e.Revision, e.Term, e.Node, e.At.Format(time.RFC3339), e.Commit, e.Stored, strings.ReplaceAll(entryWords(e), ", ", ";"))
		}
		return nil
	}
	table := lightTable()
	table.head(left, "Revision", "Term", "Node", "Made", "Bytes", "In etcd", "Holds")
	table.body()
	for i := range entries {
		e := &entries[i]
		table.row(fmt.Sprint(e.Revision), fmt.Sprint(e.Term), e.Node, e.At.Format(time.RFC3339), fmt.Sprint(e.Commit), entrySize(e), entryWords(e))
	}
	t.show(table)
	return nil
}

func entrySize(e *stream.Entry) string {
	if e.Pieces > 0 {
		return fmt.Sprintf("%d pieces", e.Pieces)
	}
	return fmt.Sprint(e.Stored)
}

// entryWords is what a commit holds.
func entryWords(e *stream.Entry) string {
	if e.Error != "" {
		return "not readable: " + e.Error
	}
	words := make([]string, len(e.Kinds))
	for i, k := range e.Kinds {
		if words[i] = k.Kind; k.N > 1 {
			words[i] = fmt.Sprintf("%s ×%d", k.Kind, k.N)
		}
	}
	if len(words) == 0 {
		return "the time, with what ends by it"
	}
	return strings.Join(words, ", ")
}
