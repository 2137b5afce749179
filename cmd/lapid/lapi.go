package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func lapiCommand(t *terminal) *cobra.Command {
	return group("lapi", "The Local API as this machine's own tools reach it", lapiStatus(t))
}

func lapiStatus(t *terminal) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Log in with this machine's credentials", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := t.setup()
			if err != nil {
				return err
			}
			credentials, err := s.credentials()
			if err != nil {
				return err
			}
			t.print("Loaded credentials from %s\n", s.Config.API.Client.Credentials)
			t.print("Trying to authenticate with username %q on %s\n", credentials.Login, slashed(credentials.URL))
			if err := s.tryLogin(c.Context(), credentials); err != nil {
				return fmt.Errorf("failed to authenticate to Local API (LAPI): %w", err)
			}
			t.print("You can successfully interact with Local API (LAPI)\n")
			return nil
		},
	}
}

// slashed is a URL with a slash at its end, a path of a socket as it is.
func slashed(url string) string {
	if strings.HasPrefix(url, "/") || strings.HasSuffix(url, "/") {
		return url
	}
	return url + "/"
}

// tryLogin logs in once and forgets the token.
func (s *Setup) tryLogin(ctx context.Context, c *Credentials) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client, base, err := s.httpClient(c)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"machine_id": c.Login, "password": c.Password})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"v1/watchers/login", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "lapid/"+version+"-"+runtime.GOOS)
	w, err := client.Do(r)
	if err != nil {
		return err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(io.LimitReader(w.Body, 1<<20))
	if err != nil || w.StatusCode == http.StatusOK {
		return err
	}
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &said) != nil || said.Message == "" {
		return fmt.Errorf("API error: http code %d", w.StatusCode)
	}
	return errors.New("API error: " + said.Message)
}

// httpClient reaches the URL of the credentials, which may be a socket.
func (s *Setup) httpClient(c *Credentials) (*http.Client, string, error) {
	if socket, ok := strings.CutPrefix(c.URL, "unix:"); ok || strings.HasPrefix(c.URL, "/") {
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		return &http.Client{Transport: t}, "http://unix/", nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if i := s.Config.API.Client.Insecure; i != nil {
		config.InsecureSkipVerify = *i // the operator's own word
	}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, "", err
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, "", fmt.Errorf("%s: no certificate in it", c.CAFile)
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, "", err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, slashed(c.URL), nil
}
