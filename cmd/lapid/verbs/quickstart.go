package verbs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/engine"
	"lapid/transport/admin"
)

// Quickstart is the verb quickstart: from nothing to an answered request in one line.
// It is the same server as serve's, with a configuration that it writes itself; serve
// runs it until ctx ends or a signal comes, and calls ready once every listener is open.
func Quickstart(t *Terminal, serve func(ctx context.Context, s *config.Setup, ready func()) error) *cobra.Command {
	var q quick
	c := &cobra.Command{
		Use: "quickstart", Short: "Try it: a server with a key and three lines to paste", Args: NoArgs,
		Long: `Runs a server whose store, configuration and keys are in one folder. The first start makes
them; later ones use them again and print the same three lines. An address that is given later is
written into the configuration. Nothing is written before the addresses are known to be free.
Nothing leaves this machine. As root it does not start in a folder that belongs to another user, or
below one, unless --as-root is given; see serve.`,
		RunE: func(c *cobra.Command, _ []string) error {
			return runQuickstart(c.Context(), t, &q, serve, c.Flags().Changed("listen"), c.Flags().Changed("metrics"))
		},
	}
	c.Flags().StringVar(&q.dir, "dir", config.LocalData, "folder for everything")
	c.Flags().StringVar(&q.listen, "listen", "127.0.0.1:8080", "address of the API")
	c.Flags().StringVar(&q.console, "console", "127.0.0.1:8081", "address of the web console, at the first start, or off")
	c.Flags().StringVar(&q.metrics, "metrics", "127.0.0.1:6060", "address of the metrics")
	c.Flags().BoolVar(&q.asRoot, "as-root", false, "start as root although the folder belongs to another user")
	return c
}

// runQuickstart looks, makes what is missing, and serves until a signal. The lines to
// paste are printed only once every listener is open, so pasting them at once works.
func runQuickstart(ctx context.Context, t *Terminal, q *quick, serve func(context.Context, *config.Setup, func()) error, listen, metrics bool) (err error) {
	if q.dir, err = filepath.Abs(q.dir); err != nil {
		return err
	}
	if err := checkQuick(ctx, t, q, listen, metrics); err != nil {
		return err
	}
	if err := furnish(ctx, t, q); err != nil {
		return err
	}
	s, err := t.Setup()
	if err != nil {
		return err
	}
	// Before the server starts: whatever is missing in the folder is an error at once.
	lines, err := quickLines(s, q.dir)
	if err != nil {
		return err
	}
	if q.console == noConsole {
		s.Own.Console = config.ConsoleSettings{}
	}
	return serve(ctx, s, func() { t.write(quickConsole(ctx, s, q) + lines) })
}

// quickConsole is the way into the console, which is good for a minute; "" where there is none.
func quickConsole(ctx context.Context, s *config.Setup, q *quick) string {
	if q.console == noConsole {
		return ""
	}
	again := fmt.Sprintf("%s -c %s operators link %s", os.Args[0], s.File, quickOperator)
	client, err := admin.Dial(ctx, s.Socket())
	if err != nil {
		return fmt.Sprintf("\nThe web console is at %s: %s prints a link into it.\n", q.console, again)
	}
	defer client.Close()
	secret := admin.NewSecret()
	link, err := client.LinkOperator(ctx, &admin.NewLink{Name: quickOperator, Hash: admin.HashSecret(secret)})
	if err != nil {
		return fmt.Sprintf("\nThe web console is at %s, and no link was made: %v\n", q.console, err)
	}
	return fmt.Sprintf(quickConsoleWords, linkInto(link, secret), again)
}

// quickConsoleWords: 1 the link, 2 the line that makes another.
const quickConsoleWords = `
The web console; this link lets in once, within a minute:

%[1]s

# another one
%[2]s
`

// furnish makes what is missing in the folder: first the configuration, then
// the machine and the bouncer with their secrets. Each step is done only
// when its file is missing, so a quickstart that was interrupted goes on
// where it was. The folder is closed to other users (mode 0750): it holds
// keys in readable form.
func furnish(ctx context.Context, t *Terminal, q *quick) error {
	if err := os.MkdirAll(q.dir, 0o750); err != nil {
		return err
	}
	t.Init, t.alone = true, true
	t.File, t.loaded = filepath.Join(q.dir, config.QuickConfig), nil
	if datadir.Missing(t.File) {
		if err := q.configure(t.File); err != nil {
			return err
		}
	} else if q.moves {
		if err := q.move(t.File); err != nil {
			return err
		}
	}
	s, err := t.Setup()
	if err != nil {
		return err
	}
	// The tools of this machine must find the server at its new address.
	if c, err := s.Credentials(); err == nil && q.moves {
		text := config.CredentialsText(s.OwnURL(), c.Login, c.Password)
		if err := datadir.WriteSecret(filepath.Join(q.dir, quickCredentials), []byte(text)); err != nil {
			return err
		}
	}
	if err := quickPeople(ctx, t, s, q.dir); err != nil {
		return err
	}
	if q.console == noConsole {
		return nil
	}
	return t.withClient(ctx, func(client *admin.Client) error {
		_, err := client.Operator(ctx, quickOperator)
		if errors.Is(err, engine.ErrNotFound) {
			err = client.AddOperator(ctx, &admin.NewOperator{Name: quickOperator, Role: "admin"}) // a link lets in, no password
		}
		return err
	})
}

// quickPeople makes the machine and the bouncer, each when its file is missing in the folder.
func quickPeople(ctx context.Context, t *Terminal, s *config.Setup, dir string) error {
	if file := filepath.Join(dir, quickCredentials); datadir.Missing(file) {
		password := generatedPassword()
		if err := storeMachine(ctx, t, quickName, password, true); err != nil {
			return err
		}
		if err := datadir.WriteSecret(file, []byte(config.CredentialsText(s.URL(), quickName, password))); err != nil {
			return err
		}
	}
	if file := filepath.Join(dir, quickKey); datadir.Missing(file) {
		return quickBouncer(ctx, t, file)
	}
	return nil
}

// quickSecrets are what the lines to paste need: the machine's credentials and the bouncer's key.
func quickSecrets(s *config.Setup, dir string) (*config.Credentials, string, error) {
	c, err := s.Credentials()
	if err != nil {
		return nil, "", err
	}
	key, err := os.ReadFile(filepath.Join(dir, quickKey))
	return c, strings.TrimSpace(string(key)), err
}

// quickBouncer makes the bouncer, anew if only its key was lost. The row is
// shared: on a machine for trying things, addresses mean nothing.
func quickBouncer(ctx context.Context, t *Terminal, file string) error {
	key := generatedKey()
	err := t.withClient(ctx, func(client *admin.Client) error {
		_, _ = client.DeleteBouncer(ctx, quickName) // usually there is none
		return client.AddBouncer(ctx, &admin.NewBouncer{Name: quickName, KeyHash: hashKey(key), Shared: true})
	})
	if err != nil {
		return worded("add", err)
	}
	return datadir.WriteSecret(file, []byte(key+"\n"))
}

// quickLines are the three lines to paste. They hold secrets of this
// folder's own machine and bouncer in readable form, and go to standard
// output, never to the log.
func quickLines(s *config.Setup, dir string) (string, error) {
	c, key, err := quickSecrets(s, dir)
	if err != nil {
		return "", err
	}
	url := strings.TrimSuffix(s.URL(), "/")
	return fmt.Sprintf(quickWords, url, c.Login, c.Password, key, s.File, os.Args[0], s.MetricsAddress()), nil
}

// quickBan bans an address as a log processor would: 1 the URL, 2 login, 3 password.
const quickBan = `curl -s %[1]s/v1/alerts -H "Authorization: Bearer $(curl -s %[1]s/v1/watchers/login -d '{"machine_id":"%[2]s","password":"%[3]s"}' | sed 's/.*"token":"\([^"]*\)".*/\1/')" -d '[{"scenario":"manual","scenario_hash":"","scenario_version":"","message":"first ban","kind":"manual","capacity":0,"leakspeed":"0","events":[],"events_count":1,"simulated":false,"start_at":"now","stop_at":"now","source":{"scope":"Ip","value":"192.0.2.7"},"decisions":[{"type":"ban","scope":"Ip","value":"192.0.2.7","duration":"4h","origin":"manual","scenario":"manual"}]}]'`

// quickWords: 1 the URL, 2 login, 3 password, 4 API key, 5 the configuration,
// 6 the program as it was called, 7 address of the metrics.
const quickWords = `
lapid listens on %[1]s. Paste, in another terminal:

# ban 192.0.2.7 for four hours, as a log processor would
` + quickBan + `

# ask for it, as a live bouncer does
curl -s '%[1]s/v1/decisions?ip=192.0.2.7' -H 'X-Api-Key: %[4]s'

# poll the stream
curl -s '%[1]s/v1/decisions/stream?startup=true' -H 'X-Api-Key: %[4]s'

# and as an operator does it
%[6]s -c %[5]s decisions add --ip 192.0.2.9
%[6]s -c %[5]s decisions list

http://%[7]s/ready says whether all is well, http://%[7]s/metrics how much of it. Ctrl-C ends it; nothing is lost.

`
