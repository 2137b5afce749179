package verbs

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"lapid/transport/visible"
)

// progress is a bar on stderr, drawn only on a terminal. For
// one goroutine.
type progress struct {
	out   io.Writer // nil: not on a terminal
	total int
	shown int // hundredths drawn last

	tail func(done int) string // what stands behind the bar; nil: nothing
}

// newProgress makes a bar for so many values.
func newProgress(t *Terminal, total int) *progress {
	p := &progress{total: max(total, 1), shown: -1}
	if f, ok := visible.Under(t.Err).(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.out = f
	}
	return p
}

// at draws how far it has come. It writes only when a hundredth has passed
// since the last time.
func (p *progress) at(done int) {
	percent := done * 100 / p.total
	if p.out == nil || percent == p.shown {
		return
	}
	p.shown = percent
	const wide = 40
	full := min(percent*wide/100, wide)
	tail := ""
	if p.tail != nil {
		tail = p.tail(done)
	}
	fmt.Fprintf(p.out, "\r[%s%s] %3d%% %d/%d%s\x1b[K", strings.Repeat("#", full), strings.Repeat(".", wide-full), percent, done, p.total, tail)
}

// clear removes the bar.
func (p *progress) clear() {
	if p.out != nil && p.shown >= 0 {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = -1
	}
}
