package index

import (
	"fmt"
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// Strings gives each text one number: scenarios, origins, types, scopes, values
// that are not addresses. A text is kept as long as it has holders; then its
// memory goes and its number is given again. "" is 0, always, and is not held.
//
//	text ──hash──► packed table ──number──► cells ──► text
//
// One writer, many readers; the zero Strings is empty and ready. How long and
// how many texts may be is the caller's to limit.
type Strings struct {
	table packed                      // 32 bits of a text's hash → its number
	cells array[atomic.Pointer[text]] // by number

	// The writer's own.
	holders []uint32 // by number
	free    []uint32 // numbers given back, the latest last
}

// text never changes once it is in a cell.
type text struct {
	text  string
	plain bool
}

var textSeed = maphash.MakeSeed()

func textKey(text string) uint32 { return uint32(maphash.String(textSeed, text)) }

// Lookup returns the number of a text if it has one. Any goroutine; text is not
// kept. The number stays the text's as long as a holder is known to have it.
func (s *Strings) Lookup(text string) (uint32, bool) {
	if text == "" {
		return 0, true
	}
	key := textKey(text)
	search := s.table.of(hash32(key), key)
	for n := search.next(); n != 0; n = search.next() {
		// The cell is empty, or another text's, when n was released just now.
		if held := s.cells.at(n).Load(); held != nil && held.text == text {
			return n, true
		}
	}
	return 0, false
}

// At returns the text of a number that a live record holds; it may be kept. Any
// goroutine.
func (s *Strings) At(n uint32) string {
	if n == 0 {
		return ""
	}
	return s.cells.at(n).Load().text
}

// Plain says whether a text is printable ASCII without " \ < > &, so that an
// encoder may copy it as it is. Any goroutine; n is held by a live record.
func (s *Strings) Plain(n uint32) bool {
	return n == 0 || s.cells.at(n).Load().plain
}

// Acquire returns the number of a text, giving it one if it has none, and
// counts one more holder. It copies the text. The writer's alone.
func (s *Strings) Acquire(text string) uint32 {
	n, known := s.Lookup(text)
	switch {
	case n != 0:
		s.holders[n]++
	case !known:
		n = s.number()
		s.holders[n] = 1
		s.enter(n, strings.Clone(text))
	}
	return n
}

// Release counts one holder less. When it was the last, number and memory are
// used again, so no reader may still hold n (package comment). The writer's
// alone.
func (s *Strings) Release(n uint32) {
	if n == 0 {
		return
	}
	if int(n) >= len(s.holders) || s.holders[n] == 0 {
		panic(fmt.Sprintf("BUG: text %d released, which nobody holds", n))
	}
	if s.holders[n]--; s.holders[n] > 0 {
		return
	}
	key := textKey(s.At(n))
	s.table.replace(hash32(key), key, n, 0)
	s.cells.at(n).Store(nil)
	s.free = append(s.free, n)
}

// number gives the number released last, or else a new one.
func (s *Strings) number() uint32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		return n
	}
	if len(s.holders) == 0 {
		s.holders = append(s.holders, 0) // of number 0, which is not held
	}
	n := uint32(len(s.holders))
	s.holders = append(s.holders, 0)
	s.cells.reach(n)
	return n
}

// enter makes a text known under its number: the cell first, because readers
// come from the table.
func (s *Strings) enter(n uint32, copied string) {
	key := textKey(copied)
	s.cells.at(n).Store(&text{text: copied, plain: plain(copied)})
	s.table.add(hash32(key), key, n)
}

func plain(text string) bool {
	for _, c := range []byte(text) {
		if c < ' ' || c > '~' || strings.IndexByte(`"\<>&`, c) >= 0 {
			return false
		}
	}
	return true
}
