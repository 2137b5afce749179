package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"lapid/engine"
)

// Kind says who answers a request that is passed on.
type Kind byte

// Kinds of requests.
const (
	API    Kind = iota // of the Local API: it has a Body
	Verb               // of an operator: it has a Body, or a Stream
	Note               // what was seen of a machine or a bouncer: it has a Body
	Visits             // what visitors left at a node (engine.VisitNote): it has a Body

	kinds = 4
)

// Request is a request that came to one node and is answered by another. What it holds is
// borrowed until Pass or ServePassed returns.
type Request struct {
	Kind Kind
	// ID is what it is known by however often it comes (engine.NewRequest). Zero: it is sent
	// once.
	ID engine.RequestID

	Method string
	Target string // path and query, as they came

	Client netip.Addr // who asks, as the first node saw it; zero: over a Unix socket
	Socket bool       // it came over one
	Who    string     // whom the first node has found the caller to be: its handler's to read
	Agent  string     // User-Agent

	Body   []byte    // whole; nil with Stream
	Stream io.Reader // of unknown length: it is sent once
}

// Bounds of a request, in bytes.
const (
	// BodyAtMost is how long a Body may be: more than what the Local API reads of one.
	BodyAtMost = 64 << 20
	// headAtMost is how long all else may be.
	headAtMost = 64 << 10
)

// append writes all but the body, with its length in front.
func (r *Request) append(dst []byte) ([]byte, error) {
	from := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(r.Kind))
	dst = r.ID.Append(dst)
	socket := byte(0)
	if r.Socket {
		socket = 1
	}
	dst = append(dst, socket)
	for _, text := range []string{r.Method, r.Target, string(r.Client.AsSlice()), r.Who, r.Agent} {
		dst = append(binary.AppendUvarint(dst, uint64(len(text))), text...)
	}
	n := len(dst) - from - 4
	if n > headAtMost {
		return nil, fmt.Errorf("%w: its head has %d bytes", ErrTooLarge, n)
	}
	binary.LittleEndian.PutUint32(dst[from:], uint32(n))
	return dst, nil
}

var errHead = errors.New("the head of a request that is passed on cannot be read")

// readHead is the mirror: it leaves from at the body.
func readHead(from io.Reader) (*Request, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, errHead
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > headAtMost {
		return nil, errHead
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(from, head); err != nil {
		return nil, errHead
	}
	return decodeHead(head)
}

func decodeHead(head []byte) (*Request, error) {
	const fixed = 1 + engine.RequestIDSize + 1
	if len(head) < fixed || head[0] >= kinds || head[fixed-1] > 1 {
		return nil, errHead
	}
	r := &Request{Kind: Kind(head[0]), ID: engine.ReadRequestID(head[1:]), Socket: head[fixed-1] == 1}
	head = head[fixed:]
	var client string
	for _, text := range []*string{&r.Method, &r.Target, &client, &r.Who, &r.Agent} {
		n, size := binary.Uvarint(head)
		if size <= 0 || n > uint64(len(head)-size) {
			return nil, errHead
		}
		*text = string(head[size : size+int(n)])
		head = head[size+int(n):]
	}
	var ok bool
	if r.Client, ok = netip.AddrFromSlice([]byte(client)); !ok && client != "" || len(head) != 0 {
		return nil, errHead
	}
	return r, nil
}
