//go:build linux

package scenario

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// consoles are open at once, as many of each operator as one may listen with.
	consoles   = 20
	ofOperator = 4
	// freshEvery is how often a page that is told of something asks for its rows at most, as the console's own
	// script does.
	freshEvery = 5 * time.Second
	// consoleAsks is how many live queries are asked a second: few enough to be answered on what a busy machine leaves.
	consoleAsks = 2000
	// posted is the pause between two alerts, which all that listen are told of.
	posted = 20 * time.Millisecond
)

// consolePages are looked at in turn, as they come from a link.
var consolePages = []string{"/decisions?limit=100", "/", "/alerts?limit=100", "/activity"}

// Console asks live queries and posts alerts while consoles are open and one of them fetches all decisions as a
// file, and while nothing of that goes on, in turn.
func (b *Bench) Console(ctx context.Context, l *peers.LAPI, set *corpus.Set) (err error) {
	b.say("console: %d pages, and a file of everything", consoles)
	c, err := l.OpenConsole(ctx, consoles/ofOperator)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.again(ctx, l)) }()
	var calm, busy []*besideConsoles
	for range b.Rounds {
		for _, open := range []bool{false, true} {
			one, err := b.besideConsoles(ctx, l, set, c, open)
			if err != nil {
				return err
			}
			if open {
				busy = append(busy, one)
			} else {
				calm = append(calm, one)
			}
		}
	}
	live := func(o *besideConsoles) float64 { return ms(o.live.P99) }
	took := func(o *besideConsoles) float64 { return ms(o.posts.Quantile(0.99)) }
	by, in := ratio(busy, calm, live), ratio(busy, calm, took)
	one := middleBy(busy, live)
	b.Report.Measured(rowConsole, by.middle, "%v, %.2f ms, calm %.2f; %d MB of files, %d pages asked for again; server CPU %.0f%% beside %.0f%% of a core", by, live(one), live(middleBy(calm, live)),
		one.bytes/1e6, one.pages, one.share, middleBy(calm, live).share)
	b.Report.Measured(rowConsoleIn, in.middle, "%v, %.2f ms, calm %.2f", in, took(middleBy(busy, took)), took(middleBy(calm, took)))
	return nil
}

// besideConsoles is what a round gave.
type besideConsoles struct {
	live  *load.Result
	posts load.Histogram
	pages int     // that were asked for again
	bytes int64   // of files
	share float64 // of a core, in hundredths
}

// besideConsoles measures one round. What is open is open before it begins.
func (b *Bench) besideConsoles(ctx context.Context, l *peers.LAPI, set *corpus.Set, c *peers.Console, open bool) (*besideConsoles, error) {
	opened, closed := context.WithCancel(ctx)
	defer closed()
	work, inside := errgroup.WithContext(opened)
	out, looked := &besideConsoles{}, [consoles]int{}
	if open {
		ready := make(chan struct{}, consoles)
		for i := range consoles {
			work.Go(func() error { return ended(opened, lookAt(inside, c, i, ready, &looked[i])) })
		}
		for range consoles {
			select {
			case <-ready:
			case <-inside.Done():
				return nil, work.Wait()
			}
		}
		work.Go(func() error { return ended(opened, wholeFile(inside, c, &out.bytes)) })
	}
	spent, began := l.Usage().CPU, time.Now()
	noise, err := b.noiseOn(ctx, true, l, set, consoleAsks)
	if err != nil {
		return nil, err
	}
	err = b.postFor(ctx, l, b.Pace.Ingest, &out.posts)
	var failed error
	out.live, failed = noise()
	out.share = 100 * (l.Usage().CPU - spent).Seconds() / time.Since(began).Seconds()
	closed()
	if err = errors.Join(err, failed, work.Wait()); err == nil && open && out.bytes == 0 {
		err = errors.New("console: nothing of the file came")
	}
	for _, n := range looked {
		out.pages += n
	}
	return out, err
}

// ended lets errors go that come of being told to end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// postFor posts alerts one by one.
func (b *Bench) postFor(ctx context.Context, l *peers.LAPI, d time.Duration, took *load.Histogram) error {
	fresh := corpus.New(corpus.MaxSize, Seed+uint64(time.Now().UnixNano()%1000))
	for i, until := 0, time.Now().Add(d); time.Now().Before(until); i++ {
		begin := time.Now()
		if err := l.Post(ctx, alertOf(fresh.Part(100*i, 100*i+1), begin)); err != nil {
			return err
		}
		took.Record(time.Since(begin))
		if err := pause(ctx, posted); err != nil {
			return err
		}
	}
	return nil
}

// lookAt is one open console: it has its page, listens, and asks for the page again when it is told of something.
// It counts how often that was.
func lookAt(ctx context.Context, c *peers.Console, number int, ready chan<- struct{}, again *int) error {
	if err := showPage(ctx, c, number); err != nil {
		return err
	}
	news, err := c.Get(ctx, number, "/events")
	if err != nil {
		return err
	}
	defer news.Close()
	ready <- struct{}{}
	asked := time.Now().Add(-freshEvery * time.Duration(number) / consoles) // not all in one moment
	for lines := bufio.NewReader(news); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("data: ")) || time.Since(asked) < freshEvery {
			continue
		}
		asked = time.Now()
		if err := showPage(ctx, c, number); err != nil {
			return err
		}
		*again++
	}
}

// showPage has one page shown.
func showPage(ctx context.Context, c *peers.Console, number int) error {
	body, err := c.Get(ctx, number, consolePages[number%len(consolePages)])
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, body)
	return err
}

// wholeFile fetches all decisions again and again, and counts the bytes.
func wholeFile(ctx context.Context, c *peers.Console, size *int64) error {
	for {
		file, err := c.Get(ctx, 0, "/admin/v1/decisions/export?format=csv")
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, file)
		*size += n
		_ = file.Close()
		if err != nil {
			return err
		}
	}
}
