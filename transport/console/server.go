package console

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"lapid/engine"
	"lapid/transport/admin"
	"lapid/transport/audit"
	"lapid/transport/console/site"
	"lapid/transport/openapi"
)

const (
	// headWithin is how long the head of a request may take, bodyWithin a usual body.
	headWithin = 10 * time.Second
	bodyWithin = 30 * time.Second
	// importWithin is how long an import or a backup may take.
	importWithin = 10 * time.Minute
	// longWithin is how long an answer without a bound may take, of which each piece must be taken bodyWithin:
	// for so long what its view shows is not forgotten.
	longWithin = time.Hour
	// farewell is how long requests that are under way may take once the server was told to stop.
	farewell = 5 * time.Second
	// maxBody bounds a usual body in bytes, maxImport one with many values.
	maxBody   = 64 << 10
	maxImport = 64 << 20
	maxVerb   = 1 << 20 // of a verb that is passed through and read whole
)

// Options are what a Server is made from. What is not said to be optional must be given.
type Options struct {
	Engine *engine.Engine
	Verbs  *admin.Handler
	Logger *slog.Logger

	Listen       string   // host:port
	Hosts        []string // names that it answers to, besides its address and those of its certificate
	TLS          bool     // with CertFile and KeyFile
	CertFile     string   // read at the start
	KeyFile      string   // likewise
	ClientCAFile string   // whose certificates are looked at; "": none are
	AllowedUnits []string // organisational units of operators' certificates; none: no certificate lets in
	// Certified looks at a client's certificate beside its chain and units, as the Local API does:
	// whether it was revoked. Optional.
	Certified func(*tls.ConnectionState) error
	BasePath  string         // "" or /path: what stands in front of all paths
	Proxies   []netip.Prefix // that may name the client
	ReadOnly  bool           // nothing may be changed

	LookupURL string         // where pages link to from an address, which {ip} stands for; "": nowhere
	Zone      *time.Location // of the times on pages, where a browser has chosen none; nil: UTC

	Description openapi.Access // who may have the description of the API; "": everybody

	Traffic func() Traffic   // optional: what the Local API has counted
	Metrics http.Handler     // optional: the figures, as text
	Config  func() any       // optional: what is in force, without secrets
	Reload  func() error     // optional: reads the configuration again
	Audit   func(audit.Note) // optional: is told who logged in, and who was refused. It must not wait

	Surroundings func() Surroundings // optional: what the server stands on. It must not wait

	// Rest is called by who has worked for so long at a long answer, and leaves the processor to bouncers, if some
	// ask, for some milliseconds at most. Optional.
	Rest func(worked time.Duration)
}

// Surroundings are what the server stands on, as the first page looks at it.
type Surroundings struct {
	DiskFree, DiskSize int64         // where the store is, in bytes, free for this process; not above 0: not known
	MemoryLimit        int64         // that bounds are made of, in bytes; 0: not known
	Certificates       []Certificate // each file once
	Reloaded           bool          // the configuration that was read last is in force
}

// Certificate is a file that holds certificates.
type Certificate struct {
	File string
	Ends int64 // the first of those in it, Unix nanoseconds
}

// Server is the listener. Make it with Listen, then Run it once.
type Server struct {
	options                 Options
	log                     *slog.Logger
	listener                net.Listener
	http                    *http.Server
	scheme                  string
	hosts                   map[string]bool // without port, in small letters
	anywhere                bool            // it listens on all addresses, and answers to each of them
	routes                  *http.ServeMux
	atWork, strangersAtWork places
	longAtWork              places
	guesses                 guesses
	sessions                sessions
	answers                 remembered
	lines                   refusals
	logins                  loginCounts
	cross                   *http.CrossOriginProtection
	site                    *site.Site
	notices                 notices
	silences                silences
	prepared                preparedLists
	reading                 chan struct{} // a token for each list that is read
	version                 string        // of the program
	begun                   int64         // Unix nanoseconds

	rates           rates
	newsroom        *newsroom
	certificateEnds int64 // Unix nanoseconds; 0: there is none
}

// Listen opens the listener. Errors name the setting that is at fault.
func Listen(o *Options) (*Server, error) {
	s := &Server{options: *o, log: o.Logger, scheme: "http", cross: http.NewCrossOriginProtection()}
	s.guesses.now, s.sessions.now, s.answers.now, s.prepared.now = o.Engine.Now, o.Engine.Now, o.Engine.Now, o.Engine.Now
	s.reading = make(chan struct{}, mostReading)
	for work, room := range map[*places]int{&s.atWork: maxAtWork, &s.strangersAtWork: maxAtWork, &s.longAtWork: maxLong} {
		work.room, work.of = room, map[string]int{}
	}
	s.newsroom, s.silences.engine = newNewsroom(o.Engine), o.Engine
	s.site, s.version, s.begun = site.New(o.BasePath, o.LookupURL), o.Verbs.Program(), o.Engine.Now()
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("console.listen: %w", err)
	}
	s.answerTo(l.Addr(), o.Hosts)
	s.routes = s.mux()
	s.listener = newCrowd(l, s.trusts)
	if config != nil {
		s.scheme = "https"
		s.listener = tls.NewListener(s.listener, config)
	}
	s.http = &http.Server{
		Handler: s, ConnContext: withConn, ReadHeaderTimeout: headWithin, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(func() { close(s.newsroom.ended) })
	return s, nil
}

// tls is nil for plain HTTP. It also notes the certificate's names.
func (s *Server) tls() (*tls.Config, error) {
	o := &s.options
	if !o.TLS {
		if o.AllowedUnits != nil {
			return nil, errors.New("console.allowed_ou: certificates of operators need console.tls")
		}
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("console.cert_file, console.key_file: %w", err)
	}
	if leaf, err := x509.ParseCertificate(cert.Certificate[0]); err == nil {
		o.Hosts = append(append([]string{}, o.Hosts...), leaf.DNSNames...)
		s.certificateEnds = leaf.NotAfter.UnixNano()
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if o.AllowedUnits == nil {
		return config, nil
	}
	pem, err := os.ReadFile(o.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("console.ca_file: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("console.ca_file: %s holds no certificate", o.ClientCAFile)
	}
	return config, nil
}

// answerTo notes the names that a request's Host may have.
func (s *Server) answerTo(at net.Addr, hosts []string) {
	s.hosts = map[string]bool{"localhost": true}
	if host, _, err := net.SplitHostPort(at.String()); err == nil {
		s.hosts[host] = true
		ip := net.ParseIP(host)
		s.anywhere = ip != nil && ip.IsUnspecified()
	}
	if host, _, err := net.SplitHostPort(s.options.Listen); err == nil && host != "" {
		s.hosts[strings.ToLower(host)] = true
	}
	for _, list := range [][]string{hosts, s.options.Hosts} {
		for _, h := range list {
			s.hosts[strings.ToLower(h)] = true
		}
	}
}

// Addr is where it listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is where operators find it: the first of the configured names, or the address.
func (s *Server) URL() string {
	host, port, _ := net.SplitHostPort(s.listener.Addr().String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if len(s.options.Hosts) > 0 {
		host = s.options.Hosts[0]
	}
	return s.scheme + "://" + net.JoinHostPort(host, port) + s.options.BasePath + "/"
}

// Run serves until ctx ends, then lets requests that are under way finish.
func (s *Server) Run(ctx context.Context) error {
	s.log.Info("the console's listener is open", "url", s.URL(), "read_only", s.options.ReadOnly)
	ended := make(chan error, 1)
	background, stop := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { s.keepRates(background) })
	defer beside.Wait()
	defer stop()
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("console: %w", err)
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	err := s.http.Shutdown(patience)
	if err != nil {
		err = s.http.Close()
	}
	<-ended
	return err
}

// Close gives the listener up without having served; for a start that failed.
func (s *Server) Close() error { return s.listener.Close() }
