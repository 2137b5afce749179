package capi

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// Bounds of requests and answers.
const (
	mostAnswer   = 1 << 20  // of an answer that is no list, in bytes
	mostTold     = 4 << 10  // of what an error answer says, in bytes
	gzipFrom     = 5 << 10  // a longer body is packed
	mostHeaders  = 64 << 10 // of an answer, in bytes
	firstByte    = time.Minute
	dialPatience = 10 * time.Second
	// askPatience is how long one request and its answer may take. A pull has a bound of
	// its own.
	askPatience = 2 * time.Minute
)

// session is the way to the service: who has one asks, and need not know of logins.
type session struct {
	o       *Options
	http    *http.Client
	logging chan struct{} // one token: whoever has it may log in, and owns what follows
	token   token
	loaded  bool        // what the store had was looked at
	stale   atomic.Bool // the next request logs in anew
}

func newSession(o *Options) *session {
	s := &session{o: o, logging: make(chan struct{}, 1)}
	s.http = &http.Client{
		Transport: newTransport(o),
		// The token would go where the redirect says, and a POST would become a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

func newTransport(o *Options) *http.Transport {
	return &http.Transport{
		Proxy: o.Proxy, DialContext: (&net.Dialer{Timeout: dialPatience}).DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: dialPatience, ResponseHeaderTimeout: firstByte, MaxResponseHeaderBytes: mostHeaders,
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second,
	}
}

// Refusal is an answer that is no success.
type Refusal struct {
	Path   string
	Status int
	Text   string // what the service said of it, at most some hundred bytes
}

func (r *Refusal) Error() string {
	text := fmt.Sprintf("%s was answered with %d", r.Path, r.Status)
	if r.Status >= 300 && r.Status < 400 {
		text += ", a redirect, which is not followed with a token: write the address that it leads to into the credentials file"
	}
	if r.Text != "" {
		text += fmt.Sprintf(" (%q)", r.Text)
	}
	return text
}

// answerReader reads the body of a success; a nil one needs none.
type answerReader func(body io.Reader) error

// request is one question to the service.
type request struct {
	method, path string // below the base
	at           string // the whole address instead; path is then what an error calls it
	body         any    // nil: none
	read         answerReader
	status       *int // where its number goes once there is an answer; nil: nowhere
	once         bool // never repeated where the service is busy: who asks comes again by himself
	wait         time.Duration
}

// ask asks the service with the token, logs in where that is needed, and repeats what may
// be repeated: after 401 and 403 twice with a new token, after 429, 503 and 504 five times
// with pauses. Any other answer that is no success is a Refusal.
func (s *session) ask(ctx context.Context, r *request) error {
	var denied, busy int
	for {
		bearer, err := s.bearer(ctx)
		if err != nil {
			return err
		}
		err = s.send(ctx, r, &bearer)
		var refused *Refusal
		if !errors.As(err, &refused) {
			return err
		}
		switch refused.Status {
		case http.StatusUnauthorized, http.StatusForbidden:
			if err := s.drop(ctx, bearer); err != nil {
				return err
			}
			if denied++; denied > 2 {
				return refused
			}
		case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			if busy++; busy > 5 || r.once {
				return refused
			}
			if err := s.pause(ctx, time.Duration(5+2*busy)*time.Second); err != nil {
				return err
			}
		default:
			return refused
		}
	}
}

// pause waits, by the clock that was given.
func (s *session) pause(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-s.o.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send makes one request and reads its answer. bearer nil: without a token.
func (s *session) send(ctx context.Context, r *request, bearer *string) error {
	patience := r.wait
	if patience == 0 {
		patience = askPatience
	}
	ctx, cancel := s.o.Within(ctx, patience)
	defer cancel()
	q, err := s.prepare(ctx, r, bearer)
	if err != nil {
		return err
	}
	a, err := s.http.Do(q)
	if err != nil {
		return err
	}
	defer a.Body.Close()
	if r.status != nil {
		*r.status = a.StatusCode
	}
	if a.StatusCode != http.StatusNotModified && (a.StatusCode < 200 || a.StatusCode > 299) {
		return &Refusal{Path: r.path, Status: a.StatusCode, Text: whatItSays(a.Body)}
	}
	if r.read == nil {
		return nil
	}
	if err := r.read(a.Body); err != nil {
		return fmt.Errorf("the answer to %s: %w", r.path, err)
	}
	return nil
}

func (s *session) prepare(ctx context.Context, r *request, bearer *string) (*http.Request, error) {
	body, packed, err := encode(r.body, bearer == nil)
	if err != nil {
		return nil, err
	}
	at := r.at
	if at == "" {
		at = s.o.Credentials.URL + r.path
	}
	q, err := http.NewRequestWithContext(ctx, r.method, at, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	q.Header.Set("User-Agent", "crowdsec/"+s.o.Version+"-"+runtime.GOOS)
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "application/json")
	if packed {
		q.Header.Set("Content-Encoding", "gzip")
	}
	if bearer != nil {
		q.Header.Set("Authorization", "Bearer "+*bearer)
	}
	return q, nil
}

// encode writes a body as JSON, packed where it is long and may be.
func encode(body any, plain bool) (b []byte, packed bool, err error) {
	if body == nil {
		return nil, false, nil
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil, false, err
	}
	if plain || out.Len() <= gzipFrom {
		return out.Bytes(), false, nil
	}
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(out.Bytes())
	if err := w.Close(); err != nil {
		return nil, false, err
	}
	return z.Bytes(), true, nil
}

// whatItSays is the message of an error answer, "" when it has none.
func whatItSays(body io.Reader) string {
	var told struct {
		Message string `json:"message"`
	}
	b, _ := io.ReadAll(io.LimitReader(body, mostTold))
	if json.Unmarshal(b, &told) != nil {
		return ""
	}
	return shortened(told.Message)
}

// shortened is a text of somebody else as an error names it.
func shortened(text string) string {
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// readJSON reads a small answer whole. An empty body leaves into as it is.
func readJSON(into any) answerReader {
	return func(body io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(body, mostAnswer+1))
		switch {
		case err != nil:
			return fmt.Errorf("it broke off: %w", err)
		case len(b) > mostAnswer:
			return fmt.Errorf("it is longer than %d bytes", mostAnswer)
		case len(bytes.TrimSpace(b)) == 0:
			return nil
		}
		if err := json.Unmarshal(b, into); err != nil {
			return fmt.Errorf("it is no JSON of the kind that was asked for: %w", err)
		}
		return nil
	}
}

// central is the actor of what the service causes.
var central = engine.Actor{Kind: engine.ActorCentralAPI}
