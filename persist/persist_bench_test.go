package persist

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

func benchStore(b *testing.B, change ...func(*Options)) *Store {
	b.Helper()
	o := &Options{Dir: b.TempDir()}
	for _, c := range change {
		c(o)
	}
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// One writer that waits for each record: the sync of the disk.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := benchStore(b)
			record := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for rev := uint64(1); b.Loop(); rev++ {
				if err := s.Append(rev, record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Writers that share a record: a committer takes what has gathered while the last
// one was synced. An operation is one writer's 200 bytes.
func BenchmarkAppendShared(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := benchStore(b)
			requests := make(chan chan error, writers)
			var committer, clients sync.WaitGroup
			committer.Go(func() { commitAll(s, requests) })
			each := b.N/writers + 1
			b.ResetTimer()
			for range writers {
				clients.Go(func() {
					done := make(chan error, 1)
					for range each {
						requests <- done
						if err := <-done; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			clients.Wait()
			b.StopTimer()
			close(requests)
			committer.Wait()
			b.ReportMetric(float64(s.Metrics().Sync.Count)/float64(b.N), "records/op")
		})
	}
}

func commitAll(s *Store, requests chan chan error) {
	rev := s.Last()
	var record []byte
	for first := range requests {
		waiting := []chan error{first}
		record = append(record[:0], make([]byte, 200)...)
		for len(requests) > 0 {
			waiting = append(waiting, <-requests)
			record = append(record, make([]byte, 200)...)
		}
		rev++
		err := s.Append(rev, record)
		for _, done := range waiting {
			done <- err
		}
	}
}

// A million decisions of 60 bytes arrive in records of 2 MB.
func BenchmarkImport(b *testing.B) {
	s := benchStore(b)
	record := make([]byte, 2<<20)
	rev := uint64(0)
	for b.Loop() {
		for range 30 {
			rev++
			if err := s.Append(rev, record); err != nil {
				b.Fatal(err)
			}
		}
	}
}

const benchSnapshot = 100 << 20 // bytes

func writeBenchSnapshot(b *testing.B, s *Store, body []byte) {
	b.Helper()
	err := s.WriteSnapshot(1, func(w *SnapshotWriter) error {
		for n := 0; n < benchSnapshot; n += len(body) {
			if err := w.Section(1, body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWriteSnapshot(b *testing.B) {
	s := benchStore(b)
	body := make([]byte, 1<<20)
	b.SetBytes(benchSnapshot)
	for b.Loop() {
		writeBenchSnapshot(b, s, body)
	}
}

func BenchmarkLoadSnapshot(b *testing.B) {
	s := benchStore(b)
	writeBenchSnapshot(b, s, make([]byte, 1<<20))
	b.SetBytes(benchSnapshot)
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.LoadSnapshot(func(_ uint64, sections iter.Seq2[uint16, []byte]) error {
			for range sections {
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// A journal of a hundred thousand small records is read back.
func BenchmarkReplay(b *testing.B) {
	s := benchStore(b, func(o *Options) { o.NoSync = true })
	const records = 100_000
	for rev := uint64(1); rev <= records; rev++ {
		if err := s.Append(rev, make([]byte, 200)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(records * 200)
	for b.Loop() {
		if err := s.Replay(0, func(uint64, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	s := benchStore(b)
	rows := s.NewRows()
	for rev := range uint64(10_000) {
		rows.Set(1, rowKey(rev), recordOf(1))
	}
	if err := s.WriteRows(rows); err != nil {
		b.Fatal(err)
	}
	if err := s.current.db.Flush(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var dst []byte
	for i := uint64(0); b.Loop(); i++ {
		var err error
		if dst, _, err = s.Row(dst[:0], 1, rowKey(i*7919%10_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// What 64 writers leave behind: a record of what they share, and a row for each. The time
// and bytes are of everything the store does, merges of tables included.
func BenchmarkRecordsAndRows(b *testing.B) {
	s := benchStore(b)
	rows, rev, id := s.NewRows(), s.Last(), uint64(0)
	noise := rand.New(rand.NewPCG(1, 2))
	record, row := make([]byte, 32*220), make([]byte, 200)
	for i := range record {
		record[i] = "abcdefgh"[noise.IntN(8)]
	}
	before := processorTime(b)
	for b.Loop() {
		rev++
		for i := range 32 {
			id++
			binary.BigEndian.PutUint64(row, noise.Uint64())
			copy(record[i*220:], row[:8])
			copy(row[8:], record[noise.IntN(1000):])
			rows.Set(1, binary.BigEndian.AppendUint64(nil, id), row)
		}
		if err := s.Append(rev, record); err != nil {
			b.Fatal(err)
		}
		if err := s.WriteRows(rows); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
	m := s.current.db.Metrics()
	var merged uint64
	for _, l := range m.Levels {
		merged += l.TableBytesCompacted
	}
	b.ReportMetric(float64(merged)/float64(b.N), "merged-B/op")
	b.ReportMetric(float64(m.Compact.Count), "merges")
}

// processorTime is what the process has used so far: on a shared machine it tells more
// than the clock.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
