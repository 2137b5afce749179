package verbs

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

	"lapid/cmd/lapid/config"
)

// errLoginRefused: the server knows no such machine, or not with this password.
var errLoginRefused = errors.New("refused")

// loginRefused is errLoginRefused in the server's words.
type loginRefused string

func (l loginRefused) Error() string { return string(l) }

func (l loginRefused) Is(target error) bool { return target == errLoginRefused }

// slashed is a URL with a slash at its end, a path of a socket as it is.
// Paths of the API are put behind it.
func slashed(url string) string {
	if strings.HasPrefix(url, "/") || strings.HasSuffix(url, "/") {
		return url
	}
	return url + "/"
}

// tryLogin logs in once and forgets the token. It waits half a minute at
// most. A refusal is a loginRefused, whatever else goes wrong is not.
func tryLogin(ctx context.Context, t *Terminal, s *config.Setup, c *config.Credentials) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client, base, err := httpClient(s, c)
	if err != nil {
		return err
	}
	status, err := post(ctx, t, client, base+"v1/watchers/login", map[string]string{"machine_id": c.Login, "password": c.Password})
	if err != nil && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return loginRefused(err.Error())
	}
	return err
}

// post sends a request to the Local API and gives the status of a good
// answer. The error of any other is what the server says. No more than a
// megabyte of the answer is read. Status 0 means that there was no answer.
func post(ctx context.Context, t *Terminal, client *http.Client, url string, question map[string]string) (status int, err error) {
	body, err := json.Marshal(question)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("User-Agent", "lapid/"+t.Build.Version+"-"+runtime.GOOS)
	w, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer w.Body.Close()
	text, err := io.ReadAll(io.LimitReader(w.Body, 1<<20))
	if err != nil || w.StatusCode/100 == 2 {
		return w.StatusCode, err
	}
	// Errors of the API are an object with a sentence; a proxy in between answers anything.
	var said struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &said) != nil || said.Message == "" {
		return w.StatusCode, fmt.Errorf("API error: http code %d", w.StatusCode)
	}
	return w.StatusCode, errors.New("API error: " + said.Message)
}

// httpClient reaches the URL of the credentials, which may be a socket. It
// gives the client and what paths are put behind. TLS is 1.2 at least;
// whether the server's certificate is looked at is the operator's to say, in
// api.client. A CA file is trusted beside those of the system.
func httpClient(s *config.Setup, c *config.Credentials) (*http.Client, string, error) {
	if socket, ok := strings.CutPrefix(c.URL, "unix:"); ok || strings.HasPrefix(c.URL, "/") {
		// The host in the URL means nothing then; HTTP wants one all the same.
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}
		return &http.Client{Transport: t}, "http://unix/", nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if k := s.Config.API.Client; k != nil && k.Insecure != nil {
		config.InsecureSkipVerify = *k.Insecure // the operator's own word
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
