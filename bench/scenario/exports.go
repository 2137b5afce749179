//go:build linux

package scenario

import (
	"bytes"
	"context"
	"fmt"
	"net/textproto"
	"strings"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

// devices pull a list, each over a connection of its own.
const devices = 1000

// listed is the path of an export.
func listed(name string) string { return "/exports/" + name }

// export makes a list that anybody may pull.
func export(ctx context.Context, l *peers.LAPI, name string, more ...string) error {
	return l.CLI(ctx, append([]string{"exports", "add", name, "--format", "plain_text", "--auth", "none"}, more...)...)
}

// Polls has devices ask for a list that they have, and compares with as many bouncers that ask about
// addresses, at a server with a tenth of the set.
func (b *Bench) Polls(ctx context.Context) error {
	b.say("exports: %d devices", devices)
	set := corpus.New(max(b.Size/10, 1000), Seed)
	l, err := b.started(ctx, "lapid-devices", set)
	if err != nil {
		return err
	}
	defer l.Stop()
	if err := export(ctx, l, "polled"); err != nil {
		return err
	}
	_, tag, err := pull(ctx, l, "polled", "")
	if err != nil {
		return err
	}
	poll := load.Fixed([]byte("GET " + listed("polled") + strings.TrimSuffix(load.Tail(""), "\r\n") + "If-None-Match: " + tag + "\r\n\r\n"))
	done, err := b.inTurn(ctx, devices, []contender{
		{name: "unchanged lists", address: l.Address, server: &l.Process, sources: poll, wanted: 304},
		{name: "live queries", address: l.Address, server: &l.Process, sources: hits(set)},
	})
	if err != nil {
		return err
	}
	by, us, them := ratio(done[0].rounds, done[1].rounds, rateOf), done[0].Result, done[1].Result
	b.Report.Measured(rowPolls, by.middle, "%v, %.0f beside %.0f/s; server CPU %.1f beside %.1f µs", by, us.Rate, them.Rate, 1e6*cpuOf(us), 1e6*cpuOf(them))
	b.section(fmt.Sprintf("%d connections, polls for an unchanged list and live queries", devices), []load.Named{{Name: "304", Result: us}, {Name: "live", Result: them}}, "")
	return nil
}

// Render pulls lists of all that is banned for the first time: what the server spends until the whole list is
// sent counts, and what it keeps afterwards.
func (b *Bench) Render(ctx context.Context, l *peers.LAPI) error {
	b.say("exports: a list of everything")
	before, err := l.Live(ctx)
	if err != nil {
		return err
	}
	figures := map[string][]float64{}
	var plain, packed *load.Fetched
	for round := range max(b.Rounds, 3) {
		for key, more := range map[string][]string{rowRender: nil, rowExact: {"--aggregate"}} {
			name := fmt.Sprintf("%s-%d", strings.ReplaceAll(key, " ", "-"), round)
			if err := export(ctx, l, name, more...); err != nil {
				return err
			}
			spent := l.Usage().CPU
			f, _, err := pull(ctx, l, name, "")
			if err != nil {
				return err
			}
			figures[key] = append(figures[key], ms(l.Usage().CPU-spent))
			if key == rowRender && round == 0 {
				plain = f
				if packed, _, err = pull(ctx, l, name, "Accept-Encoding: gzip\r\n"); err != nil {
					return err
				}
				continue
			}
			if err := l.CLI(ctx, "exports", "delete", name); err != nil {
				return err
			}
		}
	}
	for key, list := range figures {
		by := spanOf(list)
		b.Report.Measured(key, by.middle, "%v", by)
	}
	after, err := l.Live(ctx)
	if err != nil {
		return err
	}
	b.Report.Measured(rowRenderKept, float64(after-before)/float64(plain.Body+packed.Body), "%.1f MB for %.1f and %.1f MB", mb(after-before), mb(plain.Body), mb(packed.Body))
	return l.CLI(ctx, "exports", "delete", "export-render-0")
}

// pull fetches a list and gives its tag.
func pull(ctx context.Context, l *peers.LAPI, name, header string) (*load.Fetched, string, error) {
	var head headOf
	f, err := load.Fetch(ctx, l.Address, []byte("GET "+listed(name)+strings.TrimSuffix(load.Tail(""), "\r\n")+header+"\r\n"), &head)
	if err == nil && (f.Status != 200 || f.Body == 0) {
		err = fmt.Errorf("export %s: status %d, %d bytes", name, f.Status, f.Body)
	}
	return f, head.field("ETag"), err
}

// headOf keeps the beginning of what is written to it.
type headOf []byte

func (h *headOf) Write(b []byte) (int, error) {
	*h = append(*h, b[:min(len(b), max(0, 1024-len(*h)))]...)
	return len(b), nil
}

// field is a line of the head, by its name.
func (h headOf) field(name string) string {
	for line := range bytes.Lines(h) {
		if key, value, found := bytes.Cut(line, []byte(":")); found && textproto.CanonicalMIMEHeaderKey(string(key)) == textproto.CanonicalMIMEHeaderKey(name) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
