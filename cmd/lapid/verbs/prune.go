package verbs

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
)

// pruning is what the flags of the two prune verbs say.
type pruning struct {
	duration string
	force    bool
}

// flags registers them; silence is the default.
func (p *pruning) flags(c *cobra.Command, silence time.Duration) {
	c.Flags().StringVarP(&p.duration, "duration", "d", silence.String(), "how long nobody has heard of them")
	c.Flags().BoolVar(&p.force, "force", false, "do not ask")
}

// settle reads the duration and asks what has to be asked before anything is
// listed: below two minutes even the living look silent.
func (p *pruning) settle(t *Terminal) (silence time.Duration, ok bool, err error) {
	silence, err = engine.ParseDuration(p.duration)
	if err != nil {
		return 0, false, fmt.Errorf("invalid duration '%s': %w", p.duration, err)
	}
	if silence >= 2*time.Minute {
		return silence, true, nil
	}
	ok, err = t.agree("Less than 2 minutes: this may remove what is in use. Continue?")
	return silence, ok, err
}

// agreed asks whether to go on with what was listed, unless that is forced. Where no
// person can be asked that is an error, and nothing is removed.
func (p *pruning) agreed(t *Terminal) (bool, error) {
	if p.force {
		return true, nil
	}
	return t.agree("All of the above will be removed for good. Continue?")
}

// nothingToPrune says that none is silent.
func nothingToPrune(t *Terminal, noun string) error {
	if t.Output == jsonWords {
		return t.json(map[string]any{"deleted": 0, noun: []string{}}, " ")
	}
	t.print("No %s to prune.\n", noun)
	return nil
}

// pruned says how many went, and to a program which were asked to.
func pruned(t *Terminal, noun string, n int, names []string) error {
	if t.Output == jsonWords {
		return t.json(map[string]any{"deleted": n, noun: names}, " ")
	}
	fmt.Fprintf(t.Err, "successfully deleted %d %s\n", n, noun)
	return nil
}
