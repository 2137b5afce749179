package verbs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"lapid/transport/admin"
)

// Remote says that verbs ask a server over HTTP, as an operator of its store, in place of the socket.
type Remote struct {
	URL       string // --remote; "": the socket
	TokenFile string // --token-file; "": the variable LAPID_TOKEN
	CAFile    string // --ca-file; "": the system's authorities
}

// remoteNouns are the verbs that ask nothing but the operator's handler. Others read files of the
// server's machine.
var remoteNouns = map[string]bool{
	"machines": true, "bouncers": true, "operators": true, "allowlists": true, "alerts": true, "decisions": true, "why": true,
	"exports": true, "audit": true, "activity": true,
}

// Check refuses what would be without effect for the verb that was called.
func (r *Remote) Check(c *cobra.Command) error {
	if r.URL == "" {
		if r.TokenFile != "" || r.CAFile != "" {
			return errors.New("--token-file and --ca-file belong to --remote: say which console is meant")
		}
		return nil
	}
	noun := c
	for noun.HasParent() && noun.Parent().HasParent() {
		noun = noun.Parent()
	}
	if !remoteNouns[noun.Name()] {
		return fmt.Errorf("%s does not work with --remote: it is for machines, bouncers, operators, allowlists, alerts, decisions, exports, audit, activity and why", noun.Name())
	}
	if c.Flags().Changed("init") {
		return errors.New("--init makes a store on this machine, and --remote asks another: give one of both")
	}
	return nil
}

// longestToken bounds what is read of a token's file.
const longestToken = 4096

// dial connects to the console.
func (r *Remote) dial(ctx context.Context, t *Terminal) (*admin.Client, error) {
	token, err := r.token(t)
	if err != nil {
		return nil, err
	}
	o := &admin.RemoteOptions{URL: r.URL, Token: token}
	if r.CAFile != "" {
		pem, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
		if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: %s holds no certificate", r.CAFile)
		}
	}
	return admin.DialRemote(ctx, o)
}

// token reads the token, which is never an argument: those are seen by all users of a machine.
func (r *Remote) token(t *Terminal) (string, error) {
	if r.TokenFile == "" {
		if text, ok := t.Env("LAPID_TOKEN"); ok && text != "" {
			return text, nil
		}
		return "", errors.New("--remote needs a token: name its file with --token-file, or set LAPID_TOKEN; lapid operators token NAME makes one on the server's machine")
	}
	f, err := os.Open(r.TokenFile)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, longestToken+1))
	token := strings.TrimSpace(string(b))
	if err == nil && (token == "" || len(b) > longestToken || strings.ContainsAny(token, "\r\n\x00")) {
		err = fmt.Errorf("%s is no file with one token", r.TokenFile)
	}
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	return token, nil
}
