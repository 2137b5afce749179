package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
)

// UsageKind is the kind of sender of usage metrics.
type UsageKind byte

// Kinds of sender.
const (
	UsageBouncer UsageKind = 'B'
	UsageMachine UsageKind = 'M'
)

// Usage is one report of usage metrics: what it says about its sender, and the
// metrics themselves, kept as they came on disk.
type Usage struct {
	Kind         UsageKind
	Name         string // of the bouncer row or machine
	ReceivedAt   int64  // Unix nanoseconds
	Type         string // bouncers only; "" keeps what is known
	Version      string
	OS           OS
	HasOS        bool
	FeatureFlags []string
	DataSources  []Count              // machines only
	HubItems     map[string][]HubItem // machines only
	Payload      []byte               // the metrics part, JSON; owned by the engine from here on
}

// AddUsage stores a report of usage metrics and brings its sender's record up
// to date. Unknown senders are ErrNotFound, texts that are too long ErrInvalid.
//
// Metrics beyond what one report, or one sender on one day, may have are not
// kept, which is counted and said in the log, and no error: the sender could only send
// the same report again, and no decision depends on it.
func (e *Engine) AddUsage(ctx context.Context, u *Usage) error {
	if err := u.fits(); err != nil {
		return err
	}
	sender := Actor{ActorBouncer, u.Name}
	if u.Kind == UsageMachine {
		sender.Kind = ActorMachine
	}
	ctx = orElse(ctx, sender)
	kept := true
	p := &proposal{key: u.about()}
	p.resolve = func(v *View) (op, error) {
		said, err := u.updates(v)
		if err != nil {
			return nil, err
		}
		if kept = e.usage.admit(u); !kept {
			return said, nil
		}
		p.before = said
		return &addUsage{usage: *u}, nil
	}
	if err := e.propose(ctx, p); err != nil {
		return err
	}
	if !kept {
		e.bounded.n[boundUsage].Add(1)
		e.bounded.log(e, "usage metrics are not kept: more than one sender may report in one go, or on one day", "sender", u.Name, "bytes", len(u.Payload))
	}
	return nil
}

// about is the key of whatever changes its sender.
func (u *Usage) about() string {
	if u.Kind == UsageBouncer {
		return "bouncer:" + u.Name
	}
	return "machine:" + u.Name
}

// updates makes the operation that brings the record of its sender up to date; nil: it is.
func (u *Usage) updates(v *View) (op, error) {
	if u.Kind == UsageMachine {
		return u.updatesMachine(v)
	}
	row := v.Bouncer(u.Name)
	if row == nil {
		return nil, notFound(NounBouncer, u.Name)
	}
	b := row.Load()
	if (!u.HasOS || b.OS == u.OS) && (u.Type == "" || b.Type == u.Type) &&
		b.Version == u.Version && slices.Equal(b.FeatureFlags, u.FeatureFlags) {
		return nil, nil
	}
	return v.changedBouncer(u.Name, func(b *Bouncer) {
		if u.HasOS {
			b.OS = u.OS
		}
		if u.Type != "" {
			b.Type = u.Type
		}
		b.Version, b.FeatureFlags, b.UpdatedAt = u.Version, u.FeatureFlags, u.ReceivedAt
	})
}

func (u *Usage) updatesMachine(v *View) (op, error) {
	return v.changedMachine(u.Name, func(m *Machine) {
		if u.HasOS {
			m.OS = u.OS
		}
		m.Version, m.FeatureFlags, m.DataSources, m.HubItems = u.Version, u.FeatureFlags, u.DataSources, u.HubItems
		m.UpdatedAt = u.ReceivedAt
	})
}

// Usage yields stored reports of one kind, oldest first, of one sender or,
// with an empty name, of all. A read error is yielded last.
func (e *Engine) Usage(ctx context.Context, kind UsageKind, name string) iter.Seq2[*Usage, error] {
	return func(yield func(*Usage, error) bool) {
		stopped := false
		err := e.store.ScanRows(rowUsage, nil, nil, false, func(key, value []byte) (bool, error) {
			if len(key) < 9 || UsageKind(key[8]) != kind || (name != "" && !bytes.Equal(key[9:], []byte(name))) {
				return ctx.Err() == nil, nil
			}
			u := &Usage{}
			d := decoder{rest: value}
			if u.decode(&d); d.err != nil {
				return false, d.err
			}
			stopped = !yield(u, nil)
			return !stopped && ctx.Err() == nil, nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && !stopped {
			yield(nil, fmt.Errorf("reading usage metrics: %w", err))
		}
	}
}

// usageMeter counts what senders of usage metrics have sent on the day that it
// is. It is in memory only: a restart begins anew. Any goroutine.
type usageMeter struct {
	mu      sync.Mutex
	day     int64
	senders map[usageSender]usageSpent
	keys    map[string]int // bytes, by the name that the rows of one key share
}

type usageSender struct {
	kind UsageKind
	name string
}

type usageSpent struct{ reports, bytes int }

// admit reports whether a report is within what its sender may still send today,
// and if so counts it.
func (m *usageMeter) admit(u *Usage) bool {
	size := len(u.Payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	if day := u.ReceivedAt / int64(24*time.Hour); day != m.day || m.senders == nil {
		m.day, m.senders, m.keys = day, map[usageSender]usageSpent{}, map[string]int{}
	}
	who, key := usageSender{u.Kind, u.Name}, string(u.Kind)+BaseName(u.Name)
	spent := m.senders[who]
	if size > mostUsageReport || spent.reports >= mostUsageReports || spent.bytes+size > mostUsageSender || m.keys[key]+size > mostUsageKey {
		return false
	}
	m.senders[who] = usageSpent{spent.reports + 1, spent.bytes + size}
	m.keys[key] += size
	return true
}

// addUsage keeps one report of usage metrics on disk.
type addUsage struct{ usage Usage }

func (*addUsage) number() byte               { return numberAddUsage }
func (o *addUsage) append(dst []byte) []byte { return o.usage.append(dst) }
func (o *addUsage) decode(d *decoder)        { o.usage.decode(d) }
func (o *addUsage) apply(s *state, rev Revision) {
	s.rows.set(rowUsage, usageKey(o.usage.ReceivedAt, o.usage.Kind, o.usage.Name), o.usage.append(nil))
}

// usageVersion begins a report, so that its layout can change; what older programs wrote
// begins with its kind instead, which is a letter.
const usageVersion = 1

func (u *Usage) append(dst []byte) []byte {
	dst = append(dst, usageVersion, byte(u.Kind))
	dst = appendString(dst, u.Name)
	dst = binary.AppendVarint(dst, u.ReceivedAt)
	return appendBytes(appendString(appendString(dst, u.Type), u.Version), u.Payload)
}

func (u *Usage) decode(d *decoder) {
	kind := d.byte()
	if kind == usageVersion {
		kind = d.byte()
	} else if kind < 'A' {
		d.fail() // a layout of a newer program
	}
	u.Kind = UsageKind(kind)
	u.Name = d.string()
	u.ReceivedAt = d.varint()
	u.Type, u.Version = d.string(), d.string()
	u.Payload = slices.Clone(d.bytes())
}

// usageKey sorts reports by time, so that old ones go as one range.
func usageKey(at int64, kind UsageKind, name string) []byte {
	key := binary.BigEndian.AppendUint64(nil, uint64(at))
	return append(append(key, byte(kind)), name...)
}

// dropUsage forgets usage metrics received before a moment.
type dropUsage struct{ before int64 }

func (*dropUsage) number() byte               { return numberDropUsage }
func (o *dropUsage) append(dst []byte) []byte { return binary.AppendVarint(dst, o.before) }
func (o *dropUsage) decode(d *decoder)        { o.before = d.varint() }
func (o *dropUsage) apply(s *state, rev Revision) {
	s.rows.deleteRange(rowUsage, idKey(0), idKey(uint64(max(o.before, 0))))
}
