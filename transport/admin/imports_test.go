package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"lapid/engine"
)

const importHead = `{"Source":"f","Scope":"Ip","Type":"ban","Duration":"4h","Batch":"b","First":true}` + "\n"

// chunkOf is a chunk of n values, as lines.
func chunkOf(third, n int) string {
	var items []string
	for i := range n {
		items = append(items, fmt.Sprintf(`{"v":"10.0.%d.%d"}`, third, i))
	}
	return itemsBegin + strings.Join(items, ",") + itemsEnd + "\n" + fmt.Sprintf(`{"End":true,"Count":%d}`, n) + "\n"
}

// TestChunksEndWithTheirLastLine: whatever an import ends with, the chunks before it are stored, and
// of one that is not whole, or makes no sense, nothing is, nor of those behind it.
func TestChunksEndWithTheirLastLine(t *testing.T) {
	t.Parallel()
	whole := importHead + chunkOf(1, 2) + chunkOf(2, 3)
	for name, c := range map[string]struct {
		text   string
		chunks int
		said   string // of the last line
	}{
		"whole":             {whole, 2, ""},
		"nothing":           {"", 0, "unexpected EOF"},
		"a head":            {importHead, 0, ""},
		"no head":           {chunkOf(1, 1), 0, "unknown field"},
		"no name":           {`{"Batch":" "}` + "\n" + chunkOf(1, 1), 0, "begins or ends with a blank"},
		"no last line":      {whole + `{"Items":[{"v":"192.0.2.1"}]}` + "\n", 2, "unexpected EOF"},
		"half a line":       {whole + `{"Items":[{"v":"192.`, 2, "unexpected EOF"},
		"half a last line":  {whole + `{"Items":[{"v":"192.0.2.1"}]}` + "\n" + `{"End":tr`, 2, "unexpected EOF"},
		"fewer":             {whole + `{"Items":[{"v":"192.0.2.1"}]}` + "\n" + `{"End":true,"Count":2}` + "\n" + chunkOf(3, 1), 2, "to have 2 values, and 1 came"},
		"no address":        {whole + `{"Items":[{"v":"x"}]}` + "\n" + `{"End":true,"Count":1}` + "\n" + chunkOf(3, 1), 2, "invalid ip address 'x'"},
		"an unknown field":  {whole + `{"Items":[{"v":"192.0.2.1","z":1}]}` + "\n" + chunkOf(3, 1), 2, "unknown field"},
		"something else":    {whole + "x\n", 2, "invalid character"},
		"too long a line":   {whole + `{"Items":[{"v":"` + strings.Repeat("1", listLine) + `"}]}`, 2, "too long"},
		"too many values":   {whole + strings.Repeat(itemsBegin+strings.Repeat(`{"v":"1.1.1.1"},`, 9_999)+`{"v":"1.1.1.1"}]}`+"\n", 11), 2, "at most 100000 values"},
		"too many bytes":    {whole + strings.Repeat(itemsBegin+`{"v":"`+strings.Repeat("1", 1<<20)+`"}]}`+"\n", 9), 2, "at most 8388608 bytes"},
		"a chunk of nobody": {whole + `{"End":true}` + "\n", 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			h := NewHandler(d.engine, "test", quiet)
			h.most = 8 << 20
			stored, last := 0, line[Imported]{}
			err := h.importChunks(context.Background(), strings.NewReader(c.text), func(l line[Imported]) error {
				if last = l; l.Item != nil {
					stored++
				}
				return nil
			})
			if stored != c.chunks || last.End != (err == nil) || (last.Fail != nil) != (err != nil) || (c.said == "") != (err == nil) {
				t.Errorf("%d chunks, %+v, %v", stored, last, err)
			}
			if err != nil && !strings.Contains(last.Fail.Text, c.said) {
				t.Errorf("%s, want %s", last.Fail.Text, c.said)
			}
			if alerts, _ := d.engine.View().Counts(); alerts != min(c.chunks, 2) {
				t.Errorf("%d alerts", alerts)
			}
		})
	}
}

// TestImportIsRefusedOverTheSocket: a client that goes on sending is told why the server takes no
// more, and what was stored before.
func TestImportIsRefusedOverTheSocket(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := newCounter(t, NewHandler(d.engine, "test", quiet), nil)
	c, err := Dial(t.Context(), s.path)
	d.must(err)
	defer c.Close()
	for _, refused := range []Item{{Value: "x"}, {Value: "192.0.2.1", Duration: "soon"}} {
		stored := 0
		err = c.Import(t.Context(), &ImportHead{Scope: "Ip", Type: "ban", Duration: "4h"}, func(to *Chunks) error {
			for n := 0; ; n++ {
				item := &Item{Value: fmt.Sprintf("10.%d.%d.%d", n>>16&255, n>>8&255, n&255)}
				if n == 2500 {
					item = &refused
				}
				if err := to.Add(item); err != nil {
					return err
				}
				if n%1000 == 999 {
					if err := to.End(); err != nil {
						return err
					}
				}
			}
		}, func(a *Imported) { stored += a.Stored })
		d.kindOf(err, engine.ErrInvalid, "")
		if stored != 2000 {
			t.Errorf("%d stored before %v", stored, err)
		}
	}
	// Breaking off is the client's own error; what it has ended is stored.
	broken, stored := errors.New("broken off"), 0
	goOn := make(chan bool)
	err = c.Import(t.Context(), &ImportHead{Scope: "Ip", Type: "ban", Duration: "4h"}, func(to *Chunks) error {
		for range 2 {
			if err := errors.Join(to.Add(&Item{Value: "192.0.2.1"}), to.End(), to.Add(&Item{Value: "192.0.2.2"})); err != nil {
				return err
			}
			<-goOn
		}
		return broken
	}, func(a *Imported) { stored += a.Stored; goOn <- true })
	if !errors.Is(err, broken) || stored != 3 {
		t.Errorf("%d, %v", stored, err)
	}
}

// TestImportEndsWithTheServer: a server that is told to stop ends behind the chunk that is under way.
func TestImportEndsWithTheServer(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := NewHandler(d.engine, "test", quiet)
	from, to := io.Pipe()
	go func() {
		_, _ = io.WriteString(to, importHead+chunkOf(1, 2))
		_, _ = io.WriteString(to, chunkOf(2, 2)) // it is told of the first meanwhile
		_ = to.Close()
	}()
	stored := 0
	err := h.importChunks(context.Background(), from, func(l line[Imported]) error {
		if l.Item != nil {
			stored++
			h.ending.Store(true)
		}
		return nil
	})
	if !errors.Is(err, engine.ErrClosed) || stored != 1 {
		t.Errorf("%d chunks, %v", stored, err)
	}
}

// TestAllowlistedMeanwhile: what is allowlisted after a chunk was judged, and before it is stored, is
// not stored.
func TestAllowlistedMeanwhile(t *testing.T) {
	t.Parallel()
	d, ctx := newDesk(t), t.Context()
	h := NewHandler(d.engine, "test", quiet)
	c := &chunk{head: &ImportHead{Scope: "Ip", Type: "ban", Duration: "4h"}, items: []Item{{Value: "192.0.2.1"}, {Value: "192.0.2.2"}}}
	d.must(h.choose(c))
	d.must(failureIn(d.CreateAllowlist(ctx, &NewAllowlist{Name: "office"})))
	d.must(second(d.AddToAllowlist(ctx, &AllowlistAddition{Name: "office", Items: []NewAllowlistItem{{Value: "192.0.2.1"}}})))
	d.must(h.importChunk(ctx, c))
	if c.out.Stored != 1 || len(c.out.Allowlisted) != 1 {
		t.Errorf("%+v", c.out)
	}
}
