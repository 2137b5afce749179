package transport

import (
	"net/http"
	"time"
)

// A relay (Options.RelayAge) answers bouncers and devices from what it has, and nobody else: nothing can be written there, and it
// knows no passwords, so no machine can show who it is. All those requests get one answer before anybody is asked who they are.

// relayText is that answer.
const relayText = "this server is a relay: it answers bouncers, and takes neither alerts nor logins nor usage metrics; send them to a node of the cluster"

// relayAfter is the pause that is asked of those, in seconds: it is not to be waited for, but to be sent elsewhere.
const relayAfter = "60"

// relayed makes the table of a relay out of a server's.
func relayed(lines []tableLine) []tableLine {
	for i := range lines {
		l := &lines[i]
		switch {
		case l.who == bouncer, l.who == proxy:
		case l.who == anyone && l.method != "POST" && l.path != "/v1/refresh_token":
		default:
			l.who, l.body, l.handle = anyone, &noneRead, refuseAtRelay
		}
	}
	return lines
}

func refuseAtRelay(x *exchange) error {
	x.failure = "a relay does not take this"
	x.message(http.StatusServiceUnavailable, relayText)
	x.answer.SetHeader("Retry-After", relayAfter)
	return nil
}

// relayAge shows how old what a relay knows may be; nothing at another server, and while that is not known.
func (c collectorOf) relayAge(m measure) {
	age := c.s.options.RelayAge
	if age == nil {
		return
	}
	if d := age(); d >= 0 {
		m.gauge(relayAgeSeconds, d.Round(time.Millisecond).Seconds())
	}
}
