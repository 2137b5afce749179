package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The full form, as root, prints how much longer those who are known wait than in
// calm, and how much memory was taken:
//
//	go test ./cmd/lapid -run TestFlood -v -timeout 10m -flood 400 -flood.time 30s -flood.group 256
//
// -flood.program runs another build of the server.
var (
	floodOf      = flag.Int("flood", 60, "how many connections TestFlood has strangers open")
	floodTime    = flag.Duration("flood.time", 0, "how long it goes on; 0: until everybody was served some times")
	floodGroup   = flag.Int("flood.group", 0, "put the server into a control group with so many MiB of memory, as root; 0: only tell it 256 MiB")
	floodProgram = flag.String("flood.program", "", "the server; default the one under test")
	floodPace    = flag.Int("flood.pace", 200, "how many requests a second strangers send altogether")
	floodLarge   = flag.Bool("flood.large", true, "have machines send a report of 5 MB now and then, in calm as under siege")
)

// flood is a house that strangers besiege.
type flood struct {
	*house
	address  string // of the API
	group    string // the folder of the control group; "": none
	machines int
	web      []*http.Client // of the machines, each from its own address
	tokens   []string
	bouncers []*http.Client

	began time.Time

	mu   sync.Mutex
	took map[string][]time.Duration // of the known, by what they asked
}

// floodPatience is for how long a log processor comes back, under the race
// detector.
const floodPatience = 5 * time.Minute

// TestFlood has strangers do what they can at once, from many addresses and from
// those of others: leave logins and packed reports half sent, register, guess, and
// say nothing; and all machines send large reports meanwhile. Who is known is served
// all the same: the first logins of machines right after a start, their reports, the
// polls of bouncers. Nobody of them is refused, and the server lives. They do the same
// in calm, so that what is compared is what the strangers make them wait.
func TestFlood(t *testing.T) {
	t.Parallel()
	f := newFlood(t)
	if *floodTime > 0 { // the kernel shares the processors out, not this program: its own clients do not wait for its strangers
		runtime.GOMAXPROCS(2*runtime.NumCPU() + 2)
	}
	rounds := 3
	p := f.start()
	f.logInAll()
	f.measure(rounds, *floodLarge)
	calm := f.taken()
	f.stop(p)
	p = f.start()
	siege := f.siege()
	await(t, "the siege has begun", func() bool { return siege.sent.Load() >= int64(*floodOf) })
	f.allAtOnce()
	f.measure(rounds, *floodLarge)
	besieged := f.taken()
	siege.end(t)
	select {
	case <-p.ended:
		t.Fatalf("the server did not survive: %v", p.err)
	default:
	}
	t.Logf("%d things done by %d strangers; %s", siege.sent.Load(), *floodOf, f.peak(p))
	for _, line := range f.refusedLines() {
		t.Log(line)
	}
	for _, what := range []string{"first login", "login", "report", "poll"} {
		a, b := p99(calm[what]), p99(besieged[what])
		t.Logf("%-11s  p50 %8s -> %8s  p99 %8s -> %8s  x%.1f  (%d, %d times)", what, p50(calm[what]), p50(besieged[what]), a, b, float64(b)/float64(a), len(calm[what]), len(besieged[what]))
	}
	f.stop(p)
}

func newFlood(t *testing.T) *flood {
	t.Helper()
	f := &flood{house: emptyHouse(t), machines: 6, began: time.Now(), took: map[string][]time.Duration{}}
	if *floodTime > 0 {
		f.machines = 24
	}
	text, err := os.ReadFile(f.file)
	f.must(err)
	_, rest, _ := strings.Cut(string(text), "listen_uri: ")
	f.address, _, _ = strings.Cut(rest, "\n")
	for i := range f.machines {
		f.steps([]step{{fmt.Sprintf("machines add m%d -p secret -f @DIR@/credentials%d.yaml", i, i), 0, "", "~successfully added"}})
		from := net.IPv4(127, 0, 1, byte(1+i))
		if i%2 == 1 {
			from = net.IPv4(127, 0, 1, 100) // behind one proxy
		}
		f.web = append(f.web, clientFrom(from))
	}
	for i := range 5 {
		f.bouncers = append(f.bouncers, clientFrom(net.IPv4(127, 0, 2, byte(1+i))))
	}
	f.steps([]step{{"bouncers add b -k key -o raw", 0, "key", ""}})
	f.tokens = make([]string, f.machines)
	p := f.start() // so that the store knows where everybody is
	f.logInAll()
	f.measure(1, false)
	f.stop(p)
	f.taken()
	return f
}

func (f *flood) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func clientFrom(from net.IP) *http.Client {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	return &http.Client{Timeout: deadline, Transport: &http.Transport{DialContext: d.DialContext, MaxIdleConnsPerHost: 4}}
}

// start starts the server, with few descriptors, in a group if one is wanted.
func (f *flood) start() *process {
	f.t.Helper()
	program, script := os.Args[0], `ulimit -n 1024; exec "$0" "$@"`
	if *floodProgram != "" {
		program = *floodProgram
	}
	env := []string(nil)
	if *floodGroup == 0 {
		env = []string{"LAPID_MEMORY=256MiB"}
	} else if f.group == "" {
		f.group = memoryGroup(f.t, *floodGroup)
	}
	p := startCommand(f.t, exec.Command("sh", "-c", joinGroup(f.group)+script, program, "-c", f.file, "serve"), env, nil)
	f.awaitHealth(p)
	return p
}

func (f *flood) stop(p *process) {
	f.t.Helper()
	f.must(p.cmd.Process.Signal(syscall.SIGTERM))
	if code := p.wait(f.t); code != 0 {
		f.t.Fatalf("it ended with %d", code)
	}
	for _, web := range slices.Concat(f.web, f.bouncers) {
		web.CloseIdleConnections()
	}
}

// peak is what was taken at most.
func (f *flood) peak(p *process) string {
	out := ""
	if *floodGroup > 0 {
		for _, name := range []string{"memory.max_usage_in_bytes", "memory.peak"} {
			if text, err := os.ReadFile(filepath.Join(f.group, name)); err == nil {
				n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
				out = fmt.Sprintf("the group of %d MiB took %d at most, files on disk that it had read or written included; ", *floodGroup, n>>20)
			}
		}
	}
	return fmt.Sprintf("%sthe server %d at most", out, highWater(p)>>20)
}

func (f *flood) refusedLines() (lines []string) {
	w, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", f.metrics))
	if err != nil {
		return nil
	}
	defer w.Body.Close()
	samples, _ := readFigures(w.Body)
	for _, s := range samples {
		if s.family == "lapid_refused_total" || strings.HasPrefix(s.family, "lapid_connections") {
			lines = append(lines, fmt.Sprint(s.family, s.labels, " ", s.value))
		}
	}
	return lines
}

// measure has everybody who is known do what he does, some times or for the time
// that was asked for. With large, machines send large reports too.
func (f *flood) measure(rounds int, large bool) {
	end := time.Now().Add(*floodTime)
	more := func(i int) bool {
		return !f.t.Failed() && (i < rounds || rounds > 1 && time.Now().Before(end))
	}
	var all sync.WaitGroup
	for m := range f.machines {
		all.Go(func() {
			for i := 0; more(i); i++ {
				f.logIn("login", m)
				f.known("report", f.web[m], "POST", "/v1/alerts", f.tokens[m], alertText("test/flood", m*1000+i, 1), 201)
				if large && i%10 == m%10 {
					f.known("large report", f.web[m], "POST", "/v1/alerts", f.tokens[m], largeReport, 201)
				}
				f.pause(500 * time.Millisecond)
			}
		})
	}
	for b, web := range f.bouncers {
		all.Go(func() {
			for i := 0; more(i / 10); i++ {
				f.known("poll", web, "GET", "/v1/decisions/stream", "", "", 200)
				f.known("poll", web, "GET", fmt.Sprintf("/v1/decisions?ip=10.0.0.%d", b), "", "", 200)
				f.pause(50 * time.Millisecond)
			}
		})
	}
	all.Wait()
}

// taken is how long everything took since the last time.
func (f *flood) taken() map[string][]time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.took
	f.took = map[string][]time.Duration{}
	return was
}

// logInAll has all machines log in at once, after a start.
func (f *flood) logInAll() {
	var all sync.WaitGroup
	for m := range f.machines {
		all.Go(func() { f.logIn("first login", m) })
	}
	all.Wait()
}

// allAtOnce has all machines log in, for the first time, and then send a large
// report at once, in the middle of the siege.
func (f *flood) allAtOnce() {
	f.logInAll()
	var all sync.WaitGroup
	for m := range f.machines {
		all.Go(func() {
			f.known("large report", f.web[m], "POST", "/v1/alerts", f.tokens[m], largeReport, 201)
		})
	}
	all.Wait()
}

// largeReport is a report of 5 MB.
var largeReport = `[` + strings.Repeat(" ", 5_000_000) + `]`

// pause is only for the full form, which measures.
func (f *flood) pause(d time.Duration) {
	if *floodTime > 0 {
		time.Sleep(d)
	}
}

func (f *flood) logIn(what string, m int) {
	text := f.known(what, f.web[m], "POST", "/v1/watchers/login", "", fmt.Sprintf(`{"machine_id":"m%d","password":"secret","scenarios":["a/b"]}`, m), 200)
	if _, rest, ok := strings.Cut(text, `"token":"`); ok {
		f.tokens[m], _, _ = strings.Cut(rest, `"`)
	}
}

// known asks for somebody who is known, and wants to be answered.
func (f *flood) known(what string, web *http.Client, method, path, token, body string, status int) string {
	r, err := http.NewRequestWithContext(f.t.Context(), method, "http://"+f.address+path, strings.NewReader(body))
	if err != nil {
		f.t.Error(err)
		return ""
	}
	r.Header.Set("User-Agent", "test/1")
	r.Header.Set("X-Api-Key", "key")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	began := time.Now()
	w, err := web.Do(r)
	if err != nil {
		f.t.Errorf("%s: %v", what, err)
		return ""
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	took := time.Since(began)
	if underRace && w.StatusCode == http.StatusServiceUnavailable && time.Since(f.began) < floodPatience {
		// Under the race detector a password takes seconds, more than a server has for
		// it when many come at once; a log processor comes back.
		return f.known(what, web, method, path, token, body, status)
	}
	if err != nil || w.StatusCode != status {
		f.t.Errorf("%s: %s %.200s %v", what, w.Status, text, err)
	}
	f.mu.Lock()
	f.took[what] = append(f.took[what], took)
	f.mu.Unlock()
	return string(text)
}

// siege is a process of strangers. It is one of its own, and the kernel lets it wait
// for everybody else: strangers are on other machines, and what they compute must not
// be taken from the server, or for time that those who are known waited for it.
type siege struct {
	process *process
	input   io.Closer    // ends it
	sent    atomic.Int64 // things they did
	counted chan struct{}
}

func (f *flood) siege() *siege {
	f.t.Helper()
	args := []string{f.address, strconv.Itoa(*floodOf), strconv.Itoa(f.machines), strconv.Itoa(*floodPace)}
	cmd := exec.Command("nice", append([]string{"-n", "19", os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), beStrangers+"=1")
	input, err := cmd.StdinPipe()
	f.must(err)
	output, words := io.Pipe()
	cmd.Stdout, cmd.Stderr = words, os.Stderr
	s := &siege{input: input, counted: make(chan struct{}), process: &process{cmd: cmd, ended: make(chan struct{})}}
	f.must(cmd.Start())
	go func() { s.process.err = cmd.Wait(); _ = words.Close(); close(s.process.ended) }()
	go func() {
		defer close(s.counted)
		var n int64
		for {
			if _, err := fmt.Fscanln(output, &n); err != nil {
				return
			}
			s.sent.Store(n)
		}
	}()
	f.t.Cleanup(func() { _ = cmd.Process.Kill(); <-s.process.ended })
	return s
}

func (s *siege) end(t *testing.T) {
	t.Helper()
	_ = s.input.Close()
	if code := s.process.wait(t); code != 0 {
		t.Fatalf("the strangers ended with %d", code)
	}
	<-s.counted
}

// beStrangers in the environment makes the test program a siege: it lets strangers
// loose until its input ends, and writes down how many things they have done. Its
// arguments: the address, how many there are, how many machines they know of, and
// how many requests a second they send altogether.
const beStrangers = "LAPID_TEST_STRANGERS"

func strangers(args []string) {
	number := func(i int) int {
		n, err := strconv.Atoi(args[i])
		if err != nil {
			panic(err)
		}
		return n
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	s := &besiegers{address: args[0], of: number(1), machines: number(2), pace: number(3), turns: make(chan struct{})}
	s.besiege(ctx)
	fmt.Println(s.sent.Load())
}

// besiegers are all strangers.
type besiegers struct {
	address            string
	of, machines, pace int
	turns              chan struct{}
	sent               atomic.Int64
}

// besiege lets the strangers loose until ctx ends, and counts what they do. All of
// them together keep to a pace: this is about the server's queues, not about who
// has more processors.
func (s *besiegers) besiege(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { s.giveTurns(ctx) })
	for i := range s.of {
		from := net.IPv4(127, 0, 3, byte(1+i/5%50))
		if i/5%10 == 0 {
			from = net.IPv4(127, 0, 1, 100) // where machines are
		}
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if n > 0 || i >= 200 { // the first come at once
					select {
					case <-ctx.Done():
						return
					case <-s.turns:
					}
				}
				s.stranger(ctx, from, i, n)
			}
		})
	}
	all.Wait()
}

// giveTurns keeps the pace, and writes the count down.
func (s *besiegers) giveTurns(ctx context.Context) {
	pace := time.NewTicker(time.Second / time.Duration(s.pace))
	defer pace.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		if n%20 == 0 {
			fmt.Println(s.sent.Load())
		}
		select {
		case <-ctx.Done():
			return
		case s.turns <- struct{}{}:
		default:
		}
	}
}

// stranger is one connection of a stranger.
func (s *besiegers) stranger(ctx context.Context, from net.IP, i, n int) {
	defer s.sent.Add(1)
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	post := func(path, more string, length int, body string) {
		_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nUser-Agent: x/1\r\n%sContent-Length: %d\r\n\r\n%s", path, more, length, body)
	}
	switch id := fmt.Sprintf("x%d.%d", i, n); i % 5 {
	case 0:
		post("/v1/watchers/login", "", 2_000_000, "{"+strings.Repeat(" ", 60_000))
	case 1:
		body := fmt.Sprintf(`{"machine_id":%q,"password":"p"}`, id)
		post("/v1/watchers", "Connection: close\r\n", len(body), body)
	case 2:
		body := fmt.Sprintf(`{"machine_id":"m%d","password":%q}`, i/5%s.machines, id)
		post("/v1/watchers/login", "Connection: close\r\n", len(body), body)
	case 3: // says nothing
	case 4:
		post("/v1/alerts", "Content-Encoding: gzip, gzip\r\n", 5_000_000, packedTwice)
	}
	if i%5 == 0 || i%5 >= 3 {
		s.sent.Add(1) // it holds on now
	}
	_, _ = io.Copy(io.Discard, c)
}

// packedTwice is the beginning of a report.
var packedTwice = func() string {
	text := strings.Repeat("[ ", 1000)
	for range 2 {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, text)
		_ = w.Flush()
		text = b.String()
	}
	return text
}()

func p50(all []time.Duration) time.Duration { return quantile(all, 50) }

func p99(all []time.Duration) time.Duration { return quantile(all, 99) }

func quantile(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)*percent/100, len(all)-1)].Round(10 * time.Microsecond)
}
