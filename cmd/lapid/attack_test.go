package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unicode"
)

var attackFor = flag.Duration("attack", 3*time.Second, "how long TestAttack attacks a server")

// TestAttack lets everybody loose who was ever seen to do harm, on one real
// server: half requests at every listener, unfinished and enormous bodies,
// registrations, guesses, forged proofs, broken bytes, one key from addresses
// without end, texts meant for a terminal, bouncers that give up before the
// answer. Meanwhile those who are known write and poll, and every answer to them
// is compared. Nobody known is refused; afterwards everything is there, bouncers
// hold what they must, memory and files come back, a snapshot and a backup can be
// taken, no verb writes a control character, and a restart finds the same.
func TestAttack(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	chance := rand.New(rand.NewPCG(seed, 3<<32))
	o := newOracle(newHouse(t), seed, 2, 2, 40)
	o.short, o.foreign = 4, attackScenario
	env := []string{"LAPID_SNAPSHOT_EVERY=1s"}
	p := start(t, env, "-c", o.file, "serve")
	o.awaitHealth(p)
	o.up()
	a := newOnslaught(o)
	spell := min(max(*attackFor/6, time.Second), 10*time.Second)
	o.busy(spell / 2)
	before := o.rest(t)
	for began := time.Now(); time.Since(began) < *attackFor; {
		a.spell(spell, chance)
		a.over(p)
		if t.Failed() {
			t.FailNow()
		}
	}
	a.told()
	o.settles(t, before, 128<<20)
	a.outlives(p, env)
}

// attackScenario is what all scenarios of attackers begin with.
const attackScenario = "attack/"

// onslaught is a crowd of attackers and the server that they are let loose on.
type onslaught struct {
	*oracle
	listeners []func(chance *rand.Rand) (net.Conn, error) // every listener of the server
	done      []atomic.Int64                              // moves of each attacker
	quitters  [2]*follower                                // who give up: over TCP, from one address, and over the socket
}

// attackers are the moves; each is made again and again by a goroutine of its own.
var attackers = [...]struct {
	name string
	move func(a *onslaught, v *visitor)
}{
	{"half requests", (*onslaught).halfRequest},
	{"unfinished bodies", (*onslaught).unfinishedBody},
	{"registrations", (*onslaught).register},
	{"guesses", (*onslaught).guess},
	{"forged proofs", (*onslaught).forge},
	{"broken bytes", (*onslaught).mutate},
	{"addresses without end", (*onslaught).wander},
	{"long reports", (*onslaught).report},
	{"hostile alerts", (*onslaught).alert},
	{"verbs cut short", (*onslaught).halfVerb},
	{"polls given up", (*onslaught).quit},
}

// visitor is one attacker at work: its own chance, and the connections that it
// leaves open, at most mostHeld.
type visitor struct {
	chance *rand.Rand
	held   []net.Conn
}

const mostHeld = 48

// hold leaves a connection open until many others have come.
func (v *visitor) hold(c net.Conn) {
	if len(v.held) == mostHeld {
		v.held[0].Close()
		v.held = v.held[1:]
	}
	v.held = append(v.held, c)
}

func (v *visitor) leave() {
	for _, c := range v.held {
		c.Close()
	}
}

func newOnslaught(o *oracle) *onslaught {
	a := &onslaught{oracle: o, done: make([]atomic.Int64, len(attackers))}
	unix := func(path string) func(*rand.Rand) (net.Conn, error) {
		return func(*rand.Rand) (net.Conn, error) { return net.Dial("unix", filepath.Join(o.dir, path)) }
	}
	a.listeners = []func(*rand.Rand) (net.Conn, error){
		a.dial, unix("api.sock"), unix("lapid/admin.sock"),
		func(*rand.Rand) (net.Conn, error) { return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", o.metrics)) },
	}
	for i := range a.quitters {
		f := &follower{key: fmt.Sprintf("quitter-%d", i), holds: map[string]bool{}}
		if err := o.client.Load().AddBouncer(o.t.Context(), newBouncerOf(f.key)); err != nil {
			o.t.Fatal(err)
		}
		a.quitters[i] = f
		o.bouncers = append(o.bouncers, f)
	}
	a.quitters[0].web = &http.Client{Timeout: deadline, Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return a.dialFrom(quitterAddress) },
	}}
	return a
}

// quitterAddress is where the first quitter is; a bouncer has a cursor for each address.
var quitterAddress = net.IPv4(127, 0, 2, 1)

// dial opens a connection to the API from one of a few hundred addresses.
func (a *onslaught) dial(chance *rand.Rand) (net.Conn, error) {
	return a.dialFrom(net.IPv4(127, 0, 1, byte(2+chance.IntN(250))))
}

func (a *onslaught) dialFrom(ip net.IP) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: ip}, Timeout: deadline}
	return d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
}

// spell has everybody attack for a while, beside those who are known.
func (a *onslaught) spell(length time.Duration, chance *rand.Rand) {
	ctx, stop := context.WithTimeout(a.t.Context(), length)
	defer stop()
	var all sync.WaitGroup
	for i := range attackers {
		v := &visitor{chance: rand.New(rand.NewPCG(chance.Uint64(), uint64(i)))}
		all.Go(func() {
			defer v.leave()
			pace := time.NewTicker(time.Duration(5+v.chance.IntN(15)) * time.Millisecond)
			defer pace.Stop()
			for ctx.Err() == nil {
				attackers[i].move(a, v)
				a.done[i].Add(1)
				<-pace.C
			}
		})
	}
	for _, w := range a.writers {
		all.Go(func() { a.write(ctx, w) })
	}
	for _, f := range a.bouncers {
		if !slices.Contains(a.quitters[:], f) {
			all.Go(func() { a.follow(ctx, f) })
		}
	}
	all.Wait()
}

// over holds what the server says against what must be so, once everybody is gone.
func (a *onslaught) over(p *process) {
	a.t.Helper()
	a.compare()
	a.compareFollowers()
	for _, word := range []string{"panic", "BUG", "goroutine "} {
		if strings.Contains(p.out.String(), word) {
			a.t.Errorf("the log has %q", word)
		}
	}
}

// told says how much was done.
func (a *onslaught) told() {
	for i := range attackers {
		n := a.done[i].Load()
		if n == 0 {
			a.t.Errorf("%s: no move was made", attackers[i].name)
		}
		a.t.Logf("%s: %d moves", attackers[i].name, n)
	}
}

// outlives takes a backup of the server, ends it, looks at what it leaves, and
// starts it anew.
func (a *onslaught) outlives(p *process, env []string) {
	a.t.Helper()
	await(a.t, "the server calls itself ready", func() bool {
		w, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/ready", a.metrics))
		if err != nil {
			return false
		}
		w.Body.Close()
		return w.StatusCode == http.StatusOK
	})
	for _, verb := range []string{"machines list", "bouncers list", "alerts list -a", "decisions list -a", "allowlists list", "metrics show"} {
		r := a.do("", words(verb)...)
		if r.exit != exitGood {
			a.t.Errorf("%s: exit %d, %s", verb, r.exit, r.err)
		}
		if i := strings.IndexFunc(r.out+r.err, unprintable); i >= 0 {
			a.t.Errorf("%s writes %q", verb, (r.out + r.err)[max(i-20, 0):min(i+20, len(r.out+r.err))])
		}
	}
	if i := strings.IndexFunc(p.out.String(), unprintable); i >= 0 {
		a.t.Errorf("the log has %q", p.out.String()[max(i-20, 0):min(i+20, len(p.out.String()))])
	}
	folder := filepath.Join(a.dir, "backups")
	a.expect(a.do("", "backup", folder), exitGood, "", "~wrote "+folder+"/lapid-")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	if code := p.wait(a.t); code != exitGood {
		a.t.Fatalf("SIGTERM ends with %d", code)
	}
	a.expect(a.do("", "check"), exitGood, "", "")
	other := emptyHouse(a.t)
	a.expect(other.do("", "restore", newest(a.t, folder)), exitGood, "", "~restored revision")
	p = start(a.t, env, "-c", a.file, "serve")
	a.awaitHealth(p)
	a.up()
	a.over(p)
}

// unprintable is what no terminal must be sent.
func unprintable(r rune) bool {
	return r != '\n' && !unicode.IsPrint(r)
}

// someRequests are whole requests, to be cut, mutated and sent.
func (a *onslaught) someRequests() []string {
	return []string{
		"GET /v1/decisions?ip=10.0.0.1 HTTP/1.1\r\nHost: x\r\nX-Api-Key: key\r\n\r\n",
		"GET /v1/decisions/stream?startup=true HTTP/1.1\r\nHost: x\r\nX-Api-Key: key\r\nUser-Agent: a/b\r\n\r\n",
		"POST /v1/watchers/login HTTP/1.1\r\nHost: x\r\nContent-Length: 34\r\n\r\n{\"machine_id\":\"m\",\"password\":\"no\"}",
		"POST /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + a.token + "\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
		"DELETE /v1/decisions/0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + a.token + "\r\n\r\n",
		"GET /v1/alerts?since=1h&limit=1 HTTP/1.0\r\nAuthorization: Bearer " + a.token + "\r\n\r\n",
		"POST /v1/usage-metrics HTTP/1.1\r\nHost: x\r\nX-Api-Key: key\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
		"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /status HTTP/1.1\r\nHost: lapid\r\n\r\n",
	}
}

func (a *onslaught) someRequest(v *visitor) string {
	all := a.someRequests()
	return all[v.chance.IntN(len(all))]
}

// halfRequest begins a request at one of the listeners and leaves it there.
func (a *onslaught) halfRequest(v *visitor) {
	c, err := a.listeners[v.chance.IntN(len(a.listeners))](v.chance)
	if err != nil {
		return // refused: that is an answer
	}
	text := a.someRequest(v)
	_, _ = io.WriteString(c, text[:v.chance.IntN(len(text))])
	v.hold(c)
}

// unfinishedBody promises a large body of a stranger's and sends a part of it.
func (a *onslaught) unfinishedBody(v *visitor) {
	c, err := a.dial(v.chance)
	if err != nil {
		return
	}
	path := []string{"/v1/watchers/login", "/v1/watchers", "/v1/alerts", "/v1/usage-metrics"}[v.chance.IntN(4)]
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{\"machine_id\":\"", path, 1+v.chance.IntN(2<<20))
	c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // a server that does not read is not waited for
	_, _ = c.Write(bytes.Repeat([]byte("x"), v.chance.IntN(256<<10)))
	v.hold(c)
}

// hostileText is a text meant for a terminal, a spreadsheet or an index.
func hostileText(v *visitor) string {
	return []string{
		"\x1b[2J\x1b]0;owned\x07", "\u202eevil\u2066", "=cmd|'/c calc'!A1", strings.Repeat("long", 1+v.chance.IntN(100_000)),
		"\x00\x01\x7f", "a\nb\rc\td", "\u009b31m", "name@10.0.0.2", "../../etc/passwd", "\xff\xfe", "",
	}[v.chance.IntN(11)]
}

// post sends a JSON body and reads the answer, if there is one.
func (a *onslaught) post(v *visitor, path, proof string, body any) {
	c, err := a.dial(v.chance)
	if err != nil {
		return
	}
	defer c.Close()
	text, err := json.Marshal(body)
	if err != nil {
		a.t.Error(err)
		return
	}
	c.SetDeadline(time.Now().Add(deadline))
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n%s\r\nContent-Length: %d\r\n\r\n", path, "evil\x1b[31m/v1", proof, len(text))
	_, _ = c.Write(text)
	if w, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && w.StatusCode == http.StatusInternalServerError {
		told, _ := io.ReadAll(w.Body)
		a.t.Errorf("%s of %.200q is answered with %d %s", path, text, w.StatusCode, told)
	}
}

func (a *onslaught) register(v *visitor) {
	a.post(v, "/v1/watchers", "X-Other: x", map[string]string{"machine_id": hostileText(v) + fmt.Sprint(v.chance.Uint32()), "password": hostileText(v) + "x"})
}

func (a *onslaught) guess(v *visitor) {
	name := []string{"m", hostileText(v)}[v.chance.IntN(2)]
	a.post(v, "/v1/watchers/login", "X-Other: x", map[string]any{"machine_id": name, "password": fmt.Sprint(v.chance.Uint32()), "scenarios": []string{hostileText(v)}})
}

// forge tries proofs that are nearly right.
func (a *onslaught) forge(v *visitor) {
	token := []byte(a.token)
	token[v.chance.IntN(len(token)-1)] ^= 1 << v.chance.IntN(3) // the last one has bits that mean nothing
	for _, proof := range []string{"Authorization: Bearer " + string(token), "X-Api-Key: ke" + string(rune('a'+v.chance.IntN(20))) + "x", "Cookie: jwt=" + string(token)} {
		c, err := a.dial(v.chance)
		if err != nil {
			return
		}
		c.SetDeadline(time.Now().Add(deadline))
		fmt.Fprintf(c, "DELETE /v1/decisions HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", proof)
		if w, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && w.StatusCode < 400 && !bytes.Equal(token, []byte(a.token)) {
			a.t.Errorf("%q is let in: %d", proof, w.StatusCode)
		}
		c.Close()
	}
}

// mutate sends a request with a few bytes changed. It may be answered or not.
func (a *onslaught) mutate(v *visitor) {
	c, err := a.listeners[v.chance.IntN(2)](v.chance)
	if err != nil {
		return
	}
	text := []byte(strings.ReplaceAll(a.someRequest(v), a.token, "x")) // what is nearly right may still be right
	for range 1 + v.chance.IntN(4) {
		text[v.chance.IntN(len(text))] = byte(v.chance.Uint32())
	}
	_, _ = c.Write(text)
	v.hold(c)
}

// wander asks with a good key from an address that nobody has seen.
func (a *onslaught) wander(v *visitor) {
	for range 8 {
		c, err := a.dialFrom(net.IPv4(127, byte(2+v.chance.IntN(250)), byte(v.chance.Uint32()), byte(1+v.chance.IntN(254))))
		if err != nil {
			return
		}
		path := []string{"/v1/decisions?ip=10.0.0.1", "/v1/decisions/stream"}[v.chance.IntN(2)]
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nX-Api-Key: key\r\nUser-Agent: %s/v1\r\n\r\n", path, strings.Repeat("u", 1+v.chance.IntN(300)))
		v.hold(c)
	}
}

// report sends usage metrics with texts that are too long.
func (a *onslaught) report(v *visitor) {
	a.post(v, "/v1/usage-metrics", "X-Api-Key: key", map[string]any{"remediation_components": []any{map[string]any{
		"type": hostileText(v), "version": hostileText(v), "feature_flags": []string{hostileText(v), hostileText(v)}, "utc_startup_timestamp": 1,
		"os":      map[string]string{"name": hostileText(v), "version": hostileText(v)},
		"metrics": []any{map[string]any{"meta": map[string]any{"window_size_seconds": 600, "utc_now_timestamp": 1}, "items": []any{map[string]any{"name": hostileText(v), "unit": hostileText(v), "value": 1, "labels": map[string]string{hostileText(v): hostileText(v)}}}}},
	}}})
}

// alert sends alerts whose decisions end within seconds.
func (a *onslaught) alert(v *visitor) {
	decision := map[string]any{"type": "ban" + hostileText(v), "scope": []string{"Ip", "Range", "Username", hostileText(v)}[v.chance.IntN(4)],
		"value": hostileText(v), "duration": []string{"1s", "2s", "-1h", "0"}[v.chance.IntN(4)], "origin": hostileText(v), "scenario": attackScenario + hostileText(v)}
	a.post(v, "/v1/alerts", "Authorization: Bearer "+a.token, []any{map[string]any{
		"scenario": attackScenario + hostileText(v), "scenario_hash": hostileText(v), "scenario_version": hostileText(v), "message": hostileText(v), "capacity": 0, "leakspeed": "0",
		"events": []any{map[string]any{"timestamp": "now", "meta": []any{map[string]string{"key": hostileText(v), "value": hostileText(v)}}}}, "events_count": 1,
		"simulated": false, "start_at": "now", "stop_at": "now", "source": map[string]string{"scope": "Ip", "value": "203.0.113.8"}, "decisions": []any{decision},
	}})
}

// halfVerb sends a part of an operator's request, or nonsense, to the private socket.
func (a *onslaught) halfVerb(v *visitor) {
	c, err := a.listeners[2](v.chance)
	if err != nil {
		return
	}
	text := "POST /decisions/import HTTP/1.1\r\nHost: lapid\r\nContent-Length: 100000\r\n\r\n{\"decisions\":[{"
	_, _ = io.WriteString(c, text[:v.chance.IntN(len(text))])
	v.hold(c)
}

// quit polls as a bouncer that often gives up: before the answer, in the middle,
// with a reset. It believes only what it has read whole; that it misses nothing is
// seen when everybody else is compared.
func (a *onslaught) quit(v *visitor) {
	which := v.chance.IntN(2)
	f := a.quitters[which]
	dial := a.listeners[1]
	if which == 0 {
		dial = func(*rand.Rand) (net.Conn, error) { return a.dialFrom(quitterAddress) }
	}
	c, err := dial(v.chance)
	if err != nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(deadline))
	fmt.Fprintf(c, "GET /v1/decisions/stream?startup=%v HTTP/1.1\r\nHost: x\r\nX-Api-Key: %s\r\nUser-Agent: test/1\r\n\r\n", !f.began, f.key)
	switch v.chance.IntN(6) {
	case 0:
		return
	case 1:
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return
	case 2:
		_, _ = io.ReadFull(c, make([]byte, 1+v.chance.IntN(60))) // never all of it: the head alone is longer
		return
	case 3:
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	w, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		a.givenUp(err)
		return
	}
	text, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != http.StatusOK {
		a.givenUp(err)
		return
	}
	var s said
	if err := json.Unmarshal(text, &s); err != nil {
		a.t.Errorf("a poll is answered with %.200q: %v", text, err)
		return
	}
	f.takes(&s)
}

// givenUp lets an answer pass that did not arrive, but not one that takes too long.
func (a *onslaught) givenUp(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		a.t.Errorf("a poll was not answered: %v", err)
	}
}
