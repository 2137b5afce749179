package conn

import (
	"fmt"
	"time"
)

// Limits are bounds of what comes in. All are required.
type Limits struct {
	MaxConnections int           // at once, on each listener
	MaxServed      int           // of them all, those that have a goroutine
	HeaderBytes    int           // request line and headers together; see CheckHeaderBytes
	ReadTimeout    time.Duration // for the head of a request
	ReadStall      time.Duration // in which something of a body must come
	UploadLimit    time.Duration // for the whole body of a caller who is known
	IdleTimeout    time.Duration // between two requests
	WriteStall     time.Duration // a peer that takes no 128 KiB in half of this is let go
	BodyMemory     int64         // for the bodies of those who are known, in bytes
	StrangerMemory int64         // for those of all others
	Patience       Patience
}

// Patience is how long is waited for what; the usual times stand beside. Tests have
// less.
type Patience struct {
	Body     time.Duration // a large body for memory (8 s)
	Stranger time.Duration // a request of a caller who has not shown who he is (15 s)
	ShedAge  time.Duration // how old a connection is at least that is closed to make room (250 ms); negative: any
	Doubt    time.Duration // how long a client that has ended its side may still show that it has not heard (1 s)
}

func (p *Patience) withDefaults() {
	for _, one := range []struct {
		is    *time.Duration
		usual time.Duration
	}{{&p.Body, bodyPatience}, {&p.Stranger, strangerPatience}, {&p.ShedAge, shedAge}, {&p.Doubt, doubt}} {
		if *one.is == 0 {
			*one.is = one.usual
		}
	}
}

const (
	// bodyPatience is how long a body waits for memory; log processors give a request
	// ten seconds and more.
	bodyPatience = 8 * time.Second
	// strangerPatience is how long a caller who has not shown who he is may take for a
	// request: nobody logs in at leisure.
	strangerPatience = 15 * time.Second
)

// CheckHeaderBytes says whether so many bytes may be Options.HeaderBytes.
func CheckHeaderBytes(n int) error {
	if n < leastHeaderBytes || n > mostHeaderBytes {
		return fmt.Errorf("a head of %d bytes at most: it must be between %d and %d", n, leastHeaderBytes, mostHeaderBytes)
	}
	return nil
}

const (
	// shedAge is how old a connection is at least that is closed to make room at the
	// door, and how long a request of a stranger goes on at least when there are as
	// many requests as there may be.
	shedAge = 250 * time.Millisecond
	// mostHeaderBytes is the most that Options.HeaderBytes may be, leastHeaderBytes
	// the least.
	mostHeaderBytes  = 1 << 20
	leastHeaderBytes = 4 << 10
)

// doubt is how long a client that has ended its side may still show that it has not
// heard an answer. One that closes without having read everything sends a reset, but
// one that has said before that it says no more is not told apart from one that has
// closed in good order until it does. A client that waits for our end waits as long.
const doubt = time.Second

const (
	// drainAtMost is how much of a body that nobody wants is read anyway, so
	// that the client sees the answer instead of a reset connection. It is more
	// than the limit before login, so that one who just exceeds that is told.
	drainAtMost = 4 << 20
	// drainStep is how much of it at once.
	drainStep = 4 << 10
)
