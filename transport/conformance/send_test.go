package conformance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serveOnce accepts one connection, reads a request's head and as many bytes of its body as asked for, writes the answer
// and hangs up. The channel gives what was read.
func serveOnce(t *testing.T, l net.Listener, body int, reply string) <-chan string {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	read := make(chan string, 1)
	go func() {
		defer close(read)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		var got strings.Builder
		for !strings.HasSuffix(got.String(), "\r\n\r\n") {
			line, err := r.ReadString('\n')
			got.WriteString(line)
			if err != nil {
				break
			}
		}
		_, _ = io.CopyN(&got, r, int64(body))
		_, _ = io.WriteString(conn, reply)
		read <- got.String()
	}()
	return read
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const fine = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok"

func TestSendWritesWhatIsMeant(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		message message
		body    int // bytes on the connection
		want    string
	}{
		"bare": {
			message{method: "GET", path: "/v1/x%2Fy//z?a=%20"}, 0,
			"GET /v1/x%2Fy//z?a=%20 HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		"headers as spelled and repeated": {
			message{method: "GET", path: "/", headers: []header{{"x-api-key", []string{"a", "b"}}, {"gone", nil}}}, 0,
			"GET / HTTP/1.1\r\nHost: HOST\r\nx-api-key: a\r\nx-api-key: b\r\n\r\n"},
		"empty body": {
			message{method: "POST", path: "/", hasBody: true}, 0,
			"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\n\r\n"},
		"body": {
			message{method: "POST", path: "/", hasBody: true, body: []byte("12345")}, 5,
			"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n\r\n12345"},
		"chunks": {
			message{method: "POST", path: "/", hasBody: true, chunked: true, body: []byte("1234567890")}, 25,
			"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n1234567\r\n3\r\n890\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, "tcp", "127.0.0.1:0")
			read := serveOnce(t, l, c.body, fine)
			target := Target{URL: "http://" + l.Addr().String()}
			a, err := target.send(t.Context(), &c.message)
			if err != nil {
				t.Fatal(err)
			}
			if a.status != 200 || a.text() != "ok" || a.headers.Get("x-a") != "b" {
				t.Errorf("answer %d %q %v", a.status, a.text(), a.headers)
			}
			if got := strings.ReplaceAll(<-read, l.Addr().String(), "HOST"); got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func TestSendReads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, reply string
		status        int
		body          string
		fails         bool
	}{
		"chunked":        {"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", 200, "abc", false},
		"until the end":  {"GET", "HTTP/1.0 404 Not Found\r\n\r\nabc", 404, "abc", false},
		"continue first": {"POST", "HTTP/1.1 100 Continue\r\n\r\n" + fine, 200, "ok", false},
		"head":           {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", 200, "", false},
		"no content":     {"GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", false},
		"not UTF-8":      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\xffb", 200, "a\uFFFDb", false},
		"cut short":      {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nabc", 0, "", true},
		"no HTTP":        {"GET", "hello\r\n\r\n", 0, "", true},
		"nothing":        {"GET", "", 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := listen(t, "tcp", "127.0.0.1:0")
			serveOnce(t, l, 0, c.reply)
			target := Target{URL: "http://" + l.Addr().String()}
			a, err := target.send(t.Context(), &message{method: c.method, path: "/"})
			switch {
			case c.fails && err == nil:
				t.Errorf("answer %d %q, want an error", a.status, a.text())
			case !c.fails && (err != nil || a.status != c.status || a.text() != c.body):
				t.Errorf("answer %+v, %v; want %d %q", a, err, c.status, c.body)
			}
		})
	}
}

// TestEarlyAnswer has a server that answers a long body without reading it.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	t.Cleanup(func() { l.Close() })
	done := make(chan struct{})
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		<-done // hang up once the answer has been read
	}()
	target := Target{URL: "http://" + l.Addr().String()}
	a, err := target.send(t.Context(), &message{method: "POST", path: "/", hasBody: true, body: make([]byte, 32<<20)})
	close(done)
	if err != nil || a.status != 413 {
		t.Errorf("answer %+v, %v; want 413", a, err)
	}
}

func TestSendRefuses(t *testing.T) {
	t.Parallel()
	l := listen(t, "tcp", "127.0.0.1:0")
	t.Cleanup(func() { l.Close() })
	there := "http://" + l.Addr().String()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		target Target
		m      message
	}{
		"path":    {t.Context(), Target{URL: there}, message{method: "GET", path: "/a b"}},
		"header":  {t.Context(), Target{URL: there}, message{method: "GET", path: "/", headers: []header{{"A", []string{"b\r\nC: d"}}}}},
		"scheme":  {t.Context(), Target{URL: "ftp://localhost"}, message{method: "GET", path: "/"}},
		"no URL":  {t.Context(), Target{URL: ":"}, message{method: "GET", path: "/"}},
		"no CA":   {t.Context(), Target{URL: "https://localhost:1"}, message{method: "GET", path: "/"}},
		"context": {ended, Target{URL: there}, message{method: "GET", path: "/"}},
	} {
		if a, err := c.target.send(c.ctx, &c.m); err == nil {
			t.Errorf("%s: answer %+v, want an error", name, a)
		}
	}
}

func TestSendOverSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "lapid-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	read := serveOnce(t, listen(t, "unix", path), 0, fine)
	target := Target{URL: "unix:" + path}
	if a, err := target.send(t.Context(), &message{method: "GET", path: "/"}); err != nil || a.text() != "ok" {
		t.Fatalf("answer %+v, %v", a, err)
	}
	if got := <-read; got != "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" {
		t.Errorf("sent %q", got)
	}
}

// TestCertificates shows the throw-away certificates to a server that verifies them.
func TestCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificates(t, dir)
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	for cert, want := range map[string]string{
		"": "", "agent": "agent-ou contract-agent", "bouncer": "bouncer-ou contract-bouncer", "other": "other-ou contract-other",
	} {
		t.Run("cert "+cert, func(t *testing.T) {
			t.Parallel()
			shown := make(chan string, 1)
			l := tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), &tls.Config{
				Certificates: []tls.Certificate{own}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven,
				VerifyConnection: func(s tls.ConnectionState) error {
					if len(s.PeerCertificates) == 0 {
						shown <- ""
						return nil
					}
					subject := s.PeerCertificates[0].Subject
					shown <- strings.Join(append(subject.OrganizationalUnit, subject.CommonName), " ")
					return nil
				},
			})
			serveOnce(t, l, 0, fine)
			target := Target{URL: "https://" + l.Addr().String(), TLSDir: dir}
			a, err := target.send(t.Context(), &message{method: "GET", path: "/", cert: cert})
			if err != nil || a.text() != "ok" {
				t.Fatalf("answer %+v, %v", a, err)
			}
			if got := <-shown; got != want {
				t.Errorf("the server saw %q, want %q", got, want)
			}
		})
	}
	target := Target{URL: "https://127.0.0.1:1", TLSDir: dir}
	if _, err := target.tlsConfig("127.0.0.1", "unknown"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown certificate: %v", err)
	}
}

func TestCompress(t *testing.T) {
	t.Parallel()
	packed, err := compress([]byte("text"), 2)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		if packed, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	if string(packed) != "text" {
		t.Errorf("got %q", packed)
	}
}
