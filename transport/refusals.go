package transport

import (
	"net/netip"
	"sync/atomic"
	"time"

	"lapid/engine"
)

// reason is why somebody was refused although nothing was wrong with what he
// asked: there was no room.
type reason uint8

const (
	noConnection     reason = iota // too many connections, all of callers who have shown who they are
	cutConnection                  // a connection was closed for one more: nobody has shown who he is on it
	cutServed                      // the same, for one more with a goroutine
	noBodyMemory                   // large bodies of machines and bouncers
	noStrangerMemory               // bodies of those who have not logged in
	noAnswerMemory                 // long answers
	noPassword                     // logins and registrations
	noValidation                   // machines that wait for validation

	reasons = int(noValidation) + 1
)

// reasonNames are the labels of the metrics, and stand in the log.
var reasonNames = [reasons]string{
	noConnection: "connections", cutConnection: "connections_cut", cutServed: "requests_cut", noBodyMemory: "bodies",
	noStrangerMemory: "bodies_before_login", noAnswerMemory: "answers", noPassword: "passwords", noValidation: "validation",
}

// refusalTold is how often one reason is in the log at most.
const refusalTold = 10 * time.Second

// refusals counts for what there was no room.
type refusals [reasons]struct {
	count atomic.Uint64
	told  atomic.Int64  // Unix nanoseconds of the last line
	last  atomic.Uint64 // the count then
}

// refused counts a refusal, and says so in the log from time to time: a line for
// each would be another way to fill a disk.
func (s *Server) refused(why reason, client netip.Addr) {
	r := &s.refusals[why]
	n, now := r.count.Add(1), time.Now().UnixNano()
	if told := r.told.Load(); now-told < int64(refusalTold) && now >= told || !r.told.CompareAndSwap(told, now) {
		return
	}
	s.log.Warn("no room for everybody", "reason", reasonNames[why], "address", client, "refused", n-r.last.Swap(n))
}

// noRoom refuses a body.
func (s *Server) noRoom(x *exchange, why reason) error {
	s.refused(why, x.client)
	x.told = true
	return errBodies
}

var errBodies = &engine.Error{Kind: engine.ErrBusy, Text: "too many large requests at once"}
