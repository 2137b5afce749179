package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
)

// A Bookmark is how far a reader of the history has come, durably and under a name: what
// sends news out of the house (another server, a notification, an audit) goes on from there
// after a restart, so each commit reaches it at least once and in order.
//
// What is behind the slowest bookmark is kept for it: events in memory, within
// Options.History, and commits in the journal, within Options.BookmarkBytes. A reader that
// falls behind that is told of once in the log and counted in the metrics; Commits tells it,
// and it starts over by its own rule. It holds nothing back then.
//
// At most mostBookmarks there are. Any goroutine may use one.
type Bookmark struct {
	engine *Engine
	name   string
}

// mostBookmarks bounds them: they are named by programs, not by operators.
const mostBookmarks = 64

// Bookmark returns the bookmark of a name, at most LongestName bytes long. It is stored
// once it is moved.
func (e *Engine) Bookmark(name string) *Bookmark { return &Bookmark{e, name} }

// At returns the revision up to which everything is done with, and whether the bookmark is
// stored at all.
func (b *Bookmark) At() (Revision, bool) {
	rev, stored := b.engine.View().bookmarks[b.name]
	return rev, stored
}

// Move notes durably that everything up to a revision is done with: a commit, so a reader
// that is busy moves now and then, and not at each revision. To where it is or before that
// it does nothing. Errors: ErrInvalid, for a revision that is not there yet and for one
// bookmark too many, and those of every write.
func (b *Bookmark) Move(ctx context.Context, to Revision) error {
	o := &moveBookmark{b.name, to}
	return b.engine.propose(ctx, &proposal{op: o, key: "bookmark:" + b.name, resolve: func(v *View) (op, error) {
		at, stored := v.bookmarks[b.name]
		switch {
		case stored && to <= at:
			return nil, nil
		case to > v.revision:
			return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("bookmark %q cannot move to revision %d, the newest is %d", b.name, to, v.revision)}
		case b.name == "" || len(b.name) > LongestName:
			return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("a bookmark's name has %d bytes, and 1 to %d", len(b.name), LongestName)}
		case !stored && len(v.bookmarks) >= mostBookmarks:
			return nil, &Error{Kind: ErrInvalid, Text: fmt.Sprintf("there are %d bookmarks, and no more are kept", len(v.bookmarks))}
		}
		return o, nil
	}})
}

// Drop forgets the bookmark, and nothing is kept for it any more. One that is not there is
// dropped already.
func (b *Bookmark) Drop(ctx context.Context) error {
	o := &dropBookmark{b.name}
	return b.engine.propose(ctx, &proposal{op: o, key: "bookmark:" + b.name, resolve: func(v *View) (op, error) {
		if _, stored := v.bookmarks[b.name]; !stored {
			return nil, nil
		}
		return o, nil
	}})
}

// EachBookmark yields the stored bookmarks, the slowest first.
func (v *View) EachBookmark() iter.Seq2[string, Revision] {
	names := slices.SortedFunc(maps.Keys(v.bookmarks), func(a, b string) int {
		return cmp.Or(cmp.Compare(v.bookmarks[a], v.bookmarks[b]), cmp.Compare(a, b))
	})
	return func(yield func(string, Revision) bool) {
		for _, name := range names {
			if !yield(name, v.bookmarks[name]) {
				return
			}
		}
	}
}

// historyFloor is the revision up to which Commits cannot tell any more.
func (e *Engine) historyFloor() Revision {
	return max(Revision(e.state.history.Floor()), Revision(e.journalFloor.Load()))
}

// awaited is the revision of the slowest bookmark that the history still reaches back to;
// what comes after it is kept. Without any it is the highest there is.
func (e *Engine) awaited(v *View) Revision {
	floor := e.historyFloor()
	for _, rev := range v.EachBookmark() {
		if rev >= floor {
			return rev
		}
	}
	return math.MaxUint64
}

// trimmable is how far the journal may be trimmed for the bookmarks' sake: up to the slowest
// one for which no more than Options.BookmarkBytes have to be kept. The committer's.
func (e *Engine) trimmable(v *View) (Revision, error) {
	floor := e.historyFloor()
	for rev := range e.eachAwaited(v) {
		if rev < floor {
			continue
		}
		kept, err := e.store.JournalBytes(uint64(rev))
		if err != nil {
			return 0, err
		}
		if int64(min(kept, math.MaxInt64)) <= e.options.BookmarkBytes {
			return rev, nil
		}
	}
	return math.MaxUint64, nil
}

// eachAwaited yields the revisions behind which commits are kept for somebody, ascending: of
// the bookmarks, and of the audit, which keeps its own.
func (e *Engine) eachAwaited(v *View) iter.Seq[Revision] {
	audit, there := e.trail.awaits()
	return func(yield func(Revision) bool) {
		for _, rev := range v.EachBookmark() {
			if there && audit < rev {
				if there = false; !yield(audit) {
					return
				}
			}
			if !yield(rev) {
				return
			}
		}
		if there {
			yield(audit)
		}
	}
}

// tellLost says of each bookmark once that the history does not reach back to it any more.
// The committer's.
func (e *Engine) tellLost() {
	v, floor := e.View(), e.historyFloor()
	maps.DeleteFunc(e.lost, func(name string, at Revision) bool { return v.bookmarks[name] != at })
	for name, rev := range v.EachBookmark() {
		if _, told := e.lost[name]; told || rev >= floor {
			continue
		}
		if e.lost == nil {
			e.lost = map[string]Revision{}
		}
		e.lost[name] = rev
		e.counters.bookmarksLost.Add(1)
		e.log.Warn("a reader of the history has fallen behind what is kept for it, and starts over when it comes again",
			"bookmark", name, "revision", rev, "kept_after", floor, "newest", v.revision,
			"kept_bytes", e.options.BookmarkBytes, "kept_events", e.options.History)
	}
}

// moveBookmark sets a bookmark, forward only.
type moveBookmark struct {
	name string
	to   Revision
}

func (*moveBookmark) number() byte { return numberMoveBookmark }
func (o *moveBookmark) append(dst []byte) []byte {
	return binary.AppendUvarint(appendString(dst, o.name), uint64(o.to))
}
func (o *moveBookmark) decode(d *decoder) { o.name, o.to = d.string(), Revision(d.uvarint()) }
func (o *moveBookmark) apply(s *state, rev Revision) {
	if at, stored := s.next.bookmarks[o.name]; stored && o.to <= at {
		return
	}
	marks := maps.Clone(s.next.bookmarks)
	if marks == nil {
		marks = map[string]Revision{}
	}
	marks[o.name] = o.to
	s.next.bookmarks = marks
}

// dropBookmark forgets one.
type dropBookmark struct{ name string }

func (*dropBookmark) number() byte               { return numberDropBookmark }
func (o *dropBookmark) append(dst []byte) []byte { return appendString(dst, o.name) }
func (o *dropBookmark) decode(d *decoder)        { o.name = d.string() }
func (o *dropBookmark) apply(s *state, rev Revision) {
	marks := maps.Clone(s.next.bookmarks)
	delete(marks, o.name)
	s.next.bookmarks = marks
}

// writeBookmarks adds them to a snapshot.
func (v *View) writeBookmarks(w *sections) {
	for name, rev := range v.EachBookmark() {
		from := len(w.body)
		w.body = binary.AppendUvarint(appendString(w.body, name), uint64(rev))
		if w.row(from) {
			w.end(sectionBookmarks)
		}
	}
	w.end(sectionBookmarks)
}

// readBookmarks is the mirror.
func (l *loader) readBookmarks(d *decoder) {
	marks := map[string]Revision{}
	for n := d.count(3); n > 0 && d.err == nil; n-- {
		behind := d.open()
		name, rev := d.string(), Revision(d.uvarint())
		d.close(behind)
		if _, twice := marks[name]; twice || uint64(rev) > l.rev || len(marks) >= mostBookmarks {
			d.fail()
		}
		marks[name] = rev
	}
	l.state.next.bookmarks = marks
}
