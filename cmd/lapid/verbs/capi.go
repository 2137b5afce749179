package verbs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
	"lapid/transport/capi"
)

// capiPatience is how long a verb waits for the Central API.
const capiPatience = 30 * time.Second

// capiCommand is the noun capi: this server's account with the Central API.
func capiCommand(t *Terminal) *cobra.Command {
	return group("capi", "This server's account with the Central API", capiStatus(t), capiRegister(t))
}

// capiStatus is capi status: one login. The server's own token is not touched.
func capiStatus(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Log in to the Central API with this server's credentials", Args: NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := t.Setup()
			if err != nil {
				return err
			}
			o, err := s.Central()
			if err == nil && o == nil {
				err = errors.New("api.server.online_client is missing")
			}
			if err != nil {
				return fmt.Errorf("%w; the Central API (CAPI) must be configured with 'lapid capi register'", err)
			}
			file := s.Config.API.Server.Online.Credentials
			t.words("Loaded credentials from %s\n", file)
			t.words("Trying to authenticate with username %s on %s\n", o.Credentials.Login, withoutPassword(o.Credentials.URL))
			ctx, cancel := context.WithTimeout(c.Context(), capiPatience)
			defer cancel()
			o.Version = t.Build.Version
			account, err := capi.Try(ctx, *o, nil)
			if err != nil {
				if t.Output != jsonWords {
					tellServer(t, askCentral(c.Context(), s))
				}
				return fmt.Errorf("failed to authenticate to Central API (CAPI): %w", err)
			}
			return tellAccount(t, o, file, account, askCentral(c.Context(), s))
		},
	}
}

// accountObject is a login that succeeded, in JSON.
type accountObject struct {
	Credentials   string `json:"credentials_file"`
	URL           string `json:"url"`
	Login         string `json:"login"`
	Authenticated bool   `json:"authenticated"`
	Enrolled      bool   `json:"enrolled"`
	Plan          string `json:"subscription_type"`
	Sharing       bool   `json:"sharing"`
	Community     bool   `json:"community"`
	Blocklists    bool   `json:"blocklists"`

	Server *capi.Report `json:"server,omitempty"` // what the running server says of the connection; missing: none runs
}

// askCentral asks the running server how it fares with the Central API; nil where none runs,
// or one that does not say.
func askCentral(ctx context.Context, s *config.Setup) *capi.Report {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	c, err := admin.Dial(ctx, s.Socket())
	if err != nil {
		return nil
	}
	defer c.Close()
	var r capi.Report
	if c.Central(ctx, &r) != nil {
		return nil
	}
	return &r
}

// tellServer shows what the running server says of the connection.
func tellServer(t *Terminal, r *capi.Report) {
	if r == nil {
		return
	}
	for _, j := range r.Jobs {
		last := "never"
		if !j.LastWell.IsZero() {
			last = j.LastWell.Format(time.RFC3339)
		}
		t.print("The running server: %s last went well %s", j.Name, last)
		if !j.Since.IsZero() {
			t.print(", and fails since %s: %s", j.Since.Format(time.RFC3339), j.Why)
		}
		t.print("\n")
	}
	for _, list := range []struct {
		names []string
		is    string
	}{{r.Held, "held back: see the log, and capi_shrunken_lists in lapid.yaml"}, {r.Failing, "not fetched: see the log"}} {
		for _, name := range list.names {
			t.print("The running server: the list %s is %s\n", name, list.is)
		}
	}
	if r.SignalsSent+r.SignalsRefused+r.SignalGaps+r.Waiting > 0 {
		t.print("The running server: %d signals sent, %d refused by the Central API; %d commits wait; the history was lost %d times\n", r.SignalsSent, r.SignalsRefused, r.Waiting, r.SignalGaps)
	}
}

func tellAccount(t *Terminal, o *capi.Options, file string, a capi.Account, running *capi.Report) error {
	if t.Output == jsonWords {
		return t.json(accountObject{file, withoutPassword(o.Credentials.URL), o.Credentials.Login, true, a.Enrolled, a.Plan, !o.NoSharing, !o.NoCommunity, !o.NoBlocklists, running}, " ")
	}
	t.print("You can successfully interact with Central API (CAPI)\n")
	if a.Enrolled {
		t.print("Your instance is enrolled in the console\n")
		if a.Plan != "" {
			t.print("Subscription type: %s\n", a.Plan)
		}
	}
	for _, part := range []struct {
		name string
		off  bool
	}{{"Sharing signals", o.NoSharing}, {"Pulling community blocklist", o.NoCommunity}, {"Pulling blocklists from the console", o.NoBlocklists}} {
		t.print("%s is %s\n", part.name, map[bool]string{false: "enabled", true: "disabled"}[part.off])
	}
	tellServer(t, running)
	return nil
}

// newAccountObject is a new account, in JSON.
type newAccountObject struct {
	Credentials string `json:"credentials_file"`
	URL         string `json:"url"`
	Login       string `json:"login"`
}

// withoutPassword is an address as it may be shown.
func withoutPassword(address string) string {
	c := capi.Credentials{URL: address}
	return c.Shown()
}

// capiRegister is capi register: how a server gets an account.
func capiRegister(t *Terminal) *cobra.Command {
	var file, url string
	c := &cobra.Command{
		Use: "register", Short: "Register this server with the Central API and write its credentials", Args: NoArgs,
		Long: `Asks the Central API for an account, with a login and a password that are made up, and writes the credentials file.
A credentials file that is there is replaced. A running server uses it after a reload (SIGHUP).`,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := t.Setup()
			if err != nil {
				return err
			}
			if a := s.Config.API.Server; file == "" && a != nil && a.Online != nil {
				file = a.Online.Credentials
			}
			if file == "" {
				return errors.New("please specify a file for the credentials with -f: the configuration names none (api.server.online_client.credentials_path)")
			}
			if file != "-" && file != "/dev/null" { // an account whose password is lost is worth nothing
				if err := datadir.CheckSecret(file); err != nil {
					return fmt.Errorf("nothing was registered: the credentials cannot be written: %w", err)
				}
			}
			ctx, cancel := context.WithTimeout(c.Context(), capiPatience)
			defer cancel()
			o := capi.Options{Credentials: capi.Credentials{URL: url, Login: generatedName(), Password: generatedPassword()}, Version: t.Build.Version}
			if err := capi.Register(ctx, o); err != nil {
				return fmt.Errorf("api client register ('%s'): %w", withoutPassword(url), err)
			}
			t.success("Successfully registered to Central API (CAPI)")
			if err := writeQuietly(t, file, config.CredentialsText(url, o.Credentials.Login, o.Credentials.Password)); err != nil {
				return fmt.Errorf("this server is registered, but %w", err)
			}
			t.success("Central API credentials written to '%s'; reload the server (SIGHUP) to use them", file)
			if t.Output == jsonWords {
				return t.json(newAccountObject{file, withoutPassword(url), o.Credentials.Login}, " ")
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "credentials file to write, - for standard error (default: api.server.online_client.credentials_path)")
	f.StringVarP(&url, "url", "u", capi.ServiceURL, "address of the Central API, with a slash at its end")
	return c
}
