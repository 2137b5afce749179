package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// requestID is the header that names a request in answers and in the log.
const requestID = "X-Request-Id"

const (
	// maxAtWork is how many requests of operators may be under way, and how many of strangers, who take no place
	// of an operator's; maxOfOne how many of one operator, and of one address of strangers four times as many.
	maxAtWork, maxOfOne = 64, 8
	// maxLong is how many long answers may be under way beside them, maxLongOfOne how many of one operator.
	maxLong, maxLongOfOne = 8, 2
)

// request is a request whose sender and route are known.
type request struct {
	*http.Request
	w       http.ResponseWriter
	who     *engine.Operator // nil: a stranger, where the route lets strangers in
	token   uint32           // number of the API token that it came with, 0: it came otherwise
	cookie  string           // of the session, "" where it came otherwise
	address netip.Addr
	admin   *admin.Client // the verbs, as the operator
}

// ServeHTTP is the way of each request up to its route. What is refused here has cost nothing but its head.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set(requestID, rand.Text())
	s.protect(h, r)
	r = s.asPage(r)
	// What is left of a body when an answer was given is read for no longer. Routes give themselves their time.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin))
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // the answer is cut off, and the client must see that
		} else if p != nil {
			s.log.Error("a request of the console has panicked", "request", h.Get(requestID), "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			refuse(w, r, &fault{http.StatusInternalServerError, "internal error, see the log for the request's id"})
		}
	}()
	if !s.answersTo(r.Host) {
		refuse(w, r, &fault{http.StatusMisdirectedRequest, fmt.Sprintf("this console does not answer to the name %.100q: add it to console.hosts, or use one that is there", r.Host)})
		return
	}
	if err := s.cross.Check(r); err != nil {
		refuse(w, r, &fault{http.StatusForbidden, "the request comes from another site's page"})
		return
	}
	if r.ContentLength != 0 {
		body := &sentBody{ReadCloser: r.Body}
		r = r.WithContext(r.Context())
		r.Body = body
		defer body.linger(w)
	}
	_, pattern := s.routes.Handler(r)
	if pattern == "" {
		s.noRoute(w, r)
		return
	}
	s.routes.ServeHTTP(w, r)
}

// lingerFor is for how long what a client still sends is taken when it has its answer, lingerMost how much of it, in bytes.
const lingerFor, lingerMost = 5 * time.Second, 2 * maxImport

// sentBody is what a client sends.
type sentBody struct {
	io.ReadCloser
	ended bool // it was read to its end
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err == io.EOF
	return n, err
}

// linger lets a client find its answer that still sends, or begins to, as one may that expects to be told to go on: a
// connection that is closed on what comes takes the answer back with it.
func (b *sentBody) linger(w http.ResponseWriter) {
	if b.ended {
		return
	}
	c := http.NewResponseController(w)
	if c.Flush() == nil && c.SetReadDeadline(time.Now().Add(lingerFor)) == nil {
		_, _ = io.CopyN(io.Discard, b, lingerMost)
	}
}

// noRoute is 404, or 405 with the methods that there are.
func (s *Server) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PATCH", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.routes.Handler(other); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if allowed == nil {
		refuse(w, r, &fault{http.StatusNotFound, "there is nothing at this path"})
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	refuse(w, r, &fault{http.StatusMethodNotAllowed, "this path takes " + strings.Join(allowed, ", ")})
}

// protect sets what tells a browser to be careful with each answer.
func (s *Server) protect(h http.Header, r *http.Request) {
	for name, value := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
		"Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	} {
		h.Set(name, value)
	}
	if s.encrypted(r) {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// answersTo looks whether a Host is one of ours: another name that leads here may be a trick on a browser.
func (s *Server) answersTo(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	return s.hosts[host] || s.anywhere && net.ParseIP(host) != nil // no name, so nobody can have it lead elsewhere
}

// handler is the way of a request on its route: who, may it, is there room, was it done already.
func (s *Server) handler(route *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		within, most := bodyWithin, int64(maxBody)
		if route.large {
			within, most = importWithin, maxImport
		}
		if route.long {
			within = longWithin
		}
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		deadlines := http.NewResponseController(w)
		_ = deadlines.SetReadDeadline(time.Now().Add(within))
		_ = deadlines.SetWriteDeadline(time.Now().Add(within))
		q := &request{Request: r.WithContext(ctx), w: w, address: s.addressOf(r)}
		if route.role == anybody { // before a password is looked at; a proxy may bring many
			leave, err := s.strangersAtWork.take(addressKey(q.address), 4*maxOfOne)
			if err != nil {
				refuse(w, r, err)
				return
			}
			defer leave()
		}
		if err := s.admit(q, route); err != nil {
			s.lines.say(s, "refused: "+err.Error(), "request", w.Header().Get(requestID), "method", r.Method, "path", fmt.Sprintf("%.200s", r.URL.Path), "address", q.address)
			refuse(w, r, err)
			return
		}
		if q.who != nil {
			work, most := &s.atWork, maxOfOne
			if route.long {
				work, most = &s.longAtWork, maxLongOfOne
			}
			leave, err := work.take(nameKey(q.who.Name), most)
			if err != nil {
				refuse(w, r, err)
				return
			}
			defer leave()
			q.admin = s.options.Verbs.ClientOf(q.remote())
		}
		if r.URL.RawQuery != "" && (route.writes || strings.HasPrefix(route.path, "/admin/v1/")) && !asksInAddress[route.method+" "+route.path] {
			refuse(w, r, bad(fmt.Sprintf("this takes no parameters in its address, and nothing was done: %.200q", r.URL.RawQuery)))
			return
		}
		if len(r.Header.Values("If-Match")) > 0 && strings.HasPrefix(route.path, "/admin/v1/") && !heedsMatch[route.method+" "+route.path] {
			refuse(w, r, bad("If-Match is not heeded here, and nothing was done: leave it away"))
			return
		}
		if r.ContentLength > most && strings.HasPrefix(route.path, "/admin/v1/") { // before it is asked for, of a client that waits for that (Expect)
			refuse(w, r, route.tooLarge(most))
			return
		}
		q.Request.Body = &promisedBody{http.MaxBytesReader(w, q.Request.Body, most)}
		s.once(q, route)
	})
}

// tooLarge is what is said of a body that is announced with more bytes than a route takes.
func (r *route) tooLarge(most int64) error {
	if r.path == "/admin/v1/decisions/import/list" {
		return errLongList
	}
	return &http.MaxBytesError{Limit: most}
}

// promisedBody is a body as it comes; one that is shorter than its head has promised is its client's fault.
type promisedBody struct{ io.ReadCloser }

var errCutShort = fmt.Errorf("%w: %w", &fault{http.StatusBadRequest, "the body ends before the length that was promised: send it again"}, io.ErrUnexpectedEOF)

func (b *promisedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.ErrUnexpectedEOF {
		err = errCutShort
	}
	return n, err
}

func (q *request) remote() *admin.Remote {
	return &admin.Remote{Name: q.who.Name, Address: q.address, Token: q.token}
}

// admit finds out who asks and whether that is enough.
func (s *Server) admit(q *request, route *route) error {
	if route.role == anybody {
		return nil
	}
	if err := s.identify(q); err != nil {
		return err
	}
	noStranger(q.Request)
	if v := viewOf(q.Request); v != nil {
		v.who = q.who
	}
	return s.permit(q, route)
}

// permit is whether who asks may ask for a route.
func (s *Server) permit(q *request, route *route) error {
	if q.who.Role < route.role {
		s.denied(q, route.action(), "role "+q.who.Role.String())
		return &fault{http.StatusForbidden, fmt.Sprintf("this needs the role %s, and '%s' is %s", route.role, q.who.Name, q.who.Role)}
	}
	if route.writes && s.options.ReadOnly {
		s.denied(q, route.action(), "read only")
		return errReadOnly
	}
	return nil
}

var errReadOnly = &fault{http.StatusForbidden, "nothing can be changed here, for console.read_only is set"}

// once runs a route, or repeats its answer where its Idempotency-Key was met before.
func (s *Server) once(q *request, route *route) {
	key := q.Header.Get("Idempotency-Key")
	if key != "" && route.large {
		refuse(q.w, q.Request, bad("an Idempotency-Key is not for imports, backups and verbs, which are not remembered"))
		return
	}
	if key == "" || !route.writes {
		s.run(q, route)
		return
	}
	if len(key) > longestKey {
		refuse(q.w, q.Request, bad(fmt.Sprintf("an Idempotency-Key has %d bytes at most", longestKey)))
		return
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		refuse(q.w, q.Request, err)
		return
	}
	q.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(append([]byte(q.Method+" "+q.URL.RequestURI()+"\n"), body...))
	earlier, err := s.answers.begin(q.who.Name, key, sum)
	switch {
	case err != nil:
		refuse(q.w, q.Request, err)
	case earlier != nil:
		earlier.again(q.w)
	default:
		noted := &kept{ResponseWriter: q.w, secret: route.secret}
		q.w = noted
		defer s.answers.end(q.who.Name, key, noted)
		s.run(q, route)
	}
}

func (s *Server) run(q *request, route *route) {
	if err := route.answer(s, q); err != nil {
		s.log.Log(q.Context(), levelOf(err), "a request of the console has failed: "+err.Error(), "request", q.w.Header().Get(requestID), "method", q.Method, "path", fmt.Sprintf("%.200s", q.URL.Path))
		refuse(q.w, q.Request, err)
	}
}

// levelOf is how loud a failure is: what the server cannot do is a warning, what the client asked wrongly is its own affair.
func levelOf(err error) slog.Level {
	if status, _ := statusOf(err); status >= 500 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// read takes the body as JSON. Fields that are not known are refused: they would be obeyed in part. So are null and
// a field that is given twice, which a client did not mean: a list of names that is null would be all of them.
func (q *request) read(into any) error {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		if status, _ := statusOf(err); status < 500 {
			return err
		}
		return bad("the body cannot be read: " + err.Error())
	}
	if !utf8.Valid(body) { // a key, or a name, would be stored as another than was sent
		return bad("the body is not UTF-8, as JSON is")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return bad("the body is not what is asked for: " + strings.TrimPrefix(inputs.Wording(err).Error(), "json: "))
	}
	if d.More() {
		return bad("the body has more than one JSON value")
	}
	if viewOf(q.Request) != nil {
		return nil // of a form: written here, with null for what is left away
	}
	return meant(json.NewDecoder(bytes.NewReader(body)), "", reflect.TypeOf(into))
}

// meant refuses null, names that an object has twice, and names that are not spelled as the fields of what they are
// for, in the value of a name that d reads next. Who calls it knows that the value is JSON and was read into a value of
// that type, so its names are known in some case.
func meant(d *json.Decoder, name string, into reflect.Type) error {
	into = inside(into)
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t {
	case nil:
		if name == "" {
			return bad("the body is null, and an object is asked for")
		}
		return bad(fmt.Sprintf("%.100q is null: leave away what is not to be said", name))
	case json.Delim('['):
		for d.More() {
			if err := meant(d, name, into); err != nil {
				return err
			}
		}
		_, err = d.Token()
	case json.Delim('{'):
		var names []string
		fields := map[string]reflect.Type{}
		namesOf(into, fields)
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			name := key.(string)
			of, known := fields[name]
			if !known && len(fields) > 0 {
				return bad(fmt.Sprintf("the body is not what is asked for: unknown field %.100q: the case of letters counts", name))
			}
			if slices.Contains(names, name) {
				return bad(fmt.Sprintf("%.100q is given twice", name))
			}
			names = append(names, name)
			if err := meant(d, name, of); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	return err
}

// inside is the type of a value without pointers and lists around it.
func inside(t reflect.Type) reflect.Type {
	for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		t = t.Elem()
	}
	return t
}

// namesOf notes the names of an object that is read into a struct, and the types of their values; none for any other
// type, and for one that reads its JSON itself.
func namesOf(t reflect.Type, into map[string]reflect.Type) {
	if t == nil || t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-":
		case f.Anonymous && tag == "":
			namesOf(inside(f.Type), into)
		case tag != "":
			into[tag] = f.Type
		default:
			into[f.Name] = f.Type
		}
	}
}

// answer writes one JSON value.
func (q *request) answer(status int, v any) error {
	q.w.Header().Set("Content-Type", "application/json")
	q.w.WriteHeader(status)
	_ = json.NewEncoder(q.w).Encode(v) // it fails when the client has gone away
	return nil
}

// places are the requests under way, by who sent them.
type places struct {
	room int // how many there may be

	mu  sync.Mutex
	all int
	of  map[string]int
}

// take notes one more, unless there are too many; leave gives the place back.
func (p *places) take(who string, most int) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.of[who] >= most:
		return nil, &fault{http.StatusTooManyRequests, fmt.Sprintf("%d requests of yours are under way: wait until one has ended", most)}
	case p.all >= p.room:
		return nil, &fault{http.StatusServiceUnavailable, "too many requests are under way: try again in a moment"}
	}
	p.all++
	p.of[who]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.all--
		if p.of[who]--; p.of[who] == 0 {
			delete(p.of, who)
		}
	}, nil
}

// addressOf is the client's address: the peer's, unless that is a trusted proxy that names another.
func (s *Server) addressOf(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	a := at.Addr().Unmap().WithZone("")
	list := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(list) - 1; i >= 0 && s.trusts(a); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(list[i]))
		if err != nil {
			break
		}
		a = next.Unmap().WithZone("")
	}
	return a
}

// trusts is whether an address is that of a proxy that may say who the client is, and how it came.
func (s *Server) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(s.options.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
