package export

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"
	"unsafe"

	"lapid/engine"
)

// Body is one list, written, with what is said of it. It is never changed, and shared by all
// who pull it. The definition it was made by is part of it.
type Body struct {
	Export   *engine.Export
	Format   *Format
	Revision engine.Revision // of the view in which it was another first
	Modified int64           // the moment of that, Unix nanoseconds
	Written  int64           // when the bytes were written
	Tag      []byte          // ETag of the bytes as they are, with its quotes
	Packed   []byte          // ETag of the compressed ones
	Plain    []byte
	Count    int // entries in it
	Total    int // before the limit, pages and shards
	Left     Left
	Held     bool // a newer list lost more than half without a reason, and is held back

	digest string
	part   string
	next   int64 // when the list is another by itself; 0: never
	packed func() []byte
	sums   func() [sums][]byte
}

// Gzip is the bytes compressed, once for all.
func (b *Body) Gzip() []byte { return b.packed() }

// Sum is a digest that some devices ask for beside a list, to see whether it has changed.
type Sum uint8

// Sums there are.
const (
	NoSum Sum = iota
	MD5
	SHA256
	sums
)

// sumEnds are what a list's name has behind it where its digest is asked for.
var sumEnds = [sums]string{MD5: ".md5", SHA256: ".sha256"}

// CutSum takes from a name what asks for a digest.
func CutSum(name string) (string, Sum) {
	for sum, end := range sumEnds {
		if list, found := strings.CutSuffix(name, end); found && end != "" && list != "" {
			return list, Sum(sum)
		}
	}
	return name, NoSum
}

// Sum is the digest of Plain, in hexadecimal, computed once for all.
func (b *Body) Sum(which Sum) []byte { return b.sums()[which] }

// size is what it takes in memory, or will once somebody wants it compressed.
func (b *Body) size() int64 { return int64(len(b.Plain)) + int64(len(b.Plain)/2) }

// Write makes the body of an export at one moment. asked narrows it.
func Write(v *engine.View, x *engine.Export, asked *Asked, now int64) (*Body, error) {
	l, err := choiceOf(v, x, asked, now, nil)
	if err != nil {
		return nil, err
	}
	return l.write(&asked.Part, now), nil
}

// list is what is on an export as it is asked for, before it is parted: what all bodies of it are
// written from. Its entries are not changed, but may be let go of (letGo), by who has its place locked.
type list struct {
	export, narrowed *engine.Export
	format           *Format
	choice           *Choice // finished; without entries where they were let go of
	digest           string  // of all of it
	count            int
	made, next       int64 // when it was looked at, and when it is another by itself
	held             bool  // it is an older one: the present one lost more than half without a reason
	asked            string
}

// choiceOf finds out what is on an export as asked narrows it, but for the part. room is asked
// before memory is taken; nil: there is enough.
func choiceOf(v *engine.View, x *engine.Export, asked *Asked, now int64, room func(int64) bool) (*list, error) {
	narrowed, nothing, err := asked.narrow(x)
	if err != nil {
		return nil, err
	}
	f, err := Check(narrowed)
	if err != nil {
		return nil, err
	}
	c, err := choose(v, narrowed, now, room)
	if err != nil {
		return nil, err
	}
	if nothing {
		c.Entries = nil
	}
	c.Finish(f, narrowed)
	l := &list{export: x, narrowed: narrowed, format: f, choice: c, count: len(c.Entries), made: now, asked: asked.listKey()}
	l.digest = c.Digest(f, narrowed) // which may say when the list is another
	l.next = c.Next
	return l, nil
}

// size is what its entries take.
func (l *list) size() int64 { return int64(cap(l.choice.Entries)) * int64(unsafe.Sizeof(Entry{})) }

// bodySize is about what a body of it will take.
func (l *list) bodySize() int64 {
	n := int64(l.format.PerEntry)
	return int64(l.count) * (n + n/4)
}

// letGo keeps what is known of a list without its entries.
func (l *list) letGo() {
	bare := *l.choice
	bare.Entries = nil
	l.choice = &bare
}

// bare is a copy that says how many entries there were, and when.
func (l *list) bare() *list {
	known := *l
	known.choice = &Choice{}
	return &known
}

// write makes the body of a part of the list.
func (l *list) write(part *Part, now int64) *Body {
	c := l.choice.at(l.format, l.narrowed, part, now)
	digest := c.Digest(l.format, l.narrowed)
	b := &Body{Export: l.export, Format: l.format, Revision: c.Revision, Modified: c.Now, Written: c.Now, Count: len(c.Entries), Total: c.Total, Left: c.Left, Held: l.held,
		next: c.Next, part: part.key(l.asked), digest: digest}
	if l.held {
		b.next = 0
	}
	b.Plain = fitted(Render(c, l.format, l.narrowed))
	b.settle(l.export)
	return b
}

// settle makes tags and the way to compress. The tag is a hash of the definition and of the
// list, so it is the same on every server with the same decisions.
func (b *Body) settle(x *engine.Export) {
	weak := ""
	if b.Format.TellsTime(x) || b.Format.Dated {
		weak = "W/"
	}
	definition := textDigest(fmt.Sprint(x.Format, "\x00", x.Options, "\x00", x.Name, "\x00", x.Family, x.Aggregate, "\x00", b.part))
	b.Tag = fmt.Appendf(nil, `%s"%016x-%s"`, weak, definition, b.digest)
	b.Packed = fmt.Appendf(nil, `%s"%016x-%s-gzip"`, weak, definition, b.digest)
	b.packed = sync.OnceValue(func() []byte {
		var out bytes.Buffer
		out.Grow(len(b.Plain)/3 + 64)
		w, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed) // the level is one that there is
		_, _ = w.Write(b.Plain)                           // a buffer takes all
		_ = w.Close()
		return fitted(out.Bytes())
	})
	b.sums = sync.OnceValue(func() (all [sums][]byte) {
		all[MD5], all[SHA256] = fmt.Appendf(nil, "%x", md5.Sum(b.Plain)), fmt.Appendf(nil, "%x", sha256.Sum256(b.Plain))
		return all
	})
}

// fitted is bytes that are kept, without much room behind them.
func fitted(b []byte) []byte {
	if cap(b)-len(b) <= len(b)/32 {
		return b
	}
	return append(make([]byte, 0, len(b)), b...)
}

// longestWritten is how old the bytes of a format may be that tell what is left.
const longestWritten = 10 * time.Second

// stale reports whether its bytes tell another time than the present.
func (b *Body) stale(now int64) bool {
	return b.Format.TellsTime(b.Export) && now-b.Written >= int64(longestWritten)
}
