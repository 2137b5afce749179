package verbs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"testing"

	"lapid/transport/admin"
	"lapid/transport/inputs"
)

// What the client does for an import, without a server: it reads the input twice, judges
// each entry both times, and writes the requests.
func BenchmarkImport(b *testing.B) {
	const n = 100_000
	var csv, values bytes.Buffer
	csv.WriteString("duration,reason,scope,type,value\n")
	for i := range n {
		address := fmt.Sprintf("%d.%d.%d.%d", 11+i>>24, i>>16&255, i>>8&255, i&255)
		fmt.Fprintf(&csv, "24h,bench,Ip,ban,%s\n", address)
		fmt.Fprintln(&values, address)
	}
	for format, text := range map[string][]byte{inputs.CSV: csv.Bytes(), inputs.Values: values.Bytes()} {
		b.Run(format, func(b *testing.B) {
			file, err := os.Create(b.TempDir() + "/input")
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			if _, err := file.Write(text); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				i := importing{format: format, judge: inputs.Judge{Scope: "Ip"}, head: admin.ImportHead{Duration: "4h", Scope: "Ip", Reason: "manual", Type: "ban", Batch: "b"}}
				total, err := i.check(&Terminal{}, file)
				if err != nil || total != n {
					b.Fatal(total, err)
				}
				if err := i.cut(context.Background(), file, admin.ChunksTo(io.Discard)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
		})
	}
}
