package peer

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// countedEvery is the shortest time between two lines of one message.
const countedEvery = time.Minute

// counted writes what strangers cause to the log: the first line of a message at once, then one each minute in which there was more, with
// how often and the newest. However many come, they cannot fill a disk with it. Any goroutine may use it.
type counted struct {
	log   *slog.Logger
	every time.Duration

	mu   sync.Mutex
	said map[string]*counting // by message; those are constants of this package
}

// counting is one message whose last line is less than a minute old.
type counting struct {
	times int // since that line
	args  []any
}

func newCounted(log *slog.Logger) *counted {
	return &counted{log: log, every: countedEvery, said: map[string]*counting{}}
}

// say writes a line, or counts it.
func (c *counted) say(message string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was := c.said[message]; was != nil {
		was.times++
		was.args = args
		return
	}
	c.log.Warn(message, args...)
	c.said[message] = &counting{}
	time.AfterFunc(c.every, func() { c.tell(message) })
}

// tell writes the line of a minute; after one in which there was nothing the next comes at once.
func (c *counted) tell(message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.said[message]
	if was.times == 0 {
		delete(c.said, message)
		return
	}
	c.log.Warn(message, append([]any{"times", was.times}, was.args...)...)
	*was = counting{}
	time.AfterFunc(c.every, func() { c.tell(message) })
}

// longestStranger bounds what is written of the newest stranger, in bytes.
const longestStranger = 256

// Write takes a line of http.Server's, each of which a caller caused.
func (c *counted) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("http: panic")) {
		c.log.Error("a request of another node has panicked", "stack", string(line))
		return len(line), nil
	}
	c.say("who connects to the port for other nodes is none, or breaks off: its certificate must be in force and of the cluster's authority (ca_file)", "newest", fmt.Sprintf("%.*s", longestStranger, line))
	return len(line), nil
}
