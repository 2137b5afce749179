package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"lapid/engine"
)

// Relays follow over one request each, GET /follow, whose answer does not end. It is frames:
//
//	kind u8 │ revision u64 │ length u32 │ body          big endian
//	'c'  a commit as engine.Redact writes it; 'z' the same, zstd
//	'a'  how old what this node knows is, in nanoseconds, u64; each second, and when the first is due; revision is its newest
//
// Each commit is redacted and packed once, for all relays, which read it from one list of the newest; one that is further
// behind reads the store's journal by itself until it is there. Nothing is kept for a relay but its place, so one that
// does not read costs nothing, is cut off when nothing of a frame moves, and comes back.

// RelayLevel is which formats a history is sent to relays in: a relay of a lower one cannot read it.
const RelayLevel = 1

// Names of lines in the heads of /follow and /follow/backup.
const (
	levelLine   = "Lapid-Level"   // of the relay, and of the node
	historyLine = "Lapid-History" // E of the relay, where it has one, and of the node
	versionLine = "Lapid-Version" // of the program
)

// Bounds of what is sent to relays.
const (
	relaysAtMost = 1024      // at a time; one more is told to come again
	listedBytes  = 32 << 20  // of frames that all share, or one larger one
	listedMost   = 8192      // of them
	frameHead    = 1 + 8 + 4 // in front of a body
	packedFrom   = 512       // bytes of a commit that is packed
	aliveEvery   = time.Second
)

// Kinds of frames.
const (
	frameCommit = 'c'
	framePacked = 'z'
	frameAlive  = 'a'
)

// followed is the newest of the history as relays get it, one list for all. It is read from the store while there are relays.
type followed struct {
	node *Node
	pack *zstd.Encoder

	mu     sync.Mutex
	relays int
	frames []listedFrame // in order, without a gap
	bytes  int
	newest engine.Revision // of the last frame, or where the list begins
	grown  chan struct{}   // closed when frames come, or the list begins anew
	stop   chan struct{}   // closed when the last relay has left
}

type listedFrame struct {
	rev   engine.Revision
	bytes []byte // never changed
}

func newFollowed(n *Node) *followed {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(fmt.Sprintf("BUG: packing commits: %v", err)) // of constants
	}
	return &followed{node: n, pack: pack}
}

// enter counts a relay; the first has the list be kept.
func (f *followed) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.relays >= relaysAtMost {
		return false
	}
	if f.relays++; f.relays == 1 {
		f.frames, f.bytes, f.newest = nil, 0, f.node.options.Engine.View().Revision()
		f.grown, f.stop = make(chan struct{}), make(chan struct{})
		go f.keep(f.newest, f.stop)
	}
	return true
}

func (f *followed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.relays--; f.relays == 0 {
		close(f.stop)
		f.frames, f.bytes = nil, 0
	}
}

// keep lists what comes behind a revision until stop is closed.
func (f *followed) keep(after engine.Revision, stop <-chan struct{}) {
	e := f.node.options.Engine
	for {
		changed := e.Changed()
		err := e.StoredCommits(after, func(rev engine.Revision, record []byte) error {
			frame, err := f.frame(rev, record)
			if err == nil && f.list(stop, rev, frame) {
				after = rev
			}
			return err
		})
		if errors.Is(err, engine.ErrForgotten) || errors.Is(err, engine.ErrBeforeRedaction) {
			after = e.View().Revision()
			f.begin(stop, after)
			continue
		}
		pause := time.NewTimer(aliveEvery)
		if err == nil && after < e.View().Revision() { // it came meanwhile, or the store is behind
			pause.Reset(lookEvery)
		}
		select {
		case <-changed:
		case <-pause.C:
		case <-stop:
		}
		pause.Stop()
		select {
		case <-stop:
			return
		default:
		}
	}
}

// list puts a frame behind the others, unless the list is another one's by now, and forgets what is beyond the bounds.
func (f *followed) list(stop <-chan struct{}, rev engine.Revision, frame []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != stop {
		return false
	}
	f.frames, f.bytes, f.newest = append(f.frames, listedFrame{rev, frame}), f.bytes+len(frame), rev
	for len(f.frames) > 1 && (f.bytes > listedBytes || len(f.frames) > listedMost) {
		f.bytes -= len(f.frames[0].bytes)
		f.frames[0] = listedFrame{}
		f.frames = f.frames[1:]
	}
	close(f.grown)
	f.grown = make(chan struct{})
	return true
}

// begin empties the list: it goes on behind a revision.
func (f *followed) begin(stop <-chan struct{}, after engine.Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stop != stop {
		return
	}
	f.frames, f.bytes, f.newest = nil, 0, after
	close(f.grown)
	f.grown = make(chan struct{})
}

// frame makes the frame of a commit.
func (f *followed) frame(rev engine.Revision, record []byte) ([]byte, error) {
	frame, err := engine.Redact(make([]byte, frameHead, frameHead+len(record)/2), record)
	if err != nil {
		return nil, fmt.Errorf("commit %d: %w", rev, err)
	}
	kind := byte(frameCommit)
	if body := frame[frameHead:]; len(body) >= packedFrom && !engine.HoldsSecrets(body) {
		kind, frame = framePacked, f.pack.EncodeAll(body, make([]byte, frameHead, frameHead+len(body)/3))
	}
	return putFrameHead(frame, kind, rev), nil
}

// putFrameHead fills in what stands in front of a body that is there already.
func putFrameHead(frame []byte, kind byte, rev engine.Revision) []byte {
	frame[0] = kind
	binary.BigEndian.PutUint64(frame[1:], uint64(rev))
	binary.BigEndian.PutUint32(frame[9:], uint32(len(frame)-frameHead))
	return frame
}

// after gives what is listed behind a revision; listed is false where the list does not reach back so far. grown is closed when
// there is more.
func (f *followed) after(rev engine.Revision, into [][]byte) (frames [][]byte, listed bool, grown <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := f.newest
	if len(f.frames) > 0 {
		from = f.frames[0].rev - 1
	}
	if rev >= f.newest {
		return into, true, f.grown
	}
	if rev < from {
		return into, false, f.grown
	}
	for _, frame := range f.frames[rev-from:] {
		if into = append(into, frame.bytes); len(into) == cap(into) {
			break
		}
	}
	return into, true, f.grown
}

// admitRelay says whether a relay can be sent this history, and answers if not.
func (n *Node) admitRelay(w http.ResponseWriter, r *http.Request) bool {
	e := n.options.Engine
	history, named := e.HistoryNamed()
	head := w.Header()
	head.Set(levelLine, strconv.Itoa(RelayLevel))
	head.Set(versionLine, n.options.Version)
	if !named {
		n.again(w, "the history has no name yet")
		return false
	}
	head.Set(historyLine, history.String())
	switch level, err := strconv.Atoi(r.Header.Get(levelLine)); {
	case err != nil || level < RelayLevel:
		http.Error(w, fmt.Sprintf("this relay reads level %.20q of the history, and level %d is sent here: it needs lapid %s or newer", r.Header.Get(levelLine), RelayLevel, n.options.Version), http.StatusUpgradeRequired)
		return false
	case r.Header.Get(historyLine) != "" && r.Header.Get(historyLine) != history.String():
		http.Error(w, "this node has history "+history.String(), http.StatusConflict)
		return false
	}
	return true
}

// follow sends the history to a relay for as long as it listens.
func (n *Node) follow(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseUint(r.FormValue("after"), 10, 64)
	if err != nil {
		http.Error(w, "after is the newest revision that the relay has", http.StatusBadRequest)
		return
	}
	if !n.admitRelay(w, r) {
		return
	}
	if !n.followed.enter() {
		n.again(w, wordBusy)
		return
	}
	defer n.followed.leave()
	f := &following{n: n, w: w, out: http.NewResponseController(w), after: engine.Revision(after), life: r.Context(), asked: r, by: n.credentials.Load()}
	if !f.reaches() {
		http.Error(w, "the journal here does not reach back so far", http.StatusGone)
		return
	}
	n.log.Info("a relay follows", "relay", caller(r), "after", after)
	w.Header().Set("Content-Type", "application/octet-stream")
	err = f.run()
	n.log.Info("a relay follows no longer", "relay", caller(r), "after", uint64(f.after), "because", err)
}

// following is one relay that follows.
type following struct {
	n     *Node
	w     http.ResponseWriter
	out   *http.ResponseController
	after engine.Revision // what was sent
	life  context.Context // of the request
	asked *http.Request   // for its certificate
	by    *Credentials    // of this node, when that was last looked at
}

// Why a relay follows no longer.
var (
	errLeft   = errors.New("it has left")
	errEnding = errors.New("this node is ending")
	// errNoLonger: the relay's certificate is of an authority that is none of relays' any more.
	errNoLonger = errors.New("its certificate is of an authority that relays have no longer (relay_ca_file): lapid cluster keys --relay NAME --renew makes another")
)

// errSent ends a look at what the journal has.
var errSent = errors.New("there is")

// reaches reports whether the journal goes on behind what the relay has. Where the relay is ahead it is waited for.
func (f *following) reaches() bool {
	err := f.n.options.Engine.StoredCommits(f.after, func(_ engine.Revision, record []byte) error {
		if _, err := engine.Redact(nil, record); err != nil {
			return err
		}
		return errSent
	})
	return err == nil || errors.Is(err, errSent)
}

func (f *following) run() error {
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	frames := make([][]byte, 0, 64)
	if err := f.alive(); err != nil {
		return err
	}
	for {
		var listed bool
		var grown <-chan struct{}
		frames, listed, grown = f.n.followed.after(f.after, frames[:0])
		var err error
		select {
		case <-f.n.ending:
			return errEnding
		default:
		}
		if now := f.n.credentials.Load(); now != f.by { // a reload may have taken the relay's authority away
			if f.by = now; f.n.isRelay(f.asked) && !f.n.stillRelay(f.asked) {
				return errNoLonger
			}
		}
		switch {
		case !listed:
			err = f.fromStore()
		case len(frames) > 0:
			err = f.send(frames)
		default:
			select {
			case <-grown:
			case <-alive.C:
				err = f.alive()
			case <-f.life.Done():
				err = errLeft
			case <-f.n.ending:
				err = errEnding
			}
		}
		if err != nil {
			return err
		}
	}
}

// fromStore sends what the list no longer has, and lets the relay be told between that the node is there.
func (f *following) fromStore() error {
	began, sent := time.Now(), 0
	err := f.n.options.Engine.StoredCommits(f.after, func(rev engine.Revision, record []byte) error {
		frame, err := f.n.followed.frame(rev, record)
		if err != nil {
			return err
		}
		if err := f.write(frame); err != nil {
			return err
		}
		f.after = rev
		if sent += len(frame); sent > listedBytes/8 || time.Since(began) > aliveEvery {
			return errSent
		}
		return nil
	})
	if err != nil && !errors.Is(err, errSent) {
		return err
	}
	if err == nil && sent == 0 { // the store is behind what is listed: it is asked again
		wait(f.life, lookEvery)
	}
	return f.alive()
}

func (f *following) send(frames [][]byte) error {
	for _, frame := range frames {
		if err := f.write(frame); err != nil {
			return err
		}
		f.after = engine.Revision(binary.BigEndian.Uint64(frame[1:]))
	}
	return f.flush()
}

// alive says how old what is known here is.
func (f *following) alive() error {
	age := time.Duration(0)
	if f.n.options.Age != nil {
		age = f.n.options.Age()
	}
	frame := binary.BigEndian.AppendUint64(make([]byte, frameHead), uint64(age))
	if err := f.write(putFrameHead(frame, frameAlive, f.n.options.Engine.View().Revision())); err != nil {
		return err
	}
	return f.flush()
}

// write hands a frame over. A relay that takes nothing of a piece for long is cut off.
func (f *following) write(frame []byte) error {
	for len(frame) > 0 {
		_ = f.out.SetWriteDeadline(time.Now().Add(stall))
		m, err := f.w.Write(frame[:min(len(frame), pieceBytes)])
		if err != nil {
			return err
		}
		frame = frame[m:]
	}
	return nil
}

func (f *following) flush() error {
	_ = f.out.SetWriteDeadline(time.Now().Add(stall))
	return f.out.Flush()
}

// followBackup sends everything, redacted, to a relay that has nothing or too little.
func (n *Node) followBackup(w http.ResponseWriter, r *http.Request) {
	if !n.admitRelay(w, r) {
		return
	}
	n.sendBackup(w, r, "a relay", n.copies, n.options.Engine.BackupForRelay)
}
