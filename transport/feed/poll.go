package feed

import (
	"errors"
	"time"

	"lapid/engine"
	"lapid/transport/wire"
)

// Question is what a reader asks for, from wherever on.
type Question struct {
	// Raw is the query string as it came: readers that send the same bytes ask the
	// same. It is not kept.
	Raw []byte
	// Query is what Raw means, by wire.ParseStreamQuery, with the moment of asking
	// in Now: durations are reckoned from then.
	Query *engine.Query
}

// Poll is a bouncer that asks a question once.
type Poll struct {
	Question
	Row   *engine.BouncerRow // its cursor says from where on
	View  *engine.View       // the state that it is told, taken before the cursor is looked at
	Asker Asker
	// MayWait: the caller is a goroutine that may wait and compute for a while. If
	// not, what would need that is ErrWouldWait.
	MayWait bool
}

// Answer is what a poll is told, and what that does to the bouncer's cursor.
type Answer struct {
	Whole []byte        // all of it; never changed. nil:
	Body  *StreamedBody // it is long; to be sent and closed by the caller
	Moves CursorMove    // moves when it leaves; Row is nil when nothing does
}

// EmptyAnswer tells a bouncer that nothing has changed. It is never written to.
var EmptyAnswer = []byte(wire.StreamOpen + wire.StreamBetween + wire.StreamClose)

// ErrWouldWait is for a Poll without MayWait that takes more. Nothing was done.
var ErrWouldWait = errors.New("the answer takes time")

// second is the one in which durations are reckoned.
func (p *Poll) second() int64 { return p.Query.Now / int64(time.Second) }

// sameAs reports whether an answer of another state is as good as that of src. A full
// state lists what was over when it came, which is no change and in no delta; but it
// came with an alert. Answers are locked meanwhile: nothing here may wait.
func (p *Poll) sameAs(src, other *answerSource, at engine.Revision) bool {
	newer, older := src.view, at
	if at > newer.Revision() { // who came first is not always first here
		newer, older = other.view, src.view.Revision()
	}
	return p.unchanged(newer, older) && (src.delta != nil || src.view.NewestAlert() == other.view.NewestAlert())
}

// unchanged reports whether nothing that the question admits began or ended
// since an earlier revision. Many commits change no decision. What would not be
// told, because another decision on the target hides it, is a change all the
// same.
func (p *Poll) unchanged(view *engine.View, earlier engine.Revision) bool {
	return earlier < view.Revision() && view.Unchanged(earlier, p.Query)
}

// move is what an answer does to the bouncer's cursor that begins after a revision
// and tells everything up to the view's.
func (p *Poll) move(after engine.Revision) CursorMove {
	return CursorMove{engine.Delivery{Row: p.Row, After: after, To: p.View.Revision()}, p.Query.Now}
}
