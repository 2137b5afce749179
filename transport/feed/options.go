package feed

import (
	"log/slog"
	"net/netip"
	"time"
)

// Options say how much a Feed may take, and whom it tells. All are required.
type Options struct {
	AnswerMemory int64 // for answers beyond Brief bytes each, and what is put in order for them
	SharedMemory int64 // for answers that several readers follow, in pieces
	// StreamLimit is how long the sending of one long answer may take, however it goes on.
	StreamLimit time.Duration
	// Patience is how long an answer waits for memory, unless Life ends before.
	Patience time.Duration
	Life     <-chan struct{}
	// Refused is told of every reader for which there was no memory. It must not wait.
	Refused func(client netip.Addr)
	Log     *slog.Logger
}
