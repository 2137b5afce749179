//go:build linux

package scenario

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"lapid/bench/corpus"
	"lapid/bench/load"
	"lapid/bench/peers"
)

const (
	// shakers are clients that shake hands at the same time.
	shakers = 16
	// busyGenerator is how little of the time the generator may be idle before it counts as the limit.
	busyGenerator = 0.05
)

// tlsRows are what TLS measures beside nginx, and beside plain.
var (
	tlsBesideNginx = []string{rowTLS, rowTLSP99, rowShakes, rowShakesOwn}
	tlsBesidePlain = []string{rowTLSStartup, rowTLSDelta}
)

// TLS measures what encryption costs: beside nginx, which may not be there, and beside the same without.
// l is plain and has the set.
func (b *Bench) TLS(ctx context.Context, l *peers.LAPI, set *corpus.Set, beside *Beside) error {
	own, err := b.Certificates()
	if err != nil {
		return err
	}
	secure, err := b.NewSecureLapid(ctx, "lapid-tls", b.Programs.Lapid)
	if err != nil {
		return err
	}
	if _, err := secure.Start(ctx); err != nil {
		return err
	}
	defer secure.Stop()
	if _, err := b.fill(ctx, secure, set, 0); err != nil {
		return err
	}
	t := &encryption{Bench: b, plain: l, secure: secure, nginx: beside.Nginx, own: own, set: set}
	var all []error
	for _, part := range []struct {
		rows []string
		do   func(context.Context) error
	}{
		{[]string{rowTLS, rowTLSP99}, t.live}, {[]string{rowShakes, rowShakesOwn}, t.handshakes},
		{[]string{rowTLSStartup}, t.startup}, {[]string{rowTLSDelta}, t.deltas},
	} {
		if !b.wants(part.rows...) {
			continue
		}
		if err := part.do(ctx); err != nil {
			b.Report.Failed(err, part.rows...)
			all = append(all, err)
		}
	}
	if beside.Nginx == nil && beside.NoNginx != nil {
		b.Report.Failed(beside.NoNginx, tlsBesideNginx...)
	}
	return errors.Join(all...)
}

// encryption is one server with and one without TLS, with the same set, and nginx, which speaks both.
type encryption struct {
	*Bench
	plain, secure *peers.LAPI
	nginx         *peers.Nginx // may be nil
	own           *peers.Certificates
	set           *corpus.Set
}

// contenders ask the same of all: lapid and nginx over TLS, then both without.
func (t *encryption) contenders(sources load.Sources) []contender {
	encrypted := load.ClientTLS(nil)
	list := []contender{{name: "lapid TLS", address: t.secure.Address, server: &t.secure.Process, sources: sources, tls: encrypted}}
	if t.nginx != nil {
		list = append(list, contender{name: "nginx TLS", address: t.nginx.Secure, server: &t.nginx.Process, sources: sources, tls: encrypted})
	}
	list = append(list, contender{name: "lapid plain", address: t.plain.Address, server: &t.plain.Process, sources: sources})
	if t.nginx != nil {
		list = append(list, contender{name: "nginx plain", address: t.nginx.Address, server: &t.nginx.Process, sources: sources})
	}
	return list
}

// live asks hits over connections that stay.
func (t *encryption) live(ctx context.Context) error {
	list := t.contenders(load.Filled("GET "+livePath, t.set.NewTable(corpus.Hit, min(asked, t.set.Len()), Seed), load.Tail(peers.Key)))
	rate, p99 := span{middle: math.Inf(1)}, span{middle: math.Inf(-1)}
	var lines []load.Named
	var rates, waits, costs []string
	for _, connections := range t.Connections {
		t.say("TLS: live queries over %d connections", connections)
		done, err := t.inTurn(ctx, connections, list)
		if err != nil {
			return err
		}
		for i := range done {
			lines = append(lines, done[i].named(fmt.Sprintf("hit, %d", connections))...)
			costs = append(costs, fmt.Sprintf("hit, %d: %-12s %6.2f µs of server CPU a request, generator idle %.0f %%", connections, done[i].name, 1e6*cpuOf(done[i].Result), 100*done[i].Idle))
		}
		if t.nginx == nil {
			continue
		}
		us, them, plain, theirs := done[0], done[1], done[2], done[3]
		at, late := t.besides(us, them), ratio(us.rounds, them.rounds, p99Of)
		rate, p99 = lower(rate, at.span), higher(p99, late)
		rates = append(rates, fmt.Sprintf("%d connections: %s, plain %.0f beside %.0f/s", connections, at, plain.Rate, theirs.Rate))
		waits = append(waits, fmt.Sprintf("%d connections: %.2f (%v), %.2f beside %.2f ms, plain %.2f beside %.2f", connections, late.middle, late,
			ms(us.P99), ms(them.P99), ms(plain.P99), ms(theirs.P99)))
	}
	t.section(fmt.Sprintf("Live queries over TLS 1.3 and without, %d decisions", t.set.Len()), lines, strings.Join(costs, "\n")+"\n")
	if t.nginx != nil {
		t.Report.Measured(rowTLS, rate.middle, "%s", strings.Join(rates, "; "))
		t.Report.Measured(rowTLSP99, p99.middle, "%s", strings.Join(waits, "; "))
	}
	return nil
}

// comparison is a ratio with the words that belong to it.
type comparison struct {
	span
	words string
}

func (c comparison) String() string { return c.words }

// besides compares rates. Where the generator was the limit of one of the two they say nothing: there it
// compares what the servers spent on a request.
func (b *Bench) besides(us, them measured) comparison {
	rate, cost := ratio(us.rounds, them.rounds, rateOf), ratio(them.rounds, us.rounds, cpuOf)
	words := fmt.Sprintf("%.0f beside %.0f/s, %.2f (%v); by server CPU %.1f beside %.1f µs, %.2f (%v)",
		us.Rate, them.Rate, rate.middle, rate, 1e6*cpuOf(us.Result), 1e6*cpuOf(them.Result), cost.middle, cost)
	if min(us.Idle, them.Idle) < busyGenerator {
		return comparison{cost, words + ", which counts: the generator was the limit"}
	}
	return comparison{rate, words}
}

// handshakes has clients connect for one query each, without and with a certificate of theirs.
func (t *encryption) handshakes(ctx context.Context) error {
	var lines []load.Named
	for _, part := range []struct {
		row, name string
		own       *tls.Certificate
	}{{rowShakes, "without a client certificate", nil}, {rowShakesOwn, "with a client certificate", &t.own.Client}} {
		t.say("TLS: handshakes %s", part.name)
		config := load.ClientTLS(part.own)
		tail := load.Tail(peers.Key)
		if part.own != nil {
			tail = load.Tail("") // the certificate says who asks
		}
		list := t.contenders(load.Fixed([]byte("GET " + livePath + "192.0.2.1" + tail)))
		done := make([]measured, min(2, len(list)-1))
		if t.nginx == nil {
			done = done[:1]
		}
		for range t.Rounds {
			for i := range done {
				c := list[i]
				r, err := load.Handshakes(ctx, load.Target{Address: c.address, TLS: config, CPUs: t.LoadCPUs}, shakers,
					&load.Plan{Sources: c.sources, Server: c.server, Warmup: t.Warmup, Length: t.Length})
				if err == nil {
					err = sound(c.name, r)
				}
				if err != nil {
					return fmt.Errorf("handshakes %s: %w", part.name, err)
				}
				done[i].contender, done[i].rounds = c, append(done[i].rounds, r)
			}
		}
		for i := range done {
			done[i].Result = middle(done[i].rounds)
			lines = append(lines, done[i].named(part.name)...)
		}
		if t.nginx != nil {
			by := t.besides(done[0], done[1])
			t.Report.Measured(part.row, by.middle, "%s", by)
		}
	}
	t.section(fmt.Sprintf("Full handshakes of TLS 1.3 (ECDSA P-256, X25519), one query each, %d clients", shakers), lines, "")
	return nil
}

// startup has one client fetch everything, over TLS and without.
func (t *encryption) startup(ctx context.Context) error {
	t.say("TLS: startup of one client")
	plain := lapidStarts(ctx, t.plain)
	secure := lapidStarts(ctx, t.secure)
	request := []byte("GET " + startupPath + load.Tail(peers.Key))
	secure.fetch = func() (*load.Fetched, error) {
		f, err := load.FetchTLS(ctx, t.secure.Address, load.ClientTLS(nil), request)
		if err == nil && f.Status != 200 {
			err = fmt.Errorf("startup over TLS: status %d", f.Status)
		}
		return f, err
	}
	rounds, err := startsInTurn(secure, plain)
	if err != nil {
		return err
	}
	us, them := middleStart(rounds[0]), middleStart(rounds[1])
	if us.Body < int64(t.set.Len()*least) {
		return fmt.Errorf("startup over TLS: %d bytes for %d decisions: not all is in them", us.Body, t.set.Len())
	}
	by := ratio(rounds[0], rounds[1], (*startup).Rate)
	t.Report.Measured(rowTLSStartup, by.middle, "%v, %.0f MB at %.0f of %.0f MB/s; server CPU %.2f beside %.2f s; the client spends %.0f %% of a CPU on it",
		by, mb(us.Body), us.Rate()/1e6, them.Rate()/1e6, us.cpu.Seconds(), them.cpu.Seconds(), 100*us.client.Seconds()/us.Whole.Seconds())
	t.Report.Section("Startup of everything over TLS and without, one client", startTable([]string{"lapid TLS", "lapid plain"}, us, them))
	return nil
}

// deltas has followers poll what is new, over TLS and without, wave after wave.
func (t *encryption) deltas(ctx context.Context) error {
	t.say("TLS: deltas to %d followers", t.Followers)
	fresh := corpus.New(t.Waves*news, Seed+10)
	var fleets [2]followers
	for i, l := range []*peers.LAPI{t.secure, t.plain} {
		keys, err := l.AddBouncers(ctx, "tls", t.Followers)
		if err != nil {
			return err
		}
		c := contender{address: l.Address}
		if l == t.secure {
			c.tls = load.ClientTLS(nil)
		}
		p, err := t.dialTo(c, len(keys))
		if err != nil {
			return err
		}
		defer p.Close()
		if _, err := p.Run(ctx, &load.Plan{Sources: polls(primePath, keys), Each: 1}); err != nil {
			return err
		}
		fleets[i] = followers{l, p, keys}
	}
	rounds := make([][]*load.Result, len(fleets))
	for wave := range min(t.Waves, mostWaves) {
		for i, f := range fleets {
			if err := f.server.Post(ctx, alertOf(fresh.Part(wave*news, (wave+1)*news), time.Now())); err != nil {
				return err
			}
			r, err := follow(ctx, f.pool, f.keys, &f.server.Process)
			if err != nil {
				return err
			}
			if r.Body < uint64(len(f.keys)*news*least) {
				return fmt.Errorf("deltas over TLS: %d bytes for %d followers: not all is in them", r.Body, len(f.keys))
			}
			rounds[i] = append(rounds[i], r)
		}
	}
	by, us, them := ratio(rounds[0], rounds[1], rateOf), middle(rounds[0]), middle(rounds[1])
	t.Report.Measured(rowTLSDelta, by.middle, "%v, %.0f beside %.0f polls/s of %d bytes; server CPU %.1f beside %.1f µs; generator idle %.0f and %.0f %%",
		by, us.Rate, them.Rate, us.Body/us.Requests, 1e6*cpuOf(us), 1e6*cpuOf(them), 100*us.Idle, 100*them.Idle)
	return nil
}

// mostWaves are enough for a middle.
const mostWaves = 9

// followers are bouncers of one server, each on its connection.
type followers struct {
	server *peers.LAPI
	pool   *load.Pool
	keys   []string
}
