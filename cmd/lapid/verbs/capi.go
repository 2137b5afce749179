package verbs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
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
			t.words("Trying to authenticate with username %s on %s\n", o.Credentials.Login, o.Credentials.URL)
			ctx, cancel := context.WithTimeout(c.Context(), capiPatience)
			defer cancel()
			o.Version = t.Build.Version
			account, err := capi.Try(ctx, *o, nil)
			if err != nil {
				return fmt.Errorf("failed to authenticate to Central API (CAPI): %w", err)
			}
			return tellAccount(t, o, file, account)
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
}

func tellAccount(t *Terminal, o *capi.Options, file string, a capi.Account) error {
	if t.Output == jsonWords {
		return t.json(accountObject{file, o.Credentials.URL, o.Credentials.Login, true, a.Enrolled, a.Plan, !o.NoSharing, !o.NoCommunity, !o.NoBlocklists}, " ")
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
	return nil
}

// capiRegister is capi register: how a server gets an account.
func capiRegister(t *Terminal) *cobra.Command {
	var file, url string
	c := &cobra.Command{
		Use: "register", Short: "Register this server with the Central API and write its credentials", Args: NoArgs,
		Long: `Asks the Central API for an account, with a login and a password that are made up, and writes the credentials file.
A credentials file that is there is replaced. The server uses it after a restart.`,
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
			ctx, cancel := context.WithTimeout(c.Context(), capiPatience)
			defer cancel()
			o := capi.Options{Credentials: capi.Credentials{URL: url, Login: generatedName(), Password: generatedPassword()}, Version: t.Build.Version}
			if err := capi.Register(ctx, o); err != nil {
				return fmt.Errorf("api client register ('%s'): %w", url, err)
			}
			t.success("Successfully registered to Central API (CAPI)")
			if err := writeQuietly(t, file, config.CredentialsText(url, o.Credentials.Login, o.Credentials.Password)); err != nil {
				return fmt.Errorf("this server is registered, but %w", err)
			}
			t.success("Central API credentials written to '%s'; restart the server to use them", file)
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "credentials file to write, - for standard error (default: api.server.online_client.credentials_path)")
	f.StringVarP(&url, "url", "u", capi.ServiceURL, "address of the Central API, with a slash at its end")
	return c
}
