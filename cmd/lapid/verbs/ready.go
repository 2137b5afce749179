package verbs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/transport/admin"
)

// errNotReady is how the verb ends when it got an answer and that is no.
var errNotReady = errors.New("not ready")

// readyCommand is ready, for people and for scripts that wait for a server.
func readyCommand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "ready", Short: "Ask the running server whether it is ready", Args: NoArgs,
		Long: `Exit code 0 and "ready" when the server answers and nothing is wrong; else exit code 1 and every reason in a
line of its own: its kind, since when, what is wrong and what to do.

  starting   the store is being read, or the doors are being opened
  stopping   the server is ending
  disk       the disk refuses writes: reads go on
  readonly   the server was started on a disk that takes no writes
  snapshot   the last snapshot could not be written: the journal grows
  clock      the clock is not believed yet: nothing is deleted for its age
  cluster    a node of a cluster does not reach etcd, or no node writes
  following  what another node writes cannot be followed
  committer  no write is answered: the disk hangs

Reasons that are told though the server is ready: "central" (the Central API has failed for long, or lists of it are held
back), "movein" (a database has arrived and could not be taken over) and "notification" (a receiver takes nothing).

The same is answered by the metrics listener, without credentials: /ready with 200 or 503, and /live with 503 only
for "committer", when a restart is the only help. There is no lapid_ready and no lapid_trouble in /metrics when
its level is none.`,
		RunE: func(c *cobra.Command, _ []string) error { return showReady(c.Context(), t) },
	}
}

// askPatience is how long the verb waits for an answer. A server that has one
// gives it at once.
const askPatience = 10 * time.Second

// showReady asks once. "Not ready" is an answer and shown as one; no answer is an error
// that says who was asked.
func showReady(ctx context.Context, t *Terminal) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	// A server answers this also while its committer is stuck.
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	r, err := askReady(ctx, s)
	if err != nil {
		return err
	}
	switch t.Output {
	case jsonWords:
		err = t.json(r, " ")
	default:
		if r.Ready {
			t.print("ready\n")
		}
		for _, one := range r.Reasons {
			t.print("%s\n", line(one.Kind+" since "+one.Since+": "+one.Text))
		}
	}
	if err == nil && !r.Ready {
		return errNotReady
	}
	return err
}

// line is a text without its ends of lines.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }

// askReady asks over the operator's socket. A server that is just starting has
// none yet, and answers on the listener of the metrics.
func askReady(ctx context.Context, s *config.Setup) (*admin.Report, error) {
	c, err := admin.Dial(ctx, s.Socket())
	if err == nil {
		defer c.Close()
		a, err := c.Ready(ctx)
		if err != nil {
			return nil, err
		}
		return admin.ReportOf(a.Troubles), nil
	}
	if !errors.Is(err, admin.ErrNotRunning) {
		return nil, err
	}
	// The listener of the metrics is the first to be opened, the socket one of the last.
	if address := s.MetricsAddress(); address != "" {
		if r := askMetrics(ctx, address); r != nil && !r.Ready { // one that is ready has a socket: this is another
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w, or it is still reading its store: nothing listens on %s", err, s.Socket())
}

// askMetrics asks the listener of the metrics; nil when there is no such answer.
// At most a megabyte is read. Another program on that port is no server of ours.
func askMetrics(ctx context.Context, address string) *admin.Report {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/ready", nil)
	if err != nil {
		return nil
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil
	}
	defer w.Body.Close()
	var answer admin.Report
	if json.NewDecoder(io.LimitReader(w.Body, 1<<20)).Decode(&answer) != nil || !answer.Ready && len(answer.Reasons) == 0 {
		return nil
	}
	return &answer
}
