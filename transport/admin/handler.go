package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"lapid/engine"
	"lapid/transport/export"
	"lapid/transport/peer"
)

// Handler answers the operator's verbs from an engine. It may serve any number
// of connections at once; it keeps nothing between requests.
type Handler struct {
	// Troubles is what Ready tells: why the server should not be called ready. The
	// engine's own (NewHandler); set before the first request.
	Troubles func() []engine.Trouble

	// Central is what the connection to the Central API says of itself, to be written as
	// JSON; nil: there is none. Set before the first request.
	Central func() any

	// Listening is what Status tells of the server's addresses; nil: nothing. Set
	// before the first request.
	Listening func() []string

	// MoveIn takes over a database that comes from a reader, and says how far it is; what
	// it gives goes to the client as JSON. nil: none is taken. Set before the first request.
	MoveIn func(ctx context.Context, from io.Reader, tell func(done, of int64)) (any, error)

	// Shadow is what the verbs of a shadow ask; nil: this server stands in front of no other. Set before
	// the first request.
	Shadow Shadow

	// Exports is where exports are written for devices, whose pulls are told of; nil: nobody
	// pulls. Set before the first request.
	Exports *export.Renderings

	// SyncOrders asks for all orders of the console and carries them out; nil: nobody
	// does. Set before the first request.
	SyncOrders func(context.Context) (*OrdersSynced, error)

	// TryRules judges an alert that is not stored by rules that come with the question, and with the history
	// of a view; what it gives goes to the client as JSON. nil: nobody does. Set before the first request.
	TryRules func(rules json.RawMessage, a *engine.Alert, v *engine.View, now int64) (any, error)

	// Failed is told of a write that failed: who asked for what and from where, and why it was
	// not done. It must not wait. nil: nobody is. Set before the first request.
	Failed func(by engine.Actor, from engine.Sender, action, why string)

	// Cluster is what this server does as a node of a cluster; nil: it is one for itself.
	Cluster ClusterVerbs
	// Relay says that this server follows the nodes of a cluster and is none of them.
	Relay bool
	// FixedSecret says why the secret that signs tokens cannot be rotated, and what to do instead; "": it
	// can. Set before the first request.
	FixedSecret string

	// Settle writes rows of the audit that wait elsewhere, before rows are read. nil: there are
	// none. Set before the first request.
	Settle func(context.Context) error

	// Console is where operators log in over HTTP, as a URL; "" and nil: nowhere. Set before the first request.
	Console func() string

	// Peers are the other servers that share the history: verbs that write are passed on to the
	// one that writes, and answered here for them (ServePassed). nil: there are none. Set before the
	// first request.
	Peers *peer.Node
	// Confirm returns when what is known here is as new as it was anywhere when it was called. It is asked before a verb that reads,
	// for a second at most, so that operators see what they did, whichever server they ask. nil: there are no others.
	Confirm func(context.Context) error

	engine  *engine.Engine
	program string // version shown in Status
	log     *slog.Logger
	verbs   map[string]http.HandlerFunc
	streams map[string]http.HandlerFunc // those that read their request by themselves, of any length
	most    int64                       // bytes of a request body, and of a chunk of an import
	batches sync.Mutex                  // held while a name is looked for and taken
	awaits  atomic.Int32                // that are under way
	ending  atomic.Bool                 // the server was told to stop: imports end behind the chunk that is under way
}

// NewHandler makes the handler of one engine, which must be running (Run) for
// as long as requests come. program is the version that Status tells.
func NewHandler(e *engine.Engine, program string, log *slog.Logger) *Handler {
	h := &Handler{Troubles: e.Troubles, engine: e, program: program, log: log, most: maxBody}
	h.streams = map[string]http.HandlerFunc{"/lists/replace": h.replaceList, "/decisions/import": h.importDecisions}
	h.verbs = map[string]http.HandlerFunc{
		"/status": verb(h.status),
		"/ready":  verb(h.ready),

		"/central/report": verb(h.central),

		"/machines/list":     listed(h.listMachines),
		"/machines/get":      verb(h.getMachine),
		"/machines/add":      verb(h.addMachine),
		"/machines/validate": verb(h.validateMachine),
		"/machines/delete":   verb(h.deleteMachine),
		"/machines/stale":    listed(h.staleMachines),
		"/machines/prune":    verb(h.pruneMachines),

		"/bouncers/list":   listed(h.listBouncers),
		"/bouncers/get":    verb(h.getBouncer),
		"/bouncers/await":  verb(h.awaitBouncers),
		"/bouncers/add":    verb(h.addBouncer),
		"/bouncers/edit":   verb(h.editBouncer),
		"/bouncers/rotate": verb(h.rotateBouncer),
		"/bouncers/delete": verb(h.deleteBouncer),
		"/bouncers/stale":  listed(h.staleBouncers),
		"/bouncers/prune":  verb(h.pruneBouncers),

		"/operators/list":   verb(h.listOperators),
		"/operators/get":    verb(h.getOperator),
		"/operators/add":    verb(h.addOperator),
		"/operators/edit":   verb(h.editOperator),
		"/operators/delete": verb(h.deleteOperator),
		"/operators/token":  verb(h.grantToken),
		"/operators/revoke": verb(h.revokeToken),
		"/operators/link":   verb(h.linkOperator),

		"/allowlists/list":   verb(h.listAllowlists),
		"/allowlists/get":    verb(h.getAllowlist),
		"/allowlists/create": verb(h.createAllowlist),
		"/allowlists/delete": verb(h.deleteAllowlist),
		"/allowlists/add":    verb(h.addToAllowlist),
		"/allowlists/remove": verb(h.removeFromAllowlist),
		"/allowlists/check":  verb(h.checkAllowlists),

		"/alerts/list":   lines(h.listAlerts),
		"/alerts/parts":  lines(h.listAlertParts),
		"/alerts/get":    verb(h.getAlert),
		"/alerts/delete": verb(h.deleteAlerts),
		"/alerts/flush":  verb(h.flushAlerts),
		"/alerts/judge":  verb(h.judge),
		"/profiles/try":  verb(h.tryProfiles),

		"/decisions/add":     verb(h.addDecision),
		"/decisions/delete":  verb(h.deleteDecisions),
		"/decisions/extend":  verb(h.extendDecisions),
		"/decisions/restore": verb(h.restoreDecisions),
		"/batches/list":      verb(h.listBatches),

		"/exports/list":   verb(h.listExports),
		"/exports/get":    verb(h.getExport),
		"/exports/add":    verb(h.addExport),
		"/exports/edit":   verb(h.editExport),
		"/exports/accept": verb(h.acceptExport),
		"/exports/delete": verb(h.deleteExport),
		"/exports/rotate": verb(h.rotateExport),
		"/exports/render": verb(h.renderExport),

		"/why": verb(h.why),

		"/orders/get":  verb(h.orders),
		"/orders/sync": verb(h.syncOrders),

		"/usage/list": lines(h.listUsage),

		"/shadow/report": verb(h.shadowReport),
		"/shadow/answer": verb(h.shadowAnswer),
		"/shadow/reset":  verb(h.shadowReset),

		"/secret/rotate":  verb(h.rotateSecret),
		"/cluster/status": verb(h.clusterStatus), "/cluster/hand": verb(h.clusterHand), "/cluster/forget": verb(h.clusterForget), "/cluster/log": verb(h.clusterLog), "/cluster/compare": verb(h.clusterCompare),

		"/audit/list":   lines(h.listAudit),
		"/audit/verify": verb(h.verifyAudit),

		"/activity/list": verb(h.activity),

		"/backup": h.backup,
	}
	return h
}

// Program is the version of the program, as Status tells it.
func (h *Handler) Program() string { return h.program }

// ServeHTTP finds the verb. A verb that panics costs its own request only. A user who
// may open the socket may ask for everything: its mode says which users may.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			panic(p) // the answer is cut off, and the client must see that
		} else if p != nil {
			h.log.Error("the operator's verb has panicked", "verb", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			fail(w, fmt.Errorf("internal error, see the log"))
		}
	}()
	if r.Method == http.MethodPost && r.URL.Path == "/movein" {
		h.moveIn(w, r)
		return
	}
	if stream := h.streams[r.URL.Path]; r.Method == http.MethodPost && stream != nil {
		if h.elsewhere(r.Context(), r.URL.Path) {
			h.passStream(w, r, stream)
			return
		}
		stream(w, r)
		return
	}
	serve, ok := h.verbs[r.URL.Path]
	if !ok || r.Method != http.MethodPost {
		fail(w, &engine.Error{Kind: engine.ErrNotFound, Text: "unknown verb " + r.URL.Path})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, h.most)
	leave, err := enter(w, r)
	if err != nil {
		fail(w, err)
		return
	}
	defer leave()
	ctx := asOperator(r.Context())
	if answer := (&watched{ResponseWriter: w}); h.Failed != nil && !reads[path.Base(r.URL.Path)] {
		defer func() { h.tellFailed(ctx, r.URL.Path, answer.status) }()
		w = answer
	}
	if h.elsewhere(ctx, r.URL.Path) {
		h.pass(w, r.WithContext(ctx), serve)
		return
	}
	h.confirm(ctx, path.Base(r.URL.Path))
	serve(w, r.WithContext(ctx))
}

// reads are the last words of verbs that change nothing.
var reads = map[string]bool{"status": true, "ready": true, "report": true, "log": true, "list": true, "parts": true, "get": true, "stale": true, "await": true,
	"check": true, "judge": true, "try": true, "why": true, "verify": true, "backup": true}

// watched remembers the status of an answer.
type watched struct {
	http.ResponseWriter
	status int // 0: 200
}

// WriteHeader notes it.
func (w *watched) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// tellFailed passes on that a verb was answered with a failure.
func (h *Handler) tellFailed(ctx context.Context, verb string, status int) {
	if status < http.StatusBadRequest {
		return
	}
	why := "failed"
	for _, k := range kinds {
		if k.status == status {
			why = "failed: " + k.word
			break
		}
	}
	h.Failed(operatorOf(ctx), senderOf(ctx), ActionOf(verb), why)
}

// ActionOf is what the audit calls a verb, by its path: /bouncers/delete is bouncer.delete.
func ActionOf(verb string) string {
	noun, what := path.Split(strings.TrimPrefix(verb, "/"))
	if noun == "" {
		return what
	}
	return strings.TrimSuffix(strings.TrimSuffix(noun, "/"), "s") + "." + what
}

// verb makes a handler of a function from request to answer. The answer is
// one object in JSON, or a failure with the status of its kind.
func verb[Q, A any](answer func(context.Context, *Q) (*A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := new(Q)
		if err := read(r, q); err != nil {
			fail(w, err)
			return
		}
		a, err := answer(r.Context(), q)
		if err != nil {
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a) // it fails when the client has gone away
	}
}

// line is one line of a list: an item, or at last the failure that ended it.
// A list without a line End was cut off.
type line[T any] struct {
	Item *T       `json:",omitempty"`
	Fail *failure `json:",omitempty"`
	End  bool     `json:",omitempty"`
}

// lines makes a handler of a function that yields a list. Items are written
// as they come; a failure after the first of them is the last line, since
// the status has gone.
func lines[Q, T any](each func(context.Context, *Q, func(*T) bool) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := new(Q)
		if err := read(r, q); err != nil {
			fail(w, err)
			return
		}
		out := json.NewEncoder(w)
		gone := error(nil)
		err := each(r.Context(), q, func(item *T) bool {
			gone = out.Encode(line[T]{Item: item})
			return gone == nil
		})
		if gone != nil {
			return
		}
		last := line[T]{End: true}
		if err != nil {
			last = line[T]{Fail: failureOf(err)}
		}
		_ = out.Encode(last)
	}
}

// read takes the request as JSON. Unknown fields are refused: a newer command would
// otherwise be obeyed in part. An empty body is the zero request.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil && err != io.EOF {
		return unreadable(err)
	}
	return nil
}

// unreadable is an ErrInvalid with the reason.
func unreadable(err error) error {
	return &engine.Error{Kind: engine.ErrInvalid, Text: "unreadable request: " + err.Error(), Cause: err}
}

// failure is an error on its way to the client. The text is for the operator.
type failure struct {
	Kind string // a key of kinds, "" for any other error
	Noun string `json:",omitempty"` // what it is about, as engine.Error has it
	Name string `json:",omitempty"`
	Text string
}

// kinds are the failures that keep their kind across the socket, with the
// status they are answered with.
var kinds = []struct {
	word   string
	kind   error
	status int
}{
	{"invalid", engine.ErrInvalid, http.StatusBadRequest},
	{"not found", engine.ErrNotFound, http.StatusNotFound},
	{"exists", engine.ErrExists, http.StatusConflict},
	{"refused", engine.ErrRefused, http.StatusForbidden},
	{"changed", engine.ErrChanged, http.StatusConflict},
	{"forgotten", engine.ErrForgotten, http.StatusGone},
	{"busy", engine.ErrBusy, http.StatusServiceUnavailable},
	{"disk", engine.ErrDisk, http.StatusInsufficientStorage},
	{"closed", engine.ErrClosed, http.StatusServiceUnavailable},
	{"not the writer", engine.ErrNotWriter, http.StatusServiceUnavailable},
	{"unsure", engine.ErrUnsure, http.StatusServiceUnavailable},
	{"profile", engine.ErrProfile, http.StatusInternalServerError},
}

// failureOf is the first kind that fits.
func failureOf(err error) *failure {
	for _, k := range kinds {
		if errors.Is(err, k.kind) {
			f := &failure{Kind: k.word, Text: err.Error() + refusalOf(err)}
			if e := (*engine.Error)(nil); errors.As(err, &e) {
				f.Noun, f.Name = string(e.Noun), e.Name
			}
			return f
		}
	}
	return &failure{Text: err.Error()}
}

// refusalOf is what the disk said. Clients of the Local API are not told the server's
// paths, the operator is.
func refusalOf(err error) string {
	var e *engine.Error
	if !errors.As(err, &e) || e.Kind != engine.ErrDisk || e.Cause == nil {
		return ""
	}
	return ": " + e.Cause.Error()
}

// error is the failure as the client gives it back.
func (f *failure) error() error {
	for _, k := range kinds {
		if k.word == f.Kind {
			return &engine.Error{Kind: k.kind, Noun: engine.Noun(f.Noun), Name: f.Name, Text: f.Text}
		}
	}
	return errors.New(f.Text)
}

// fail answers with a failure. Once an answer has begun it does nothing.
func fail(w http.ResponseWriter, err error) {
	f, status := failureOf(err), http.StatusInternalServerError
	for _, k := range kinds {
		if k.word == f.Kind {
			status = k.status
		}
	}
	peer.Again(w.Header(), err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(f)
}

// status is what a client asks first, to learn whether they speak the same protocol.
func (h *Handler) status(context.Context, *struct{}) (*Status, error) {
	s := &Status{
		Version: Version, Program: h.program, PID: os.Getpid(),
		Now: h.engine.Now(), Revision: h.engine.View().Revision(),
	}
	if h.Listening != nil {
		s.Listening = h.Listening()
	}
	return s, nil
}

// ready is never an error: "not ready" is an answer.
func (h *Handler) ready(context.Context, *struct{}) (*Readiness, error) {
	return &Readiness{Troubles: h.Troubles()}, nil
}

// central is what the connection to the Central API says of itself.
func (h *Handler) central(context.Context, *struct{}) (*any, error) {
	if h.Central == nil {
		return nil, &engine.Error{Kind: engine.ErrNotFound, Text: "there is no connection to the Central API here"}
	}
	v := h.Central()
	return &v, nil
}
