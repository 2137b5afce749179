package transport

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/feed"
	"lapid/transport/wire"
)

// eventRun is an event stream with a goroutine: at its beginning, where much has to be
// told, where its reader takes its time, and all along where there are no loops, or its
// request is not for one. It needs nothing of the exchange that it came by.
type eventRun struct {
	polls
	*eventStream
	line     *conn.Line
	query    engine.Query
	question []byte
	print    uint64 // of the question alone
	payer    feed.Payer

	// Who asks.
	client     netip.Addr
	key, agent []byte
	peer       *auth.Peer
}

// run goes on with a stream when the handler has returned.
func (s polls) run(x *exchange, e *eventStream, form *wire.StreamForm, n *eventNews) {
	r := &eventRun{
		polls: s, eventStream: e, question: bytes.Clone(form.Question), print: form.Print, payer: x.Payer(),
		client: x.client, key: bytes.Clone(x.request.Key), agent: bytes.Clone(x.request.Agent), peer: x.certificate(),
	}
	if e.who == nil {
		e.who = x.bouncer
	}
	s.showAtEnd(x, e)
	x.answer.Run(e, func(l *conn.Line) {
		r.line = l
		r.serve(n)
	})
}

// Payer implements feed.Asker.
func (r *eventRun) Payer() feed.Payer { return r.payer }

// serve tells what is new, again and again, until the stream ends or the connection can
// wait for more without a goroutine.
func (r *eventRun) serve(n *eventNews) {
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("an event stream failed", "panic", p, "bouncer", rowName(r.who))
			r.line.Cut()
		}
	}()
	if !r.begun {
		r.begin(r.who)
		if r.line.Begin(eventType) != nil || r.say(appendRetry(nil)) != nil {
			r.discard(n)
			return
		}
	}
	for {
		if r.tell(n) != nil {
			return
		}
		if r.feed.Closing() {
			break
		}
		if r.line.Home() {
			return
		}
		next, err := r.await()
		if err != nil {
			break
		}
		n = next
	}
	r.line.End()
}

func (r *eventRun) discard(n *eventNews) {
	if n.answer.Body != nil {
		_ = n.answer.Body.Close()
	}
}

func (r *eventRun) say(part []byte) error {
	r.count(len(part))
	return r.line.Say(part)
}

// tell says what a poll has brought. An answer that cannot be told whole ends the
// connection; the client is where it was.
func (r *eventRun) tell(n *eventNews) error {
	if n.answer.Body == nil {
		out := r.eventStream.tell(nil, n)
		return r.line.Say(out)
	}
	defer r.discard(n)
	w := &eventWriter{run: r, news: n, first: true}
	_, err := n.answer.Body.Send(w, false, nil)
	if err == nil {
		err = w.close(true)
	}
	if err != nil {
		r.line.Cut()
		return err
	}
	r.at(n)
	return nil
}

var errGone = errors.New("the client is gone")

// await waits for news.
func (r *eventRun) await() (*eventNews, error) {
	look := time.NewTicker(looksEvery)
	defer look.Stop()
	for {
		woken := make(chan struct{}, 1)
		held := r.eventStream.hold(r.question, func(bool) bool {
			woken <- struct{}{}
			return true
		})
		for waits := held != nil; waits; {
			select {
			case <-woken:
				waits = false
			case <-look.C:
				if r.line.Gone() {
					held.Leave()
					return nil, errGone
				}
			case <-r.life.Done():
				waits = false
			}
		}
		if held != nil {
			held.Leave()
		}
		n, err := r.ask()
		if err != nil || !n.answer.Same || held == nil || !time.Now().Before(r.beat) {
			return n, err
		}
		r.at(n)
		if r.feed.Closing() || r.life.Err() != nil {
			return n, nil
		}
	}
}

// ask is one poll more, of whoever may still ask.
func (r *eventRun) ask() (*eventNews, error) {
	row, err := (*engine.BouncerRow)(nil), error(nil)
	if r.peer != nil {
		row, err = r.gate.CertifiedBouncer(r.life, r.peer, r.client, r.agent, false)
	} else {
		row, err = r.gate.Bouncer(r.life, r.key, r.client, r.agent, false)
	}
	if err != nil {
		return nil, err
	}
	r.standing = r.gate.Standing(r.key, r.client)
	r.settle(row, r.line.Settled)
	r.query.Now = r.engine.Now()
	if err := wire.ParseStreamQuery(&r.query, r.question); err != nil {
		return nil, err
	}
	r.query.Startup = false
	view := r.engine.StreamView()
	r.sight, _ = view.SightAt(r.who, view.Revision())
	r.query.Sight = r.sight
	print := r.print ^ r.sight.Fingerprint()
	from := r.eventStream.place
	from.Known = from.Known && r.eventStream.print == print
	a, err := r.feed.Poll(&feed.Poll{
		Question: feed.Question{Raw: r.question, Query: &r.query},
		Row:      r.who, View: view, From: from, Asker: r, MayWait: true, Woken: true,
	})
	if err != nil {
		return nil, err
	}
	n := &eventNews{answer: a, tag: feed.Tag{History: r.options.History, Revision: view.Revision(), Question: print}}
	if !a.Same {
		r.noted(r.who, n, from, r.question, &r.query)
	}
	return n, nil
}

// eventSize is how long an event is at most, where it can be split: in its data.
const eventSize = 1 << 20

// eventWriter makes events of a long answer, which comes in parts that end behind a
// decision: as many as fit into eventSize are one event. The last alone says where it leads
// to.
type eventWriter struct {
	run     *eventRun
	news    *eventNews
	size    int  // of the event that has begun; 0: none has
	deleted bool // it is in the second list
	whole   bool // the end has come
	first   bool // no event is behind it
	head    []byte
}

var (
	streamBetween = []byte(wire.StreamBetween)
	streamClose   = []byte(wire.StreamClose)
)

// Write takes a part.
func (w *eventWriter) Write(part []byte) (int, error) {
	n := len(part)
	if w.size > 0 && w.size+n > eventSize {
		if err := w.close(false); err != nil {
			return 0, err
		}
	}
	if w.size == 0 {
		w.head = append(append(append(w.head[:0], "event: "...), w.news.kind()...), "\ndata: "...)
		if !w.first {
			w.head = append(w.head, wire.StreamOpen...)
			if w.deleted {
				w.head = append(w.head, wire.StreamBetween...)
			}
			part = bytes.TrimPrefix(part, []byte{','})
		}
		if err := w.run.say(w.head); err != nil {
			return 0, err
		}
	}
	w.size += n
	w.deleted = w.deleted || bytes.Contains(part, streamBetween)
	if w.whole = w.deleted && bytes.HasSuffix(part, streamClose); w.whole {
		part = part[:len(part)-1]
	}
	return n, w.run.say(part)
}

// close ends the event that has begun; last: there is none behind it.
func (w *eventWriter) close(last bool) error {
	end := w.head[:0]
	if !last {
		if !w.deleted {
			end = append(end, wire.StreamBetween...)
		}
		end = append(end, ']')
	}
	if w.news.answer.Full && w.first {
		end = append(end, `,"first":true`...)
	}
	if w.news.answer.Full && last {
		end = append(end, `,"last":true`...)
	}
	end = append(end, "}\n"...)
	if last {
		end = appendID(end, &w.news.tag)
	}
	end = append(end, '\n')
	w.run.told(w.news)
	w.size, w.first, w.head = 0, false, end
	return w.run.say(end)
}

// isTimeout reports whether a connection ended because its peer took nothing.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}
