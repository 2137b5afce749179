package transport

import (
	"runtime"
	"sync/atomic"
	"time"
)

// Surroundings are what the server stands on and was made of, as metrics tell it. What is not
// known has no series.
type Surroundings struct {
	Commit       string        // that the program was built from; "": not known
	MemoryLimit  int64         // that bounds are made of, in bytes; 0: not known
	DiskFree     int64         // for this process where the store is, in bytes; less than 0: not known
	Certificates []Certificate // each file once

	// Reloaded: the last time the configuration was read it was put in force. A start counts;
	// ReloadedAt is when it last was, in Unix seconds.
	Reloaded   bool
	ReloadedAt int64

	// Operators is how many logged in to the console since the start, and how many could not.
	Operators Logins
}

// Certificate is a file that holds certificates.
type Certificate struct {
	File    string
	Expires time.Time // the first of those in it
}

// Logins is how often one kind of login went well and failed since the start.
type Logins struct{ Well, Failed uint64 }

var (
	buildInfo      = desc("lapid_build_info", "1, with what the program is.", "version", "revision", "goversion")
	memoryLimit    = desc("lapid_memory_limit_bytes", "Memory that the server may take: what its bounds are made of.")
	diskFree       = desc("lapid_disk_free_bytes", "Room for the server's user on the disk of the store, looked at every ten seconds.")
	certificateEnd = desc("lapid_certificate_expiry_timestamp_seconds", "When the first certificate in a file expires, in Unix seconds.", "file")
	reloadWell     = desc("lapid_config_last_reload_successful", "1 while the configuration that was read last is in force; a start counts.")
	reloadAt       = desc("lapid_config_last_reload_success_timestamp_seconds", "When the configuration was last put in force, in Unix seconds.")
	loginsTotal    = desc("lapid_logins_total", "Logins since the start: of machines by password or certificate, and of operators to the console.", "kind", "outcome")
)

// loginCounts are the logins of machines, for any goroutine.
type loginCounts struct{ password, certificate loginCount }

type loginCount struct{ well, failed atomic.Uint64 }

func (c *loginCount) count(err error) {
	if err == nil {
		c.well.Add(1)
	} else {
		c.failed.Add(1)
	}
}

// surroundings sends them, and who logged in.
func (c collectorOf) surroundings(m measure) {
	now := Surroundings{DiskFree: -1}
	if c.s.options.Surroundings != nil {
		now = c.s.options.Surroundings()
		m.gauge(reloadWell, number(now.Reloaded))
		m.gauge(reloadAt, float64(now.ReloadedAt))
	}
	m.gauge(buildInfo, 1, c.s.options.Version, now.Commit, runtime.Version())
	if now.MemoryLimit > 0 {
		m.gauge(memoryLimit, float64(now.MemoryLimit))
	}
	if now.DiskFree >= 0 {
		m.gauge(diskFree, float64(now.DiskFree))
	}
	for _, one := range now.Certificates {
		m.gauge(certificateEnd, float64(one.Expires.Unix()), one.File)
	}
	logins := &c.s.logins
	m.logins("password", Logins{logins.password.well.Load(), logins.password.failed.Load()})
	m.logins("certificate", Logins{logins.certificate.well.Load(), logins.certificate.failed.Load()})
	m.logins("operator", now.Operators)
}

func (m measure) logins(kind string, n Logins) {
	m.counter(loginsTotal, float64(n.Well), kind, "ok")
	m.counter(loginsTotal, float64(n.Failed), kind, "failed")
}
