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

	"golang.org/x/crypto/bcrypt"

	"lapid/engine"
)

// TestLoginRefusals holds the order of section 6 of the contract.
func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	d := newDoor(t, nil)
	d.addMachine("m", "pw", true)
	d.addMachine("new", "pw", false)
	d.must(d.AddMachine(t.Context(), &engine.Machine{ID: "cert@192.0.2.1", AuthType: engine.AuthTLS}, false))
	for _, c := range []struct {
		id, password, agent, text string
	}{
		{"nobody", "pw", "tester/1", "ent: machine not found"},
		{"cert@192.0.2.1", "", "tester/1", "machine cert@192.0.2.1 attempted to auth with password but it is configured to use tls"},
		{"new", "wrong", "tester/1", "machine new not validated"},
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

// TestGuessing has somebody guess from behind the proxy that a fleet uses: the
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
	now := d.Engine.Now()
	if !d.guesses.tooMany(here, now) || d.guesses.tooMany(there, now) {
		t.Fatal("the wrong address is suspected")
	}
	d.slow.workers <- struct{}{} // somebody is being checked for ever
	if _, err := d.Login(t.Context(), Credentials{MachineID: "known", Password: "pw"}, here, agent); err != nil {
		t.Errorf("a known machine waits behind the guesser: %v", err)
	}
	if _, err := d.Login(t.Context(), Credentials{MachineID: "fresh", Password: "pw"}, there, agent); err != nil {
		t.Errorf("another address waits: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Login(ended, Credentials{MachineID: "known", Password: "guess"}, here, agent)
	d.refused(err, Busy, "too many logins at once")
	<-d.slow.workers
	if _, err := d.Login(t.Context(), Credentials{MachineID: "fresh", Password: "pw"}, here, agent); err != nil {
		t.Errorf("the fleet is locked out: %v", err)
	}
	d.Advance(3 * guessesAllowed * 6_000_000_000)
	if d.guesses.tooMany(here, d.Engine.Now()) {
		t.Error("nothing is forgotten")
	}
}

// TestGuessers fills the memory of guessers.
func TestGuessers(t *testing.T) {
	t.Parallel()
	var g guesses
	now := 10 * lookEvery
	for i := range 3 * mostGuessers {
		g.wrong(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
	}
	if n := len(g.byPlace); n > mostGuessers {
		t.Errorf("%d addresses are remembered", n)
	}
	for i := range uint16(300) { // one network is one place
		g.wrong(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}), now+10*guessForgotten)
	}
	if !g.tooMany(netip.MustParseAddr("2001:db8::ffff:1"), now+10*guessForgotten) {
		t.Error("an IPv6 network is many places")
	}
}

// TestLane holds that few run at once, that the queue is bounded, and that
// everybody gets a turn.
func TestLane(t *testing.T) {
	t.Parallel()
	l := newLane(2, 5)
	var running, ran, busy atomic.Int32
	inside, let := make(chan struct{}, 20), make(chan struct{})
	var all sync.WaitGroup
	enter := func() {
		err := l.do(t.Context(), func() {
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
	for range 50 {
		all.Go(enter)
	}
	for busy.Load() < 45 {
		runtime.Gosched()
	}
	close(let)
	all.Wait()
	if ran.Load()+busy.Load() != 52 || ran.Load() < 7 {
		t.Errorf("%d ran, %d were refused", ran.Load(), busy.Load())
	}
}

// TestRegister holds the table of section 6.
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
		{Application{"taken", "pw", ""}, here, Forbidden, "user 'taken': user already exist"},
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
