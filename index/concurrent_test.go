package index

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// Readers beside the writer. Half of the keys are there all the time, and each
// reader must find each of them at every look; the others come and go, and what
// is found under them must be theirs. Run with -race.

const (
	looks  = 150 // of each reader, over all steady keys
	shared = 400 // steady keys
)

// beside runs two readers to their end, and the writer until they have ended.
func beside(t *testing.T, write func(*rand.Rand), read func(t *testing.T)) {
	t.Helper()
	r := chance(t)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for range looks {
				if read(t); t.Failed() {
					return
				}
			}
		})
	}
	go func() { readers.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		default:
			write(r)
		}
	}
}

func TestHostsBeside(t *testing.T) {
	t.Parallel()
	var hosts Hosts
	address := func(i uint32) netip.Addr {
		if i%3 == 0 {
			return addr6(words{0x2001 << 48, uint64(i)})
		}
		return addr4(0x0a000000 | i)
	}
	slot := func(i, round uint32) Slot { return Slot(i<<8 | round&0xff | 1) }
	for i := range uint32(shared) {
		hosts.Set(address(i), slot(i, 0))
	}
	write := func(r *rand.Rand) {
		last := uint32(shared + r.IntN(20_000))
		for i := uint32(shared); i < last; i++ {
			hosts.Set(address(i), slot(i, r.Uint32()))
		}
		for i := range uint32(shared) {
			hosts.Set(address(i), slot(i, r.Uint32()))
		}
		for i := uint32(shared); i < last; i++ {
			hosts.Set(address(i), 0)
		}
	}
	beside(t, write, func(t *testing.T) {
		for i := range uint32(shared * 2) {
			n := hosts.Get(address(i))
			if i < shared && n == 0 || n != 0 && uint32(n)>>8 != i {
				t.Errorf("host %d has %x", i, n)
				return
			}
		}
		found := 0
		hosts.Within(netip.MustParsePrefix("10.0.0.0/8"), func(a netip.Addr, n Slot) bool {
			if i := number4(a) & 0xffffff; i < shared {
				found++
			}
			return true
		})
		if want := shared - (shared+2)/3; found != want {
			t.Errorf("%d hosts are found, want %d", found, want)
		}
	})
}

func TestRangesBeside(t *testing.T) {
	t.Parallel()
	rangesBeside(t, (*Ranges).Publish)
}

func TestGatheredRangesBeside(t *testing.T) {
	t.Parallel()
	rangesBeside(t, func(r *Ranges) { r.Gather(nil) })
}

func rangesBeside(t *testing.T, publish func(*Ranges)) {
	var ranges Ranges
	network := func(i uint32) netip.Prefix { return netip.PrefixFrom(addr4(i<<8), 24) }
	slot := func(i, round uint32) Slot { return Slot(i<<8 | round&0xff | 1) }
	all := netip.MustParsePrefix("0.0.0.0/1")
	ranges.Set(all, 1)
	for i := range uint32(shared) {
		ranges.Set(network(i), slot(i, 0))
	}
	publish(&ranges)
	write := func(r *rand.Rand) {
		many := uint32(r.IntN(3))
		if r.IntN(10) == 0 {
			many = 2_000
		}
		first := shared + r.Uint32N(1<<20)
		for i := first; i < first+many; i++ {
			ranges.Set(network(i), slot(i, r.Uint32()))
		}
		publish(&ranges)
		i := r.Uint32N(shared)
		ranges.Set(network(i), slot(i, r.Uint32()))
		for i := first; i < first+many; i++ {
			ranges.Set(network(i), 0)
		}
		publish(&ranges)
	}
	beside(t, write, func(t *testing.T) {
		var dst [8]Slot
		for i := range uint32(shared * 2) {
			got := ranges.Covering(dst[:0], network(i))
			if len(got) == 0 || got[len(got)-1] != 1 || len(got) > 2 {
				t.Errorf("range %d is covered by %x", i, got)
				return
			}
			if i < shared && len(got) != 2 || len(got) == 2 && uint32(got[0])>>8 != i {
				t.Errorf("range %d is covered by %x", i, got)
				return
			}
			if n := ranges.Get(network(i)); i < shared && uint32(n)>>8 != i {
				t.Errorf("range %d has %x", i, n)
				return
			}
		}
		found := 0
		ranges.Within(netip.MustParsePrefix("0.0.0.0/8"), func(p netip.Prefix, n Slot) bool {
			if number4(p.Addr())>>8 < shared {
				found++
			}
			return true
		})
		if found != shared {
			t.Errorf("%d ranges are found, want %d", found, shared)
		}
	})
}

func TestValuesBeside(t *testing.T) {
	t.Parallel()
	var values Values
	for i := range uint32(shared) {
		values.Set(i, Slot(i+1))
	}
	write := func(r *rand.Rand) {
		last := shared + r.Uint32N(20_000)
		for i := uint32(shared); i < last; i++ {
			values.Set(i, Slot(i+1))
		}
		for i := uint32(shared); i < last; i++ {
			values.Set(i, 0)
		}
	}
	beside(t, write, func(t *testing.T) {
		for i := range uint32(shared) {
			if n := values.Get(i); n != Slot(i+1) {
				t.Errorf("value %d has %d", i, n)
			}
			if n := values.Get(shared + i); n != 0 && n != Slot(shared+i+1) {
				t.Errorf("value %d has %d", i, n)
			}
		}
	})
}

func TestStringsBeside(t *testing.T) {
	t.Parallel()
	var texts Strings
	var steady [shared]string
	var numbers [shared]uint32
	for i := range steady {
		steady[i] = fmt.Sprintf("steady/%d", i)
		numbers[i] = texts.Acquire(steady[i])
	}
	var passing [2_000]string
	for i := range passing {
		passing[i] = fmt.Sprintf("passing/%d", i)
	}
	write := func(r *rand.Rand) {
		var held []uint32
		for range r.IntN(len(passing)) {
			held = append(held, texts.Acquire(passing[r.IntN(len(passing))]))
		}
		for _, n := range held {
			texts.Release(n)
		}
	}
	beside(t, write, func(t *testing.T) {
		for i, text := range steady {
			n, ok := texts.Lookup(text)
			if !ok || n != numbers[i] || texts.At(n) != text || !texts.Plain(n) {
				t.Errorf("%q is %d, %v, want %d", text, n, ok, numbers[i])
			}
			texts.Lookup(passing[i])
		}
	})
}

// A scan over all slots meets records that are freed and given again, and can
// tell by the stamps.
func TestSlabScannedBeside(t *testing.T) {
	t.Parallel()
	type stamped struct {
		begun atomic.Uint64
		ended atomic.Uint64
		plain uint64
	}
	var slab Slab[stamped]
	for i := range uint64(shared) {
		_, rec := slab.New()
		rec.plain = i
		rec.begun.Store(1)
	}
	revision := uint64(1)
	write := func(r *rand.Rand) {
		revision++
		var held []Slot
		for range r.IntN(5_000) {
			n, rec := slab.New()
			rec.plain = revision
			rec.begun.Store(revision)
			held = append(held, n)
		}
		for _, n := range held {
			slab.At(n).ended.Store(revision)
			slab.Free(n)
		}
	}
	beside(t, write, func(t *testing.T) {
		const mine = 1 // what began later is not true for this reader
		found := 0
		for n := Slot(1); n < slab.End(); n++ {
			rec := slab.At(n)
			ended, begun := rec.ended.Load(), rec.begun.Load()
			if begun == 0 || begun > mine || ended != 0 && ended <= mine {
				continue
			}
			if found++; rec.plain >= shared {
				t.Errorf("record %d holds %d", n, rec.plain)
			}
		}
		if found != shared {
			t.Errorf("%d records are found, want %d", found, shared)
		}
	})
}

func TestRevisionsBeside(t *testing.T) {
	t.Parallel()
	var revisions Revisions
	revisions.Reset(0)
	rev := uint64(0)
	write := func(r *rand.Rand) {
		rev++ // has rev%5 events, each naming the revision
		for range rev % 5 {
			revisions.Append(rev, Slot(rev), false)
		}
		revisions.Publish(rev)
		if r.IntN(100) == 0 {
			revisions.Trim(20_000)
		}
	}
	beside(t, write, func(t *testing.T) {
		after := revisions.Floor() + 100
		window, ok := revisions.Window(after, after+1_000)
		if !ok {
			return // the writer was faster
		}
		last, events := Slot(0), uint64(0)
		for i := range window.Len() {
			n := window.At(i).Slot()
			if n < last || uint64(n) <= after || uint64(n) > after+1_000 {
				t.Errorf("after %d: an event of %d after one of %d", after, n, last)
				return
			}
			if n != last {
				if last != 0 && events != uint64(last)%5 {
					t.Errorf("revision %d has %d events", last, events)
				}
				last, events = n, 0
			}
			events++
		}
		if last != 0 && events != uint64(last)%5 {
			t.Errorf("revision %d has %d events", last, events)
		}
	})
}
