package engine

import (
	"context"
	"encoding/binary"
	"net/netip"
)

// Sender is from where an actor asked, for the audit. It stands behind the operations of a
// commit and is in no state: nothing is applied by it, and programs that do not know it skip it.
type Sender struct {
	Address netip.Addr // without zone; zero: this machine, or not known
	Token   uint32     // number of the API token that it asked with; 0: none
}

type senderKey struct{}

// From returns a context whose writes came from there.
func From(ctx context.Context, s Sender) context.Context {
	s.Address = s.Address.Unmap().WithZone("")
	return context.WithValue(ctx, senderKey{}, s)
}

func senderOf(ctx context.Context) Sender {
	s, _ := ctx.Value(senderKey{}).(Sender)
	return s
}

// sentOp is the sender of one operation of a commit.
type sentOp struct {
	place int // of the operation, from 0
	from  Sender
}

// appendSenders ends a commit with those of its operations that have a sender.
func appendSenders(dst []byte, list []sentOp) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for i := range list {
		from := len(dst)
		dst = binary.AppendUvarint(dst, uint64(list[i].place))
		dst = appendBytes(dst, list[i].from.Address.AsSlice())
		dst = endRow(binary.AppendUvarint(dst, uint64(list[i].from.Token)), from)
	}
	return dst
}

// sendersBehind reads them ahead of the n operations in front of them.
func (d *decoder) sendersBehind(n int) map[int]Sender {
	rest := *d
	for ; n > 0 && rest.err == nil; n-- {
		rest.byte()
		rest.bytes()
	}
	return rest.senders()
}

// senders is the mirror: by place, nil where there are none. What comes behind operations in a
// record that is no such list belongs to a newer program, and says nothing here.
func (d *decoder) senders() map[int]Sender {
	if d.err != nil || len(d.rest) == 0 || d.version <= firstVersion {
		return nil
	}
	rest := decoder{rest: d.rest, version: d.version}
	n := rest.count(3)
	list := make(map[int]Sender, min(n, maxBatch))
	for ; n > 0 && rest.err == nil; n-- {
		behind := rest.open()
		place := rest.uvarint()
		address, _ := netip.AddrFromSlice(rest.bytes())
		token := rest.uvarint()
		rest.close(behind)
		list[int(min(place, 1<<31-1))] = Sender{address, uint32(min(token, 1<<32-1))}
	}
	if rest.err != nil {
		return nil
	}
	return list
}
