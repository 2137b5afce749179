package transport

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"lapid/engine"
	"lapid/transport/conn"
)

// reason is why somebody was refused although nothing was wrong with what he
// asked: there was no room.
type reason = conn.Reason

// The reasons of ours, behind those of connections and bodies.
const (
	noAnswerMemory = reason(conn.Reasons) + iota // long answers
	noPassword                                   // logins and registrations
	noValidation                                 // machines that wait for validation

	reasons = int(noValidation) + 1
)

// reasonNames are the labels of the metrics, and stand in the log.
var reasonNames = [reasons]string{
	conn.NoConnection: "connections", conn.CutConnection: "connections_cut", conn.CutServed: "requests_cut", conn.CutHeld: "held_cut", conn.NoBodyMemory: "bodies",
	conn.NoStrangerMemory: "bodies_before_login", noAnswerMemory: "answers", noPassword: "passwords", noValidation: "validation",
}

// refusalTold is how often one reason is in the log at most.
const refusalTold = 10 * time.Second

// refusals counts for what there was no room.
type refusals struct {
	log *slog.Logger
	of  [reasons]refusal
}

type refusal struct {
	count atomic.Uint64
	told  atomic.Int64  // Unix nanoseconds of the last line
	last  atomic.Uint64 // the count then
}

// add counts a refusal, and says so in the log from time to time: a line for
// each would be another way to fill a disk.
func (c *refusals) add(why reason, client netip.Addr) {
	r := &c.of[why]
	n, now := r.count.Add(1), time.Now().UnixNano()
	if told := r.told.Load(); now-told < int64(refusalTold) && now >= told || !r.told.CompareAndSwap(told, now) {
		return
	}
	c.log.Warn("no room for everybody", "reason", reasonNames[why], "address", client, "refused", n-r.last.Swap(n))
}

var errCrowded = &engine.Error{Kind: engine.ErrBusy, Text: "too many wait for news already"}

var errBodies = &engine.Error{Kind: engine.ErrBusy, Text: "too many large requests at once"}
