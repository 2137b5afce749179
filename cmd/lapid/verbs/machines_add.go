package verbs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
	"lapid/transport/admin"
)

// newMachine is what the flags of machines add say.
type newMachine struct {
	auto, ask, force    bool
	password, file, url string
}

// machinesAdd is machines add: the machine and the file with which it logs in. An
// operator adds machines that are validated; those that register over the API wait.
func machinesAdd(t *Terminal) *cobra.Command {
	var n newMachine
	c := &cobra.Command{
		Use: "add [NAME]", Short: "Add a machine, validated, and write its credentials", Args: usage(cobra.MaximumNArgs(1)),
		Long: `Adds a machine and writes the file with which it logs in. With --auto a password is made up,
and a name too if none is given. Before the first start of the server it needs --init.`,
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return addMachine(c.Context(), t, name, &n)
		},
	}
	f := c.Flags()
	f.BoolVarP(&n.auto, "auto", "a", false, "make up a password, and a name if none is given")
	f.StringVarP(&n.password, "password", "p", "", "password, 72 characters at most")
	f.BoolVarP(&n.ask, "interactive", "i", false, "ask for the password on the terminal")
	f.StringVarP(&n.file, "file", "f", "", "credentials file to write, - for standard error (default: api.client.credentials_path)")
	f.StringVarP(&n.url, "url", "u", "", "URL of the Local API, for the credentials file")
	f.BoolVar(&n.force, "force", false, "replace the machine and the file if they are there")
	return c
}

// addMachine does everything that can fail without a change first: names, the place
// of the file, the password. Then it stores the machine and writes the file; if that
// fails the machine is there, and the same verb with --force repairs it.
//
// Standard output is JSON or nothing. What a person reads goes to standard error, as
// in the reference, whose scripts rely on it.
func addMachine(ctx context.Context, t *Terminal, name string, n *newMachine) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	if name == "" {
		if !n.auto {
			return errors.New("please specify a machine name to add, or use --auto")
		}
		// The name is one that no other host makes up.
		name = generatedName()
	}
	if n.file == "" {
		if c := s.Config.API.Client; c == nil || c.Credentials == "" {
			return errors.New("please specify a file for the credentials with -f: the configuration names none")
		}
		n.file = s.Config.API.Client.Credentials
	}
	if err := n.refuseOverwriting(); err != nil {
		return err
	}
	if t.Remote.URL != "" && n.url == "" {
		return errors.New("please say with --url where the machine finds the Local API: the configuration here is not that of the server")
	}
	password, err := machinePassword(t, n)
	if err != nil {
		return err
	}
	url := n.url
	if url == "" {
		url = s.URL()
	}
	if err := storeMachine(ctx, t, name, password, n.force); err != nil {
		return fmt.Errorf("unable to create machine: %w", worded("add", err))
	}
	fmt.Fprintf(t.Err, "Machine '%s' successfully added to the local API.\n", foreign(name))
	err = writeCredentials(t, n.file, url, name, password)
	if err == nil && t.Output == jsonWords && n.file != "-" {
		err = t.json(addedMachine{name, n.file, url}, " ")
	}
	return err
}

// addedMachine is a machine that was added, in JSON.
type addedMachine struct {
	Login string `json:"login"`
	File  string `json:"credentials_file"`
	URL   string `json:"url"`
}

// refuseOverwriting is the check before anything is changed. A file that is
// there belongs to a machine that logs in with it; --force says that it may
// go.
func (n *newMachine) refuseOverwriting() error {
	if n.force || n.file == "-" || n.file == "/dev/null" {
		return nil
	}
	if _, err := os.Stat(n.file); err == nil {
		return fmt.Errorf(`credentials file '%s' already exists: please remove it, use "--force" or specify a different file with "-f" ("-f -" for standard output)`, n.file)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// machinePassword is the password that the flags ask for. bcrypt looks at no more
// than 72 bytes; a longer one is refused, where a hash would silently take its
// beginning.
func machinePassword(t *Terminal, n *newMachine) (string, error) {
	password := n.password
	switch {
	case password != "":
	case n.auto:
		password = generatedPassword()
	case n.ask:
		var err error
		if password, err = askPassword(t); err != nil {
			return "", err
		}
	default:
		return "", errors.New("please specify a password with --password or use --auto")
	}
	if len(password) > 72 {
		return "", errors.New("password too long (max 72 characters)")
	}
	return password, nil
}

// askPassword reads a password from the terminal without showing it. Where there is
// no terminal that is an error, and no wait.
func askPassword(t *Terminal) (string, error) {
	if !t.interactive() {
		return "", errAsked
	}
	fmt.Fprint(t.Err, "Please provide a password for the machine: ")
	b, err := term.ReadPassword(int(t.In.(*os.File).Fd()))
	fmt.Fprintln(t.Err)
	return string(b), err
}

// storeMachine sends the machine with its bcrypt hash: the password itself does not
// reach the server. With replace a machine of that name goes, and its alerts lose
// their owner.
func storeMachine(ctx context.Context, t *Terminal, name, password string, replace bool) error {
	hash, err := hashPassword(password)
	if err != nil {
		return err
	}
	return t.withClient(ctx, func(client *admin.Client) error {
		return client.AddMachine(ctx, &admin.NewMachine{ID: name, PasswordHash: hash, Replace: replace})
	})
}

// writeCredentials writes the credentials file and says where; "-" is standard error,
// /dev/null is nowhere.
func writeCredentials(t *Terminal, file, url, login, password string) error {
	if err := writeQuietly(t, file, config.CredentialsText(url, login, password)); err != nil {
		return err
	}
	if file != "-" && file != "/dev/null" {
		fmt.Fprintf(t.Err, "API credentials written to '%s'.\n", file)
	}
	return nil
}

// writeQuietly writes a credentials file and says nothing of it. The file
// has mode 0600 and is there whole or not at all (writeSecret).
func writeQuietly(t *Terminal, file, text string) error {
	switch file {
	case "-":
		fmt.Fprint(t.Err, text)
		return nil
	case "/dev/null":
		return nil
	}
	if err := datadir.WriteSecret(file, []byte(text)); err != nil {
		return fmt.Errorf("write api credentials: %w", err)
	}
	return nil
}

// generatedName is the host's machine id and sixteen letters of chance.
// Two machines on one host get two names. A host without a machine id gets chance in
// its place.
func generatedName() string {
	id, err := os.ReadFile("/etc/machine-id")
	name := strings.TrimSpace(string(id))
	if err != nil || len(name) != 32 {
		name = strings.ToLower(letters(32))
	}
	return name + letters(16)
}

// generatedPassword has 64 letters and digits. That is over 300 bits of
// chance, and fits what bcrypt looks at.
func generatedPassword() string { return letters(64) }

// letters are n letters and digits of chance.
func letters(n int) string {
	out := ""
	for len(out) < n {
		out += rand.Text()
	}
	return out[:n]
}
