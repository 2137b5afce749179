package index

import "math/bits"

const (
	tickBits  = 27 // a tick is 2^27 ns, 134 ms
	digitBits = 6
	buckets   = 1 << digitBits
	levels    = 7 // 64-27 bits of ticks, six at a time
)

// Deadlines tells which slots are due. It is a timing wheel of seven levels
// with 64 buckets each, and all of its lists are threaded through one array of
// links, four bytes a slot:
//
//	level 0    one tick a bucket      (134 ms)     ● ○ ○ ● … 64
//	level 1    64 ticks a bucket      (8.6 s)      ○ ● ○ ○ … 64
//	level 2    64² ticks a bucket     (9 min)      …
//	…
//
// A tick is a number of seven digits to the base 64. A slot waits at the level
// of the highest digit in which its tick differs from the current one, in the
// bucket of that digit. So a step from one tick to another, however far, looks
// at one bucket a level and empties what lies behind it: buckets below the
// level of the step and before its digit are due as they are, and only the
// bucket of the new digit is dealt out again, to lower levels. A slot is dealt
// out at most six times in its life. Slots of the current tick wait in a heap,
// so that nothing is handed out early or late.
//
// Everything is the writer's alone. The same calls give the same order.
type Deadlines struct {
	// Pause, which may be nil, is called between stretches of a long turn of the wheel, some
	// 50 µs each. The wheel must not be touched meanwhile. Set before the first call.
	Pause func()

	at func(Slot) int64

	now  uint64 // the latest moment Due was asked for
	tick uint64 // that of now

	heads  [levels][buckets]Slot
	filled [levels]uint64 // one bit a bucket that holds something
	links  links
	near   near // of the current tick, after now
	due    Slot // list of what has come due and was not handed out yet
	count  int
}

// NewDeadlines returns an empty wheel. The function tells the due time of a
// slot in Unix nanoseconds, any int64, which must not change while the slot is
// in the wheel. Before the first Due everything waits in one bucket: a caller with
// millions of slots to add calls Due with the time first.
func NewDeadlines(at func(Slot) int64) *Deadlines {
	return &Deadlines{at: at}
}

// Add puts a slot into the wheel, which it leaves by Due only. A slot
// that is in it already is the caller's mistake, and breaks the lists.
func (d *Deadlines) Add(n Slot) {
	d.count++
	d.links.reach(n)
	d.wait(n)
}

// Due hands out every slot with a due time up to now, and none after. When now
// lies before an earlier one nothing is due. A step of years costs no more than
// the slots it makes due. take may Add, the same slot too; what it adds is not
// handed out by this call.
func (d *Deadlines) Due(now int64, take func(Slot)) {
	if !d.reach(now) {
		return
	}
	n := d.due
	d.due = 0
	for n != 0 {
		next := *d.links.of(n)
		d.count--
		take(n)
		n = next
	}
	for len(d.near) > 0 && d.near[0].at <= d.now {
		d.count--
		take(d.near.pop())
	}
}

// AnyDue reports whether Due would hand out something now, and turns the wheel as Due
// does: a later Due with an earlier moment hands out nothing.
func (d *Deadlines) AnyDue(now int64) bool {
	return d.reach(now) && (d.due != 0 || len(d.near) > 0 && d.near[0].at <= d.now)
}

// reach turns the wheel to a moment; false when it has been further.
func (d *Deadlines) reach(now int64) bool {
	moment := ordered(now)
	if moment < d.now {
		return false
	}
	before := d.tick
	d.now, d.tick = moment, moment>>tickBits
	if d.tick != before {
		d.turn(before)
	}
	return true
}

// Next returns the earliest moment at which Due may hand out something, in Unix
// nanoseconds; false when the wheel is empty. It is never after the earliest
// due time, unless that has passed: then it is the moment of the latest Due.
// It may lie before, by up to the width of a bucket; then a Due at that moment
// hands out nothing, and Next comes closer. Six such steps are the most.
func (d *Deadlines) Next() (at int64, ok bool) {
	if d.due != 0 {
		return unordered(d.now), true
	}
	if len(d.near) > 0 {
		return unordered(d.near[0].at), true
	}
	for level, filled := range d.filled {
		if filled != 0 {
			shift := level * digitBits
			digit := uint64(bits.TrailingZeros64(filled))
			tick := d.tick>>(shift+digitBits)<<(shift+digitBits) | digit<<shift
			return unordered(tick << tickBits), true
		}
	}
	return 0, false
}

// Len returns how many slots are in the wheel.
func (d *Deadlines) Len() int { return d.count }

// Release gives memory back that was for slots from first to last. None of them is
// in the wheel.
func (d *Deadlines) Release(first, last Slot) { d.links.release(first, last) }

// wait puts a slot where it has to wait at the current tick.
func (d *Deadlines) wait(n Slot) {
	at := ordered(d.at(n))
	tick := at >> tickBits
	switch {
	case at <= d.now:
		d.push(&d.due, n)
	case tick == d.tick:
		d.near.push(waiting{at, n})
	default:
		level, digit := highest(tick, d.tick)
		d.push(&d.heads[level][digit], n)
		d.filled[level] |= 1 << digit
	}
}

// turn takes the wheel from the tick before to the current one.
func (d *Deadlines) turn(before uint64) {
	level, digit := highest(d.tick, before)
	for low := range level {
		for filled := d.filled[low]; filled != 0; filled &= filled - 1 {
			d.pass(low, bits.TrailingZeros64(filled))
		}
	}
	behind := d.filled[level] & (1<<digit - 1)
	for ; behind != 0; behind &= behind - 1 {
		d.pass(level, bits.TrailingZeros64(behind))
	}
	d.each(level, digit, d.wait)
}

// pass makes a whole bucket due.
func (d *Deadlines) pass(level, digit int) {
	d.each(level, digit, func(n Slot) { d.push(&d.due, n) })
}

// turnedAtOnce is how many slots change their list in one stretch: each is a look at a
// record somewhere in memory.
const turnedAtOnce = 256

// each empties a bucket and hands over what was in it.
func (d *Deadlines) each(level, digit int, take func(Slot)) {
	i := 0
	for n := d.empty(level, digit); n != 0; i++ {
		next := *d.links.of(n)
		take(n)
		n = next
		if i%turnedAtOnce == turnedAtOnce-1 && d.Pause != nil {
			d.Pause()
		}
	}
}

// empty takes the list out of a bucket.
func (d *Deadlines) empty(level, digit int) Slot {
	head := d.heads[level][digit]
	d.heads[level][digit] = 0
	d.filled[level] &^= 1 << digit
	return head
}

func (d *Deadlines) push(list *Slot, n Slot) {
	*d.links.of(n) = *list
	*list = n
}

// highest returns the highest digit in which two different ticks differ: its
// place, and what it is in the first.
func highest(tick, other uint64) (level, digit int) {
	level = (bits.Len64(tick^other) - 1) / digitBits
	return level, int(tick >> (level * digitBits) & (buckets - 1))
}

// ordered maps moments to unsigned numbers in the same order, so that times
// before 1970 need no special case.
func ordered(at int64) uint64       { return uint64(at) ^ 1<<63 }
func unordered(moment uint64) int64 { return int64(moment ^ 1<<63) }
