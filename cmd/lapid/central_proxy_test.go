package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestCentralThroughProxy: HTTP_PROXY, HTTPS_PROXY and NO_PROXY lead to the Central API, and
// the lists behind links go the same way. Behind HTTPS_PROXY all is encrypted up to the
// service, whose certificate is checked.
func TestCentralThroughProxy(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	write(t, f.dir, "lists/bots", "198.19.0.1\n")
	tls := httptest.NewTLSServer(f)
	t.Cleanup(tls.Close)
	authority := write(t, t.TempDir(), "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw})))
	var tunnels atomic.Int64
	proxy := httptest.NewServer(tunnel(&tunnels, tls.Listener.Addr().String()))
	t.Cleanup(proxy.Close)
	none := fmt.Sprintf("http://127.0.0.1:%d", freePort(t))

	for _, c := range []struct {
		name, url string
		env       []string
		says      string // "": it works
	}{
		{"http", "http://central.test/", []string{"HTTP_PROXY=" + f.base, "HTTPS_PROXY=" + none}, ""},
		{"https", "https://example.com/", []string{"HTTPS_PROXY=" + proxy.URL, "HTTP_PROXY=" + none, "SSL_CERT_FILE=" + authority}, ""},
		{"unknown-authority", "https://example.com/", []string{"HTTPS_PROXY=" + proxy.URL}, "certificate signed by unknown authority"},
		{"not-for-it", "http://central.test/", []string{"HTTP_PROXY=" + f.base, "NO_PROXY=central.test"}, "central.test"},
		{"proxy-is-away", "http://central.test/", []string{"HTTP_PROXY=" + none}, "connection refused"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.t = t
			h := newHouse(t)
			write(t, f.dir, "stream.json", `{"links":{"blocklists":[{"name":"bots","url":"`+c.url+`lists/bots","remediation":"ban","scope":"ip","duration":"24h"}]}}`)
			write(t, h.dir, "config.yaml.local", "api: {server: {online_client: {credentials_path: "+
				write(t, h.dir, "online.yaml", "url: "+c.url+"\npapi_url: "+c.url+"\nlogin: L0gin\npassword: secret\n")+"}}}\n")
			before, through := len(f.Requests("/")), tunnels.Load()
			p := start(t, c.env, "-c", h.file, "serve")
			h.awaitHealth(p)
			h.logInWith(`"crowdsecurity/ssh-bf"`)
			if c.says == "" {
				await(t, "the list is pulled", func() bool { return strings.Contains(p.out.String(), `the list \"bots\" was pulled`) })
				if tunnelled := tunnels.Load() > through; tunnelled != (c.name == "https") {
					t.Errorf("through a tunnel: %v", tunnelled)
				}
				return
			}
			await(t, "it is said", func() bool { return strings.Contains(p.out.String(), c.says) })
			if n := len(f.Requests("/")); n != before {
				t.Errorf("the service has got %d requests", n-before)
			}
		})
	}
}

// tunnel is a proxy that leads every CONNECT to one address.
func tunnel(n *atomic.Int64, to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != "example.com:443" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		n.Add(1)
		there, err := net.Dial("tcp", to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, here); there.Close() }()
		_, _ = io.Copy(here, there)
		here.Close()
	})
}
