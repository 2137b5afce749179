package verbs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/persist/stream"
	"lapid/transport/admin"
)

// clusterCheck is cluster check.
func clusterCheck(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Compare what all nodes hold at one revision", Args: NoArgs,
		Long: `Has every node make a digest of what it holds at one revision, and compares them. It is done each day by itself.

A node that holds something else than most says so in its log and in /ready, follows and confirms no more, hands over if it writes,
and joins anew at its next start: its store is put aside then. Without a majority all go on, and cluster status names them.

Exit code 0: all nodes hold the same; 1: they do not, or not all of them have told within a minute: a node that is away has not.
One that has left for good does not count once it is forgotten ("lapid cluster forget", which "lapid cluster alone" does too).`,
		RunE: func(c *cobra.Command, _ []string) error { return checkCluster(c.Context(), t) },
	}
}

// compareWithin is how long the nodes have to make their digests, compareLook the pause between two looks. A node that has just joined
// got what there is without that revision, so after compareAgain another one is asked for. One that is away may only be starting: compareAway
// is how long it has to be heard of.
const (
	compareWithin = time.Minute
	compareLook   = 500 * time.Millisecond
	compareAgain  = 3 * time.Second
	compareAway   = 10 * time.Second
)

func checkCluster(ctx context.Context, t *Terminal) error {
	ctx, cancel := context.WithTimeout(ctx, compareWithin)
	defer cancel()
	var found *stream.Comparison
	err := t.withClient(ctx, func(client *admin.Client) error {
		rev, err := client.ClusterCompare(ctx)
		if err != nil {
			return err
		}
		begun := time.Now()
		for asked := begun; ; {
			if time.Since(asked) > compareAgain {
				_, _ = client.ClusterCompare(ctx) // refused while one is under way
				asked = time.Now()
			}
			s, err := clusterNow(ctx, t)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil && s.Compared != nil && uint64(s.Compared.Revision) >= rev {
				if found = s.Compared; found.Whole() || found.Odd != nil || len(found.Untold) == 0 && (len(found.Away) == 0 || time.Since(begun) > compareAway) {
					return nil
				}
			}
			select {
			case <-time.After(compareLook):
			case <-ctx.Done():
				return nil
			}
		}
	})
	if err != nil {
		return t.whyNot(ctx, err)
	}
	if found == nil {
		return t.whyNot(ctx, errors.New("no node has told within a minute what it holds"))
	}
	if t.Output == jsonWords {
		if err := t.json(found, " "); err != nil {
			return err
		}
	} else {
		t.writeComparison(found)
	}
	if !found.Whole() {
		return t.whyNot(ctx, Sick{})
	}
	return t.whyNot(ctx, nil)
}

// whyNot tells what status has to say beside a comparison that came to err. A server that cannot tell how its cluster stands says why, and
// that is the error then.
func (t *Terminal) whyNot(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askPatience)
	defer cancel()
	s, why := clusterNow(ctx, t)
	if why != nil {
		if err == nil {
			return nil // they were compared
		}
		return why
	}
	for _, trouble := range s.Troubles {
		t.log("warning", "%s", trouble)
	}
	return err
}

func (t *Terminal) writeComparison(c *stream.Comparison) {
	for i, group := range c.Alike {
		words := "hold the same"
		if i > 0 {
			words = "hold something else"
		}
		t.print("at revision %d %s: %s\n", c.Revision, words, strings.Join(group, ", "))
	}
	if c.Untold != nil {
		t.print("not told: %s\n", strings.Join(c.Untold, ", "))
	}
	if c.Away != nil {
		t.print("away, so not compared: %s\n", strings.Join(c.Away, ", "))
	}
	if c.Odd != nil {
		t.print("%s\n", fmt.Sprintf("%s: stops following, and joins anew when it is restarted", strings.Join(c.Odd, ", ")))
	}
}
