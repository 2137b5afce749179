package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"lapid/engine"
	"lapid/transport/auth"
	"lapid/transport/conn"
	"lapid/transport/export"
	"lapid/transport/openapi"
	"lapid/transport/peer"
)

// Options say what a Server serves and where. Zero values mean the defaults
// written beside them.
type Options struct {
	Engine *engine.Engine // required
	Gate   *auth.Gate     // required; of the same engine

	// Listen is host:port of the TCP listener, Socket the path of the Unix
	// socket. At least one of them. See Server.Listen for what may be at Socket.
	Listen string
	Socket string
	// SocketMode is who may connect to the socket, whatever the umask is: its
	// permission bits. A client of the socket counts as one from 127.0.0.1. 0:
	// 0660, the server's user and group.
	SocketMode fs.FileMode
	// TLS encrypts the TCP listener (see auth.NewTLS); nil: plain HTTP. The
	// socket is always plain.
	TLS *tls.Config

	// AccessLog gets one line per answered request, in the reference's format
	// (config.md section 6), a moment later, from a goroutine of its own. Where it
	// takes them more slowly than they come, lines are lost, and counted; requests never wait.
	// nil: none, the default.
	AccessLog AccessLog
	// Logger gets what an operator should know. nil: silence.
	Logger *slog.Logger

	// History is the name that clients know places in the history by
	// (engine.Engine.NameHistory). Zero: one for this server alone.
	History engine.HistoryName

	// Version is shown as cs_info.
	Version string
	// MetricsLevel is full, aggregated or none. "": full.
	MetricsLevel string
	// Peers are the other servers that share the history of Engine: what writes is passed on
	// while another of them is the writer, and answered here for them (ServePassed). nil: there
	// are none.
	Peers *peer.Node
	// Confirm returns when the view of Engine is as new as any was anywhere when it was called, beside Peers. Log processors
	// and cscli are answered after that, so that they see what they did, whichever server they ask. nil: it always is.
	Confirm func(context.Context) error
	// Confirmed is how long ago that was so last; if it never was, since when it is asked. With it polls that go by their row's
	// cursor wait for Confirm, too, a second at most. nil: they do not.
	Confirmed func() time.Duration
	// RelayAge is how old what a relay knows may be, below 0: not known. A server that has it is a relay, and
	// refuses what writes, and all of machines, with 503. It must not wait. nil: it is none.
	RelayAge func() time.Duration
	// Cluster is what the metrics show of this server as a node beside Peers; it must not wait. nil:
	// it is one for itself.
	Cluster func() Cluster
	// Troubles is why the server should not be called ready. nil: those of Engine.
	Troubles func() []engine.Trouble
	// Orders is what the metrics show of the orders of the console: how many made no sense
	// or failed, how many questions for them failed, and when they were last asked for, in
	// Unix seconds. It must not wait. nil: nothing.
	Orders func() (invalid, failed, asked int64)
	// Denied is told of each caller who is not let in, beside the lines of the log: for what
	// reason, from where and who it claims to be, within bounds. It must not wait. nil: nothing.
	Denied func(now int64, why auth.Reason, from netip.Addr, who string)
	// AuditDropped is how many rows of the audit were dropped since the start, for metrics. It
	// must not wait. nil: that is not told.
	AuditDropped func() uint64
	// Surroundings is what the metrics show of what the server stands on; it must not wait. nil:
	// not known.
	Surroundings func() Surroundings
	// Backups is what the metrics show of backups that are made by themselves; nil, or a nil
	// answer: none are. It must not wait.
	Backups func() *Backups
	// Told is what the metrics show of notifications; it must not wait. nil: nothing.
	Told func() []Told

	// Central is what is counted of the connection to the Central API, for metrics; nil, or
	// a nil answer: there is none. Any goroutine may call it; it must not wait.
	Central func() *Central

	// Labour is told 1 when a body of more than 16 KiB begins to be read and -1 when
	// its request is done: then goroutines compute for long. It must not wait. nil:
	// nobody wants to know.
	Labour func(change int)

	// Loops is how many loops hold the connections that have no goroutine of their
	// own (package reactor): 0 is one for each processor, NoLoops none. On systems without
	// a reactor there are none, whatever it says.
	Loops int
	// SecureAlone keeps connections over TLS from the loops: each has a goroutine.
	SecureAlone bool

	// Exports is where the lists for devices are written and kept; nil: of this server alone.
	Exports *export.Renderings
	// ExportMemory is what the lists that are kept take together where Exports is nil, in bytes (512 MiB); what
	// does not fit is refused with 503. While lists are made they take three times as much beside it, or wait.
	ExportMemory int64

	// Description says who may have the description of the API; "": everybody.
	Description openapi.Access

	MaxConnections int           // at once, on each listener (20 000); for one more another is closed on which nobody has shown who he is, else it gets 503
	MaxServed      int           // of them all, those that have a goroutine at the moment (20 000): all without loops, else those that are at a request that is not for a loop; more wait
	HeaderBytes    int           // request line and headers together (64 KiB), 4 KiB to 1 MiB; more get 431. Beyond 8 KiB they are paid for like bodies
	ReadTimeout    time.Duration // for the head of a request (60 s)
	ReadStall      time.Duration // a body that does not begin for that long, or of which, of somebody who has shown who he is, nothing more comes, gets 408 (30 s); strangers have 15 s for all of it
	UploadLimit    time.Duration // for the body of somebody who has shown who he is, however large and however it comes (15 min); then 408
	IdleTimeout    time.Duration // between two requests (180 s; clients poll every 60 s)
	WriteStall     time.Duration // a peer that takes no 128 KiB in half of this is let go (60 s)
	StreamLimit    time.Duration // for one answer in pieces, however slow its reader (15 min)
	DrainTimeout   time.Duration // for requests under way when the server stops (10 s)
	BodyMemory     int64         // for request bodies and what is read out of them, beyond 16 KiB each (512 MiB); more wait, then get 503
	AnswerMemory   int64         // for answers beyond 16 KiB each and what has to be put in order for them (256 MiB); more wait, then get 503
	SharedMemory   int64         // for answers of the stream that several get, while they are sent (512 MiB); what does not fit is encoded for each
	StrangerMemory int64         // the same for those who have not logged in (16 MiB), besides two bodies of 3 MiB

	patience        conn.Patience // of the front; tests have less
	beat            time.Duration // after how long an event stream says that it is there (beatEvery)
	confirmPatience time.Duration // how long a poll waits to be sure (confirmPatience)
	answerPatience  time.Duration // how long a long answer waits for memory (loginPatience)
}

// NoLoops is for Options.Loops: every connection has a goroutine.
const NoLoops = -1

func (o *Options) withDefaults() (Options, error) {
	c := *o
	switch {
	case c.Engine == nil || c.Gate == nil:
		return c, errors.New("a server needs an engine and a gate")
	case c.Listen == "" && c.Socket == "":
		return c, errors.New("no listen_uri or listen_socket specified")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.History == (engine.HistoryName{}) {
		c.History = engine.NewHistoryName()
	}
	if c.Labour == nil {
		c.Labour = func(int) {}
	}
	if c.Troubles == nil {
		c.Troubles = c.Engine.Troubles
	}
	switch c.MetricsLevel {
	case "":
		c.MetricsLevel = "full"
	case "full", "aggregated", "none":
	default:
		return c, errors.New("invalid metrics level: " + c.MetricsLevel)
	}
	if !c.Description.Valid() {
		return c, errors.New("invalid access to the description of the API: " + string(c.Description))
	}
	if c.SocketMode &= fs.ModePerm; c.SocketMode == 0 {
		c.SocketMode = 0o660
	}
	if c.Loops == 0 {
		c.Loops = min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	}
	fill(&c.MaxConnections, 20_000)
	fill(&c.MaxServed, 20_000)
	fill(&c.HeaderBytes, 64<<10)
	if err := conn.CheckHeaderBytes(c.HeaderBytes); err != nil {
		return c, err
	}
	fill(&c.ReadTimeout, time.Minute)
	fill(&c.ReadStall, 30*time.Second)
	fill(&c.UploadLimit, 15*time.Minute)
	fill(&c.IdleTimeout, 3*time.Minute)
	fill(&c.WriteStall, time.Minute)
	fill(&c.StreamLimit, 15*time.Minute)
	fill(&c.answerPatience, loginPatience)
	fill(&c.beat, beatEvery)
	fill(&c.DrainTimeout, 10*time.Second)
	fill(&c.BodyMemory, 512<<20)
	fill(&c.StrangerMemory, 16<<20)
	fill(&c.AnswerMemory, 256<<20)
	fill(&c.SharedMemory, 512<<20)
	fill(&c.ExportMemory, 512<<20)
	return c, nil
}

func fill[N int | int64 | time.Duration](n *N, usual N) {
	if *n <= 0 {
		*n = usual
	}
}

// loginPatience is how long a login with a certificate may take to find out
// whether that was revoked; log processors give a request ten seconds and more.
const loginPatience = 8 * time.Second
