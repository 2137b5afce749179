package conformance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	userAgent = "contract-replay/1.0"
	// exchangeTime bounds one exchange, from the dial to the last byte; then it has failed.
	exchangeTime = 60 * time.Second
	// maxAnswer bounds an answer's body in bytes; a longer one is an error.
	maxAnswer = 256 << 20
	// chunkSize is small, so that a chunked body has many chunks.
	chunkSize = 7
)

// message is a request ready to be written. Headers are sent in this order,
// Host before them and the length of the body behind.
type message struct {
	method, path string
	headers      []header
	body         []byte
	hasBody      bool // false: neither body nor Content-Length
	chunked      bool
	cert         string
}

// answer is what came back, read to the end.
type answer struct {
	status  int
	headers http.Header
	body    []byte
}

// text gives the body with bytes that are not UTF-8 replaced.
func (a *answer) text() string {
	return strings.ToValidUTF8(string(a.body), "\uFFFD")
}

// send opens a connection, writes the message and reads the answer. Writing and reading go on together: a
// server may answer and hang up before it has read a long body, and that answer counts.
func (t *Target) send(ctx context.Context, m *message) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	conn, host, err := t.dial(ctx, m.cert)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	head, err := m.head(host)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(head); err != nil {
		return nil, fmt.Errorf("write the head: %w", err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if m.hasBody {
			_, _ = conn.Write(m.framedBody()) // when it fails, what can be read decides
		}
	}()
	a, err := readAnswer(bufio.NewReader(conn), m.method)
	conn.Close()
	<-written
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", err, ctx.Err())
	}
	return a, err
}

// dial gives a connection and the value of the Host header.
func (t *Target) dial(ctx context.Context, cert string) (net.Conn, string, error) {
	var d net.Dialer
	if path, ok := strings.CutPrefix(t.URL, "unix:"); ok {
		conn, err := d.DialContext(ctx, "unix", path)
		return conn, "localhost", err
	}
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, "", fmt.Errorf("server address: %w", err)
	}
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "", fmt.Errorf("server address %q: want http://, https:// or unix:", t.URL)
	case port == "" && u.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if u.Scheme == "http" {
		conn, err := d.DialContext(ctx, "tcp", address)
		return conn, u.Host, err
	}
	config, err := t.tlsConfig(u.Hostname(), cert)
	if err != nil {
		return nil, "", err
	}
	conn, err := (&tls.Dialer{NetDialer: &d, Config: config}).DialContext(ctx, "tcp", address)
	return conn, u.Host, err
}

// tlsConfig trusts ca.pem of the certificate folder, and shows the named certificate, if any.
func (t *Target) tlsConfig(name, cert string) (*tls.Config, error) {
	if t.TLSDir == "" {
		return nil, fmt.Errorf("%w for the folder of certificates", errNoValue)
	}
	ca, err := os.ReadFile(filepath.Join(t.TLSDir, "ca.pem"))
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	config := &tls.Config{ServerName: name, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read the authority: no certificate in %s", t.TLSDir)
	}
	if cert != "" {
		base := filepath.Join(t.TLSDir, cert)
		pair, err := tls.LoadX509KeyPair(base+".pem", base+".key")
		if err != nil {
			return nil, fmt.Errorf("read the client certificate %s: %w", cert, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// head gives everything up to the body. Bytes that would end a line early are refused.
// What else a client would never send is sent as it is written: that is what cases
// are about.
func (m *message) head(host string) ([]byte, error) {
	if i := strings.IndexFunc(m.path, func(r rune) bool { return r <= ' ' || r == 0x7f }); i >= 0 {
		return nil, fmt.Errorf("path %q: a blank or control character", m.path)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", m.method, m.path, host)
	for _, h := range m.headers {
		for _, v := range h.values {
			if strings.ContainsAny(h.name+v, "\r\n") {
				return nil, fmt.Errorf("header %s: a line break", h.name)
			}
			fmt.Fprintf(&b, "%s: %s\r\n", h.name, v)
		}
	}
	switch {
	case m.hasBody && m.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	case m.hasBody:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(m.body))
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}

// framedBody gives the body as it goes over the connection.
func (m *message) framedBody() []byte {
	if !m.hasBody || !m.chunked {
		return m.body
	}
	var b bytes.Buffer
	for rest := m.body; len(rest) > 0; {
		n := min(chunkSize, len(rest))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
		rest = rest[n:]
	}
	b.WriteString("0\r\n\r\n")
	return b.Bytes()
}

// readAnswer reads the final answer, past any 100 Continue. A body without a
// length ends with the connection.
func readAnswer(r *bufio.Reader, method string) (*answer, error) {
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		if resp.StatusCode >= 100 && resp.StatusCode < 200 {
			continue
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		if err != nil {
			return nil, fmt.Errorf("read the answer's body: %w", err)
		}
		if len(body) > maxAnswer {
			return nil, fmt.Errorf("read the answer's body: more than %d bytes", maxAnswer)
		}
		return &answer{status: resp.StatusCode, headers: resp.Header, body: body}, nil
	}
}

// compress packs a body the given number of times.
func compress(body []byte, times int) ([]byte, error) {
	for range times {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		body = b.Bytes()
	}
	return body, nil
}
