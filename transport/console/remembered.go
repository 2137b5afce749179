package console

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// remembered are the answers to writes that came with an Idempotency-Key: the same operator, key,
// route and body get the same answer again, and nothing is done twice. Another request with the key is 422;
// one whose first is still under way 409. Answers that hold a secret are not kept: their repetition is 409, and says so.
//
// At most mostRemembered answers, mostOfOneOperator of one operator, of rememberedBytes each are kept, for rememberFor; a restart forgets them.
type remembered struct {
	now func() int64
	mu  sync.Mutex
	of  map[[32]byte]*rememberedAnswer
}

type rememberedAnswer struct {
	who     string
	request [32]byte // of method, path and body
	at      int64
	done    bool
	lost    bool // it cannot be given again
	status  int
	head    http.Header
	body    []byte
}

const (
	rememberFor    = time.Hour
	mostRemembered = 1024
	// mostOfOneOperator leaves room for others.
	mostOfOneOperator = 128
	rememberedBytes   = 64 << 10
	longestKey        = 255
)

// begin finds an earlier answer to the key, or notes that its first request is under way. Without
// either there is no room.
func (m *remembered) begin(who, key string, request [32]byte) (earlier *rememberedAnswer, err error) {
	at := sha256.Sum256([]byte(who + "\x00" + key))
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if m.of == nil {
		m.of = map[[32]byte]*rememberedAnswer{}
	}
	if old := m.of[at]; old != nil && now-old.at <= int64(rememberFor) {
		switch {
		case old.request != request:
			return nil, &fault{http.StatusUnprocessableEntity, "this Idempotency-Key came with another request before: choose a new one"}
		case !old.done:
			return nil, &fault{http.StatusConflict, "the first request with this Idempotency-Key is still under way"}
		case old.lost:
			return nil, &fault{http.StatusConflict, "this was done already, and its answer is not kept, for it was long or held a secret"}
		}
		return old, nil
	}
	own := 0
	for k, a := range m.of {
		if a.done && now-a.at > int64(rememberFor) {
			delete(m.of, k)
		} else if a.who == who {
			own++
		}
	}
	if own >= mostOfOneOperator {
		return nil, &fault{http.StatusTooManyRequests, fmt.Sprintf("%d Idempotency-Keys of yours are remembered, for an hour each: send the request without one, or later", own)}
	}
	if len(m.of) >= mostRemembered {
		return nil, &fault{http.StatusServiceUnavailable, "too many Idempotency-Keys are remembered: send the request without one, or later"}
	}
	m.of[at] = &rememberedAnswer{who: who, request: request, at: now}
	return nil, nil
}

// end keeps the answer. A failure is forgotten: nothing was done, so it can be tried again.
func (m *remembered) end(who, key string, w *kept) {
	at := sha256.Sum256([]byte(who + "\x00" + key))
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.of[at]
	if a == nil {
		return
	}
	if w.status == 0 || w.status >= 400 {
		delete(m.of, at)
		return
	}
	a.done, a.status, a.head = true, w.status, w.Header().Clone()
	if a.lost = w.long || w.secret; !a.lost {
		a.body = w.body.Bytes()
	}
}

// kept is an answer that is noted while it is written.
type kept struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	long   bool
	secret bool
}

func (w *kept) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *kept) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.body.Len()+len(b) > rememberedBytes {
		w.long = true
	} else if !w.long {
		w.body.Write(b)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *kept) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// again writes an earlier answer.
func (a *rememberedAnswer) again(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.head.Get("Content-Type"))
	w.Header().Set("Idempotency-Replayed", "true")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}
