package feed

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"lapid/engine"
	"lapid/transport/budget"
)

// TestNoAnswerMemory: an answer that finds no room waits, and is refused as busy; one
// for which there never is any is refused for ever. Nothing moves, and what others
// held is given back.
func TestNoAnswerMemory(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *Options) { o.AnswerMemory, o.Patience = 1*mebibyte, time.Millisecond })
	var all budget.Hold
	h.must(h.feed.Reserve(&all, asker("another"), 1*mebibyte))
	row := h.row("fw")
	h.ban("192.0.2.1")
	row.Advance(h.View().Revision(), h.Engine.Now())
	before, _ := row.Cursor()
	h.banMany(longDelta) // short, but longer than Brief
	_, err := h.feed.Poll(h.asks(row, ""))
	if at, _ := row.Cursor(); !errors.Is(err, engine.ErrBusy) || h.refused.Load() != 1 || at != before {
		t.Errorf("%v, %d refused, and the cursor went from %d to %d", err, h.refused.Load(), before, at)
	}
	p := h.feed.Part(asker("fw"))
	if p.Room(1) {
		t.Error("a part has room that there is not")
	}
	var one budget.Hold
	var never *TooLong
	if err := h.feed.Reserve(&one, asker("fw"), 1*mebibyte+1); !errors.As(err, &never) || never.Bytes != 1*mebibyte+1 || errors.Is(err, engine.ErrBusy) {
		t.Errorf("more than there is: %v", err)
	}
	all.Release()
	if !p.Room(2*mebibyte) || p.Room(1) != true || h.feed.Usage().AnswerBytes != 1 {
		t.Errorf("a part larger than all takes all, and gives it back for a smaller one: %+v", h.feed.Usage())
	}
	p.Release()
	if fresh, _ := lists(t, string(h.hear(h.asks(row, "")))); len(fresh) != longDelta {
		t.Errorf("%d decisions when there is room again", len(fresh))
	}
	if u := h.feed.Usage(); u.AnswerBytes != 0 {
		t.Errorf("in the end %+v", u)
	}
}

// TestFarBehind: a bouncer is told everything when collecting what has changed would
// take more than half of the memory for answers.
func TestFarBehind(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *Options) { o.AnswerMemory = 100 << 10 })
	h.ban("192.0.2.1")
	row := h.row("fw")
	row.Advance(h.View().Revision(), h.Engine.Now())
	h.banMany(5000)
	a, err := h.feed.Poll(h.asks(row, ""))
	h.must(err)
	if a.Body == nil || !a.Moves.All {
		t.Fatalf("%+v", a)
	}
	h.must(a.Body.Close())
	if u := h.feed.Usage(); u.AnswerBytes != 0 {
		t.Errorf("%+v", u)
	}
}

// TestSend holds when the end of an answer is announced, for answers of each kind: once,
// with nothing before it left out, and with no more than EndingSize bytes to come if it
// is to be split, else with the last piece.
func TestSend(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	row := h.row("fw")
	h.banMany(6000)
	text := []byte("[" + strings.Repeat("a", 100<<10) + "]")
	run := func(w *Writer) (err error) {
		for i := range text {
			if w.Buf, err = w.Flushed(append(w.Buf, text[i])); err != nil {
				return err
			}
		}
		return nil
	}
	list := func(counted bool) *StreamedBody {
		var held budget.Hold
		b, err := h.feed.List(&held, asker("fw"), counted, run)
		h.must(err)
		if counted && b.Size() != len(text) {
			t.Errorf("it is of %d bytes, not %d", b.Size(), len(text))
		}
		return b
	}
	state := func() *StreamedBody {
		a, err := h.feed.Poll(h.asks(row, "startup=true"))
		h.must(err)
		return a.Body
	}
	for name, c := range map[string]struct {
		made  func() *StreamedBody
		split bool
	}{
		"a list":                 {func() *StreamedBody { return list(false) }, true},
		"one that is counted":    {func() *StreamedBody { return list(true) }, false},
		"a full state":           {state, false},
		"the same, split":        {state, true},
		"the same again, shared": {state, true},
	} {
		var whole, got buffer
		b := c.made()
		_, err := b.Send(&whole, false, nil)
		h.must(errors.Join(err, b.Close(), b.Close()))
		b, announced, before := c.made(), 0, 0
		n, err := b.Send(&got, c.split, func() { announced++; before = len(got) })
		h.must(errors.Join(err, b.Close()))
		if !bytes.Equal(got, whole) || n != int64(len(got)) || announced != 1 || before == len(got) || c.split != (len(got)-before <= EndingSize) {
			t.Errorf("%s: %d bytes of %d, %d told; the end was announced %d times, before the last %d", name, len(got), len(whole), n, announced, len(got)-before)
		}
	}
	if u := h.feed.Usage(); u.AnswerBytes != 0 {
		t.Errorf("in the end %+v", u)
	}
}

// TestSendEnds: a Write that fails, and the limit of time, end the sending with an
// error and without an announced end; what the answer held is given back.
func TestSendEnds(t *testing.T) {
	t.Parallel()
	h, late := newHouse(t), newHouse(t, func(o *Options) { o.StreamLimit = time.Nanosecond })
	for _, h := range []*house{h, late} {
		row := h.row("fw")
		h.banMany(6000)
		for _, raw := range []string{"startup=true", "startup=true&x=1", "startup=true&x=2"} {
			a, err := h.feed.Poll(h.asks(row, raw))
			h.must(err)
			_, err = a.Body.Send(&hangsUp{takes: 100 << 10}, true, func() { t.Error("its end was announced") })
			if !errors.Is(err, errHungUp) && !errors.Is(err, errTooSlow) {
				t.Errorf("%s: %v", raw, err)
			}
			h.must(a.Body.Close())
		}
		h.feed.Close()
		h.await("everything is given back", func() bool { u := h.feed.Usage(); return u.AnswerBytes+u.SharedBytes == 0 })
	}
}

var errHungUp = errors.New("hung up")

// hangsUp is a reader that takes so many bytes.
type hangsUp struct{ takes int }

func (w *hangsUp) Write(p []byte) (int, error) {
	if w.takes -= len(p); w.takes < 0 {
		return 0, errHungUp
	}
	return len(p), nil
}

// TestWriteBrief gives short answers at once and refuses long ones.
func TestWriteBrief(t *testing.T) {
	t.Parallel()
	write := func(n int) func(*Writer) error {
		return func(w *Writer) error {
			w.Buf = append(w.Buf, make([]byte, n)...)
			return w.MaybeSend()
		}
	}
	if out, err := WriteBrief(nil, write(Brief-1)); err != nil || len(out) != Brief-1 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	if _, err := WriteBrief(make([]byte, 0, 10), write(Brief+1)); !errors.Is(err, ErrLong) {
		t.Errorf("a long one: %v", err)
	}
	if _, err := WriteBrief(nil, func(*Writer) error { return errHungUp }); !errors.Is(err, errHungUp) {
		t.Errorf("one that fails: %v", err)
	}
}
