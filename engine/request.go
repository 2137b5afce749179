package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// RequestID names a request that one node passes on to another, for it may come there more than
// once: when the writer dies before it answers, or an answer is lost. What is written under an id
// is written once. The zero RequestID names none.
type RequestID struct {
	After Revision // what the node had applied where the request came first
	Name  [8]byte  // by chance
}

// RequestIDSize is how many bytes an id is written in.
const RequestIDSize = 16

// NewRequest names a request that has come to this node.
func (e *Engine) NewRequest() (RequestID, error) {
	id := RequestID{After: e.View().revision}
	if _, err := rand.Read(id.Name[:]); err != nil {
		return RequestID{}, fmt.Errorf("naming a request: %w", err)
	}
	return id, nil
}

// IsZero reports whether the id names none.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// Append writes the id.
func (id RequestID) Append(dst []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(id.After)), id.Name[:]...)
}

// ReadRequestID is the mirror. b has RequestIDSize bytes at least.
func ReadRequestID(b []byte) (id RequestID) {
	id.After = Revision(binary.BigEndian.Uint64(b))
	copy(id.Name[:], b[8:RequestIDSize])
	return id
}

// onRequest is what the writes of a request have in common: its id, and how many there were.
type onRequest struct {
	id     RequestID
	writes atomic.Uint32
}

type requestKey struct{}

// ForRequest returns a context whose writes are those of a request. With the zero RequestID it
// returns ctx. However often a request is done, in whole or in part, each of its writes counts
// once: the first of one id is the first of the other.
func ForRequest(ctx context.Context, id RequestID) context.Context {
	if id.IsZero() {
		return ctx
	}
	return context.WithValue(ctx, requestKey{}, &onRequest{id: id})
}
