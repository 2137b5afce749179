package member

import (
	"sync"
	"time"
)

const (
	// lineEvery is the shortest time between two lines of one message.
	lineEvery = time.Minute
	// messagesAtMost is how many messages are counted apart; etcd has some hundreds. Others wait for the minute's end as one.
	messagesAtMost = 256
	otherMessages  = ""
)

// lines are etcd's warnings and errors: the first of a message is written at once, then one each minute in which there were more, the newest
// with how many. Whoever connects to a member's port without a certificate causes one each time. Any goroutine may use it.
type lines struct {
	every time.Duration

	mu   sync.Mutex
	said map[string]*line // by message
}

// line is a message whose last line is less than a minute old.
type line struct {
	times int             // since that line
	write func(times int) // the newest
}

func newLines() *lines { return &lines{every: lineEvery, said: map[string]*line{}} }

// write has a message written, or counted.
func (l *lines) write(message string, write func(times int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.said[message] == nil && len(l.said) >= messagesAtMost {
		message = otherMessages
	}
	if was := l.said[message]; was != nil {
		was.times++
		was.write = write
		return
	}
	write(1)
	l.said[message] = &line{}
	time.AfterFunc(l.every, func() { l.tell(message) })
}

// tell writes the line of a minute; after one in which there was nothing the next comes at once.
func (l *lines) tell(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.said[message]
	if was.times == 0 {
		delete(l.said, message)
		return
	}
	was.write(was.times)
	*was = line{}
	time.AfterFunc(l.every, func() { l.tell(message) })
}
