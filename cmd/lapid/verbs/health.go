package verbs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapid/cmd/lapid/config"
	"lapid/cmd/lapid/datadir"
)

// healthPatience is how long an answer is waited for. A server that is well has it at once.
const healthPatience = 5 * time.Second

// healthCommand is health, for what looks after a container and for scripts.
func healthCommand(t *Terminal) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Ask the Local API whether it answers", Args: NoArgs,
		Long: `Asks /health at the address or the socket that the configuration gives the Local API, as a client does, over
TLS where that is configured. Exit code 0: it answers that it is up; else 1, and what is wrong. It waits five seconds
at most, needs no credentials, and makes nothing.

With TLS the server must show the certificate that cert_file has; the name in it does not matter. Where it wants
certificates of clients, that of api.client.credentials_path is shown, or else listen_socket is asked.

It says that clients are answered. Whether writes are, and what else is wrong, says: lapid ready`,
		RunE: func(c *cobra.Command, _ []string) error { return showHealth(c.Context(), t) },
	}
}

// healthObject is the answer in JSON.
type healthObject struct {
	Healthy bool   `json:"healthy"`
	Asked   string `json:"asked"` // the URL, or the path of the socket
	Error   string `json:"error,omitempty"`
}

// showHealth asks once. In JSON what is wrong is in the answer too.
func showHealth(ctx context.Context, t *Terminal) error {
	s, err := t.Setup()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	asked, err := askHealth(ctx, s)
	if t.Output == jsonWords {
		o := healthObject{Healthy: err == nil, Asked: asked}
		if err != nil {
			o.Error = err.Error()
		}
		if err := t.json(o, " "); err != nil {
			return err
		}
	} else if err == nil {
		t.print("up: %s\n", asked)
	}
	return err
}

// askHealth asks the Local API. asked is where.
func askHealth(ctx context.Context, s *config.Setup) (asked string, err error) {
	way, base, asked, err := healthWay(s)
	if err != nil {
		return asked, err
	}
	defer way.CloseIdleConnections()
	// What is elsewhere is another's health.
	client := &http.Client{Transport: way, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"health", nil)
	if err != nil {
		return asked, err
	}
	w, err := client.Do(r)
	if errors.Is(err, context.DeadlineExceeded) {
		return asked, fmt.Errorf("no answer from %s within %s: the server hangs or is overloaded; see \"lapid ready\" and its log", asked, healthPatience)
	}
	var no *net.OpError
	switch {
	case errors.As(err, &no) && no.Op == "dial":
		return asked, fmt.Errorf("nothing answers on %s: %w; start the server with \"lapid serve\", or see its log", asked, no)
	case err != nil:
		return asked, fmt.Errorf("%s gives no answer: %w", asked, errors.Unwrap(err))
	}
	defer w.Body.Close()
	var said struct {
		Status string `json:"status"`
	}
	err = json.NewDecoder(io.LimitReader(w.Body, 1<<16)).Decode(&said)
	if w.StatusCode != http.StatusOK || err != nil || said.Status != "up" {
		return asked, fmt.Errorf("what answers on %s is no server of lapid's, or not well: status %d, not {\"status\":\"up\"}", asked, w.StatusCode)
	}
	return asked, nil
}

// healthWay is the way to the Local API: its address, else its socket. What has a proxy in its
// environment asks its own machine all the same.
func healthWay(s *config.Setup) (way *http.Transport, base, asked string, err error) {
	a := s.Config.API.Server
	if a == nil || a.ListenURI == "" && a.ListenSocket == "" {
		return nil, "", "", s.Bad("api.server", "the configuration has no Local API to ask: listen_uri and listen_socket are missing")
	}
	own, err := ownCertificate(s)
	if err != nil {
		return nil, "", s.OwnURL(), err
	}
	// A server that lets no client in without a certificate has to be asked over the socket where there is none to show.
	closed := own != nil && strings.HasPrefix(a.TLS.Verification, "Require") && len(own.Certificates) == 0
	if a.ListenURI == "" || closed && a.ListenSocket != "" {
		path := datadir.Absolute(a.ListenSocket)
		return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}, "http://unix/", path, nil
	}
	return &http.Transport{TLSClientConfig: own}, slashed(s.OwnURL()), slashed(s.OwnURL()) + "health", nil
}

// ownCertificate is how the server behind this configuration is recognised: by its certificate, and not
// by a name, which that of a server need not have for this machine's loopback. nil: no TLS.
func ownCertificate(s *config.Setup) (*tls.Config, error) {
	t := s.Config.API.Server.TLS
	if t == nil || t.CertFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(t.CertFile)
	if err != nil {
		return nil, s.Bad("api.server.tls.cert_file", "the server's certificate, by which it is recognised: %v", datadir.DeniedFile(err))
	}
	block, rest := pem.Decode(text)
	for block != nil && block.Type != "CERTIFICATE" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, s.Bad("api.server.tls.cert_file", "%s: no certificate in it", t.CertFile)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // looked at below, more strictly
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if string(state.PeerCertificates[0].Raw) != string(block.Bytes) {
			return fmt.Errorf("it shows another certificate than %s has: another program listens there, or the file is newer than the server has looked", t.CertFile)
		}
		return nil
	}
	if m, err := s.Credentials(); err == nil && m.CertFile != "" && m.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(m.CertFile, m.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("the client certificate of %s: %w", s.Config.API.Client.Credentials, datadir.DeniedFile(err))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
