package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"lapid/engine"
)

// moveInStall is for how long who sends a database may send nothing: the database is read
// meanwhile.
const moveInStall = 10 * time.Minute

// moveInTold is the pause between two lines about how far it is.
const moveInTold = 200 * time.Millisecond

// moving is one line of the answer: how far it is, and last what came of it.
type moving struct {
	Done, Of int64
	Account  json.RawMessage `json:",omitempty"`
	Fail     *failure        `json:",omitempty"`
}

// moveIn has a database, which comes as the request's body for as long as that takes, taken
// over by MoveIn. The answer begins before the body has ended, and a failure is told at
// once. Memory does not depend on the body's length.
func (h *Handler) moveIn(w http.ResponseWriter, r *http.Request) {
	ctx := asOperator(r.Context())
	if h.MoveIn == nil {
		fail(w, &engine.Error{Kind: engine.ErrInvalid, Text: "nothing is taken over here: no server runs"})
		return
	}
	if c, ok := r.Context().Value(callerKey{}).(*caller); ok {
		leave, err := c.begin(ctx)
		if err != nil {
			fail(w, err)
			return
		}
		defer leave()
	}
	out := http.NewResponseController(w)
	if err := out.EnableFullDuplex(); err != nil {
		fail(w, err)
		return
	}
	lines, last := json.NewEncoder(w), time.Time{}
	_ = out.Flush() // the head: from here on both sides speak
	account, err := h.MoveIn(ctx, &patient{r.Body, out, moveInStall}, func(done, of int64) {
		if time.Since(last) < moveInTold {
			return
		}
		last = time.Now()
		_ = lines.Encode(moving{Done: done, Of: of}) // who has gone is not told
		_ = out.Flush()
	})
	_ = out.SetReadDeadline(time.Time{})
	answer := moving{}
	if err == nil {
		answer.Account, err = json.Marshal(account)
	}
	if err != nil {
		answer.Fail = failureOf(err)
	} else {
		h.logChange(ctx, "took a database over")
	}
	_ = lines.Encode(answer)
}

// patient is a body that may be silent for a while.
type patient struct {
	io.Reader
	deadlines *http.ResponseController
	stall     time.Duration // of one Read, at most
}

// Read fails when nothing comes for so long.
func (p *patient) Read(b []byte) (int, error) {
	if err := p.deadlines.SetReadDeadline(time.Now().Add(p.stall)); err != nil {
		return 0, err
	}
	return p.Reader.Read(b)
}

// ErrGone wraps an error of MoveIn's that came instead of the server's last word: what became of
// a body that was sent whole is not known.
var ErrGone = errors.New("the server has gone meanwhile")

// MoveIn sends a database, as movein.Sender writes it, to the running server, and gives
// what came of it in JSON. tell gets how far the server is with what it has. An error of
// body's breaks it off, and then nothing is taken over.
func (c *Client) MoveIn(ctx context.Context, body io.Reader, tell func(done, of int64)) (json.RawMessage, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/movein", body)
	if err != nil {
		return nil, err
	}
	w, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	defer w.Body.Close()
	if w.StatusCode != http.StatusOK {
		var f failure
		if err := json.NewDecoder(w.Body).Decode(&f); err != nil {
			return nil, fmt.Errorf("/movein: status %d", w.StatusCode)
		}
		return nil, f.error()
	}
	for d := json.NewDecoder(w.Body); ; {
		var l moving
		switch err := d.Decode(&l); {
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrGone, err)
		case l.Fail != nil:
			return nil, l.Fail.error()
		case l.Account != nil:
			return l.Account, nil
		}
		tell(l.Done, l.Of)
	}
}
