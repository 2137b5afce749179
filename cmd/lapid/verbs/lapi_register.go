package verbs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/transport/admin"
)

// registration is what the flags of lapi register say. After settle nothing
// is open in it.
type registration struct{ url, machine, token, file string }

// lapiRegister is lapi register: how a machine without access to the server's own
// verbs gets a login.
func lapiRegister(t *Terminal) *cobra.Command {
	var r registration
	c := &cobra.Command{
		Use: "register", Short: "Register this machine with a Local API and write its credentials", Args: NoArgs,
		Long: `Asks a Local API, this one or another, to let this machine log in, with a password that is made up, and writes
the credentials file. The machine waits until an operator of that Local API validates it (machines validate), unless a
token for registering is given that the server accepts. A credentials file that is there is replaced.`,
		RunE: func(c *cobra.Command, _ []string) error { return registerMachine(c.Context(), t, &r) },
	}
	f := c.Flags()
	f.StringVarP(&r.url, "url", "u", "", "URL of the Local API (default: that of the credentials file, or this machine's own)")
	f.StringVar(&r.machine, "machine", "", "name of the machine (default: made up)")
	f.StringVar(&r.token, "token", "", "token for registering without a validation, 32 characters or more")
	f.StringVarP(&r.file, "file", "f", "", "credentials file to write, - for standard error (default: api.client.credentials_path)")
	return c
}

// registeredObject is a registration that succeeded, in JSON.
type registeredObject struct {
	Machine   string `json:"machine"`
	URL       string `json:"url"`
	File      string `json:"credentials_file"`
	Validated bool   `json:"validated"`
}

// registerMachine asks, and writes the credentials only when the server has said yes. When
// they cannot be written the machine is registered all the same, and the error says
// so: its password is lost, and the name with it.
func registerMachine(ctx context.Context, t *Terminal, r *registration) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if err := r.settle(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// A credentials file that is there knows by which authority the server is to be
	// trusted.
	known, err := s.Credentials()
	if err != nil {
		known = &config.Credentials{}
	}
	client, base, err := httpClient(s, &config.Credentials{URL: r.url, CAFile: known.CAFile})
	if err != nil {
		return fmt.Errorf("api client register: %w", err)
	}
	password := generatedPassword()
	question := map[string]string{"machine_id": r.machine, "password": password}
	if r.token != "" {
		question["registration_token"] = r.token
	}
	status, err := post(ctx, t, client, base+"v1/watchers", question)
	if err != nil && status != 0 {
		return fmt.Errorf("api client register: api register (%s) http %d %s: %w", slashed(r.url), status, http.StatusText(status), err)
	}
	if err != nil {
		return fmt.Errorf("api client register: api register (%s): %w", slashed(r.url), err)
	}
	t.success("Successfully registered to Local API (LAPI)")
	// Programs get the file and, at the end, one object; people are told where it went.
	if t.Output == human {
		err = writeCredentials(t, r.file, r.url, r.machine, password)
	} else {
		err = writeQuietly(t, r.file, config.CredentialsText(r.url, r.machine, password))
	}
	if err != nil {
		return fmt.Errorf("the machine '%s' is registered, but %w", r.machine, err)
	}
	validated := status == http.StatusAccepted
	if t.Output == jsonWords {
		return t.json(registeredObject{r.machine, r.url, r.file, validated}, " ")
	}
	if !validated {
		t.success("the machine waits for 'machines validate %s' on the Local API", r.machine)
	}
	return nil
}

// settle fills in what the flags leave open and refuses what cannot be.
// The bounds of the token are the server's; a wrong one is told before anything is
// sent.
func (r *registration) settle(s *config.Setup) error {
	if r.machine == "" {
		r.machine = generatedName()
	}
	if err := admin.UsableName("the machine's name", r.machine); err != nil {
		return err
	}
	if r.url == "" {
		r.url = s.URL()
	}
	if !strings.HasPrefix(r.url, "/") && !strings.HasPrefix(r.url, "http://") && !strings.HasPrefix(r.url, "https://") {
		r.url = "http://" + r.url
	}
	if n := len(r.token); n > 0 && (n < 32 || n > 255) {
		return fmt.Errorf("a token for registering has 32 to 255 characters, this one %d", n)
	}
	if r.file == "" {
		if c := s.Config.API.Client; c == nil || c.Credentials == "" {
			return errors.New("please specify a file for the credentials with -f: the configuration names none")
		}
		r.file = s.Config.API.Client.Credentials
	}
	return nil
}
