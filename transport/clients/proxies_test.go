//go:build clients

package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// many is more bans than one event of a full state has.
const many = 12_000

// TestProxies: Debian's nginx, which compresses, and haproxy, both with nothing set for lapid, stand
// between the server and clients. An event stream of 12 000 bans and a held poll bring each ban at
// once; the server is killed, what happens while it is away is heard after it, and in the end each
// client has exactly what a fresh one is told.
func TestProxies(t *testing.T) {
	t.Parallel()
	if reference {
		return // it has neither
	}
	needs(t, "nginx", "haproxy")
	for name, begin := range map[string]func(*testing.T, string, *server) string{"nginx": startNginx, "haproxy": startHaproxy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			metrics := s.measured(t)
			importMany(t, s)
			first := s.begin(t)
			proxy := begin(t, t.TempDir(), s)
			c := newCscli(t, s, s.credentials())
			l := &listener{address: proxy + "/v1/decisions/stream", has: map[string]bool{}}
			hear, hang := context.WithCancel(context.Background())
			var gone sync.WaitGroup
			gone.Go(func() { l.listen(hear) })
			t.Cleanup(func() { hang(); gone.Wait() })
			l.awaitCount(t, many)

			c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.50")
			l.awaitCount(t, many+1)
			heldThrough(t, s, proxy, metrics, "192.0.2.51")
			c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.54")
			l.awaitCount(t, many+3)

			if err := first.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-first.ended
			s.operator(t, "decisions", "add", "-i", "192.0.2.52")
			s.operator(t, "decisions", "delete", "-i", "192.0.2.50")
			s.start(t)
			c.expect(t, 0, nil, "decisions", "add", "-i", "192.0.2.53")
			l.awaitCount(t, many+4)
			if fulls := l.fulls(); fulls != 1 {
				t.Errorf("it was told %d full states", fulls)
			}
			sameAsFresh(t, s, l)
		})
	}
}

// begin runs the server as start does, and may be killed.
func (s *server) begin(t *testing.T) *program {
	t.Helper()
	p := start(t, "the server", s.serve...)
	await(t, "the server listens", func() (bool, string) {
		if err := p.alive(); err != nil {
			t.Fatal(err)
		}
		return listens(p.cmd.Process.Pid, s.port), p.output.String()
	})
	return p
}

func importMany(t *testing.T, s *server) {
	t.Helper()
	var list strings.Builder
	for i := range many {
		fmt.Fprintf(&list, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	file := filepath.Join(t.TempDir(), "many")
	mustWrite(t, file, list.String())
	s.operator(t, "decisions", "import", "-i", file, "--format", "values", "-d", "24h")
}

// startNginx has nginx pass everything on, with what its package says about buffers and time-outs.
func startNginx(t *testing.T, dir string, s *server) string {
	t.Helper()
	port := freePort(t)
	config := filepath.Join(dir, "nginx.conf")
	mustWrite(t, config, fmt.Sprintf(`daemon off;
user root;
pid %[1]s/pid;
error_log stderr;
worker_processes 1;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  gzip on;
  gzip_types text/event-stream application/json;
  server {
    listen 127.0.0.1:%[2]d;
    location / { proxy_pass %[3]s; }
  }
}
`, dir, port, s.url))
	return awaitProxy(t, start(t, "nginx", "nginx", "-e", "stderr", "-c", config), port)
}

// startHaproxy has haproxy pass everything on, with the time-outs of its package.
func startHaproxy(t *testing.T, dir string, s *server) string {
	t.Helper()
	port := freePort(t)
	config := filepath.Join(dir, "haproxy.cfg")
	mustWrite(t, config, fmt.Sprintf(`defaults
  mode http
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend all
  bind 127.0.0.1:%d
  default_backend lapid
backend lapid
  server one 127.0.0.1:%d
`, port, s.port))
	return awaitProxy(t, start(t, "haproxy", "haproxy", "-db", "-f", config), port)
}

func awaitProxy(t *testing.T, p *program, port int) string {
	t.Helper()
	await(t, p.name+" listens", func() (bool, string) {
		if err := p.alive(); err != nil {
			t.Fatal(err)
		}
		return listens(p.cmd.Process.Pid, port), p.output.String()
	})
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// measured switches the server's metrics on, which is done before it starts, and says where they are.
func (s *server) measured(t *testing.T) (url string) {
	t.Helper()
	port := freePort(t)
	config := filepath.Join(s.dir, "config.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, config, strings.Replace(string(text), "prometheus:\n  enabled: false",
		fmt.Sprintf("prometheus:\n  enabled: true\n  listen_addr: 127.0.0.1\n  listen_port: %d", port), 1))
	return fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
}

// heldThrough has a poll wait behind the proxy until a ban comes.
func heldThrough(t *testing.T, s *server, proxy, metrics, ip string) {
	t.Helper()
	const key = "a-key-of-a-bouncer-that-waits"
	s.addBouncer(t, "held", key)
	ask := func(path string) (*http.Response, []byte) {
		a, err := request(t.Context(), proxy+path, key, "Prefer", "wait=40")
		if err != nil {
			t.Error(err)
			return &http.Response{}, nil
		}
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		if err != nil {
			t.Error(err)
		}
		return a, body
	}
	ask("/v1/decisions/stream?startup=true")
	said := make(chan string, 1)
	go func() {
		a, body := ask("/v1/decisions/stream")
		said <- a.Header.Get("Preference-Applied") + " " + string(body)
	}()
	await(t, "the poll waits", func() (bool, string) {
		a, err := request(t.Context(), metrics, "")
		if err != nil {
			return false, err.Error()
		}
		defer a.Body.Close()
		list, err := io.ReadAll(a.Body)
		return err == nil && strings.Contains(string(list), "\nlapid_held_polls 1\n"), ""
	})
	s.operator(t, "decisions", "add", "-i", ip)
	if got := <-said; !strings.HasPrefix(got, "wait=40 ") || !strings.Contains(got, ip) || len(got) > 1000 {
		t.Errorf("the held poll was answered %s", tail(got, 1000))
	}
}

// request asks as a bouncer does.
func request(ctx context.Context, url, key string, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Api-Key", key)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return http.DefaultClient.Do(r)
}

// sameAsFresh compares what a client has with what one is told that has just come.
func sameAsFresh(t *testing.T, s *server, l *listener) {
	t.Helper()
	body, err := s.get("/v1/decisions/stream?startup=true")
	if err != nil {
		t.Fatal(err)
	}
	var all told
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatal(err)
	}
	fresh := map[string]bool{}
	for _, d := range all.New {
		fresh[d.Value] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !maps.Equal(fresh, l.has) {
		t.Errorf("it has %d, a fresh client %d", len(l.has), len(fresh))
	}
}

// told is what an answer or an event says.
type told struct {
	New, Deleted []struct{ Value string }
	First, Last  bool
}

// listener holds what an event stream has told it, and comes back where it was.
type listener struct {
	address string
	retry   time.Duration // listen's own

	mu    sync.Mutex
	has   map[string]bool
	full  int    // full states
	place string // the id of the last event
}

func (l *listener) listen(ctx context.Context) {
	for ctx.Err() == nil {
		header := []string{"Accept", "text/event-stream"}
		l.mu.Lock()
		if l.place != "" {
			header = append(header, "Last-Event-ID", l.place)
		}
		l.mu.Unlock()
		if a, err := request(ctx, l.address, bouncerKey, header...); err == nil {
			if strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
				l.read(bufio.NewReader(a.Body))
			}
			a.Body.Close()
		}
		select {
		case <-ctx.Done():
		case <-time.After(l.retry): // as the stream told it
		}
	}
}

// read takes events until the connection ends.
func (l *listener) read(from *bufio.Reader) {
	fields := map[string]string{}
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return // an event without its end does not count
		}
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			name, value, _ := strings.Cut(line, ": ")
			fields[name] = value
			continue
		}
		if n, err := strconv.Atoi(fields["retry"]); err == nil {
			l.retry = time.Duration(n) * time.Millisecond
		}
		l.take(fields)
		clear(fields)
	}
}

func (l *listener) take(event map[string]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if id := event["id"]; id != "" {
		l.place = id
	}
	var said told
	if event["data"] == "" || json.Unmarshal([]byte(event["data"]), &said) != nil {
		return
	}
	if event["event"] == "full" && said.First {
		l.full++
		clear(l.has)
	}
	for _, d := range said.Deleted {
		delete(l.has, d.Value)
	}
	for _, d := range said.New {
		l.has[d.Value] = true
	}
}

func (l *listener) fulls() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full
}

func (l *listener) awaitCount(t *testing.T, n int) {
	t.Helper()
	await(t, fmt.Sprintf("the event stream has told %d bans", n), func() (bool, string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.has) == n, fmt.Sprintf("%d, the last of them %v", len(l.has), slices.Sorted(maps.Keys(l.has))[max(0, len(l.has)-3):])
	})
}
