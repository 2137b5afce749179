package movein

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"lapid/engine"
)

// What is read beside a running server goes to it as frames: four bytes of length, four of
// a checksum (CRC-32C), and that many bytes of package gob, each frame readable by itself.
// The first has the head, the last the end. The server keeps them in a file, which a later
// program reads as well.

// frame is a part of a source. As a rule one of its fields is set.
type frame struct {
	Head     *head
	Machines []*Machine
	Bouncers []*Bouncer
	Lists    []*Allowlist
	Alerts   []portion
	Usage    []*engine.Usage
	Central  map[string]string
	Counters *Counters
	End      *Tally
}

// head says what the frames are about.
type head struct {
	Format int      // framesFormat
	Source string   // as in the Tally
	At     int64    // Unix nanoseconds: of the taking over
	Store  [16]byte // set by the server: which store they are for
}

// framesFormat is the only one so far.
const framesFormat = 1

const (
	// frameBytes ends a frame: it is as long as this and one thing more.
	frameBytes = 2 << 20
	// frameThings ends one as well, decisions counted like others.
	frameThings = 20_000
	// mostFrame is the longest that is read. An alert with more is refused.
	mostFrame = 64 << 20
)

var errFrame = errors.New("what was to be taken over is damaged or cut off")

// writeFrame writes one frame.
func writeFrame(w io.Writer, f *frame) (size int, err error) {
	body, err := appendFrame(f)
	if err != nil {
		return 0, err
	}
	_, err = w.Write(body)
	return len(body), err
}

func appendFrame(f *frame) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 8, 4096))
	if err := gob.NewEncoder(b).Encode(f); err != nil {
		return nil, err
	}
	body := b.Bytes()
	binary.BigEndian.PutUint32(body, uint32(len(body)-8))
	binary.BigEndian.PutUint32(body[4:], crc32.Checksum(body[8:], castagnoli))
	return body, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readFrame reads the next frame; raw are its bytes, in buf where they fit. io.EOF: there
// is none. Whatever comes, memory is bounded by mostFrame and what is really there.
func readFrame(r io.Reader, buf []byte) (f *frame, raw []byte, err error) {
	raw = append(buf[:0], make([]byte, 8)...)
	if _, err := io.ReadFull(r, raw); err == io.EOF {
		return nil, raw, io.EOF
	} else if err != nil {
		return nil, raw, fmt.Errorf("%w: %w", errFrame, err)
	}
	n := binary.BigEndian.Uint32(raw)
	if n > mostFrame {
		return nil, raw, fmt.Errorf("%w: a part of %d bytes", errFrame, n)
	}
	b := bytes.NewBuffer(raw)
	if _, err := io.CopyN(b, r, int64(n)); err != nil {
		return nil, b.Bytes(), fmt.Errorf("%w: %w", errFrame, err)
	}
	if raw = b.Bytes(); crc32.Checksum(raw[8:], castagnoli) != binary.BigEndian.Uint32(raw[4:]) {
		return nil, raw, fmt.Errorf("%w: a checksum is wrong", errFrame)
	}
	f = &frame{}
	if err := gob.NewDecoder(bytes.NewReader(raw[8:])).Decode(f); err != nil {
		return nil, raw, fmt.Errorf("%w: %w", errFrame, err)
	}
	return f, raw, f.check()
}

// check refuses what nobody writes.
func (f *frame) check() error {
	for i := range f.Alerts {
		if p := &f.Alerts[i]; p.Alert == nil || p.Part < 0 || len(p.Taken) > mostDecisions {
			return errFrame
		}
	}
	for _, b := range f.Bouncers {
		if b.Software == nil {
			b.Software = &engine.Software{}
		}
	}
	if f.Head != nil && f.Head.Format != framesFormat {
		return fmt.Errorf("%w: it has the format %d, and this program knows %d", errFrame, f.Head.Format, framesFormat)
	}
	return nil
}

// Sender is a Taker that writes what it gets as frames. What the store that they are for
// would refuse for what it is, it refuses itself. For one goroutine. It begins by itself;
// End must follow the last row.
type Sender struct {
	to     io.Writer
	source string
	at     int64
	begun  bool
	next   frame
	bytes  int // about, of next
	things int
}

// NewSender makes one for a source that is taken over at a moment.
func NewSender(to io.Writer, s *Source, at int64) *Sender {
	return &Sender{to: to, source: s.Place.String(), at: at}
}

// Machine sends a machine.
func (s *Sender) Machine(_ context.Context, m *Machine) error {
	if err := m.Fits(); err != nil {
		return refusal(err)
	}
	s.next.Machines = append(s.next.Machines, m)
	return s.added(200+len(m.Scenarios), 1)
}

// Bouncer sends a bouncer.
func (s *Sender) Bouncer(_ context.Context, b *Bouncer) error {
	if err := b.Fits(); err != nil {
		return refusal(err)
	}
	s.next.Bouncers = append(s.next.Bouncers, b)
	return s.added(300, 1)
}

// Allowlist sends a list with its items.
func (s *Sender) Allowlist(_ context.Context, l *Allowlist) error {
	whole := l.Allowlist
	for i := range l.Items {
		whole.Items = append(whole.Items, l.Items[i].AllowlistItem)
	}
	if err := whole.Fits(); err != nil {
		return refusal(err)
	}
	s.next.Lists = append(s.next.Lists, l)
	return s.added(100*len(l.Items), 1+len(l.Items))
}

// Alerts sends alerts, in portions.
func (s *Sender) Alerts(_ context.Context, alerts []*Alert) error {
	for _, a := range alerts {
		size := sizeOf(a)
		if size > mostFrame/2 {
			a.Refused = fmt.Sprintf("its events and texts are %d bytes, and at most %d are taken over", size, mostFrame/2)
			continue
		}
		for _, p := range portionsOf(a) {
			s.next.Alerts = append(s.next.Alerts, p)
			if err := s.added(size+100*len(p.Taken), 1+len(p.Taken)); err != nil {
				return err
			}
		}
	}
	return nil
}

// sizeOf is about how many bytes an alert has, without its decisions.
func sizeOf(a *Alert) int {
	n := 300 + len(a.Message) + len(a.Scenario)
	for i := range a.Events {
		n += 40
		for j := range a.Events[i].Meta {
			n += 10 + len(a.Events[i].Meta[j].Key) + len(a.Events[i].Meta[j].Value)
		}
	}
	for i := range a.Meta {
		n += 10 + len(a.Meta[i].Key) + len(a.Meta[i].Value)
	}
	return n
}

// Usage sends a report.
func (s *Sender) Usage(_ context.Context, u *engine.Usage) error {
	if err := u.Fits(); err != nil {
		return refusal(err)
	}
	s.next.Usage = append(s.next.Usage, u)
	return s.added(100+len(u.Payload), 1)
}

// Central sends what is known of the Central API.
func (s *Sender) Central(_ context.Context, items map[string]string) error {
	s.next.Central = items
	return s.flush()
}

// Counters sends the counters.
func (s *Sender) Counters(_ context.Context, c Counters) error {
	s.next.Counters = &c
	return s.flush()
}

// End says that this was all. Without it nothing is taken over.
func (s *Sender) End(tally *Tally) error {
	s.next.End = tally
	return s.flush()
}

func (s *Sender) added(bytes, things int) error {
	s.bytes, s.things = s.bytes+bytes, s.things+things
	if s.bytes < frameBytes && s.things < frameThings {
		return nil
	}
	return s.flush()
}

func (s *Sender) flush() error {
	if !s.begun {
		s.begun = true
		if _, err := writeFrame(s.to, &frame{Head: &head{Format: framesFormat, Source: s.source, At: s.at}}); err != nil {
			return err
		}
	}
	_, err := writeFrame(s.to, &s.next)
	s.next, s.bytes, s.things = frame{}, 0, 0
	return err
}
