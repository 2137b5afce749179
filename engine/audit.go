package engine

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"
)

// The audit says who did what: rows in the store that are made of the history after it, by
// a reader with a bookmark of its own (Trail), and rows about what never comes into the
// history, such as refused logins. A row is never changed. Each hangs on the one before by a
// hash, so that a row that was changed, removed or put in between shows (Trail.Verify).
//
// Rows are in one of two series. Deeds are told one by one. What machines and bouncers do by
// themselves, however often, is counted: a row for each name, address and minute. Each
// series is chained and forgotten by itself, so that a fleet that pushes does not drive out
// what an operator did.

// AuditSeries is where a row belongs. It is stored: numbers are never reused.
type AuditSeries uint8

// The series.
const (
	AuditDeeds   AuditSeries = 0 // told one by one
	AuditCounted AuditSeries = 1 // told once a minute
	auditSeries              = 2 // how many there are
)

// AuditRow is one row of the audit.
type AuditRow struct {
	Number   uint64 // ascending, over both series; given when it is stored
	Series   AuditSeries
	At       int64    // Unix nanoseconds: of the commit, or of the caller who was refused
	Revision Revision // the commit; 0: it is in none
	By       Actor
	Address  string // from where; "": this machine, or not known
	Action   string // noun and verb, such as machine.add
	Target   string // what it was done to
	// Before and After are JSON objects with the fields that differ; "": there was, or is,
	// nothing. Secrets are in neither: a key or password is the beginning of a hash of what
	// is stored of it.
	Before, After string
	Outcome       string // ok, or why not
	Token         uint32 // number of the API token with which an operator asked; 0: none
}

// ActorStranger is who was refused, under whatever name he gave. It is the audit's alone:
// no operation has it.
const ActorStranger ActorKind = 255

// AuditActorKind is the word for an actor's kind in the audit.
func AuditActorKind(k ActorKind) string {
	if k == ActorStranger {
		return "stranger"
	}
	return cmp.Or(k.String(), "unknown")
}

// AuditOK is the outcome of what was done.
const AuditOK = "ok"

// Bounds of a row's texts, in bytes; what is longer is cut, and ends in an ellipsis.
const (
	longestAuditWord = 512     // target, address, outcome
	longestAuditText = 8 << 10 // before and after, which are made so that they fit
	auditedNames     = 64      // of one operation that have rows of their own; beyond, one row stands for all
	auditedItems     = 20      // that a row names
)

// AuditOptions is how much of the audit is kept.
type AuditOptions struct {
	MaxAge  time.Duration // of rows; 0: 90 days; negative: any
	MaxRows int           // of each series; 0: a million; negative: any number
}

const (
	usualAuditAge  = 90 * 24 * time.Hour
	usualAuditRows = 1_000_000
)

func (o *AuditOptions) withDefaults() *AuditOptions {
	if o == nil {
		return nil
	}
	return &AuditOptions{MaxAge: cmp.Or(o.MaxAge, usualAuditAge), MaxRows: cmp.Or(o.MaxRows, usualAuditRows)}
}

// auditHash chains rows.
type auditHash [sha256.Size]byte

// auditRowVersion begins a stored row. Fields are added at its end.
const auditRowVersion = 1

// auditKey is where a row stands.
func auditKey(s AuditSeries, number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{byte(s)}, number)
}

// storedRow is a row as it lies in the store, with what chains it.
type storedRow struct {
	AuditRow
	before uint64    // number of the row before it in its series; 0: none
	latest int64     // no row up to this one is of a later time: At may go back, this does not
	hash   auditHash // of the hash before and all of the above
}

// append writes the row as it is stored: its hash, then what is hashed.
func (r *storedRow) append(dst []byte, link *auditHash) []byte {
	from := len(dst)
	dst = append(dst, make([]byte, len(r.hash))...)
	dst = append(dst, auditRowVersion)
	for _, n := range [...]uint64{r.before, uint64(r.Revision), uint64(r.By.Kind)} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = binary.AppendVarint(binary.AppendVarint(dst, r.At), r.latest)
	for _, s := range [...]string{r.By.Name, r.Address, r.Action, r.Target, r.Before, r.After, r.Outcome} {
		dst = appendString(dst, s)
	}
	if r.Token != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.Token))
	}
	r.hash = chained(link, r.Series, r.Number, dst[from+len(r.hash):])
	copy(dst[from:], r.hash[:])
	return dst
}

// chained is the hash of a row behind another.
func chained(link *auditHash, s AuditSeries, number uint64, content []byte) auditHash {
	h := sha256.New()
	h.Write(link[:])
	h.Write(auditKey(s, number))
	h.Write(content)
	return auditHash(h.Sum(nil))
}

// decode is the mirror of append. key is the row's.
func (r *storedRow) decode(key, value []byte) error {
	if len(key) != 9 || key[0] >= auditSeries {
		return errRecord
	}
	r.Series, r.Number = AuditSeries(key[0]), idOf(key[1:])
	d := decoder{rest: value, version: recordVersion}
	d.fixed(r.hash[:])
	if d.byte() != auditRowVersion {
		d.fail()
	}
	r.before, r.Revision = d.uvarint(), Revision(d.uvarint())
	kind := d.uvarint()
	r.By.Kind = ActorKind(kind)
	r.At, r.latest = d.varint(), d.varint()
	for _, s := range [...]*string{&r.By.Name, &r.Address, &r.Action, &r.Target, &r.Before, &r.After, &r.Outcome} {
		*s = d.string()
	}
	if len(d.rest) > 0 && d.err == nil {
		r.Token = uint32(min(d.uvarint(), 1<<32-1))
	}
	if kind > 255 {
		d.fail()
	}
	return d.err
}

// bounded cuts what is too long.
func (r *AuditRow) bounded() {
	r.By = r.By.bounded()
	for _, s := range [...]*string{&r.Address, &r.Target, &r.Outcome} {
		*s = cutTo(*s, longestAuditWord)
	}
	for _, s := range [...]*string{&r.Before, &r.After} {
		if len(*s) > longestAuditText { // an object that is cut is none
			*s = jsonText(map[string]any{"cut": len(*s)})
		}
	}
}

// auditHead is where the audit stands: one row of the store, written with the rows.
type auditHead struct {
	// told is the revision up to which deeds have their rows, counted the one up to which
	// what is counted has. The first is the larger one or equal: a minute is counted when it
	// is over, and begun anew after a crash.
	told, counted Revision
	next          uint64 // number of the next row
	latest        int64
	series        [auditSeries]auditChain
	bytes         uint64 // of all rows and their keys, as they were written
}

// auditChain is one series.
type auditChain struct {
	rows       uint64    // how many there are
	gone       uint64    // number of the last row that was forgotten; 0: none was
	goneHash   auditHash // of it
	goneAt     int64     // when that was
	last       uint64    // number of the last row; gone, if there is none
	lastHash   auditHash
	everything uint64 // rows ever
}

const auditHeadVersion = 1

func (h *auditHead) append(dst []byte) []byte {
	dst = append(dst, auditHeadVersion)
	for _, n := range [...]uint64{uint64(h.told), uint64(h.counted), h.next} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = binary.AppendVarint(dst, h.latest)
	for i := range h.series {
		c := &h.series[i]
		for _, n := range [...]uint64{c.rows, c.gone, c.last, c.everything} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst = binary.AppendVarint(dst, c.goneAt)
		dst = append(append(dst, c.goneHash[:]...), c.lastHash[:]...)
	}
	return binary.AppendUvarint(dst, h.bytes)
}

func (h *auditHead) decode(value []byte) error {
	d := decoder{rest: value, version: recordVersion}
	if d.byte() != auditHeadVersion {
		d.fail()
	}
	h.told, h.counted, h.next, h.latest = Revision(d.uvarint()), Revision(d.uvarint()), d.uvarint(), d.varint()
	for i := range h.series {
		c := &h.series[i]
		for _, n := range [...]*uint64{&c.rows, &c.gone, &c.last, &c.everything} {
			*n = d.uvarint()
		}
		c.goneAt = d.varint()
		d.fixed(c.goneHash[:])
		d.fixed(c.lastHash[:])
	}
	if len(d.rest) > 0 && d.err == nil {
		h.bytes = d.uvarint()
	}
	if h.counted > h.told {
		d.fail()
	}
	return d.err
}

// enter gives a row its place behind the others and returns it as it is stored.
func (h *auditHead) enter(row *AuditRow) (key, value []byte) {
	row.bounded()
	c := &h.series[row.Series]
	row.Number, h.next = h.next, h.next+1
	h.latest = max(h.latest, row.At)
	s := storedRow{AuditRow: *row, before: c.last, latest: h.latest}
	value = s.append(nil, &c.lastHash)
	c.last, c.lastHash = row.Number, s.hash
	c.rows++
	c.everything++
	key = auditKey(row.Series, row.Number)
	h.bytes += uint64(len(key) + len(value))
	return key, value
}

// jsonText is a small value in JSON; it has nothing that cannot be written.
func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return `{"unreadable":true}`
	}
	return string(b)
}
