package shadow

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	pieceBytes  = 32 << 10    // of a body, at a time
	clientStall = time.Minute // a client that sends or takes none of a piece for so long is let go
	smallBody   = 256 << 10   // a body up to this is read before it is passed on: what cannot be read has no effect
)

// ServeHTTP passes one request to who answers, gives the client its answer, and leaves the same
// request for the other server in the queue.
func (s *Shadow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	s.gate.enter()
	defer s.gate.leave()
	target := targetOf(r)
	x := &exchange{
		route: routeOf(r.Method, target), method: r.Method, target: target, host: r.Host, header: passedHeaders(r),
		peer: peerOf(r), length: r.ContentLength, first: s.answerer(r.Header),
	}
	s.noteCertificate(r.TLS)
	ctx, cancel := context.WithCancel(r.Context())
	if x.route.write {
		// What a server has begun to carry out is seen to its end, though the client has gone.
		ctx, cancel = context.WithCancel(context.WithoutCancel(r.Context()))
	}
	defer cancel()
	q, err := s.requestBody(w, r, x)
	if err != nil {
		s.count.aborted.Add(1)
		x.release()
		refuse(w, http.StatusBadRequest, "the body could not be read: "+err.Error())
		return
	}
	if !s.renumber(x) {
		x.release()
		refuse(w, http.StatusConflict, refusedNumber)
		return
	}
	a := &x.answers[x.first]
	a.began = s.options.Now()
	s.written.start(x)
	defer s.written.over(x)
	response, err := s.ask(ctx, x.first, x, q)
	if err != nil {
		s.noAnswer(w, r, x, err)
		return
	}
	defer response.Body.Close()
	a.status, a.header = response.StatusCode, response.Header
	s.relay(w, x, response, cancel)
}

// requestBody is the body on its way to the first server. What passes is kept for the second.
func (s *Shadow) requestBody(w http.ResponseWriter, r *http.Request, x *exchange) (q asking, err error) {
	if r.ContentLength == 0 {
		return q, nil
	}
	x.body = s.capture(s.options.Body)
	control := http.NewResponseController(w)
	patient := &patientReader{r: r.Body, extend: func() { _ = control.SetReadDeadline(time.Now().Add(clientStall)) },
		over: func() { _ = control.SetReadDeadline(time.Time{}) }}
	if r.ContentLength > smallBody {
		return asking{body: io.TeeReader(patient, x.body)}, nil
	}
	kept := io.TeeReader(patient, x.body)
	whole, err := io.ReadAll(io.LimitReader(kept, smallBody+1))
	if err == nil && len(whole) > smallBody { // in chunks
		return asking{body: io.MultiReader(bytes.NewReader(whole), kept)}, nil
	}
	if err == nil && r.ContentLength >= 0 && int64(len(whole)) != r.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	return asking{body: bytes.NewReader(whole), again: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(whole)) }}, err
}

// patientReader gives each piece its own time. Behind the last nothing is waited for any more: a deadline that
// stayed would end the request while the server thinks.
type patientReader struct {
	r            io.Reader
	extend, over func()
}

func (p *patientReader) Read(b []byte) (int, error) {
	p.extend()
	n, err := p.r.Read(b)
	if err != nil {
		p.over()
	}
	return n, err
}

// relay gives the client the answer and keeps it. A write's answer, and a short one, is kept, and the request queued, before
// the client sees it: whatever the client does next, with numbers that it has seen, comes behind it.
func (s *Shadow) relay(w http.ResponseWriter, x *exchange, response *http.Response, cancel func()) {
	a := &x.answers[x.first]
	a.body = s.capture(s.options.QueueBytes)
	stalled := time.AfterFunc(s.options.Patience, cancel)
	defer stalled.Stop()
	body := &patientReader{r: response.Body, extend: func() { stalled.Reset(s.options.Patience) }, over: func() { stalled.Stop() }}
	var early []byte
	var end error
	if small := response.ContentLength >= 0 && response.ContentLength < s.options.Memory; x.route.write || small {
		early, end = io.ReadAll(io.LimitReader(io.TeeReader(body, a.body), s.options.Memory))
		if end == nil && int64(len(early)) < s.options.Memory {
			end = io.EOF
			a.ended = s.options.Now()
			s.enqueue(x)
		}
	}
	out := &clientWriter{w: w, control: http.NewResponseController(w), flush: response.ContentLength < 0}
	out.extend()
	answerHead(w, response)
	_, err := out.Write(early)
	if end == nil && err == nil {
		end, err = copyPieces(out, body, a.body)
	}
	if end == io.EOF && err == nil {
		if a.ended.IsZero() {
			a.ended = s.options.Now()
			s.enqueue(x)
		}
		return
	}
	if a.ended.IsZero() { // it is not known what the client has
		s.lostAnswer(x)
	}
	panic(http.ErrAbortHandler) // so that the client sees that it was cut off
}

// copyPieces copies a body to the client and to what keeps it. It gives the end of reading, io.EOF when
// that was all, and the error of writing.
func copyPieces(out io.Writer, body io.Reader, kept io.Writer) (end, err error) {
	piece := make([]byte, pieceBytes)
	for {
		n, end := body.Read(piece)
		if n > 0 {
			_, _ = kept.Write(piece[:n])
			if _, err := out.Write(piece[:n]); err != nil {
				return end, err
			}
		}
		if end != nil {
			return end, nil
		}
	}
}

// answerHead writes status and headers as they came, without those of the hop, and without any that net/http would
// make up.
func answerHead(w http.ResponseWriter, response *http.Response) {
	h := w.Header()
	for name, values := range response.Header {
		h[name] = values
	}
	dropHops(h)
	for _, name := range []string{"Content-Type", "Date"} {
		if _, there := h[name]; !there {
			h[name] = nil
		}
	}
	w.WriteHeader(response.StatusCode)
}

// clientWriter gives a client time for each piece, and sends it on at once where the length is not known.
type clientWriter struct {
	w       io.Writer
	control *http.ResponseController
	flush   bool
}

func (c *clientWriter) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	c.extend()
	n, err := c.w.Write(b)
	if err == nil && c.flush {
		err = c.control.Flush()
	}
	return n, err
}

// extend gives the client time anew. net/http does not take a deadline of the request before away.
func (c *clientWriter) extend() { _ = c.control.SetWriteDeadline(time.Now().Add(clientStall)) }

// noAnswer tells the client that the first server did not answer. A write whose connection was made may have
// been carried out, and nobody knows: from there on the two may differ.
func (s *Shadow) noAnswer(w http.ResponseWriter, r *http.Request, x *exchange, err error) {
	defer x.release()
	s.route(x.route).unanswered.Add(1)
	switch {
	case r.Context().Err() != nil:
		s.lostAnswer(x)
		panic(http.ErrAbortHandler)
	case x.route.write && !neverSent(err):
		s.void("a request that changes something (" + x.route.name + ") got no answer, and may have been carried out")
	}
	s.complainOfAway(x.first, err)
	who := "lapid's own server, in this shadow, does not answer"
	if x.first == Theirs {
		who = "the server behind this shadow, " + s.upstream.String() + ", does not answer"
	}
	refuse(w, http.StatusBadGateway, fmt.Sprintf("%s: %v", who, err))
}

// refuse is an answer of the shadow's own.
func refuse(w http.ResponseWriter, status int, message string) {
	text, _ := json.Marshal(map[string]string{"message": message})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
