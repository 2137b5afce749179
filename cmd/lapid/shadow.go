package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/program"
	"lapid/cmd/lapid/verbs"
)

// shadowFlags are the flags of shadow.
type shadowFlags struct {
	program.Shadowing
	answer string
	asRoot bool
	trust  bool
}

// shadowCommand is shadow: lapid in front of another server, in the foreground, until it is told to end.
func shadowCommand(t *verbs.Terminal) *cobra.Command {
	var s shadowFlags
	c := &cobra.Command{
		Use: "shadow", Short: "Stand in front of a running CrowdSec server, and compare", Args: verbs.NoArgs,
		Long: `Stands in front of a CrowdSec server that runs: passes every request on to it, gives clients its answers, byte for byte, and
then asks lapid's own server the same, in this process, and compares the two answers. What differs without a known
reason is kept, for 'lapid shadow report'. No client waits for lapid.

  1  take over keys, passwords and decisions:   lapid movein
  2  start the shadow, and give clients its address
  3  look at what differs:                      lapid shadow report
  4  cut over, one bouncer or all, and back:    lapid shadow answer ours --bouncers NAME
                                                lapid shadow answer ours
                                                lapid shadow answer theirs
  5  stop both, and start lapid at the old address:  lapid serve

With 'answer ours' lapid answers when what it was told is on its disk, and the old server gets every request after that, in
order; what changes something is tried again for ten minutes. What could not be passed on is counted and named. A change waits, ten seconds at most, until both servers are level; clients wait with it.

The shadow's address must be among trusted_proxies of the old server, or each client becomes a new row of its bouncers. Of
config.yaml the shadow uses the data directory, profiles, trusted addresses, registration and tls (for its own listener), and not
listen_uri, listen_socket, online_client, notifications and prometheus, which are the old server's. Clients that have a
certificate in the place of a key cannot be shadowed; the log names them.

Requests wait for the second server in a queue of 20000 requests and 2 GiB. What does not fit is dropped and counted, and from
there on the comparison is void, as it is after requests of an unknown end and after a shadow that was killed: run 'lapid movein' again,
then 'lapid shadow reset'.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := verbs.SomeBouncers(c, s.Bouncers); err != nil {
				return err
			}
			if s.Quiet <= 0 {
				return fmt.Errorf("--quiet must be longer than nothing, not %v", s.Quiet)
			}
			return s.run(c.Context(), t)
		},
	}
	f := c.Flags()
	f.StringVar(&s.Upstream, "upstream", "", "the server that runs: http://HOST:PORT or https://HOST:PORT")
	f.StringVar(&s.Listen, "listen", "127.0.0.1:8090", "host:port for clients")
	f.StringVar(&s.answer, "answer", "theirs", "who answers at the start: theirs or ours")
	f.StringSliceVar(&s.Bouncers, "bouncers", nil, "with --answer ours: only these bouncers, separated by commas")
	f.StringVar(&s.Metrics, "metrics", "", "host:port of the metrics listener (default: metrics in lapid.yaml, else none)")
	f.StringVar(&s.CA, "upstream-ca", "", "file with the authorities that sign the upstream's certificate (default: the system's)")
	f.DurationVar(&s.Quiet, "quiet", time.Minute, "time without writes after which what bouncers hold is compared")
	f.BoolVar(&s.trust, "trust-clock", false, "believe the clock at once, though it is more than a month ahead of what is stored")
	f.BoolVar(&s.asRoot, "as-root", false, "start as root although the data directory belongs to another user")
	c.AddCommand(verbs.ShadowVerbs(t)...)
	return c
}

// run checks the flags and runs the shadow. An error of the flags is the verb's, any other has been
// logged.
func (s *shadowFlags) run(ctx context.Context, t *verbs.Terminal) error {
	if err := s.SetAnswer(s.answer); err != nil {
		return fmt.Errorf("--answer: %w", err)
	}
	if err := s.Check(); err != nil {
		return err
	}
	setup, err := t.Setup()
	if err != nil {
		return program.Fail(t.Err, err)
	}
	return program.Serve(ctx, &program.Start{
		Setup: setup, Version: version, Shadow: &s.Shadowing, TrustClock: s.trust, AsRoot: s.asRoot, Out: t.Out, Err: t.Err,
	})
}
