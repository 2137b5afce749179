package transport

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/visible"
)

// Who is not let in is counted by reason, and told in the log: of an address, or a
// /64 of IPv6, each reason at once, and then once a minute with how often it was.
// Of addresses beyond those that are remembered there is one line a minute for each
// reason. So neither a bouncer with a key that was deleted nor a stranger with all
// addresses of the world makes more than so many lines. No line holds a secret.
const (
	// deniedAtMost is how many pairs of an address and a reason are remembered, some
	// hundred bytes each, until a minute passes without them.
	deniedAtMost = 256
	// deniedEvery is how long the next line of a pair waits.
	deniedEvery = int64(time.Minute)
	// longestDenied is how much of what a caller says about itself is in a line.
	longestDenied = 100
)

// denial is one caller who was not let in, as a line tells it.
type denial struct {
	reason  auth.Reason
	class   string     // of a handshake that failed; one of few
	status  int        // of an answer that says something is wrong (faults.go); else 0
	address netip.Addr // invalid on the Unix socket
	who     string     // it claims to be
	why     string
	request string
	agent   string
}

// denials remembers who was not let in. Any goroutine may use it.
type denials struct {
	log    *slog.Logger
	counts map[auth.Reason]*atomic.Uint64 // never changed

	mu    sync.Mutex
	known map[deniedPair]*denied
	crowd map[auth.Reason]*denied // those for whom there was no room
}

type deniedPair struct {
	place  netip.Prefix
	reason auth.Reason
	class  string
}

// denied is what was told of a pair and what was not.
type denied struct {
	told  int64  // when
	times int    // since
	last  denial // the last of them
}

// deniedLine is a line to be written: the last of some, and how many.
type deniedLine struct {
	denial
	times  int
	others bool // of addresses that are not remembered
}

func newDenials(log *slog.Logger) *denials {
	d := &denials{log: log, counts: map[auth.Reason]*atomic.Uint64{}, known: map[deniedPair]*denied{}, crowd: map[auth.Reason]*denied{}}
	for _, r := range auth.Reasons {
		d.counts[r.Reason] = new(atomic.Uint64)
	}
	return d
}

// note counts a denial and reports whether there is a line to be written now.
func (d *denials) note(one *denial, now int64) (line deniedLine, tell bool) {
	if n := d.counts[one.reason]; n != nil {
		n.Add(1)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	pair := deniedPair{auth.PlaceOf(one.address), one.reason, one.class}
	it, others := d.known[pair], false
	if it == nil && len(d.known) < deniedAtMost {
		it = &denied{told: now - deniedEvery}
		d.known[pair] = it
	}
	if it == nil {
		if it, others = d.crowd[one.reason], true; it == nil {
			it = &denied{told: now - deniedEvery}
			d.crowd[one.reason] = it
		}
	}
	it.times++
	it.last = *one
	return it.tell(now, others)
}

// tell takes what was not told, if it is time.
func (it *denied) tell(now int64, others bool) (deniedLine, bool) {
	if waited := now - it.told; waited < deniedEvery && waited >= 0 || it.times == 0 {
		return deniedLine{}, false
	}
	line := deniedLine{it.last, it.times, others}
	it.told, it.times = now, 0
	return line, true
}

// sweep gives the lines that are due though nobody came, and forgets whom there was
// none of for a minute. At the end, with all, it gives what was not told.
func (d *denials) sweep(now int64, all bool) (lines []deniedLine) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := func(it *denied, others bool) (over bool) {
		if all {
			it.told = now - deniedEvery
		}
		line, tell := it.tell(now, others)
		if tell {
			lines = append(lines, line)
		}
		return !tell && it.times == 0 && now-it.told >= deniedEvery
	}
	for pair, it := range d.known {
		if one(it, false) {
			delete(d.known, pair)
		}
	}
	for reason, it := range d.crowd {
		if one(it, true) {
			delete(d.crowd, reason)
		}
	}
	slices.SortFunc(lines, func(a, b deniedLine) int { return strings.Compare(string(a.reason), string(b.reason)) })
	return lines
}

// add counts a denial, and tells it unless that has to wait.
func (d *denials) add(one *denial, now int64) {
	if line, tell := d.note(one, now); tell {
		d.tell(line)
	}
}

// tellDue writes what is due; at the end everything.
func (d *denials) tellDue(now int64, all bool) {
	for _, line := range d.sweep(now, all) {
		d.tell(line)
	}
}

// tell writes a line. A token that is over is no fault: its machine logs in
// again, and it is told to who asks for everything.
func (d *denials) tell(line deniedLine) {
	say := d.log.Warn
	if line.reason == auth.ExpiredToken {
		say = d.log.Debug
	}
	means := ""
	for _, r := range auth.Reasons {
		if r.Reason == line.reason {
			means = r.Means
		}
	}
	if means = "refused: " + means; line.status != 0 {
		means = "a request was answered with an error"
	}
	if line.others {
		say(means+"; more addresses than are told one by one", "reason", line.reason, "times", line.times, "last", line.address)
		return
	}
	args := []any{"reason", line.reason, "address", line.address, "times", line.times}
	for _, more := range []struct{ key, text string }{{"class", line.class}, {"who", line.who}, {"why", line.why}, {"request", line.request}, {"user_agent", line.agent}} {
		if more.text != "" {
			args = append(args, more.key, more.text)
		}
	}
	if line.status != 0 {
		args = append(args, "status", line.status)
	}
	say(means, args...)
}

// shortly is the beginning of what a caller says about itself.
func shortly(text string) string {
	if len(text) > longestDenied {
		text = text[:longestDenied] + "…"
	}
	return visible.Text(text)
}

// handshakeClass is why a handshake failed, in one of few words: of an address each
// has lines of its own.
func handshakeClass(err error) string {
	var header tls.RecordHeaderError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	text := err.Error()
	switch {
	case errors.As(err, &header) && conn.LooksLikeHTTP(header.RecordHeader):
		return "plain_http"
	case errors.As(err, &header):
		return "bad_record"
	case errors.As(err, &unknown):
		return "unknown_ca"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "expired"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "wrong_usage"
	case strings.Contains(text, "didn't provide a certificate"):
		return "no_certificate"
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "protocol version"):
		return "old_version"
	case strings.Contains(text, "remote error"):
		return "client_gave_up" // it does not take our certificate, mostly
	}
	return "other"
}
