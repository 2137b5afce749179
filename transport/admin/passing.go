package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/peer"
)

// Beside other servers that share the history (Handler.Peers) verbs that write are passed on, whole,
// to the one that writes, and answered as it does, once what they did is known here too. Imports and
// lists, whose request may be of any length, are passed on as they come, and are kept nowhere on the way.

// passedOperator is who asks, as the server knows it where the verb came.
type passedOperator struct {
	By     engine.Actor
	Token  uint32 `json:",omitempty"`
	Remote bool   `json:",omitempty"`
}

type passedKey struct{}

// passedBy is who asked at another server; nil: the verb came here.
func passedBy(ctx context.Context) *passedOperator {
	p, _ := ctx.Value(passedKey{}).(*passedOperator)
	return p
}

// ownVerbs are about this server, though they may change something of it.
func ownVerb(verb string) bool {
	return reads[path.Base(verb)] || localVerbs[verb] || strings.HasPrefix(verb, "/shadow/") || strings.HasPrefix(verb, "/orders/")
}

// elsewhere reports whether a verb is for another server to answer.
func (h *Handler) elsewhere(ctx context.Context, verb string) bool {
	return h.Peers != nil && !h.engine.Writes() && !ownVerb(verb) && passedBy(ctx) == nil
}

// confirmWithin bounds how long a verb waits for what happened elsewhere.
const confirmWithin = time.Second

// confirm waits until this server knows what was known anywhere when the verb came; one that writes may have been deposed
// without having heard of it. A server that is cut off shows what it has.
func (h *Handler) confirm(ctx context.Context, word string) {
	if h.Confirm == nil || !reads[word] || word == "status" || word == "ready" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, confirmWithin)
	defer cancel()
	if err := h.Confirm(ctx); err != nil {
		h.log.Debug("what operators are shown may be older than what happened elsewhere", "error", err)
	}
}

// pass has the writer answer a verb whose body was read, or serve does, if this server has become it.
func (h *Handler) pass(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	ctx := r.Context()
	who := passedOperator{By: operatorOf(ctx), Token: senderOf(ctx).Token, Remote: remoteOf(ctx) != nil}
	id, err := h.engine.NewRequest()
	var body, by []byte
	if err == nil {
		body, err = io.ReadAll(r.Body)
	}
	if err == nil {
		by, err = json.Marshal(&who)
	}
	if err != nil {
		fail(w, unreadable(err))
		return
	}
	err = h.Peers.Pass(ctx, &peer.Request{Kind: peer.Verb, ID: id, Method: r.Method, Target: r.URL.Path, Client: senderOf(ctx).Address, Who: string(by), Body: body}, w)
	switch {
	case err == nil:
	case errors.Is(err, peer.ErrHere):
		r.Body = io.NopCloser(bytes.NewReader(body))
		serve(w, r.WithContext(engine.ForRequest(ctx, id)))
	case errors.Is(err, peer.ErrPerhaps):
		fail(w, &engine.Error{Kind: engine.ErrUnsure, Text: err.Error(), Cause: err})
	default:
		fail(w, &engine.Error{Kind: engine.ErrNotWriter, Text: err.Error(), Cause: err})
	}
}

// passStream has the writer answer a verb that reads its request by itself, as it comes, or serve does, if this server has become
// it. What was sent to a writer that vanishes is sent to no other: its client is told that it may be stored.
func (h *Handler) passStream(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	ctx, out := r.Context(), http.NewResponseController(w)
	if err := out.EnableFullDuplex(); err != nil {
		fail(w, err)
		return
	}
	leave, err := enterLarge(ctx)
	if err != nil {
		fail(w, err)
		return
	}
	leave = sync.OnceFunc(leave)
	defer leave()
	who := passedOperator{By: operatorOf(ctx), Token: senderOf(ctx).Token, Remote: remoteOf(ctx) != nil}
	by, err := json.Marshal(&who)
	if err != nil {
		fail(w, err)
		return
	}
	body := &patient{r.Body, out, importStall}
	err = h.Peers.Pass(ctx, &peer.Request{Kind: peer.Verb, Method: r.Method, Target: r.URL.Path, Client: senderOf(ctx).Address, Who: string(by), Stream: body}, w)
	switch {
	case err == nil:
	case errors.Is(err, peer.ErrHere):
		leave() // it takes a place of its own
		serve(w, r)
	case errors.Is(err, peer.ErrPerhaps):
		fail(w, &engine.Error{Kind: engine.ErrUnsure, Text: err.Error(), Cause: err})
	default:
		fail(w, &engine.Error{Kind: engine.ErrNotWriter, Text: err.Error(), Cause: err})
	}
	if err != nil && !errors.Is(err, peer.ErrHere) {
		_ = out.Flush()
		_, _ = io.CopyN(io.Discard, body, h.most) // so that the client reads the answer
	}
	_ = out.SetReadDeadline(time.Time{})
}

// ServePassed answers a verb that another server passes on. It implements peer.Handler.
func (h *Handler) ServePassed(ctx context.Context, r *peer.Request, w http.ResponseWriter) error {
	who := &passedOperator{}
	if err := json.Unmarshal([]byte(r.Who), who); err != nil {
		return fmt.Errorf("who asked for a verb at another server: %w", err)
	}
	ctx = context.WithValue(ctx, passedKey{}, who)
	if who.Remote {
		ctx = (&Remote{Name: who.By.Name, Address: r.Client, Token: who.Token}).On(ctx)
	}
	body := io.Reader(bytes.NewReader(r.Body))
	if r.Stream != nil {
		body = r.Stream
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, localBase+r.Target, body)
	if err != nil {
		return fmt.Errorf("a verb that was passed on: %w", err)
	}
	h.ServeHTTP(w, request)
	return nil
}
