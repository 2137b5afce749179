package verbs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
)

// lapiCommand is the noun lapi: the API from outside, with a login, as a log
// processor on this machine has it.
func lapiCommand(t *Terminal) *cobra.Command {
	return group("lapi", "The Local API as this machine's own tools reach it", lapiStatus(t), lapiRegister(t))
}

// lapiStatus is lapi status: one login, which proves address, certificate and
// password at once. Nothing is changed by it.
func lapiStatus(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Log in with this machine's credentials", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := t.Setup()
			if err != nil {
				return err
			}
			credentials, err := s.Credentials()
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w; make it with \"lapid machines add --auto\" where the server is, with \"lapid lapi register\" elsewhere", err)
			}
			if err != nil {
				return err
			}
			t.words("Loaded credentials from %s\n", s.Config.API.Client.Credentials)
			t.words("Trying to authenticate with username %q on %s\n", credentials.Login, slashed(credentials.URL))
			if err := tryLogin(c.Context(), t, s, credentials); err != nil {
				return fmt.Errorf("failed to authenticate to Local API (LAPI): %w%s", err, loginHint(s, err, credentials.Login))
			}
			if t.Output == jsonWords {
				return t.json(statusObject{s.Config.API.Client.Credentials, slashed(credentials.URL), credentials.Login, true}, " ")
			}
			t.print("You can successfully interact with Local API (LAPI)\n")
			return nil
		},
	}
}

// loginHint says what to do about a login that was refused, or that no server answered.
// "" where there is nothing to be advised.
func loginHint(s *config.Setup, err error, login string) string {
	var way *net.OpError
	switch {
	case errors.Is(err, errLoginRefused):
		return fmt.Sprintf("; if the machine is not in \"lapid machines list\" or has another password: lapid machines add %s --force", login)
	case errors.As(err, &way) && way.Op == "dial":
		return fmt.Sprintf("; nobody answers there: start the server with \"lapid serve\", or correct the url in %s", s.Config.API.Client.Credentials)
	}
	return ""
}

// statusObject is a login that succeeded, in JSON.
type statusObject struct {
	Credentials   string `json:"credentials_file"`
	URL           string `json:"url"`
	Login         string `json:"login"`
	Authenticated bool   `json:"authenticated"`
}
