package auth

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
)

// TestLoginRefusals holds the order of http-api.md section 6.
func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addMachine("m", "pw", true)
	d.addMachine("new", "pw", false)
	d.must(d.AddMachine(t.Context(), &engine.Machine{ID: "cert@192.0.2.1", AuthType: engine.AuthTLS}, false))
	for _, c := range []struct {
		id, password, agent, text string
	}{
		{"nobody", "pw", "tester/1", "machine_unknown nobody"},
		{"cert@192.0.2.1", "", "tester/1", "machine cert@192.0.2.1 attempted to auth with password but it is configured to use tls"},
		{"new", "wrong", "tester/1", "machine_not_validated new"},
		{"m", "wrong", "noslash", "incorrect Username or Password"},
		{"m", "", "tester/1", "incorrect Username or Password"},
		{"m", "pw", "noslash", "incorrect Username or Password"},
		{"m", "pw", "a/b/c", "incorrect Username or Password"},
		{"m", "pw", "", "incorrect Username or Password"},
	} {
		_, err := d.Login(t.Context(), Credentials{MachineID: c.id, Password: c.password}, here, []byte(c.agent))
		d.refused(err, NotLoggedIn, c.text)
	}
	if m := d.View().Machine("m"); m.IP != "192.0.2.1" || m.Version != "" {
		t.Errorf("the good password was not noted: %+v", m)
	}
	if _, err := d.Login(t.Context(), Credentials{MachineID: "m", Password: "pw"}, here, []byte("/")); err != nil {
		t.Errorf("one slash, nothing else: %v", err)
	}
}

// TestLoginNotes checks what a login leaves behind, and that the same login
// again writes nothing.
func TestLoginNotes(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addMachine("m", "pw", true)
	login := func(scenarios []string, from netip.Addr, agent string) {
		t.Helper()
		_, err := d.Login(t.Context(), Credentials{"m", "pw", scenarios}, from, []byte(agent))
		d.must(err)
	}
	login([]string{"a/b", "c/d"}, here, "crowdsec/v1.7.0")
	m := d.View().Machine("m")
	if m.Scenarios != "a/b,c/d" || m.IP != "192.0.2.1" || m.Version != "v1.7.0" {
		t.Errorf("noted %+v", m)
	}
	before := d.View().Revision()
	login(nil, here, "crowdsec/v1.7.0")
	login([]string{"a/b", "c/d"}, here, "crowdsec/v1.7.0")
	if d.View().Revision() != before {
		t.Error("the same login again was written down")
	}
	login(nil, there, "crowdsec/v1.7.1")
	if m := d.View().Machine("m"); m.Scenarios != "a/b,c/d" || m.IP != "192.0.2.2" || m.Version != "v1.7.1" {
		t.Errorf("noted %+v", m)
	}
}

// TestNewPassword has an operator change the password of a machine whose old
// one is remembered.
func TestNewPassword(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addMachine("m", "old", true)
	_, err := d.Login(t.Context(), Credentials{MachineID: "m", Password: "old"}, here, agent)
	d.must(err)
	hash, err := bcrypt.GenerateFromPassword([]byte("new"), bcrypt.MinCost)
	d.must(err)
	d.must(d.ChangeMachine(t.Context(), "m", func(m *engine.Machine) { m.PasswordHash = hash }))
	_, err = d.Login(t.Context(), Credentials{MachineID: "m", Password: "old"}, here, agent)
	d.refused(err, NotLoggedIn, "incorrect Username or Password")
	_, err = d.Login(t.Context(), Credentials{MachineID: "m", Password: "new"}, here, agent)
	d.must(err)
}

// TestGuessing has an attacker guess from behind the proxy that a fleet uses: the
// fleet gets in, those whose password is known without waiting.
func TestGuessing(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.PasswordWorkers = 1 })
	d.addMachine("known", "pw", true)
	d.addMachine("fresh", "pw", true)
	_, err := d.Login(t.Context(), Credentials{MachineID: "known", Password: "pw"}, here, agent)
	d.must(err)
	for i := range 3 * guessesAllowed {
		_, err := d.Login(t.Context(), Credentials{MachineID: "known", Password: fmt.Sprint(i)}, here, agent)
		d.refused(err, NotLoggedIn, "incorrect Username or Password")
	}
	release := occupy(d.passwords) // a check that never ends
	if _, err := d.Login(t.Context(), Credentials{MachineID: "known", Password: "pw"}, here, agent); err != nil {
		t.Errorf("a known machine waits behind the guesser: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Login(ended, Credentials{MachineID: "known", Password: "guess"}, here, agent)
	d.refused(err, Busy, "too many logins at once")
	release()
	for _, from := range []netip.Addr{here, there} {
		if _, err := d.Login(t.Context(), Credentials{MachineID: "fresh", Password: "pw"}, from, agent); err != nil {
			t.Errorf("the fleet is locked out: %v", err)
		}
	}
	doubts := func(machine string, from netip.Addr) bool {
		p := party{PlaceOf(from), machine}
		defer d.guesses.takeBack(p, d.Engine.Now())
		return d.guesses.begin(p, d.Engine.Now())
	}
	if !doubts("known", here) || doubts("fresh", here) || doubts("known", there) || doubts("", there) {
		t.Error("the wrong party is doubted")
	}
	d.Advance(3 * guessesAllowed * 6_000_000_000)
	if doubts("known", here) {
		t.Error("nothing is forgotten")
	}
}

// occupy takes a worker until the function it gives is called.
func occupy(d *passwordQueue) (release func()) {
	inside, let, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		_ = d.do(context.Background(), expected, party{machine: "occupier"}, func() { close(inside); <-let })
	}()
	<-inside
	return func() { close(let); <-gone }
}

// TestGuessesCountFromTheirBeginning has many guess at once: those that are not
// checked yet count too, and what turns out right does not.
func TestGuessesCountFromTheirBeginning(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.PasswordWorkers = 1 })
	d.addMachine("m", "pw", true)
	release := occupy(d.passwords)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 2*guessesAllowed + queueLength[doubtful] {
		all.Go(func() {
			_, _ = d.Login(ctx, Credentials{MachineID: "m", Password: fmt.Sprint(i)}, there, agent)
		})
	}
	for d.waiting(doubtful) < queueLength[doubtful] {
		runtime.Gosched()
	}
	if n := d.waiting(unusual); n > guessesAllowed {
		t.Errorf("%d guesses of one address wait in the lane of others", n)
	}
	cancel()
	all.Wait()
	release()
	if n := len(d.guesses.by); n != 0 {
		t.Errorf("guesses that were never checked are held against %d parties", n)
	}
	if _, err := d.Login(t.Context(), Credentials{MachineID: "m", Password: "pw"}, there, agent); err != nil {
		t.Error(err)
	}
	if n := len(d.guesses.by); n != 0 {
		t.Errorf("a right password is held against %d parties", n)
	}
}

// waiting is how many of a class wait.
func (g *Gate) waiting(c class) int {
	g.passwords.mu.Lock()
	defer g.passwords.mu.Unlock()
	return g.passwords.queues[c].waiting
}

// TestGuessers fills the memory of guessers.
func TestGuessers(t *testing.T) {
	t.Parallel()
	var g guesses
	now := 10 * lookEvery
	for i := range 3 * mostGuessers {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		g.begin(party{place: PlaceOf(from)}, now)
		if doubted := g.begin(party{place: PlaceOf(from)}, now); doubted != (i >= mostGuessers) {
			t.Fatalf("newcomer %d is doubted: %v", i, doubted)
		}
	}
	if n := len(g.by); n > mostGuessers {
		t.Errorf("%d addresses are remembered", n)
	}
	for i := range uint16(300) { // one network is one place
		from := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		g.begin(party{place: PlaceOf(from)}, now+10*guessForgotten)
	}
	if !g.begin(party{place: PlaceOf(netip.MustParseAddr("2001:db8::ffff:1"))}, now+10*guessForgotten) {
		t.Error("an IPv6 network is many places")
	}
}

// TestPasswordQueue holds that few run at once, that the queue is bounded, and that
// every party gets a turn.
func TestPasswordQueue(t *testing.T) {
	t.Parallel()
	d := newPasswordQueue(2)
	room := queueLength[doubtful]
	var running, ran, busy atomic.Int32
	inside, let := make(chan struct{}, 2*room), make(chan struct{})
	var all sync.WaitGroup
	enter := func() {
		err := d.do(t.Context(), doubtful, party{}, func() {
			if n := running.Add(1); n > 2 {
				t.Errorf("%d at once", n)
			}
			inside <- struct{}{}
			<-let
			running.Add(-1)
			ran.Add(1)
		})
		if err != nil {
			busy.Add(1)
		}
	}
	for range 2 {
		all.Go(enter)
		<-inside
	}
	for range 2 * room {
		all.Go(enter)
	}
	for int(busy.Load()) < room {
		runtime.Gosched()
	}
	close(let)
	all.Wait()
	if int(ran.Load()) != room+2 || int(busy.Load()) != room {
		t.Errorf("%d ran, %d were refused", ran.Load(), busy.Load())
	}
}

// TestTurns holds in which order waiting checks get their turn: the better class
// first, parties in turns, and the lower classes now and then.
func TestTurns(t *testing.T) {
	t.Parallel()
	d := newPasswordQueue(1)
	release := occupy(d)
	var order []string // owned by the check that has the worker
	var all sync.WaitGroup
	wait := func(c class, who string, times int) {
		for range times {
			before := d.waitingNow()
			all.Go(func() {
				if d.do(t.Context(), c, party{machine: who}, func() { order = append(order, who) }) != nil {
					t.Errorf("%s is refused", who)
				}
			})
			for d.waitingNow() == before {
				runtime.Gosched()
			}
		}
	}
	wait(doubtful, "flood", 4)
	wait(doubtful, "newcomer", 1)
	wait(unusual, "traveller", 2)
	wait(expected, "a", 3)
	wait(expected, "b", 2)
	release()
	all.Wait()
	if want := "a b a traveller b a traveller flood newcomer flood flood flood"; strings.Join(order, " ") != want {
		t.Errorf("the turns were %v, not %s", order, want)
	}
}

func (d *passwordQueue) waitingNow() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.queues {
		n += d.queues[i].waiting
	}
	return n
}

// TestLongestLine has one party fill a queue: others are let in at its cost, as
// long as their lines are shorter, and a check that gives up makes room.
func TestLongestLine(t *testing.T) {
	t.Parallel()
	d := newPasswordQueue(1)
	release := occupy(d)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var sentAway, served atomic.Int32
	wait := func(who string) {
		all.Go(func() {
			if d.do(ctx, doubtful, party{machine: who}, func() { served.Add(1) }) != nil {
				sentAway.Add(1)
			}
		})
	}
	room := queueLength[doubtful]
	for range room {
		wait("flood")
	}
	for d.waitingNow() < room {
		runtime.Gosched()
	}
	for i := range room / 2 {
		wait("newcomer")
		for int(sentAway.Load()) < i+1 {
			runtime.Gosched()
		}
	}
	d.mu.Lock()
	if n := len(d.queues[doubtful].lines[party{machine: "newcomer"}].tickets); n != room/2 {
		t.Errorf("%d of %d newcomers wait", n, room/2)
	}
	d.mu.Unlock()
	if err := d.do(ctx, doubtful, party{machine: "newcomer"}, func() {}); err == nil {
		t.Error("the longer line is let in at the cost of the shorter")
	}
	cancel()
	all.Wait()
	if d.waitingNow() != 0 || len(d.queues[doubtful].turn) != 0 || len(d.queues[doubtful].lines) != 0 {
		t.Error("somebody who gave up still waits")
	}
	release()
	if d.free != 1 || served.Load() != 0 {
		t.Errorf("%d workers are free and %d were served", d.free, served.Load())
	}
}

// TestRegister holds the table of http-api.md section 6.
func TestRegister(t *testing.T) {
	t.Parallel()
	token := strings.Repeat("t", 40)
	d := newDoor(t, func(o *Options) {
		o.Rules.Registration = &Registration{Token: token, AllowedRanges: prefixes("192.0.2.0/31")}
	})
	d.addMachine("taken", "pw", true)
	for _, c := range []struct {
		a    Application
		from netip.Addr
		kind Kind
		text string
	}{
		{Application{"x", "pw", "wrong"}, here, Unauthorized, "invalid token for auto registration"},
		{Application{"taken", "pw", "wrong"}, here, Unauthorized, "invalid token for auto registration"},
		{Application{"x", "pw", token}, there, Unauthorized, "IP not in allowed range for auto registration"},
		{Application{"x", strings.Repeat("p", 73), token}, here, Invalid, "unable to hash"},
		{Application{"taken", "pw", ""}, here, Forbidden, "machine_taken taken"},
		{Application{strings.Repeat("x", 2000), "pw", ""}, here, Invalid, "machine_id in body should be at most 1024 chars long"},
	} {
		_, err := d.Register(t.Context(), c.a, c.from)
		d.refused(err, c.kind, c.text)
	}
	validated, err := d.Register(t.Context(), Application{"auto", "pw", token}, here)
	if m := d.View().Machine("auto"); err != nil || !validated || m == nil || !m.Validated {
		t.Errorf("auto: %v %v", validated, err)
	}
	validated, err = d.Register(t.Context(), Application{"", "", ""}, there)
	if m := d.View().Machine(""); err != nil || validated || m == nil || m.Validated || m.IP != "192.0.2.2" {
		t.Errorf("empty id and password: %v %v", validated, err)
	}
	if _, err := d.Login(t.Context(), Credentials{MachineID: "auto", Password: "pw"}, here, agent); err != nil {
		t.Errorf("login: %v", err)
	}
}

func TestRegistrationLimits(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.PendingMachines, o.Rules.LocalRegistration = 2, true })
	d.refused(d.MayRegister(here, false), Forbidden, "access forbidden")
	for _, from := range []string{"127.0.0.1", "::1"} {
		d.must(d.MayRegister(netip.MustParseAddr(from), false))
	}
	d.must(d.MayRegister(here, true))
	d.addMachine("a", "pw", false)
	d.addMachine("b", "pw", false)
	_, err := d.Register(t.Context(), Application{MachineID: "c", Password: "pw"}, loopback)
	d.refused(err, Busy, "too many machines wait for validation")
}

// TestManyRegistrationsAtOnce has unknown clients from many addresses register and guess at
// once: machines that the store knows get in from their own addresses, from a
// common one too, first thing after a start.
func TestManyRegistrationsAtOnce(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.PasswordWorkers, o.Patience = 1, time.Hour })
	const fleet = 8
	for i := range fleet {
		id := fmt.Sprint("m", i)
		d.addMachine(id, "pw", true)
		d.must(d.ChangeMachine(t.Context(), id, func(m *engine.Machine) { m.IP = here.String() }))
	}
	d.addMachine("victim", "pw", true)
	ctx, cancel := context.WithCancel(t.Context())
	var strangers sync.WaitGroup
	for i := range queueLength[doubtful] + 4 {
		from := netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 50)})
		if i%10 == 0 {
			from = here
		}
		strangers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if i < 2 { // they cost a thousand times as much
					_, _ = d.Register(ctx, Application{MachineID: fmt.Sprint("x", i, ".", n), Password: "pw"}, from)
				} else {
					_, _ = d.Login(ctx, Credentials{MachineID: "victim", Password: fmt.Sprint(i, n)}, from, agent)
				}
			}
		})
	}
	for d.waiting(doubtful) < queueLength[doubtful]/2 {
		runtime.Gosched()
	}
	for i := range fleet {
		if _, err := d.Login(t.Context(), Credentials{MachineID: fmt.Sprint("m", i), Password: "pw"}, here, agent); err != nil {
			t.Errorf("machine %d: %v", i, err)
		}
	}
	if _, err := d.Login(t.Context(), Credentials{MachineID: "m1", Password: "pw"}, there, agent); err != nil {
		t.Errorf("a machine that travels: %v", err)
	}
	cancel()
	strangers.Wait()
}

// TestRegistrationTakesTooLong has the time for waiting end while the
// registration is under way: what was begun is finished, and a registration that never
// had a turn is told to come back.
func TestRegistrationTakesTooLong(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.PasswordWorkers, o.Patience = 1, time.Nanosecond })
	release := occupy(d.passwords)
	_, err := d.Register(t.Context(), Application{MachineID: "late", Password: "pw"}, here)
	d.refused(err, Busy, "too many logins at once")
	release()
	_, err = d.Register(t.Context(), Application{MachineID: "slow", Password: "pw"}, here) // no wait, but it takes longer than the patience
	d.must(err)
}

// TestPendingShares has one address fill what it may: another one can still
// register.
func TestPendingShares(t *testing.T) {
	t.Parallel()
	d := newDoor(t, func(o *Options) { o.PendingMachines = 1000 })
	for i := range 70 {
		d.must(d.AddMachine(t.Context(), &engine.Machine{ID: fmt.Sprint(i), AuthType: engine.AuthPassword, IP: here.String()}, false))
	}
	_, err := d.Register(t.Context(), Application{MachineID: "more", Password: "pw"}, here)
	d.refused(err, Busy, "too many machines wait for validation")
	_, err = d.Register(t.Context(), Application{MachineID: "other", Password: "pw"}, there)
	d.must(err)
	var c count
	c.by = map[netip.Prefix]int{}
	for free, share := range map[int]int{1600: 100, 160: 10, 5: 10, 0: 0} {
		c.waiting, c.by[PlaceOf(here)] = 10_000-free, share
		if c.room(PlaceOf(here), 10_000) {
			t.Errorf("with %d places free one address may have more than %d", free, share)
		}
		if c.by[PlaceOf(here)] = share - 1; c.room(PlaceOf(here), 10_000) != (free > 0) {
			t.Errorf("with %d places free one address may not have %d", free, share)
		}
	}
}

// TestKnows holds what the store knows about addresses.
func TestKnows(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addBouncer("b", "key", false)
	d.must(d.AddMachine(t.Context(), &engine.Machine{ID: "new", AuthType: engine.AuthPassword, IP: "192.0.2.9"}, false))
	knows := func(a string) bool {
		d.Advance(2 * time.Second)
		return d.Knows(netip.MustParseAddr(a))
	}
	if knows("192.0.2.1") || knows("192.0.2.9") || knows("::") {
		t.Error("strangers are known")
	}
	d.addMachine("m", "pw", true)
	_, err := d.Login(t.Context(), Credentials{MachineID: "m", Password: "pw"}, here, agent)
	d.must(err)
	_, err = d.Bouncer(t.Context(), []byte("key"), netip.MustParseAddr("2001:db8::1"), agent, false)
	d.must(err)
	if !knows("192.0.2.1") || !knows("2001:db8::ffff") || knows("2001:db8:0:1::1") || knows("192.0.2.2") {
		t.Error("those who were here are not known")
	}
}

// TestRegisterAtOnce has many want the same id: one gets it.
func TestRegisterAtOnce(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	results := make([]error, 8)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { _, results[i] = d.Register(t.Context(), Application{MachineID: "x", Password: "pw"}, here) })
	}
	all.Wait()
	if n := len(slices.DeleteFunc(results, func(err error) bool { return err != nil })); n != 1 {
		t.Errorf("%d got the id", n)
	}
}

func TestWeakSecret(t *testing.T) {
	t.Parallel()
	if _, err := NewGate(nil, &Options{Secret: secret[:63]}); err != ErrWeakSecret {
		t.Errorf("got %v", err)
	}
}
