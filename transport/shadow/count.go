package shadow

import (
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// counts are of the shadow as a whole.
type counts struct {
	aborted atomic.Int64 // requests whose body never came whole
	refused atomic.Int64 // connections beyond the bound
}

// routeCounts are of one route. Those that are not atomic are under mu.
type routeCounts struct {
	requests   atomic.Int64 // that the first server answered
	dropped    atomic.Int64 // that the second did not get
	unanswered atomic.Int64 // that the first did not answer

	mu          sync.Mutex
	equal       int64
	right       int64 // that differ for known reasons alone
	explained   map[string]int64
	skipped     map[string]int64
	unexplained int64
	took        [2]latencies
	kinds       map[string]*Kind // of unexplained differences
}

// route is the counts of one.
func (s *Shadow) route(r *route) *routeCounts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.routes[r.name]
	if c == nil {
		c = &routeCounts{explained: map[string]int64{}, skipped: map[string]int64{}, kinds: map[string]*Kind{}}
		s.routes[r.name] = c
	}
	return c
}

// skip counts a request that the second server is not asked.
func (s *Shadow) skip(x *exchange, why string) {
	c := s.route(x.route)
	c.mu.Lock()
	c.skipped[why]++
	c.mu.Unlock()
	if x.route.write && why != skipLocked {
		s.lose(x, why)
	}
}

// Lost is a request that the second server did not get.
type Lost struct {
	At     time.Time `json:"at"`
	Side   string    `json:"side"` // that did not get it
	Method string    `json:"method"`
	Target string    `json:"target"`
	Why    string    `json:"why"`
}

// mostLost are named; later ones are only counted.
const mostLost = 100

// lose names a write that the second server did not get.
func (s *Shadow) lose(x *exchange, why string) {
	if !x.route.write {
		return
	}
	s.mu.Lock()
	s.lostN++
	first := s.lostN == 1
	if len(s.lost) < mostLost {
		s.lost = append(s.lost, Lost{s.options.Now().UTC(), x.first.other().String(), x.method, shorten(x.target, 512), why})
	}
	s.mu.Unlock()
	if first {
		s.options.Logger.Warn("a request that changes something did not reach the second server; 'lapid shadow report' names it and those that follow",
			"server", x.first.other(), "request", x.route.name, "why", why)
	}
}

// void ends the comparison: from here on differences need not mean anything. The first reason counts.
func (s *Shadow) void(why string) {
	s.mu.Lock()
	first := s.voided == ""
	if first {
		s.voided, s.voidAt = why, s.options.Now()
	}
	s.mu.Unlock()
	if first {
		s.options.Logger.Error("the comparison is void from here on: " + why)
	}
}

func (s *Shadow) voidedBy() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.voided
}

// lostAnswer: a client did not get all of its answer. What a bouncer's place in the stream is then at the
// first server is not known.
func (s *Shadow) lostAnswer(x *exchange) {
	s.route(x.route).unanswered.Add(1)
	if x.route.kind == streamKind {
		s.states.unsure(stateKey(x))
	}
	if x.route.write {
		s.void("a request that changes something (" + x.route.name + ") got an answer that broke off")
	}
	x.release()
}

// complainOfAway says that a server does not answer, once a minute.
func (s *Shadow) complainOfAway(side Side, err error) {
	now := s.options.Now()
	s.mu.Lock()
	due := now.Sub(s.awayAt[side]) >= time.Minute
	if due {
		s.awayAt[side] = now
	}
	s.mu.Unlock()
	if due {
		s.options.Logger.Warn("a server does not answer", "server", side, "error", err)
	}
}

// failComparison: the comparer itself has failed.
func (s *Shadow) failComparison(x *exchange, p any) {
	s.options.Logger.Error("the comparison of two answers has panicked", "request", x.route.name, "panic", p, "stack", string(debug.Stack()))
	s.settle(x, []difference{{kind: "the comparer has failed: " + fmt.Sprint(p)}})
}

// sayBegin is the loud part of a start.
func (s *Shadow) sayBegin() {
	log, a := s.options.Logger, s.answering.Load()
	log.Info("the shadow passes requests on", "from", s.Addr().String(), "to", s.upstream.String(), "answered_by", a.side, "bouncers", a.bouncers)
	log.Info("the old server must have this shadow's address among its trusted_proxies, or every client becomes a new row of its bouncers")
	if !loopbackListener(s.options.Listen) && s.options.TLS == nil {
		log.Warn("the shadow takes keys and passwords without encryption on " + s.options.Listen)
	}
	if s.options.TLS != nil {
		log.Info("clients that have a certificate in the place of a key or a password cannot be shadowed: the old server does not see it; the log names them")
	}
}

// certificateNames are the clients that showed a certificate.
type certificateNames struct {
	mu    sync.Mutex
	names map[string]int64
}

// mostNames are kept.
const mostNames = 100

// noteCertificate names a client that cannot be shadowed, once.
func (s *Shadow) noteCertificate(t *tls.ConnectionState) {
	if t == nil || len(t.PeerCertificates) == 0 {
		return
	}
	name := shorten(t.PeerCertificates[0].Subject.CommonName, 128)
	s.names.mu.Lock()
	if s.names.names == nil {
		s.names.names = map[string]int64{}
	}
	_, there := s.names.names[name]
	if there || len(s.names.names) < mostNames {
		s.names.names[name]++
	}
	s.names.mu.Unlock()
	if !there {
		s.options.Logger.Warn("a client shows a certificate, which cannot be shadowed: give it a key or a password, or cut it over by itself", "name", name)
	}
}

// quietLog takes what net/http complains of, which is the clients' doing.
func quietLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }

// shorten cuts a text for people.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
