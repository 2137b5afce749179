package index

// waiting is a slot of the current tick and its due time.
type waiting struct {
	at   uint64
	slot Slot
}

func (w waiting) before(other waiting) bool {
	return w.at < other.at || w.at == other.at && w.slot < other.slot
}

// near is a heap, the earliest at its root and of the same moment the lowest
// slot. It holds at most the slots of one tick; its room is kept for the next
// tick unless it was a large one.
type near []waiting

const nearKept = 4096

func (h *near) push(w waiting) {
	*h = append(*h, w)
	q := *h
	at := len(q) - 1
	for at > 0 {
		parent := (at - 1) / 2
		if !q[at].before(q[parent]) {
			break
		}
		q[at], q[parent] = q[parent], q[at]
		at = parent
	}
}

func (h *near) pop() Slot {
	q := *h
	first := q[0].slot
	last := len(q) - 1
	q[0] = q[last]
	q = q[:last]
	q.sink(0)
	if last == 0 && cap(q) > nearKept {
		q = nil
	}
	*h = q
	return first
}

func (h near) sink(at int) {
	for {
		child := 2*at + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[at]) {
			return
		}
		h[at], h[child] = h[child], h[at]
		at = child
	}
}

// links is the array that lists of slots are threaded through: link n names the
// slot after slot n. The writer's alone, so without atomics.
type links struct{ chunks []*[chunkLen]Slot }

func (l *links) of(n Slot) *Slot { return &l.chunks[n>>chunkBits][n&chunkMask] }

func (l *links) reach(n Slot) {
	at := int(n >> chunkBits)
	for at >= len(l.chunks) {
		l.chunks = append(l.chunks, nil)
	}
	if l.chunks[at] == nil {
		l.chunks[at] = new([chunkLen]Slot)
	}
}

// release gives the memory of the chunks back that hold nothing but links of slots
// from first to last.
func (l *links) release(first, last Slot) {
	for at := int((first + chunkMask) >> chunkBits); at < len(l.chunks) && Slot(at)<<chunkBits|chunkMask <= last; at++ {
		l.chunks[at] = nil
	}
}
