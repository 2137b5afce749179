package engine

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// Cursor is a place in a list: behind, or in front of, one row of it. It knows the revision and the moment
// of the list's first page, as of which the others are made, so that rows neither jump nor come twice. It
// never changes.
type Cursor struct {
	rev    Revision
	at     int64
	back   bool    // the rows in front of it are asked for
	print  [8]byte // of filter and order
	totals Totals
	key    sortKey
	id     uint64
}

// Revision is that of the list.
func (c *Cursor) Revision() Revision { return c.rev }

// At is the moment of the list's first page, Unix nanoseconds: what a filter says relative to now is
// relative to it.
func (c *Cursor) At() int64 { return c.at }

// sortKey is what rows are put in order by, and then by id.
type sortKey struct {
	n, m uint64
	text string
}

func (k *sortKey) compare(o *sortKey) int {
	switch {
	case k.n != o.n:
		return cmp.Compare(k.n, o.n)
	case k.m != o.m:
		return cmp.Compare(k.m, o.m)
	}
	return strings.Compare(k.text, o.text)
}

// cursorVersion is of a cursor's layout.
const cursorVersion = 1

// longestCursor bounds what ParseCursor reads, in bytes.
const longestCursor = 16 << 10

// String is the cursor as it goes over the wire: letters, digits, - and _.
func (c *Cursor) String() string {
	b := append([]byte{cursorVersion}, c.print[:]...)
	b = binary.AppendVarint(binary.AppendUvarint(b, uint64(c.rev)), c.at)
	b = appendBool(appendBool(b, c.back), c.totals.AtLeast)
	for _, n := range [...]uint64{uint64(c.totals.Rows), uint64(c.totals.Matches), c.key.n, c.key.m, c.id} {
		b = binary.AppendUvarint(b, n)
	}
	b = appendString(b, c.key.text)
	return base64.RawURLEncoding.EncodeToString(binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}

// ParseCursor is the mirror. The error is of kind ErrInvalid.
func ParseCursor(text string) (*Cursor, error) {
	none := invalid("the cursor is not one that a page before has given")
	if len(text) > longestCursor {
		return nil, none
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 5 || b[0] != cursorVersion {
		return nil, none
	}
	b, sum := b[:len(b)-4], b[len(b)-4:]
	if crc32.ChecksumIEEE(b) != binary.LittleEndian.Uint32(sum) {
		return nil, none
	}
	d, c := decoder{rest: b[1:]}, &Cursor{}
	d.fixed(c.print[:])
	c.rev, c.at = Revision(d.uvarint()), d.varint()
	c.back, c.totals.AtLeast = d.bool(), d.bool()
	c.totals.Rows, c.totals.Matches = int(d.uvarint()), int(d.uvarint())
	c.key.n, c.key.m, c.id = d.uvarint(), d.uvarint(), d.uvarint()
	if c.key.text = d.string(); d.err != nil || len(d.rest) > 0 {
		return nil, none
	}
	return c, nil
}
