package notify

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
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answerAtMost is how much of an answer is read; the rest ends with its connection.
const answerAtMost = 64 << 10

// webhook sends texts as bodies of requests.
type webhook struct {
	client *http.Client
	to     *HTTP
	mask   *mask
}

func newWebhook(c *HTTP) (*webhook, error) {
	if err := webAddress("url", c.URL); err != nil {
		return nil, err
	}
	if _, err := http.NewRequest(c.method(), c.URL, nil); err != nil {
		return nil, fmt.Errorf("method or url cannot be used")
	}
	for name, value := range c.Headers {
		if !headerText(name) || !headerText(value) {
			return nil, fmt.Errorf("headers must not hold line ends")
		}
	}
	trust := &tls.Config{InsecureSkipVerify: c.SkipVerify, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_cert_path: %w", err)
		}
		trust.RootCAs, err = x509.SystemCertPool()
		if err != nil || trust.RootCAs == nil {
			trust.RootCAs = x509.NewCertPool()
		}
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_cert_path: no certificate in %s", c.CAFile)
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_path and key_path: %w", err)
		}
		trust.Certificates = []tls.Certificate{pair}
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, MaxIdleConns: 1, IdleConnTimeout: UsualTimeout}
	if c.UnixSocket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.UnixSocket)
		}
	}
	return &webhook{client: &http.Client{Transport: t, CheckRedirect: follow}, to: c, mask: maskOf(&Configuration{HTTP: c})}, nil
}

// follow follows redirects as the field does, but not from https to less. On another host,
// and whatever comes after one, neither the headers that were configured nor the address
// that sent there are shown: they may be secrets.
func follow(r *http.Request, before []*http.Request) error {
	first := before[0].URL
	if len(before) >= 10 || first.Scheme == "https" && r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	away := r.URL.Hostname() != first.Hostname()
	for _, b := range before {
		away = away || b.URL.Hostname() != first.Hostname()
	}
	if away {
		for name := range r.Header {
			if !slices.Contains([]string{"Accept", "Content-Type", "User-Agent"}, name) {
				r.Header.Del(name)
			}
		}
	}
	return nil
}

func (c *HTTP) method() string {
	if c.Method == "" {
		return http.MethodGet
	}
	return c.Method
}

// Send sends one text. What the receiver answers counts.
func (w *webhook) Send(ctx context.Context, text string) error {
	return post(ctx, w.client, w.mask, w.to.method(), w.to.URL, w.to.Headers, text)
}

// post does one request and judges the answer.
func post(ctx context.Context, client *http.Client, hidden *mask, method, to string, headers map[string]string, body string) error {
	r, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return refused("the request cannot be made")
	}
	for name, value := range headers {
		if strings.EqualFold(name, "Host") {
			r.Host = value
		}
		r.Header.Set(name, value)
	}
	answer, err := client.Do(r)
	if err != nil {
		return withoutAddress(r.URL.Host, err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, answerAtMost))
	code := answer.StatusCode
	switch {
	case code >= 300 && code < 400:
		return fmt.Errorf("%s answered %d and sends elsewhere, which is not followed: write the final address", r.URL.Host, code)
	case slices.Contains(ofTheMessage, code):
		return refused("%s answered %d: %s", r.URL.Host, code, excerpt(hidden, said))
	case code >= 400:
		err := fmt.Errorf("%s answered %d: %s", r.URL.Host, code, excerpt(hidden, said))
		if after := retryAfter(answer.Header.Get("Retry-After"), time.Now()); after > 0 {
			return &laterError{err, after}
		}
		return err
	case err != nil: // it was taken, whatever was to be said about it
		return nil
	}
	return nil
}

// ofTheMessage are the answers that say that it is the message which is wrong. All others
// are about the receiver: who may ask it, where it is, how it fares.
var ofTheMessage = []int{
	http.StatusBadRequest, http.StatusNotAcceptable, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
}

// retryAfter reads a header that says when to ask again, in seconds or as a moment; 0: it
// says nothing of use.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(n, 0), int(roundPause/time.Second))) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), roundPause)
}

// withoutAddress takes the path out of an error of the HTTP client: it may be a secret.
func withoutAddress(host string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%s: %w", host, err)
}

// excerpt is the beginning of what a receiver said, on one line, without secrets.
func excerpt(hidden *mask, said []byte) string {
	const most = 200
	said = bytes.TrimSpace([]byte(hidden.hide(string(said)))) // before it is cut: a part of a secret is one
	return strings.ToValidUTF8(strings.Join(strings.Fields(string(said[:min(len(said), most)])), " "), "?")
}

// chat posts texts to an incoming webhook of Slack, or of what speaks like it.
type chat struct {
	client *http.Client
	to     *Slack
	mask   *mask
}

func newChat(c *Slack) (*chat, error) {
	if err := webAddress("webhook", c.Webhook); err != nil {
		return nil, err
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, IdleConnTimeout: UsualTimeout}
	// A page that one is sent to answers well, and has not taken the message.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &chat{client: &http.Client{Transport: t, CheckRedirect: stay}, to: c, mask: maskOf(&Configuration{Slack: c})}, nil
}

// Send posts one text.
func (c *chat) Send(ctx context.Context, text string) error {
	body, err := json.Marshal(struct {
		Channel   string `json:"channel,omitempty"`
		Username  string `json:"username,omitempty"`
		IconEmoji string `json:"icon_emoji,omitempty"`
		IconURL   string `json:"icon_url,omitempty"`
		Text      string `json:"text,omitempty"`
		Replace   bool   `json:"replace_original"`
		Delete    bool   `json:"delete_original"`
	}{Channel: c.to.Channel, Username: c.to.Username, IconEmoji: c.to.IconEmoji, IconURL: c.to.IconURL, Text: text})
	if err != nil {
		return refused("the text cannot be written as JSON")
	}
	return post(ctx, c.client, c.mask, http.MethodPost, c.to.Webhook, map[string]string{"Content-Type": "application/json"}, string(body))
}
