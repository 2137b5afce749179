package index_test

import (
	"fmt"
	"net/netip"

	"lapid/index"
)

// Records live in a Slab; the tables lead from a question to their slots. One
// goroutine writes, any may read.
func Example() {
	type record struct{ name string }
	var (
		records index.Slab[record]
		hosts   index.Hosts
		ranges  index.Ranges
	)
	enter := func(name string) index.Slot {
		n, r := records.New()
		r.name = name
		return n
	}
	hosts.Set(netip.MustParseAddr("192.0.2.7"), enter("a scanner"))
	ranges.Set(netip.MustParsePrefix("192.0.2.0/24"), enter("its network"))
	ranges.Set(netip.MustParsePrefix("192.0.0.0/8"), enter("its neighbours"))
	ranges.Publish() // ranges are shown to readers together

	for _, text := range []string{"192.0.2.7", "192.99.0.1", "203.0.113.1"} {
		address := netip.MustParseAddr(text)
		fmt.Println(text)
		if n := hosts.Get(address); n != 0 {
			fmt.Println("  is", records.At(n).name)
		}
		for _, n := range ranges.Covering(nil, netip.PrefixFrom(address, address.BitLen())) {
			fmt.Println("  lies in", records.At(n).name)
		}
	}
	// Output:
	// 192.0.2.7
	//   is a scanner
	//   lies in its network
	//   lies in its neighbours
	// 192.99.0.1
	//   lies in its neighbours
	// 203.0.113.1
}

// A reader keeps the revision it has seen and asks what came since. When the
// history was cut behind it, it has to start over.
func ExampleRevisions() {
	var history index.Revisions
	history.Append(1, 10, false) // slot 10 begins
	history.Append(1, 11, false)
	history.Publish(1)
	history.Append(2, 10, true) // and ends
	history.Publish(2)

	since, ok := history.Window(1, 2)
	fmt.Println("reaches back:", ok)
	for i := range since.Len() {
		e := since.At(i)
		fmt.Println("slot", e.Slot(), "ended:", e.Ended())
	}

	history.Trim(1) // keeps the newest event
	_, ok = history.Window(0, 2)
	fmt.Println("reaches back to the beginning:", ok)
	// Output:
	// reaches back: true
	// slot 10 ended: true
	// reaches back to the beginning: false
}

// The owner of the records says when each is due and asks with the time; Next
// says until when it may sleep.
func ExampleDeadlines() {
	due := map[index.Slot]int64{1: 3e9, 2: 1e9, 3: 3600e9} // Unix nanoseconds
	wheel := index.NewDeadlines(func(n index.Slot) int64 { return due[n] })
	wheel.Due(0, nil) // the time first, then the slots
	for n := range due {
		wheel.Add(n)
	}
	for _, now := range []int64{1e9, 2e9, 3e9} {
		wheel.Due(now, func(n index.Slot) { fmt.Println("at second", now/1e9, "slot", n) })
	}
	fmt.Println(wheel.Len(), "waits")
	// Output:
	// at second 1 slot 2
	// at second 3 slot 1
	// 1 waits
}
