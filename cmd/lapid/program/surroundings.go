package program

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"lapid/transport"
	"lapid/transport/console"
)

// lookAround is the pause between two looks at the disk and at certificates: a scrape shows
// what the last one found, and never waits for a disk that does not answer.
const lookAround = 10 * time.Second

// surroundings are what metrics tell of what the server stands on. Any goroutine may ask.
type surroundings struct {
	store   string   // folder
	files   []string // of certificates
	commit  string
	memory  int64
	logins  func() (well, failed uint64) // of operators; nil: there is no console
	last    atomic.Pointer[transport.Surroundings]
	size    atomic.Int64 // of the disk, in bytes; -1: not known
	refused atomic.Bool  // the configuration that was read last is not in force
	applied atomic.Int64 // when one was put in force, Unix seconds
}

// openSurroundings takes the first look. The configuration is that of the start: which files
// there are changes with a restart alone.
func (p *program) openSurroundings() {
	s := &p.surroundings
	s.store, s.memory, s.commit = p.setup.Store(), p.memory, builtFrom(p.commit)
	if t := p.setup.Config.API.Server.TLS; t != nil && t.CertFile != "" {
		s.addFile(t.CertFile)
		s.addFile(t.CAFile)
	}
	if c, err := p.setup.ConsoleListener(); err == nil && p.console != nil && c.Encrypted() {
		s.addFile(c.CertFile)
		s.addFile(c.CAFile)
	}
	if p.cluster != nil {
		c := &p.cluster.settings
		for _, file := range []string{c.CertFile, c.CAFile, c.Etcd.CertFile, c.Etcd.CAFile} {
			s.addFile(file)
		}
	}
	if p.console != nil {
		s.logins = p.console.Logins
	}
	s.reloaded(nil)
	s.look()
}

func (s *surroundings) addFile(path string) {
	for _, has := range s.files {
		if has == path {
			return
		}
	}
	if path != "" {
		s.files = append(s.files, path)
	}
}

// watchSurroundings looks again and again until ctx ends.
func (p *program) watchSurroundings(ctx context.Context) {
	again := time.NewTicker(lookAround)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-again.C:
			p.surroundings.look()
		}
	}
}

// look sees how much room there is and when certificates end. What cannot be seen is left out.
func (s *surroundings) look() {
	free, size := diskBytes(s.store)
	s.size.Store(size)
	now := &transport.Surroundings{Commit: s.commit, MemoryLimit: s.memory, DiskFree: free}
	for _, file := range s.files {
		if end := firstEnd(file); !end.IsZero() {
			now.Certificates = append(now.Certificates, transport.Certificate{File: file, Expires: end})
		}
	}
	s.last.Store(now)
}

// reloaded notes how reading the configuration ended.
func (s *surroundings) reloaded(err error) {
	if s.refused.Store(err != nil); err == nil {
		s.applied.Store(time.Now().Unix())
	}
}

// figures is what metrics show. Until the first look nothing is known.
func (s *surroundings) figures() transport.Surroundings {
	now := transport.Surroundings{DiskFree: -1}
	if last := s.last.Load(); last != nil {
		now = *last
		if s.logins != nil {
			now.Operators.Well, now.Operators.Failed = s.logins()
		}
	}
	now.Reloaded, now.ReloadedAt = !s.refused.Load(), s.applied.Load()
	return now
}

// attention is what the console's first page looks at.
func (s *surroundings) attention() console.Surroundings {
	now := s.figures()
	out := console.Surroundings{DiskFree: now.DiskFree, DiskSize: s.size.Load(), MemoryLimit: now.MemoryLimit, Reloaded: now.Reloaded}
	for _, one := range now.Certificates {
		out.Certificates = append(out.Certificates, console.Certificate{File: one.File, Ends: one.Expires.UnixNano()})
	}
	return out
}

// firstEnd is when the first certificate in a file ends; zero where there is none.
func firstEnd(file string) (end time.Time) {
	text, err := os.ReadFile(file)
	if err != nil {
		return end
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type == "CERTIFICATE" && err == nil && (end.IsZero() || c.NotAfter.Before(end)) {
			end = c.NotAfter
		}
	}
	return end
}

// builtFrom is the commit that Go has noted in the program, or that of the linker's flag.
func builtFrom(flag string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && s.Value != "" {
				return s.Value
			}
		}
	}
	return strings.TrimSuffix(flag, "-dirty")
}
