package transport

import (
	"errors"
	"net/http"

	"lapid/transport/budget"
	"lapid/transport/conn"
	"lapid/transport/feed"
)

// Payer implements feed.Asker.
func (x *exchange) Payer() feed.Payer {
	return feed.Payer{Holder: budget.Holder{Name: x.Shown()}, Client: x.client}
}

// list answers with what run writes, at once when that is short, else in pieces, with
// its length before it if it is counted. run may run twice, and again after the
// handler has returned.
func (x *exchange) list(counted bool, run func(*feed.Writer) error) (err error) {
	x.out, err = feed.WriteBrief(x.out, run)
	if err == nil {
		x.json(http.StatusOK, x.out)
		return nil
	}
	if !errors.Is(err, feed.ErrLong) {
		return err
	}
	b, err := x.core.feed.List(&x.held, x, counted, run)
	if err != nil {
		return err
	}
	x.stream(jsonType, b, nil)
	return nil
}

// stream answers piece by piece, after the handler has returned. What was reserved for
// the answer is given back with its end.
func (x *exchange) stream(kind []byte, b *feed.StreamedBody, c conn.Cursor) {
	x.answer.Stream(kind, &longAnswer{b, x.reading}, c, x.keepBody)
	x.reading = nil
}

// longAnswer is an answer on its way over a connection.
type longAnswer struct {
	*feed.StreamedBody
	reading *feed.Part // what one alert of it takes
}

// Close gives back what the answer held.
func (a *longAnswer) Close() error {
	a.reading.Release()
	return a.StreamedBody.Close()
}
