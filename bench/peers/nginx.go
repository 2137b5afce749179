//go:build linux

package peers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"lapid/bench/corpus"
)

// nginxConfig: one worker for each CPU, connections that stay, no access log, a table that maps the
// parameter ip to the text of the answer, and all that over TLS 1.3 too, with certificates of clients taken.
const nginxConfig = `daemon off;
user root;
worker_processes %d;
worker_rlimit_nofile 20000;
pid %[2]s/nginx.pid;
error_log %[2]s/nginx-error.log warn;
events { worker_connections 12000; }
http {
	access_log off;
	server_tokens off;
	keepalive_timeout 1h;
	keepalive_requests 1000000000;
	tcp_nodelay on;
	client_body_temp_path %[2]s;
	proxy_temp_path %[2]s;
	fastcgi_temp_path %[2]s;
	uwsgi_temp_path %[2]s;
	scgi_temp_path %[2]s;
	default_type application/json;
	geo $arg_ip $found {
		default null;
		include %[2]s/geo.conf;
	}
	server {
		listen %[3]s reuseport;
		listen %[4]s ssl reuseport;
		ssl_certificate %[5]s;
		ssl_certificate_key %[6]s;
		ssl_client_certificate %[7]s;
		ssl_verify_client optional;
		ssl_protocols TLSv1.3;
		location = /v1/decisions { return 200 $found; }
	}
}
`

// Nginx is a running nginx. Its Address is plain.
type Nginx struct {
	*Server
	Secure string // host:port where it speaks TLS
}

// NewNginx starts nginx with a geo map of a set. It is the fastest way nginx
// has to answer by address; it knows no end of a decision.
func (y *Yard) NewNginx(ctx context.Context, set *corpus.Set) (*Nginx, error) {
	dir := filepath.Join(y.Dir, "nginx")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	address, err := free()
	if err != nil {
		return nil, err
	}
	secure, err := free()
	if err != nil {
		return nil, err
	}
	own, err := y.Certificates()
	if err != nil {
		return nil, err
	}
	table, err := os.Create(filepath.Join(dir, "geo.conf"))
	if err != nil {
		return nil, err
	}
	defer table.Close()
	if err := corpus.WriteNginx(table, set.All()); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, nginxConfig, len(y.ServerCPUs), dir, address, secure, own.ServerFile, own.KeyFile, own.CAFile), 0o600); err != nil {
		return nil, err
	}
	s, err := y.start("nginx", address, nil, "nginx", "-c", file, "-p", dir, "-e", filepath.Join(dir, "nginx-error.log"))
	if err != nil {
		return nil, err
	}
	return &Nginx{s, secure}, s.await(ctx, s.connects)
}
