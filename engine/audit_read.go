package engine

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"

	"lapid/persist"
)

// AuditQuery says which rows are asked for. The zero query is all of them, the newest first.
type AuditQuery struct {
	Since, Until int64  // Unix nanoseconds; Until is not in it; 0: open
	Kind, Actor  string // the actor's kind, as AuditActorKind has it, and its name
	Action       string // the whole, or the noun alone
	Target       string // the whole, or a beginning followed by *
	Deeds        bool   // without what is counted
	Before       uint64 // only rows of smaller numbers, for the next page; 0: from the newest on
	Oldest       bool   // the oldest first; Before then means larger numbers
}

// Each hands over the rows that fit, until yield returns false: each its own, to be kept. It
// reads the store while it goes, and sees nothing that is written meanwhile. Errors are that
// of ctx and those of reading.
func (t *Trail) Each(ctx context.Context, q *AuditQuery, yield func(*AuditRow) bool) error {
	var failed error
	next, stop := iter.Pull(t.merged(ctx, q, &failed))
	defer stop()
	for n := 0; ; n++ {
		r, ok := next()
		if !ok {
			return failed
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if q.Since != 0 && !q.Oldest && r.latest < q.Since {
			return nil // nor is any that is older
		}
		if q.fits(&r.AuditRow) && !yield(&r.AuditRow) {
			return nil
		}
	}
}

// fits tells whether a row is asked for.
func (q *AuditQuery) fits(r *AuditRow) bool {
	if q.Since != 0 && r.At < q.Since || q.Until != 0 && r.At >= q.Until {
		return false
	}
	if q.Kind != "" && AuditActorKind(r.By.Kind) != q.Kind || q.Actor != "" && r.By.Name != q.Actor {
		return false
	}
	if noun, _, _ := strings.Cut(r.Action, "."); q.Action != "" && q.Action != r.Action && q.Action != noun {
		return false
	}
	if head, open := strings.CutSuffix(q.Target, "*"); q.Target != "" && r.Target != q.Target && !(open && strings.HasPrefix(r.Target, head)) {
		return false
	}
	return true
}

// merged walks both series at once, by number.
func (t *Trail) merged(ctx context.Context, q *AuditQuery, failed *error) iter.Seq[*storedRow] {
	series := []AuditSeries{AuditDeeds, AuditCounted}
	if q.Deeds {
		series = series[:1]
	}
	return func(yield func(*storedRow) bool) {
		var heads [auditSeries]*storedRow
		var pulls [auditSeries]func() (*storedRow, bool)
		for i, s := range series {
			pull, stop := iter.Pull(t.stored(ctx, s, q, failed))
			defer stop()
			pulls[i] = pull
			heads[i], _ = pull()
		}
		for {
			at := -1
			for i := range heads {
				if heads[i] != nil && (at < 0 || (heads[i].Number < heads[at].Number) == q.Oldest) {
					at = i
				}
			}
			if at < 0 || *failed != nil || !yield(heads[at]) {
				return
			}
			heads[at], _ = pulls[at]()
		}
	}
}

// stored yields the rows of a series from the page's beginning on.
func (t *Trail) stored(ctx context.Context, s AuditSeries, q *AuditQuery, failed *error) iter.Seq[*storedRow] {
	from, to := auditKey(s, 0), auditKey(s+1, 0)
	switch {
	case q.Before != 0 && q.Oldest:
		from = auditKey(s, q.Before+1)
	case q.Before != 0:
		to = auditKey(s, q.Before)
	}
	return func(yield func(*storedRow) bool) {
		err := t.e.store.ScanRows(rowAudit, from, to, !q.Oldest, func(key, value []byte) (bool, error) {
			r := &storedRow{}
			if err := r.decode(key, value); err != nil {
				return false, fmt.Errorf("%w: a row of the audit (key %x) cannot be read: lapid audit verify says more", persist.ErrCorrupt, key)
			}
			return yield(r), ctx.Err()
		})
		if err != nil && *failed == nil {
			*failed = err
		}
	}
}

// AuditSeal says where the audit begins and ends: whoever keeps it elsewhere can tell later
// whether the rows up to there are still those.
type AuditSeal struct {
	Series AuditSeries
	Rows   uint64 // there are
	Ever   uint64 // there were, with those that were forgotten
	Gone   uint64 // number of the last one that was forgotten
	GoneAt int64  // when
	Last   uint64 // number of the last one
	Hash   string // of it, in hexadecimal
}

// AuditFault is a place where the audit is not as it was written.
type AuditFault struct {
	Series AuditSeries
	Number uint64 // of the row at which it shows; 0: of none
	Text   string
}

// AuditVerdict is what Verify has found.
type AuditVerdict struct {
	Told   Revision // the history is told up to here
	Seals  [auditSeries]AuditSeal
	Faults []AuditFault // none: every row is as it was written, and none is missing
	More   int          // faults beyond those that are named
}

// mostAuditFaults is how many are named.
const mostAuditFaults = 100

// Verify reads every row and looks whether each is as it was written, and behind the one
// that was before it then. expect are hashes of rows that somebody has kept, by their number:
// so a chain that was made anew from one row on shows too. Errors are those of reading, and
// ErrNotFound when there is no audit.
func (t *Trail) Verify(ctx context.Context, expect map[uint64]string) (*AuditVerdict, error) {
	t.mu.Lock() // nothing is forgotten meanwhile
	defer t.mu.Unlock()
	for {
		head := t.head.Load()
		if head == nil {
			if t.broken != nil {
				return nil, t.off()
			}
			return nil, &Error{Kind: ErrNotFound, Text: "there is no audit yet"}
		}
		v, err := t.review(ctx, head, expect)
		if err != nil {
			return nil, err
		}
		if len(v.Faults) == 0 || *t.head.Load() == *head { // else a backup has written rows meanwhile
			return v, nil
		}
	}
}

// review is one look at all rows, by a head.
func (t *Trail) review(ctx context.Context, head *auditHead, expect map[uint64]string) (*AuditVerdict, error) {
	v := &auditReview{AuditVerdict: AuditVerdict{Told: head.told}, expect: expect, seen: map[uint64]bool{}}
	for s := range AuditSeries(auditSeries) {
		if err := v.series(ctx, t.e.store, s, &head.series[s]); err != nil {
			return nil, err
		}
	}
	for number := range expect {
		if !v.seen[number] {
			v.fault(0, number, "row %d, whose hash was given, is not there", number)
		}
	}
	return &v.AuditVerdict, nil
}

// auditReview is a verification that goes on.
type auditReview struct {
	AuditVerdict
	expect map[uint64]string
	seen   map[uint64]bool // of those that are expected
}

func (v *auditReview) fault(s AuditSeries, number uint64, format string, args ...any) {
	if len(v.Faults) == mostAuditFaults {
		v.More++
		return
	}
	v.Faults = append(v.Faults, AuditFault{s, number, fmt.Sprintf(format, args...)})
}

// series goes through one.
func (v *auditReview) series(ctx context.Context, store *persist.Store, s AuditSeries, c *auditChain) error {
	seal := &v.Seals[s]
	*seal = AuditSeal{Series: s, Rows: c.rows, Ever: c.everything, Gone: c.gone, GoneAt: c.goneAt, Last: c.last, Hash: hex.EncodeToString(c.lastHash[:])}
	link, last, rows := c.goneHash, c.gone, uint64(0)
	behind := []uint64(nil) // the last one, by number
	err := store.ScanRows(rowAudit, auditKey(s, 0), auditKey(s+1, 0), false, func(key, value []byte) (bool, error) {
		if number := numberAt(key); number > c.last {
			if len(behind) <= mostAuditFaults {
				behind = append(behind, number)
			}
			return len(behind) <= mostAuditFaults, ctx.Err()
		}
		r := &storedRow{}
		if r.decode(key, value) != nil {
			v.fault(s, numberAt(key), "row %d cannot be read: it was changed", numberAt(key))
			return true, ctx.Err()
		}
		rows++
		switch real := chained(&link, s, r.Number, value[len(r.hash):]); {
		case r.Number <= c.gone:
			v.fault(s, r.Number, "row %d is there, and was forgotten with all up to %d", r.Number, c.gone)
			return true, ctx.Err()
		case r.before != last:
			v.fault(s, r.Number, "row %d does not follow row %d but row %d: what was between is missing, or something was put there", r.Number, last, r.before)
		case real != r.hash:
			v.fault(s, r.Number, "row %d, or the one before it (%d), was changed", r.Number, last)
		}
		if want, ok := v.expect[r.Number]; ok {
			if v.seen[r.Number] = true; want != hex.EncodeToString(r.hash[:]) {
				v.fault(s, r.Number, "row %d is not the one whose hash was given: the chain was made anew", r.Number)
			}
		}
		link, last = r.hash, r.Number
		return true, ctx.Err()
	})
	if err != nil {
		return err
	}
	for _, number := range behind {
		v.fault(s, number, "row %d stands behind the last one, %d: it was put there", number, c.last)
	}
	if last != c.last || link != c.lastHash {
		v.fault(s, c.last, "the last row is %d, and %d was written last", last, c.last)
	}
	if rows != c.rows {
		v.fault(s, 0, "there are %d rows, and %d were written and not forgotten", rows, c.rows)
	}
	if number, ok := v.expect[c.gone]; ok && c.gone != 0 {
		if v.seen[c.gone] = true; number != hex.EncodeToString(c.goneHash[:]) {
			v.fault(s, c.gone, "row %d, forgotten since, was not the one whose hash was given", c.gone)
		}
	}
	return nil
}

// numberAt is the number in a row's key, as far as it is one.
func numberAt(key []byte) uint64 {
	if len(key) != 9 {
		return 0
	}
	return idOf(key[1:])
}

// auditForgottenAtOnce is how many rows one write forgets.
const auditForgottenAtOnce = 16_384

// Retain forgets, from each series' beginning, rows that are too old or too many, in bounded
// steps. The chain goes on from the last that was forgotten. Errors are Follow's.
func (t *Trail) Retain(ctx context.Context) (forgotten int, err error) {
	if !t.on() {
		return 0, t.off()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range AuditSeries(auditSeries) {
		for more := true; more; {
			var n int
			if n, more, err = t.retain(ctx, s); err != nil {
				t.walk = nil
				return forgotten, err
			}
			forgotten += n
		}
	}
	return forgotten, nil
}

func (t *Trail) retain(ctx context.Context, s AuditSeries) (n int, more bool, err error) {
	w, err := t.current(ctx)
	if err != nil {
		return 0, false, err
	}
	o, now, c := t.e.options.Audit, t.e.Now(), &w.head.series[s]
	last, unread, damaged, bytes := storedRow{}, 0, 0, uint64(0)
	err = t.e.store.ScanRows(rowAudit, auditKey(s, 0), auditKey(s, c.last+1), false, func(key, value []byte) (bool, error) {
		var r storedRow
		if r.decode(key, value) != nil {
			unread++ // it goes with the next one that can be read, or stays with it
			return true, ctx.Err()
		}
		many := o.MaxRows > 0 && c.rows-min(c.rows, uint64(n+unread)) > uint64(o.MaxRows)
		old := o.MaxAge > 0 && r.latest < now-int64(o.MaxAge)
		if !many && !old || n >= auditForgottenAtOnce {
			more = many || old
			return false, ctx.Err()
		}
		n, damaged, unread, last = n+1+unread, damaged+unread, 0, r
		bytes += uint64(len(key) + len(value))
		return true, ctx.Err()
	})
	if err != nil || n == 0 {
		return 0, false, err
	}
	w.batch.DeleteRange(rowAudit, auditKey(s, 0), auditKey(s, last.Number+1))
	c.rows -= min(c.rows, uint64(n))
	w.head.bytes -= min(w.head.bytes, bytes)
	c.gone, c.goneHash, c.goneAt = last.Number, last.hash, now
	if damaged > 0 { // the rows are no more there to be seen by Verify, so a row says that they were
		w.rev, w.at, w.by, w.told, w.address, w.from = 0, now, Actor{Kind: ActorServer}, false, "", Sender{}
		w.row(&AuditRow{Action: "audit.forget", Target: fmt.Sprintf("rows up to %d", last.Number), Before: jsonText(auditFields{"unreadable": damaged})})
		t.e.log.Warn("rows of the audit were forgotten that could not be read: they had been changed", "rows", damaged, "up_to", last.Number)
	}
	return n, more, t.e.perform(ctx, func(*View) error { return t.write(w) })
}
