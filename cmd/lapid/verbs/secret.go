package verbs

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/engine"
	"lapid/transport/admin"
)

// secretCommand is the noun secret: what signs the tokens of log processors.
func secretCommand(t *Terminal) *cobra.Command {
	return group("secret", "The secret that signs the tokens of log processors", secretRotate(t))
}

// secretRotate is secret rotate.
func secretRotate(t *Terminal) *cobra.Command {
	var now bool
	c := &cobra.Command{
		Use: "rotate", Short: "Make another secret; tokens that were given stay good until they end", Args: NoArgs,
		Long: fmt.Sprintf(`Makes another secret that signs the tokens with which log processors and cscli push and ask. Tokens that are given from now on
are signed with it. The one before stays good for %d minutes, which is as long as a token lives: each token ends when it would, its
owner logs in as usual, and nobody notices. Then it is gone.

With --now all tokens end at once, for a secret that somebody else may have: every log processor gets 401 and logs in again with
its password, most of them at the same moment. Keys of bouncers, passwords, and what operators log in with are something else and stay.

A secret that CS_LAPI_SECRET gives the server is not the store's: set another there and start the server again. A backup from before
has the secret from before: after a restore, rotate again.`, int(engine.TokenLife.Minutes())),
		RunE: func(c *cobra.Command, _ []string) error {
			return rotateSecret(c.Context(), t, &admin.SecretRotation{Now: now})
		},
	}
	c.Flags().BoolVar(&now, "now", false, "end all tokens at once: every log processor logs in again")
	return c
}

func rotateSecret(ctx context.Context, t *Terminal, q *admin.SecretRotation) error {
	return t.withClient(ctx, func(client *admin.Client) error {
		out, err := client.RotateSecret(ctx, q)
		if err != nil {
			return fmt.Errorf("unable to rotate the secret: %w", err)
		}
		switch t.Output {
		case jsonWords:
			return t.json(out, " ")
		case raw:
			if out.GoodUntil != nil {
				t.print("%s\n", out.GoodUntil.Format(time.RFC3339))
			}
			return nil
		}
		if out.GoodUntil == nil {
			t.success("tokens are signed with another secret, and all that were given have ended: log processors log in again")
			return nil
		}
		t.success("tokens are signed with another secret; those that were given stay good until they end, %s at the latest", out.GoodUntil.Format(time.RFC3339))
		return nil
	})
}
