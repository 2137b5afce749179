//go:build linux

package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

// Of those who lay siege half do nothing, a tenth read everything slowly, and a
// hundredth send a byte a second. All others are in good health.
const (
	idleShare, slowShare, dripShare = 2, 10, 100

	// A slow reader takes sip bytes every sipEvery: so slowly that the siege is
	// over before it has read one in a hundred, fast enough not to be let go.
	sip      = 4 << 10
	sipEvery = 200 * time.Millisecond
	dripOnce = time.Second
	// window is what the system may take in for a slow reader: little, so that
	// the server has to wait for it.
	window = 8 << 10
	// opening is how many connections are opened at once.
	opening = 64
)

// Siege measures the latency of clients in good health, first among themselves and
// then among as many connections as the pace says of which most are a burden, and
// compares the server's memory with the bound it prints when it starts.
func (b *Bench) Siege(ctx context.Context) error {
	l, set, err := b.talkative(ctx, "lapid-siege")
	if err != nil {
		return err
	}
	defer l.Stop()
	bound, err := b.boundOf(l)
	if err != nil {
		return err
	}
	// From here on all that connections cost counts, that of the healthy ones too.
	if err := l.ResetPeak(); err != nil {
		return err
	}
	before := l.Usage()
	body, err := fetchAll(ctx, l.Address, peers.Key)
	if err != nil {
		return err
	}
	s := &siege{address: l.Address}
	defer s.lift()
	healthy := b.Besiegers - b.Besiegers/idleShare - b.Besiegers/slowShare - b.Besiegers/dripShare
	us := contender{name: "lapid", address: l.Address, server: &l.Process,
		sources: load.Filled("GET "+livePath, set.NewTable(corpus.Hit, min(asked, set.Len()), Seed), load.Tail(peers.Key))}
	b.say("siege: %d clients in good health, alone", healthy)
	alone, err := b.ask(ctx, healthy, us, &load.Plan{Warmup: b.Warmup, Length: b.Siegetime, Rate: b.Busy / 10})
	if err != nil {
		return err
	}
	b.say("siege: %d idle, %d slow, %d drip", b.Besiegers/idleShare, b.Besiegers/slowShare, b.Besiegers/dripShare)
	if err := s.lay(ctx, b.Besiegers); err != nil {
		return err
	}
	among, err := b.ask(ctx, healthy, us, &load.Plan{Warmup: b.Warmup, Length: b.Siegetime, Rate: b.Busy / 10})
	if err != nil {
		return err
	}
	growth := max(l.Usage().Peak-before.Resident, 0)
	allowed := bound + 2*body.Body // two shared answers come on top of what is printed
	b.Report.Measured(rowSiege, float64(among.P99)/float64(alone.P99), "p99 %.2f ms, alone %.2f ms, at %.0f/s", ms(among.P99), ms(alone.P99), among.Rate)
	b.Report.Measured(rowSiegeMemory, float64(growth)/float64(allowed), "%.0f MB of %.0f MB, an answer has %.0f", mb(growth), mb(allowed), mb(body.Body))
	b.section(fmt.Sprintf("Live queries of %d clients under siege of %d", healthy, b.Besiegers-healthy),
		[]load.Named{{Name: "alone", Result: alone}, {Name: "under siege", Result: among}},
		fmt.Sprintf("memory + %.0f MB; slow readers had %.1f MB; let go: %d slow, %d idle\n",
			mb(growth), mb(s.read.Load()), s.slowGone.Load(), s.idleGone()))
	if s.read.Load() == 0 {
		return errors.New("siege: the slow readers were sent nothing")
	}
	return nil
}

// talkative starts a server with a set, whose log says how much memory it may take.
func (b *Bench) talkative(ctx context.Context, name string) (*peers.LAPI, *corpus.Set, error) {
	l, err := b.NewLapid(ctx, name, b.Programs.Lapid)
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(b.Dir, name, "config.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	text = bytes.ReplaceAll(text, []byte("log_level: warning"), []byte("log_level: info"))
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, nil, err
	}
	if _, err := l.Start(ctx); err != nil {
		return nil, nil, err
	}
	set := corpus.New(b.Size, Seed)
	if _, err := b.fill(ctx, l, set, 0); err != nil {
		l.Stop()
		return nil, nil, err
	}
	return l, set, nil
}

var boundLine = regexp.MustCompile(`memory for connections and requests is bounded"? bytes=(\d+)`)

// boundOf reads from a server's log how much memory connections may take.
func (b *Bench) boundOf(l *peers.LAPI) (int64, error) {
	text, err := os.ReadFile(filepath.Join(b.Dir, l.Name+".log"))
	if err != nil {
		return 0, err
	}
	found := boundLine.FindSubmatch(text)
	if found == nil {
		return 0, errors.New("the server does not say how much memory it may take")
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}

// siege is everybody who is a burden.
type siege struct {
	address string

	mu   sync.Mutex
	all  []net.Conn
	idle []net.Conn

	stop           context.CancelFunc
	work           sync.WaitGroup
	read, slowGone atomic.Int64
}

// lay opens all connections and has them be a burden until lift.
func (s *siege) lay(ctx context.Context, count int) error {
	running, stop := context.WithCancel(ctx)
	s.stop = stop
	live := "GET " + livePath + "192.0.2.1" + load.Tail(peers.Key)
	kinds := []struct {
		count int
		begin func(net.Conn) error
	}{
		{count / idleShare, func(c net.Conn) error { return s.rest(c, live) }},
		{count / slowShare, func(c net.Conn) error { return s.sips(running, c) }},
		{count / dripShare, func(c net.Conn) error { return s.drips(running, c, live) }},
	}
	for _, k := range kinds {
		var opened sync.WaitGroup
		errs := make(chan error, k.count)
		gate := make(chan struct{}, opening)
		for range k.count {
			gate <- struct{}{}
			opened.Go(func() {
				defer func() { <-gate }()
				c, err := s.dial(ctx)
				if err == nil {
					err = k.begin(c)
				}
				errs <- err
			})
		}
		opened.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				return fmt.Errorf("siege: %w", err)
			}
		}
	}
	return nil
}

func (s *siege) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, window) })
		return errors.Join(err, failed)
	}}
	c, err := d.DialContext(ctx, "tcp", s.address)
	if err == nil {
		s.mu.Lock()
		s.all = append(s.all, c)
		s.mu.Unlock()
	}
	return c, err
}

// rest asks once and does nothing any more.
func (s *siege) rest(c net.Conn, request string) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 4<<10))
	s.mu.Lock()
	s.idle = append(s.idle, c)
	s.mu.Unlock()
	return err
}

// sips asks for everything and takes a little of it now and then.
func (s *siege) sips(ctx context.Context, c net.Conn) error {
	if _, err := io.WriteString(c, "GET "+startupPath+load.Tail(peers.Key)); err != nil {
		return err
	}
	s.work.Go(func() {
		buf := make([]byte, sip)
		for pause(ctx, sipEvery) == nil {
			n, err := c.Read(buf)
			s.read.Add(int64(n))
			if err != nil {
				if ctx.Err() == nil {
					s.slowGone.Add(1)
				}
				return
			}
		}
	})
	return nil
}

// drips sends a request a byte a second, which it never ends.
func (s *siege) drips(ctx context.Context, c net.Conn, request string) error {
	s.work.Go(func() {
		for i := 0; pause(ctx, dripOnce) == nil; i++ {
			if _, err := io.WriteString(c, request[i%(len(request)-2):][:1]); err != nil {
				return // the server has lost patience, as it may
			}
		}
	})
	return nil
}

// idleGone counts those who did nothing and were sent away all the same.
func (s *siege) idleGone() (gone int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.idle {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			gone++
		}
	}
	return gone
}

// lift ends it all.
func (s *siege) lift() {
	if s.stop != nil {
		s.stop()
	}
	s.mu.Lock()
	for _, c := range s.all {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
}
