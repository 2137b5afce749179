package transport

import (
	"log/slog"
	"sync/atomic"
)

// complaints are lines of the log about requests that failed for a fault of ours, such
// as a full disk, on which all of them do: complaintsAtMost a second. Any goroutine may
// use it.
type complaints struct {
	log          *slog.Logger
	second, told atomic.Int64 // that of the last failure, and how many there were in it
}

const complaintsAtMost = 10

// add says that a request failed. cause may be nil.
func (c *complaints) add(request slog.LogValuer, second int64, err, cause error) {
	if c.second.Swap(second) != second {
		if more := c.told.Swap(0) - complaintsAtMost; more > 0 {
			c.log.Error("more requests failed", "requests", more)
		}
	}
	if c.told.Add(1) > complaintsAtMost {
		return
	}
	if cause != nil {
		c.log.Error("a request failed", "request", request, "error", err, "cause", cause)
		return
	}
	c.log.Error("a request failed", "request", request, "error", err)
}
