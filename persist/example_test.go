package persist_test

import (
	"fmt"
	"iter"
	"log"
	"strings"

	"lapid/persist"
)

// A start reads the newest snapshot and what the journal has after it; from then
// on every change is appended before it is believed.
func Example() {
	disk := persist.NewMemFS() // leave FS out for the machine's own
	open := func() (s *persist.Store, state []string) {
		s, err := persist.Open(&persist.Options{Dir: "store", FS: disk})
		if err != nil {
			log.Fatal(err)
		}
		after, err := s.LoadSnapshot(func(_ uint64, sections iter.Seq2[uint16, []byte]) error {
			for _, body := range sections {
				state = append(state, strings.Fields(string(body))...)
			}
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
		if err := s.Replay(after, func(_ uint64, record []byte) error {
			state = append(state, string(record))
			return nil
		}); err != nil {
			log.Fatal(err)
		}
		return s, state
	}

	s, state := open()
	fmt.Println(len(state), "records at first")
	for rev, record := range []string{"one", "two", "three"} {
		if err := s.Append(uint64(rev)+1, []byte(record)); err != nil { // nil: it is on the disk
			log.Fatal(err)
		}
		state = append(state, record)
		if rev == 1 {
			const words = 1 // what the kinds of sections mean is the caller's affair
			if err := s.WriteSnapshot(2, func(w *persist.SnapshotWriter) error {
				return w.Section(words, []byte(strings.Join(state, " ")))
			}); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}

	s, state = open()
	fmt.Println(state, "after revision", s.Last())
	fmt.Println(s.Close())
	// Output:
	// 0 records at first
	// [one two three] after revision 3
	// <nil>
}

// Rows are what is too large and too rarely read for memory. They reach the disk
// with the record appended after them.
func ExampleStore_WriteRows() {
	s, err := persist.Open(&persist.Options{Dir: "store", FS: persist.NewMemFS()})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	const bodies = 1
	rows := s.NewRows()
	rows.Set(bodies, []byte("alert 7"), []byte("everything about it"))
	if err := s.Append(1, []byte("alert 7 came")); err != nil {
		log.Fatal(err)
	}
	if err := s.WriteRows(rows); err != nil {
		log.Fatal(err)
	}

	body, there, err := s.Row(nil, bodies, []byte("alert 7"))
	fmt.Println(string(body), there, err)
	_, there, err = s.Row(nil, bodies, []byte("alert 8"))
	fmt.Println(there, err)
	// Output:
	// everything about it true <nil>
	// false <nil>
}
