package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"lapid/engine"
)

// Verbs over HTTP. An operator of the store may ask for the verbs of the socket over the console's
// listener, which has looked at who it is and what it may do (transport/console): the same handler
// answers, and a Client reads the same bytes.

// RemotePath is where verbs are asked for over HTTP, before their names.
const RemotePath = "/admin/v1/verbs"

// Remote is an operator of the store that asks over HTTP.
type Remote struct {
	Name    string     // of its record
	Address netip.Addr // of the client
	Token   uint32     // number of the API token that it has shown; 0: it came otherwise
}

// actor is the cause of what it changes.
func (r *Remote) actor() engine.Actor {
	return engine.Actor{Kind: engine.ActorNamedOperator, Name: r.Name}
}

// described is the operator in a line of the log.
func (r *Remote) described() []any { return []any{"by", r.Name, "address", r.Address.String()} }

// asOperator is a context whose writes are those of the operator who asks, and came from there.
func asOperator(ctx context.Context) context.Context {
	return engine.From(engine.As(ctx, operatorOf(ctx)), senderOf(ctx))
}

// senderOf is from where an operator asks; zero for one at the socket.
func senderOf(ctx context.Context) engine.Sender {
	if r := remoteOf(ctx); r != nil {
		return engine.Sender{Address: r.Address, Token: r.Token}
	}
	return engine.Sender{}
}

// remoteKey is where a request's context has its Remote.
type remoteKey struct{}

func remoteOf(ctx context.Context) *Remote {
	r, _ := ctx.Value(remoteKey{}).(*Remote)
	return r
}

// On returns a context whose verbs are the operator's.
func (r *Remote) On(ctx context.Context) context.Context {
	return context.WithValue(ctx, remoteKey{}, r)
}

// localVerbs are not for other machines: a database is taken over where it is, and a report of the
// Central API's connection belongs to verbs that read local files.
var localVerbs = map[string]bool{"/movein": true, "/profiles/try": true}

// Role is the least role that a verb of the socket needs over HTTP, by its path such as
// "/bouncers/list"; engine.RoleNone: it is not served there.
func (h *Handler) Role(verb string) engine.Role {
	if localVerbs[verb] {
		return engine.RoleNone
	}
	if h.Streams(verb) {
		return engine.RoleOperator
	}
	if _, ok := h.verbs[verb]; !ok {
		return engine.RoleNone
	}
	if role, ok := verbRoles[verb]; ok {
		return role
	}
	return engine.RoleAdmin
}

// verbRoles are the verbs that need less than an admin.
var verbRoles = map[string]engine.Role{
	"/status": engine.RoleViewer, "/ready": engine.RoleViewer, "/central/report": engine.RoleViewer,
	"/machines/list": engine.RoleViewer, "/machines/get": engine.RoleViewer, "/machines/stale": engine.RoleViewer,
	"/bouncers/list": engine.RoleViewer, "/bouncers/get": engine.RoleViewer, "/bouncers/stale": engine.RoleViewer, "/bouncers/await": engine.RoleViewer,
	"/allowlists/list": engine.RoleViewer, "/allowlists/get": engine.RoleViewer, "/allowlists/check": engine.RoleViewer,
	"/alerts/list": engine.RoleViewer, "/alerts/parts": engine.RoleViewer, "/alerts/get": engine.RoleViewer, "/alerts/judge": engine.RoleViewer,
	"/batches/list": engine.RoleViewer, "/why": engine.RoleViewer, "/usage/list": engine.RoleViewer, "/orders/get": engine.RoleViewer,
	"/exports/list": engine.RoleViewer, "/exports/get": engine.RoleViewer, "/exports/render": engine.RoleViewer,
	"/shadow/report": engine.RoleViewer,

	"/alerts/delete": engine.RoleOperator, "/decisions/add": engine.RoleOperator, "/decisions/delete": engine.RoleOperator, "/decisions/extend": engine.RoleOperator, "/decisions/restore": engine.RoleOperator,
	"/allowlists/add": engine.RoleOperator, "/allowlists/remove": engine.RoleOperator,
}

// Streams reports whether a verb reads its request piece by piece, however long it is.
func (h *Handler) Streams(verb string) bool {
	return verb == "/lists/replace" || verb == "/decisions/import"
}

// Writes reports whether a verb of the socket may change something.
func (h *Handler) Writes(verb string) bool {
	return h.Role(verb) != engine.RoleViewer && verb != "/operators/list" && verb != "/operators/get" && verb != "/backup" &&
		verb != "/audit/list" && verb != "/audit/verify" && verb != "/activity/list"
}

// Verbs are the paths of all verbs of the socket, in no order.
func (h *Handler) Verbs() []string {
	all := []string{"/movein", "/lists/replace", "/decisions/import"}
	for path := range h.verbs {
		all = append(all, path)
	}
	return all
}

// ClientOf is a client in this process whose verbs are an operator's. Nothing of it has to be closed.
func (h *Handler) ClientOf(r *Remote) *Client {
	return &Client{base: localBase, http: &http.Client{Transport: &direct{h, r}}, close: func() {}}
}

// direct hands requests to the handler and its answers back, without a connection.
type direct struct {
	handler *Handler
	who     *Remote
}

// RoundTrip returns when the handler has begun its answer, whose body follows.
func (d *direct) RoundTrip(q *http.Request) (*http.Response, error) {
	body, out := io.Pipe()
	w := &pipedAnswer{head: http.Header{}, out: out, begun: make(chan struct{})}
	ctx := q.Context()
	stop := context.AfterFunc(ctx, func() { _ = out.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		defer func() { // an answer that is cut off, as net/http has it
			if p := recover(); p == http.ErrAbortHandler {
				w.WriteHeader(http.StatusInternalServerError)
				_ = out.CloseWithError(io.ErrUnexpectedEOF)
			} else if p != nil {
				panic(p)
			}
		}()
		d.handler.ServeHTTP(w, q.WithContext(d.who.On(ctx)))
		w.WriteHeader(http.StatusOK)
		_ = out.Close()
	}()
	select {
	case <-w.begun:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &http.Response{StatusCode: w.status, Header: w.head, Body: body, Request: q, ProtoMajor: 1, ProtoMinor: 1}, nil
}

// pipedAnswer is an answer on its way to a client in this process.
type pipedAnswer struct {
	head   http.Header
	out    *io.PipeWriter
	once   sync.Once
	status int
	begun  chan struct{}
}

func (w *pipedAnswer) Header() http.Header { return w.head }

func (w *pipedAnswer) WriteHeader(status int) {
	w.once.Do(func() {
		w.status = status
		close(w.begun)
	})
}

func (w *pipedAnswer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.out.Write(b)
}

// What http.ResponseController asks for: both sides speak at once here, each answer is seen as soon as
// it is written, and a client in this process does not stall.

func (w *pipedAnswer) EnableFullDuplex() error         { return nil }
func (w *pipedAnswer) SetReadDeadline(time.Time) error { return nil }

func (w *pipedAnswer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return nil
}

// RemoteOptions say how a server is reached over HTTP.
type RemoteOptions struct {
	URL   string // of the console, with its base path, such as https://lapi:8081
	Token string
	TLS   *tls.Config // nil: the system's authorities
}

// DialRemote connects to a server's console. The token is sent over plain HTTP only within the
// machine. Errors say what to do; a server that speaks another version of the protocol is one.
func DialRemote(ctx context.Context, o *RemoteOptions) (*Client, error) {
	where, err := url.Parse(o.URL)
	if err != nil || where.Host == "" || where.Scheme != "https" && where.Scheme != "http" || where.RawQuery != "" || where.Fragment != "" || where.User != nil {
		return nil, fmt.Errorf("--remote is the URL of a console, such as https://lapi.example.net:8081, not %q", o.URL)
	}
	if where.Scheme == "http" && !loopbackHost(where.Hostname()) {
		return nil, fmt.Errorf("--remote %s: a token is not sent over plain HTTP to another machine: use https", o.URL)
	}
	t := &http.Transport{DisableCompression: true, TLSClientConfig: o.TLS, Proxy: http.ProxyFromEnvironment}
	c := &Client{
		base: strings.TrimSuffix(where.String(), "/") + RemotePath, close: t.CloseIdleConnections,
		http: &http.Client{Transport: &bearer{t, o.Token}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if err := c.greet(ctx); err != nil {
		c.Close()
		var e *engine.Error
		if errors.As(err, &e) {
			return nil, err
		}
		return nil, fmt.Errorf("the console at %s: %w", o.URL, err)
	}
	return c, nil
}

func loopbackHost(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// bearer adds the token to each request.
type bearer struct {
	next  http.RoundTripper
	token string
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}
