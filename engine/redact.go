package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"strings"

	"lapid/persist"
)

// A relay stands where it may be stolen, and follows the history all the same. What it is sent is redacted: it has each
// commit under its revision, and each operation in its place, but none of what a relay has no use for and a thief has:
//
//	secrets of the server     left out, but for the name of the history
//	hashes of passwords       left out, of machines and of operators; operators' links too
//	bodies of alerts          left out; what memory holds of an alert stays
//	usage metrics             left out
//	where bouncers are        left out: a relay's bouncers are at places of their own
//	hashes of keys and tokens stay: keys are as long as their hashes
//
// Decisions are the same, with their ids and ends, and so is every answer about them. The digest is another one.

// errUnredacted: nobody has said what a relay may know of an operation.
var errUnredacted = errors.New("it is not known what of it may be sent to a relay")

// ErrBeforeRedaction: a commit is of a program before relays, and goes to one only as a part of a backup.
var ErrBeforeRedaction = errors.New("a commit of an older program is not redacted")

// Redact appends a commit to dst as a relay may have it. It may be redacted again, and is the same then. dst is returned as
// it came with an error: ErrBeforeRedaction, or one that says that the commit cannot be read.
func Redact(dst, record []byte) ([]byte, error) {
	d := decoder{rest: record}
	if version := d.byte(); version != recordVersion {
		return dst, fmt.Errorf("%w: record version %d", ErrBeforeRedaction, version)
	}
	at, ops := d.varint(), d.count(2)
	out := appendCommitHead(dst, at, ops)
	for ; ops > 0 && d.err == nil; ops-- {
		number, body := d.byte(), d.bytes()
		if d.err != nil {
			break
		}
		if asTheyAre[number] {
			out = appendBytes(append(out, number), body)
			continue
		}
		var err error
		if out, err = redactOp(out, number, body); err != nil {
			return dst, err
		}
	}
	if d.err != nil {
		return dst, d.err
	}
	return out, nil // those who sent it are for the audit at the nodes
}

// redactOp appends one operation that is not sent as it is.
func redactOp(dst []byte, number byte, body []byte) ([]byte, error) {
	d := decoder{rest: body, version: recordVersion}
	o, by := newOp(number), Actor{}
	if o == nil {
		return dst, fmt.Errorf("%w: unknown operation %d", errRecord, number)
	}
	by.decode(&d)
	if o.decode(&d); d.err != nil {
		return dst, fmt.Errorf("operation %d: %w", number, d.err)
	}
	o, err := redacted(o)
	if err != nil {
		return dst, err
	}
	return appendOp(dst, by, o), nil
}

// asTheyAre are the operations that a relay may have as they are.
var asTheyAre = func() (list [256]bool) {
	for _, number := range [...]byte{
		numberGenesis, numberEndDecisions, numberExpire, numberDropAlerts, numberDropMachines, numberPutBouncer, numberDropBouncers,
		numberPutAllowlist, numberDropAllowlist, numberDropUsage, numberSetBack, numberExtendAllowlist, numberReduceAllowlist,
		numberMoveBookmark, numberDropBookmark, numberRaiseIDs, numberReviseAllowlist, numberAllowlistsWin, numberReviseExports,
		numberDropOperator, numberGrantToken, numberRotateKey, numberCompare,
	} {
		list[number] = true
	}
	return list
}()

// redacted is an operation as a relay may have it. o is not used again.
func redacted(o op) (op, error) {
	if asTheyAre[o.number()] {
		return o, nil
	}
	switch o := o.(type) {
	case *addAlerts:
		o.redact()
	case *replaceList:
		o.add.redact()
	case *extendDecisions:
		o.add.redact()
	case *bringAlerts:
		for i := range o.alerts {
			o.alerts[i].redact()
		}
	case *putMachine:
		o.machine = *o.machine.redacted()
	case *putOperator:
		o.operator = *o.operator.redacted()
	case *visits:
		o.bouncers, o.operators = nil, nil
	case *visitsOf:
		o.bouncers, o.operators = nil, nil
	case *addUsage:
		o.usage = Usage{Kind: o.usage.Kind, Name: o.usage.Name, ReceivedAt: o.usage.ReceivedAt}
	case *putSecret:
		if o.name != historySecret {
			return &putSecret{name: redactedSecret}, nil
		}
	case *rotateSecret:
		return &putSecret{name: redactedSecret}, nil
	case *requested:
		within, err := redacted(o.op)
		return &requested{o.id, within}, err
	default:
		return nil, fmt.Errorf("operation %d: %w", o.number(), errUnredacted)
	}
	return o, nil
}

// redactedSecret is the name of one that was left out: all have the same, and nobody asks for it.
const redactedSecret = "redacted"

func (o *addAlerts) redact() {
	for i := range o.alerts {
		o.alerts[i].redact()
	}
}

func (a *incoming) redact() { a.body, a.notify = nil, nil }

func (m *Machine) redacted() *Machine {
	if len(m.PasswordHash) == 0 {
		return m
	}
	c := *m
	c.PasswordHash = nil
	return &c
}

func (o *Operator) redacted() *Operator {
	c := *o
	c.PasswordHash, c.Link = "", OperatorLink{}
	return &c
}

// redacted is what a backup for a relay has of people: no rows of this engine alone, no places.
func (p *people) redacted() *people {
	c := *p
	c.machines, c.bouncers, c.secrets = nil, nil, map[string][]byte{}
	for _, m := range p.machines {
		m.value = m.value.redacted()
		c.machines = append(c.machines, m)
	}
	for _, b := range p.bouncers {
		c.bouncers = append(c.bouncers, keptBouncer{value: b.value, renewed: b.renewed})
	}
	for name, value := range p.secrets {
		if name == historySecret {
			c.secrets[name] = value
		} else if !strings.HasSuffix(name, earlierSecrets) {
			c.secrets[redactedSecret] = nil
		}
	}
	return &c
}

// BackupForRelay is Backup for a relay: what it writes is redacted as Redact does it, and is taken with AdoptRelayed.
func (e *Engine) BackupForRelay(ctx context.Context, w io.Writer) (Revision, int64, error) {
	cut := &backupCut{}
	if err := e.perform(ctx, func(v *View) error {
		cut.view, cut.header, cut.people = v, v.appendHeader(nil), v.people().redacted()
		return nil
	}); err != nil {
		return 0, 0, fmt.Errorf("beginning a backup for a relay: %w", err)
	}
	whole := cut.view
	defer runtime.KeepAlive(whole) // what it shows is not forgotten meanwhile
	view := *whole
	order := make([]*Operator, 0, len(view.operators.order))
	for _, o := range view.operators.order {
		order = append(order, o.redacted())
	}
	view.operators = newOperatorSet(order)
	cut.view = &view
	size, err := cut.writeRedacted(ctx, w)
	if err != nil {
		return 0, 0, fmt.Errorf("writing a backup for a relay: %w", err)
	}
	return view.revision, size, nil
}

func (c *backupCut) writeRedacted(ctx context.Context, w io.Writer) (int64, error) {
	b := persist.NewBackupWriter(w, uint64(c.view.revision))
	if err := c.view.write(ctx, b, c.header, c.people); err != nil {
		return 0, err
	}
	if err := b.EachRow(c.view.bodiless()); err != nil {
		return 0, err
	}
	digest := c.view.digest(c.people)
	if err := b.Note(noteDigest, digest[:]); err != nil {
		return 0, err
	}
	return b.End()
}

// bodiless are the rows of alerts without what is in them.
func (v *View) bodiless() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		var key [9]byte
		key[0] = rowAlert
		for id := range v.eachAlert {
			binary.BigEndian.PutUint64(key[1:], id)
			if !yield(key[:], nil) {
				return
			}
		}
	}
}

// StoredCommits hands over the commits of the store behind a revision, as they are written, in order, up to the newest view
// or until yield returns an error, which it returns then. record is borrowed until yield returns. ErrForgotten: the store no longer
// reaches back so far. Any goroutine.
func (e *Engine) StoredCommits(after Revision, yield func(rev Revision, record []byte) error) error {
	last := e.View().revision
	if after >= last {
		return nil
	}
	if after < Revision(e.journalFloor.Load()) {
		return ErrForgotten
	}
	err := e.store.Replay(uint64(after), func(rev uint64, record []byte) error {
		if Revision(rev) > last {
			return errWalked
		}
		return yield(Revision(rev), record)
	})
	switch {
	case errors.Is(err, persist.ErrForgotten):
		return errors.Join(ErrForgotten, err)
	case errors.Is(err, errWalked):
		return nil
	}
	return err
}

// HistoryNamed is the name of the history, if it has one by now (NameHistory). It does not wait.
func (e *Engine) HistoryNamed() (HistoryName, bool) { return e.historyName(e.View()) }
