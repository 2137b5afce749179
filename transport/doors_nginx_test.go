package transport

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lapid/engine"
	"lapid/transport/auth"
)

// nginx is Debian's, configured by the block of docs/doors.md.
type nginx struct {
	*house
	client *http.Client
}

// startNginx runs nginx with the page's block, changed by pairs of texts. It listens on a Unix
// socket and takes a client's address from X-Client.
func (h *house) startNginx(change ...string) nginx {
	h.t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
	}
	page, err := os.ReadFile("../cmd/lapid/docs/doors.md")
	h.must(err)
	_, block, _ := strings.Cut(string(page), "```nginx\n")
	block, _, found := strings.Cut(block, "```\n")
	if !found {
		h.t.Fatal("docs/doors.md has no block for nginx")
	}
	dir := h.t.TempDir()
	socket, config := filepath.Join(dir, "s"), filepath.Join(dir, "nginx.conf")
	h.must(os.WriteFile(filepath.Join(dir, "captcha.html"), []byte("prove that you are human"), 0o644))
	h.must(os.Chmod(dir, 0o755))
	change = append([]string{"listen 80;", "listen unix:" + socket + "; set_real_ip_from unix:; real_ip_header X-Client;", "KEY", testKey, "/var/www/lapid", dir}, change...)
	for i := 0; i < len(change); i += 2 {
		if !strings.Contains(block, change[i]) {
			h.t.Fatalf("the block for nginx lacks %q", change[i])
		}
		block = strings.ReplaceAll(block, change[i], change[i+1])
	}
	temporary := ""
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s/%s;\n", what, dir, what)
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	h.must(os.WriteFile(config, fmt.Appendf(nil, "%sdaemon off;\nmaster_process off;\npid %s/pid;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n", user, dir, temporary, block), 0o644))
	var said strings.Builder
	c := exec.Command(program, "-e", "stderr", "-c", config)
	c.Stderr = &said
	h.must(c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	h.t.Cleanup(func() { _ = c.Process.Kill(); <-ended })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	h.t.Cleanup(transport.CloseIdleConnections)
	h.eventually("nginx listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			h.t.Fatalf("nginx ended: %v\n%s", err, &said)
		default:
		}
		one, err := net.Dial("unix", socket)
		if err == nil {
			one.Close()
		}
		return err == nil
	})
	return nginx{h, &http.Client{Transport: transport}}
}

// visit asks the site as somebody from an address.
func (n nginx) visit(method, address, body string, header ...string) reply {
	n.t.Helper()
	return n.askBy(n.client, "http://site", method, "/page?a=b", body, append(header, "X-Client: "+address)...)
}

// TestDoorOfNginx: Debian's nginx with the lines of docs/doors.md keeps out who is banned, shows its
// page to whom a captcha is decided for, and lets all others in, bodies and all.
func TestDoorOfNginx(t *testing.T) {
	t.Parallel()
	h := newHouse(t, behindProxies("127.0.0.1/32"))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s of the site: %s", r.Method, r.URL, body)
	}))
	t.Cleanup(site.Close)
	lapid := h.server.Addr().String()
	n := h.startNginx("127.0.0.1:8080", lapid, "http://127.0.0.1:3000", site.URL)
	free := func(address string, header ...string) {
		t.Helper()
		h.wants(n.visit("GET", address, "", header...), 200, "GET /page?a=b of the site: ")
		h.wants(n.visit("POST", address, "a form", header...), 200, "POST /page?a=b of the site: a form")
	}
	free("198.51.100.1")
	h.ban("198.51.100.1")
	h.decide("captcha", "198.51.100.2")
	for _, header := range [][]string{nil, {"X-Forwarded-For: 203.0.113.1", "X-Real-IP: 203.0.113.1", "X-Api-Key: mine", "Content-Encoding: gzip"}} {
		for _, method := range []string{"GET", "POST"} {
			if got := n.visit(method, "198.51.100.1", "a form", header...); got.status != 403 || strings.Contains(got.body, "of the site") {
				t.Errorf("%s when banned: %d %s", method, got.status, got.body)
			}
		}
		if got := n.visit("GET", "198.51.100.2", "", header...); got.status != 401 || got.body != "prove that you are human" || got.header.Get("Www-Authenticate") != `Captcha realm="lapid"` {
			t.Errorf("a captcha: %d %s %v", got.status, got.body, got.header)
		}
	}
	free("203.0.113.1", "X-Forwarded-For: 198.51.100.1")
	q := &engine.Query{}
	q.Reset()
	q.Now = h.Engine.Now()
	_, err := h.EndDecisions(engine.As(t.Context(), engine.Actor{Kind: engine.ActorOperator, Name: "root"}), q)
	h.must(err)
	free("198.51.100.1")
	if got := h.View().Bouncer("fw").Load(); got.IP.String() != "127.0.0.1" {
		t.Errorf("the row is of %s", got.IP)
	}
	h.must(h.gate.Replace(auth.Rules{}))
	if got := n.visit("GET", "203.0.113.1", ""); got.status != 500 {
		t.Errorf("a proxy that is not trusted lets in: %d", got.status)
	}
	away := h.startNginx("127.0.0.1:8080", "127.0.0.1:1", "http://127.0.0.1:3000", site.URL)
	if got := away.visit("GET", "203.0.113.1", ""); got.status != 500 {
		t.Errorf("without lapid: %d", got.status)
	}
	open := h.startNginx("127.0.0.1:8080", "127.0.0.1:1", "http://127.0.0.1:3000", site.URL, "internal;\n    proxy_pass http://lapid/auth;",
		"internal;\n    proxy_pass http://lapid/auth; proxy_intercept_errors on; error_page 500 502 503 504 =200 /lapid-away;",
		"  error_page 401", "  location = /lapid-away { internal; return 204; }\n  error_page 401")
	h.wants(open.visit("GET", "203.0.113.1", ""), 200, "GET /page?a=b of the site: ")
}
